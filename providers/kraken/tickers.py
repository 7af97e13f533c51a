"""Top of book and statistics out of tickers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from penstock.dbn import (
    F_LAST,
    F_PUBLISHER_SPECIFIC,
    F_TOB,
    STAT_CLEARED_VOLUME,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
    mbp_1,
    statistic,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, fixed_signed
from providers.kraken.definitions import Known
from providers.kraken.numbers import number, present, price, size
from providers.kraken.readings import RawLevel, Ticker

REPEAT_NS: Final = 10_000_000_000
"""All statistics are published again with the first ticker in each such span of venue time, for late joiners."""

STAT_NET_CHANGE, STAT_VWAP = 12, 13
"""DBN's own types (https://github.com/databento/dbn rust/dbn/src/enums.rs, StatType): price, signed for the change."""

Value = tuple[int, int]
"""(price at 1e-9, quantity), either undefined."""

_REMEMBERED: Final = 65_536
_UNSTATABLE: Final = {"number_precision", "number_range", "not_whole_lots"}


def top(reading: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side with quantity 0 or null is empty. Raises PayloadError."""
    bid, bid_size = _side(reading.bid, known.lot, "bid")
    ask, ask_size = _side(reading.ask, known.lot, "ask")
    flags = F_LAST | F_TOB
    if UNDEF_ORDER_SIZE in (bid_size, ask_size):
        flags |= F_PUBLISHER_SPECIFIC
    return mbp_1(publisher_id, known.id, ts_event, flags, ts_recv, 0, bid, ask, bid_size, ask_size)


def _side(level: RawLevel, lot: int, field: str) -> tuple[int, int]:
    quantity = size(level[1], lot, field) if present(level[1]) else 0
    if not quantity:
        return UNDEF_PRICE, 0
    at = price(level[0], field)
    if not at:
        raise PayloadError("zero_price", field, at, "a price above 0 where there is a quantity")
    return at, quantity if quantity <= MAX_SIZE else UNDEF_ORDER_SIZE


@lru_cache(maxsize=_REMEMBERED)
def _quantity(raw: bytes, lot: int) -> Value:
    quantity = _exact(lambda: size(raw, lot, "volume"), UNDEF_STAT_QUANTITY)
    return UNDEF_PRICE, min(quantity, UNDEF_STAT_QUANTITY)  # i64: what does not fit is undefined


@lru_cache(maxsize=_REMEMBERED)
def _price(raw: bytes, lot: int) -> Value:
    del lot
    return _exact(lambda: fixed_signed(number(raw)), UNDEF_PRICE), UNDEF_STAT_QUANTITY


def _exact(convert: Callable[[], int], undefined: int) -> int:
    try:
        return convert()
    except PayloadError as error:
        if error.reason in _UNSTATABLE:
            return undefined
        raise


_STATED: Final = (
    (STAT_LOW, _price),
    (STAT_HIGH, _price),
    (STAT_CLEARED_VOLUME, _quantity),
    (STAT_NET_CHANGE, _price),
    (STAT_VWAP, _price),
    (STAT_LAST_PRICE, _price),
)
"""DBN's statistic of each text and how it is read, in rising order: that in which they are published."""


class StatisticsStream:
    """What was last published of one instrument's statistics."""

    def __init__(self) -> None:
        self._published: dict[int, Value] = {}
        self._span = -1

    def take(self, reading: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say.

        Missing ones are left out. A number that DBN cannot hold exactly is stated as undefined, never rounded. Raises
        PayloadError with nothing changed.
        """
        span = ts_event // REPEAT_NS
        texts = (reading.low, reading.high, reading.volume, reading.change, reading.vwap, reading.last)
        fresh = [
            (kind, value)
            for (kind, convert), text in zip(_STATED, texts, strict=True)
            if present(text)
            and ((value := convert(text, known.lot)) != self._published.get(kind) or span != self._span)
        ]
        self._span = span
        if not fresh:
            return b""
        self._published.update(fresh)
        return b"".join(statistic(publisher_id, known.id, ts_event, ts_recv, kind, 0, *value) for kind, value in fresh)
