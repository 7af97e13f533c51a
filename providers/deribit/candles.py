"""`chart.trades.<instrument>.1` to OHLCV_1M."""

from __future__ import annotations

from penstock.dbn import RTYPE_OHLCV_1M, ohlcv
from penstock.errors import PayloadError
from penstock.numbers import price, size
from penstock.timestamps import from_ms
from providers.deribit.definitions import Known
from providers.deribit.payloads import Candle


class CandleStream:
    """The candle of the present minute, published when the next one begins.

    The venue sends the present minute's candle, whole, each time it changes, and nothing says that it will not change
    any more (https://docs.deribit.com/subscriptions/market-data/charttradesinstrument_nameresolution, read 2026-11).
    Minutes without trades have one too, with a volume of 0 and the last price. A copy that comes late has no larger
    volume, since volume only grows within a minute.
    """

    def __init__(self) -> None:
        self._start = -1
        self._volume = 0
        self._content = b""

    def take(self, candle: Candle, known: Known, publisher_id: int) -> bytes:
        """The bar that is finished now, b"" where none is. Raises PayloadError with nothing changed."""
        start, volume = from_ms(candle.tick, "tick"), _volume(candle, known)
        first, high, low, last = (_price(candle, field, known) for field in ("open", "high", "low", "close"))
        if start < self._start or (start == self._start and volume < self._volume):
            return b""
        finished = self._content if start > self._start else b""
        self._start, self._volume = start, volume
        self._content = ohlcv(RTYPE_OHLCV_1M, publisher_id, known.id, start, first, high, low, last, volume)
        return finished

    def forget(self) -> None:
        """What came of the present minute may not be its last: it counts again with its next message."""
        self._content = b""


def _price(candle: Candle, field: str, known: Known) -> int:
    value = price(bytes(getattr(candle, field)), field)
    if not value and not known.is_combo:
        raise PayloadError("zero_price", field, value, "a price above 0")
    return value


def _volume(candle: Candle, known: Known) -> int:
    """In lots: `cost` is the volume in US dollars, which is what contracts counted in dollars have lots of."""
    described = known.described
    if described.lot_unit == described.base:
        volume = size(bytes(candle.volume), known.lot, "volume")
    else:
        volume = size(bytes(candle.cost), known.lot, "cost")
    if volume >= 2**64:
        raise PayloadError("size_range", "volume", volume, "less than 2**64 lots")
    return volume
