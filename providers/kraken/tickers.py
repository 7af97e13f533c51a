"""Top of book and statistics out of tickers."""

from __future__ import annotations

from typing import Final

from penstock.dbn import (
    STAT_CLEARED_VOLUME,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    UNDEF_PRICE,
    quote,
    statistic,
)
from penstock.errors import PayloadError
from penstock.numbers import number, present, price, size
from penstock.statistics import Told, Value, as_price, as_quantity
from providers.kraken.definitions import Known
from providers.kraken.readings import RawLevel, Ticker

STAT_NET_CHANGE, STAT_VWAP = 12, 13
"""DBN's own types (https://github.com/databento/dbn rust/dbn/src/enums.rs, StatType): price, signed for the change."""


def top(reading: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side with quantity 0 or null is empty. Raises PayloadError."""
    bid, ask = _side(reading.bid, known.lot, "bid"), _side(reading.ask, known.lot, "ask")
    return quote(publisher_id, known.id, ts_event, ts_recv, 0, bid, ask)


def _side(level: RawLevel, lot: int, field: str) -> tuple[int, int]:
    quantity = size(level[1], lot, field) if present(level[1]) else 0
    if not quantity:
        return UNDEF_PRICE, 0
    at = price(level[0], field)
    if not at:
        raise PayloadError("zero_price", field, at, "a price above 0 where there is a quantity")
    return at, quantity


_STATED: Final = (
    (STAT_LOW, as_price),
    (STAT_HIGH, as_price),
    (STAT_CLEARED_VOLUME, as_quantity),
    (STAT_NET_CHANGE, as_price),
    (STAT_VWAP, as_price),
    (STAT_LAST_PRICE, as_price),
)
"""DBN's statistic of each text and how it is read, in rising order: that in which they are published."""


class StatisticsStream:
    """What was last published of one instrument's statistics."""

    def __init__(self) -> None:
        self._told = Told[Value]()

    def take(self, reading: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say.

        Missing ones are left out. A number that DBN cannot hold exactly is stated as undefined, never rounded. Raises
        PayloadError with nothing changed.
        """
        texts = (reading.low, reading.high, reading.volume, reading.change, reading.vwap, reading.last)
        values = [
            (kind, read(number(text), known.lot))
            for (kind, read), text in zip(_STATED, texts, strict=True)
            if present(text)
        ]
        fresh = self._told.news(values, ts_event)
        if not fresh:
            return b""
        return b"".join(statistic(publisher_id, known.id, ts_event, ts_recv, kind, 0, *value) for kind, value in fresh)
