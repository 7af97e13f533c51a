"""Candles of one channel: a message shows one so far, and the last one that was shown before the next began is final."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import RTYPE_OHLCV_1M, ohlcv
from penstock.errors import PayloadError
from penstock.numbers import price, size
from providers.kraken.definitions import Known
from providers.kraken.readings import Candle

_MAX_VOLUME: Final = 2**64 - 1


class Ready(NamedTuple):
    """A candle that was read and checked."""

    begin: int
    trades: int
    record: bytes


def read(item: Candle, known: Known, publisher_id: int) -> Ready:
    """One candle as a record; ts_event is its start. Raises PayloadError."""
    opened, high, low, closed = (price(text) for text in (item.open, item.high, item.low, item.close))
    volume = size(item.volume, known.lot, "volume")
    if volume > _MAX_VOLUME:
        raise PayloadError("size_range", "volume", volume, "lots that fit 64 bits")
    record = ohlcv(RTYPE_OHLCV_1M, publisher_id, known.id, item.begin, opened, high, low, closed, volume)
    return Ready(item.begin, item.trades, record)


class BarStream:
    """A candle is finished when a later one begins; the venue does not mark the last message of a candle.

    Of several messages of one candle the one with most trades counts, in whatever order they come. A minute without trades
    has no candle. Live, candles before the first one seen to end are history and not published.
    """

    def __init__(self, known: Known, *, archive: bool) -> None:
        self.known = known
        self._archive = archive
        self._open: Ready | None = None
        self._started = False

    def take(self, ready: list[Ready], *, snapshot: bool) -> list[bytes]:
        """The records of the candles that a message, oldest first, shows to be finished."""
        if snapshot and not self._started and not self._archive:
            ready = ready[-1:]
        self._started = True
        finished = []
        for item in ready:
            last = self._open
            if last is None or item.begin > last.begin:
                if last is not None:
                    finished.append(last.record)
                self._open = item
            elif item.begin == last.begin and item.trades >= last.trades:
                self._open = item
        return finished
