"""`kline.1` to OHLCV_1M: each candle once, when it is finished."""

from __future__ import annotations

from penstock.dbn import RTYPE_OHLCV_1M, ohlcv
from penstock.errors import PayloadError
from penstock.lots import lots
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from providers.bybit.definitions import Known
from providers.bybit.payloads import Candle
from providers.bybit.stream import Stream

INTERVAL = "1"
"""Minutes; the venue offers others, which nothing subscribes to and which are refused."""


class BarStream(Stream):
    """Candles of one instrument. One that is no later than the last published one is a copy."""

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._last = -1

    def take(self, candles: list[Candle]) -> list[Output]:
        """Publish what is finished and new. Raises PayloadError with nothing changed."""
        finished = sorted((start, content) for start, content in map(self._read, candles) if content)
        outputs: list[Output] = []
        for start, content in finished:
            if start > self._last:
                self._last = start
                outputs.append(Message("OHLCV_1M", self.channel, content))
        return outputs

    def _read(self, candle: Candle) -> tuple[int, bytes]:
        """(start in UNIX ns, record; empty while the candle runs)."""
        if candle.interval != INTERVAL:
            raise PayloadError("wrong_channel", "interval", candle.interval, INTERVAL)
        prices = self.prices
        start, volume = from_ms(candle.start, "start"), lots(candle.volume, self.known.lot, "volume")
        if volume >= 2**64:
            raise PayloadError("size_range", "volume", candle.volume, "a volume of less than 2**64 lots")
        content = ohlcv(
            RTYPE_OHLCV_1M, self.publisher.publisher_id, self.known.id, start, prices[candle.open],
            prices[candle.high], prices[candle.low], prices[candle.close], volume,
        )  # fmt: skip
        return start, content if candle.confirm else b""
