"""Top of book and statistics out of quotes and tickers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
from penstock.lots import MAX_SIZE, fixed_signed
from providers.deribit.definitions import Known
from providers.deribit.numbers import expanded, number, present, price, size
from providers.deribit.payloads import Greeks, Stats, Ticker, Top

REPEAT_NS: Final = 10_000_000_000
"""All statistics are published again with the first ticker in each such span of venue time, for late joiners."""

Value = tuple[int, int]
"""(price at 1e-9, quantity), either undefined."""

_REMEMBERED: Final = 65_536
_UNSTATABLE: Final = {"number_precision", "number_range", "not_whole_lots"}


def top(data: Top, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side that is null or has amount 0 is empty. Raises PayloadError."""
    bid, bid_size = _side(data.best_bid_price, data.best_bid_amount, known.lot, "best_bid")
    ask, ask_size = _side(data.best_ask_price, data.best_ask_amount, known.lot, "best_ask")
    flags = F_LAST | F_TOB
    if UNDEF_ORDER_SIZE in (bid_size, ask_size):
        flags |= F_PUBLISHER_SPECIFIC
    return mbp_1(publisher_id, known.id, ts_event, flags, ts_recv, 0, bid, ask, bid_size, ask_size)


def _side(price_raw: Raw, amount_raw: Raw, lot: int, field: str) -> tuple[int, int]:
    text = bytes(amount_raw)
    amount = size(text, lot, field) if present(text) else 0
    if not amount:
        return UNDEF_PRICE, 0
    return price(bytes(price_raw), field), amount if amount <= MAX_SIZE else UNDEF_ORDER_SIZE


@lru_cache(maxsize=_REMEMBERED)
def _quantity(raw: bytes, lot: int) -> Value:
    amount = _exact(lambda: size(raw, lot, "quantity"), UNDEF_STAT_QUANTITY)
    return UNDEF_PRICE, min(amount, UNDEF_STAT_QUANTITY)  # i64: what does not fit is undefined


@lru_cache(maxsize=_REMEMBERED)
def _price(raw: bytes, lot: int) -> Value:
    del lot
    return _exact(lambda: fixed_signed(number(raw)), UNDEF_PRICE), UNDEF_STAT_QUANTITY


@lru_cache(maxsize=_REMEMBERED)
def _rate(raw: bytes, lot: int) -> Value:
    """A rate at 1e-9 as price and at 1e-18 as quantity: Deribit states 8 decimals, an average may need more."""
    del lot
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


_NO_STATS: Final = Stats()
_NO_GREEKS: Final = Greeks()

_STATED: Final = (
    (STAT_LOW, _price),
    (STAT_HIGH, _price),
    (STAT_CLEARED_VOLUME, _quantity),
    (STAT_OPEN_INTEREST, _quantity),
    (STAT_FIXING_PRICE, _price),
    (STAT_VOLATILITY, _price),
    (STAT_DELTA, _price),
    (STAT_MARK_PRICE, _price),
    (STAT_FUNDING_RATE, _rate),
    (STAT_ESTIMATED_DELIVERY, _price),
    (STAT_FUNDING_RATE_8H, _rate),
    (STAT_LAST_PRICE, _price),
)
"""DBN's statistic of each text and how it is read, in rising order: that in which they are published."""


class StatisticsStream:
    """What was last published of one instrument's statistics, and of which texts."""

    def __init__(self) -> None:
        self._lot = 0
        self._texts: tuple[bytes, ...] = (b"",) * len(_STATED)
        self._published: dict[int, Value] = {}
        self._span = -1

    def take(self, data: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say.

        Null and missing statistics are left out. A number that DBN cannot hold exactly (finer than 1e-9, no whole lots)
        is stated as undefined, never rounded: it is no reason to refuse the prices beside it. Raises PayloadError with
        nothing changed.
        """
        lot, span, texts = known.lot, ts_event // REPEAT_NS, _texts(data, known)
        published = self._published
        if span != self._span or lot != self._lot:
            fresh = [
                (kind, value)
                for (kind, convert), text in zip(_STATED, texts, strict=True)
                if present(text) and ((value := convert(text, lot)) != published.get(kind) or span != self._span)
            ]
        else:
            # A text that was there before was read before.
            fresh = [
                (kind, value)
                for (kind, convert), text, before in zip(_STATED, texts, self._texts, strict=True)
                if text != before and present(text) and (value := convert(text, lot)) != published.get(kind)
            ]
        self._lot, self._span, self._texts = lot, span, texts
        if not fresh:
            return b""
        published.update(fresh)
        return b"".join(
            [statistic(publisher_id, known.id, ts_event, ts_recv, kind, 0, *value) for kind, value in fresh]
        )


def _texts(data: Ticker, known: Known) -> tuple[bytes, ...]:
    """Every statistic of a ticker as its text, in the order of _STATED."""
    stats, greeks, described = data.stats or _NO_STATS, data.greeks or _NO_GREEKS, known.described
    volume = stats.volume if described.lot_unit == described.base else stats.volume_usd
    return (
        bytes(stats.low),
        bytes(stats.high),
        bytes(volume),
        bytes(data.open_interest),
        bytes(data.index_price),
        bytes(data.mark_iv),
        bytes(greeks.delta),
        bytes(data.mark_price),
        bytes(data.current_funding),
        bytes(data.estimated_delivery_price),
        bytes(data.funding_8h),
        bytes(data.last_price),
    )
