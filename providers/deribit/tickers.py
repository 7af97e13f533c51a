"""Top of book and statistics out of quotes and tickers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Raw

from penstock.dbn import (
    F_LAST,
    F_PUBLISHER_SPECIFIC,
    F_TOB,
    STAT_CLEARED_VOLUME,
    STAT_DELTA,
    STAT_ESTIMATED_DELIVERY,
    STAT_FIXING_PRICE,
    STAT_FUNDING_RATE,
    STAT_FUNDING_RATE_8H,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    STAT_MARK_PRICE,
    STAT_OPEN_INTEREST,
    STAT_VOLATILITY,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
    mbp_1,
    statistic,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, fixed, fixed_signed, lots
from providers.deribit.definitions import Known
from providers.deribit.numbers import expanded, number, present
from providers.deribit.payloads import Greeks, Stats, Ticker, Top

REPEAT_NS: Final = 10_000_000_000
"""All statistics are published again with the first ticker in each such span of venue time, for late joiners."""

Value = tuple[int, int]
"""(price at 1e-9, quantity), either undefined."""

_UNSTATABLE: Final = {"number_precision", "number_range", "not_whole_lots"}


def top(data: Top, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side that is null or has amount 0 is empty. Raises PayloadError."""
    bid, bid_size = _side(data.best_bid_price, data.best_bid_amount, known.lot, "best_bid")
    ask, ask_size = _side(data.best_ask_price, data.best_ask_amount, known.lot, "best_ask")
    flags = F_LAST | F_TOB
    if UNDEF_ORDER_SIZE in (bid_size, ask_size):
        flags |= F_PUBLISHER_SPECIFIC
    return mbp_1(publisher_id, known.id, ts_event, flags, ts_recv, 0, bid, ask, bid_size, ask_size)


def _side(price: Raw, amount: Raw, lot: int, field: str) -> tuple[int, int]:
    size = lots(number(amount), lot, f"{field}_amount") if present(amount) else 0
    if not size:
        return UNDEF_PRICE, 0
    return fixed(number(price), f"{field}_price"), size if size <= MAX_SIZE else UNDEF_ORDER_SIZE


class StatisticsStream:
    """What was last published of one instrument's statistics."""

    def __init__(self) -> None:
        self._published: dict[int, Value] = {}
        self._span = -1

    def take(self, values: dict[int, Value], known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say."""
        span = ts_event // REPEAT_NS
        fresh = values.items() if span != self._span else values.items() - self._published.items()
        self._span = span
        self._published.update(fresh)
        return b"".join(
            statistic(publisher_id, known.id, ts_event, ts_recv, kind, 0, *value) for kind, value in sorted(fresh)
        )


def statistics(data: Ticker, known: Known) -> dict[int, Value]:
    """Every statistic a ticker states; null and missing ones are left out. Raises PayloadError.

    A number that DBN cannot hold exactly (finer than 1e-9, no whole lots) is stated as undefined, never rounded: it is
    no reason to refuse the prices beside it.
    """
    return {kind: value for kind, raw, convert in _fields(data, known) if present(raw) for value in [convert(raw)]}


def _fields(data: Ticker, known: Known) -> Iterator[tuple[int, Raw, Callable[[Raw], Value]]]:
    stats, greeks = data.stats or Stats(), data.greeks or Greeks()
    in_usd = known.described.lot_unit != known.described.base

    def quantity(raw: Raw) -> Value:
        size = _exact(lambda: lots(number(raw), known.lot, "quantity"), UNDEF_STAT_QUANTITY)
        return UNDEF_PRICE, min(size, UNDEF_STAT_QUANTITY)  # i64: what does not fit is undefined

    yield STAT_OPEN_INTEREST, data.open_interest, quantity
    yield STAT_CLEARED_VOLUME, stats.volume_usd if in_usd else stats.volume, quantity
    yield STAT_HIGH, stats.high, _price
    yield STAT_LOW, stats.low, _price
    yield STAT_LAST_PRICE, data.last_price, _price
    yield STAT_MARK_PRICE, data.mark_price, _price
    yield STAT_FIXING_PRICE, data.index_price, _price
    yield STAT_ESTIMATED_DELIVERY, data.estimated_delivery_price, _price
    yield STAT_VOLATILITY, data.mark_iv, _price
    yield STAT_DELTA, greeks.delta, _price
    yield STAT_FUNDING_RATE, data.current_funding, _rate
    yield STAT_FUNDING_RATE_8H, data.funding_8h, _rate


def _price(raw: Raw) -> Value:
    return _exact(lambda: fixed_signed(number(raw)), UNDEF_PRICE), UNDEF_STAT_QUANTITY


def _rate(raw: Raw) -> Value:
    """A rate at 1e-9 as price and at 1e-18 as quantity: Deribit states 8 decimals, an average may need more."""
    text = number(raw)
    fine = _exact(lambda: fixed_signed(expanded(text + "e9")), UNDEF_STAT_QUANTITY)
    return _exact(lambda: fixed_signed(text), UNDEF_PRICE), fine


def _exact(convert: Callable[[], int], undefined: int) -> int:
    try:
        return convert()
    except PayloadError as error:
        if error.reason in _UNSTATABLE:
            return undefined
        raise
