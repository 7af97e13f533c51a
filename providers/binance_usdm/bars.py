"""`@kline_1m` to OHLCV_1M."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import lots
from penstock.normalizing import Message, Output
from penstock.streams import Units
from penstock.timestamps import from_ms
from providers.binance_usdm.payloads import Combined, KlineUpdate
from providers.binance_usdm.stream import Stream

_DECODER: Final = msgspec.json.Decoder(Combined[KlineUpdate])

_RECENT: Final = 64


class Bars(Stream):
    """One-minute bars, each published once, when it is finished; `ts_event` is its start."""

    schema = "OHLCV_1M"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self._finished: deque[int] = deque(maxlen=_RECENT)

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:  # noqa: ARG002 # a bar record has no such field
        message = decode(_DECODER, payload)
        self.check(message.stream, message.data.s)
        bar = message.data.k
        if bar.i != "1m":
            raise PayloadError("wrong_channel", "i", bar.i, "1m")
        start, volume = from_ms(bar.t, "t"), lots(bar.v, self.lot, "v")
        if volume >= 2**64:
            raise PayloadError("size_range", "v", bar.v, "a volume of less than 2**64 lots")
        prices = self.prices
        data = dbn.ohlcv(
            dbn.RTYPE_OHLCV_1M, self.publisher_id, self.instrument_id, start, prices[bar.o], prices[bar.h],
            prices[bar.l], prices[bar.c], volume,
        )  # fmt: skip
        if not bar.x or start in self._finished:
            return ()
        self._finished.append(start)
        return (Message("OHLCV_1M", self.channel, data),)
