"""Top of book and statistics out of tickers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Raw

from penstock.dbn import (
    F_LAST,
    F_PUBLISHER_SPECIFIC,
    F_TOB,
    STAT_CLEARED_VOLUME,
    STAT_FIXING_PRICE,
    STAT_FUNDING_RATE,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    STAT_MARK_PRICE,
    STAT_OPEN_INTEREST,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
    UNDEF_TIMESTAMP,
    mbp_1,
    statistic,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, fixed_signed
from penstock.timestamps import MAX_NS, NS_PER_MS
from providers.kraken_futures.definitions import Known
from providers.kraken_futures.numbers import expanded, number, present, price, scaled, size
from providers.kraken_futures.payloads import Ticker, TickerLite

REPEAT_NS: Final = 10_000_000_000
"""All statistics are published again with the first ticker in each such span of its time, for late joiners."""

_REMEMBERED: Final = 65_536
_UNSTATABLE: Final = {"number_precision", "number_range", "not_whole_lots"}
_MAX_QUANTITY: Final = UNDEF_STAT_QUANTITY - 1


class Value(NamedTuple):
    """A statistic: price at 1e-9 and quantity, either undefined. `decimals` (stat_flags) says, where it is not 0, that
    the quantity is the price itself: quantity × 10^-decimals. `ts_ref`, UNIX ns, is when a funding rate is settled."""

    price: int
    quantity: int
    decimals: int = 0
    ts_ref: int = UNDEF_TIMESTAMP


def top(data: Ticker | TickerLite, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side that is null or 0 is empty. Raises PayloadError.

    ticker_lite states no sizes: they are UNDEF_ORDER_SIZE with F_PUBLISHER_SPECIFIC, which means "see MBO".
    """
    sizes = (data.bid_size, data.ask_size) if isinstance(data, Ticker) else (None, None)
    bid, bid_size = _side(data.bid, sizes[0], known.lot, "bid")
    ask, ask_size = _side(data.ask, sizes[1], known.lot, "ask")
    flags = F_LAST | F_TOB
    if UNDEF_ORDER_SIZE in (bid_size, ask_size):
        flags |= F_PUBLISHER_SPECIFIC
    return mbp_1(publisher_id, known.id, ts_event, flags, ts_recv, 0, bid, ask, bid_size, ask_size)


def _side(price_raw: Raw, size_raw: Raw | None, lot: int, field: str) -> tuple[int, int]:
    text = bytes(price_raw)
    at = price(text, field) if present(text) else 0
    if size_raw is None:
        quantity = MAX_SIZE + 1
    else:
        text = bytes(size_raw)
        quantity = size(text, lot, f"{field}_size") if present(text) else 0
    if not at or not quantity:
        return UNDEF_PRICE, 0
    return at, quantity if quantity <= MAX_SIZE else UNDEF_ORDER_SIZE


@lru_cache(maxsize=_REMEMBERED)
def _quantity(raw: bytes, lot: int) -> Value:
    amount = _exact(lambda: size(raw, lot, "quantity"), UNDEF_STAT_QUANTITY)
    return Value(UNDEF_PRICE, min(amount, UNDEF_STAT_QUANTITY))  # i64: what does not fit is undefined


@lru_cache(maxsize=_REMEMBERED)
def _price(raw: bytes, lot: int) -> Value:
    """A price at 1e-9. Marks are averages printed as doubles (`21979.68641534714`): one that is finer stands in the
    quantity, exactly, and its price is undefined, as nothing is rounded."""
    del lot
    at = _exact(lambda: fixed_signed(number(raw)), UNDEF_PRICE)
    if at != UNDEF_PRICE:
        return Value(at, UNDEF_STAT_QUANTITY)
    digits, decimals = scaled(raw)
    return Value(UNDEF_PRICE, digits, decimals) if abs(digits) <= _MAX_QUANTITY else Value(at, UNDEF_STAT_QUANTITY)


@lru_cache(maxsize=_REMEMBERED)
def _rate(raw: bytes, lot: int) -> Value:
    """A rate at 1e-9 as price and at 1e-18 as quantity, each undefined where it is finer."""
    del lot
    text = number(raw)
    fine = _exact(lambda: fixed_signed(expanded(text + "e9")), UNDEF_STAT_QUANTITY)
    return Value(_exact(lambda: fixed_signed(text), UNDEF_PRICE), fine)


def _settled(data: Ticker | TickerLite) -> int:
    """When the present funding period ends. The page calls it "the time until next funding rate in milliseconds", its
    example and the recorded ticker have the time itself; what is not after the ticker's own is taken for neither."""
    if isinstance(data, TickerLite) or not present(bytes(data.next_funding_rate_time)):
        return UNDEF_TIMESTAMP
    ms, decimals = scaled(bytes(data.next_funding_rate_time))
    return ms * NS_PER_MS if not decimals and data.time < ms <= MAX_NS // NS_PER_MS else UNDEF_TIMESTAMP


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
    (STAT_OPEN_INTEREST, _quantity),
    (STAT_FIXING_PRICE, _price),
    (STAT_MARK_PRICE, _price),
    (STAT_FUNDING_RATE, _rate),
    (STAT_LAST_PRICE, _price),
)
"""DBN's statistic of each text and how it is read, in rising order: that in which they are published."""


class StatisticsStream:
    """What was last published of one channel's statistics."""

    def __init__(self) -> None:
        self._lot = 0
        self._published: dict[int, Value] = {}
        self._span = -1

    def take(self, data: Ticker | TickerLite, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of time began; b"" where there is nothing to say.

        Null and missing statistics are left out. Raises PayloadError with nothing changed.
        """
        lot, span = known.lot, ts_event // REPEAT_NS
        anew = span != self._span or lot != self._lot
        stated = {
            kind: convert(text, lot)
            for (kind, convert), text in zip(_STATED, _texts(data, known), strict=True)
            if present(text)
        }
        if (rate := stated.get(STAT_FUNDING_RATE)) is not None:
            stated[STAT_FUNDING_RATE] = rate._replace(ts_ref=_settled(data))
        fresh = {kind: value for kind, value in stated.items() if anew or value != self._published.get(kind)}
        self._lot, self._span = lot, span
        self._published.update(fresh)
        return b"".join(
            statistic(
                publisher_id, known.id, ts_event, ts_recv, kind, 0, value.price, value.quantity,
                value.ts_ref, value.decimals,
            )
            for kind, value in fresh.items()
        )  # fmt: skip


def _texts(data: Ticker | TickerLite, known: Known) -> tuple[bytes, ...]:
    """Every statistic of a ticker as its text, in the order of _STATED."""
    if isinstance(data, TickerLite):
        return (b"", b"", bytes(data.volume), b"", b"", b"", b"", b"")
    funding = bytes(data.relative_funding_rate)
    if known.perpetual and not funding:
        funding = b"0"  # "If zero, field is not populated", says the page of the feed
    return (
        bytes(data.low),
        bytes(data.high),
        bytes(data.volume),
        bytes(data.openInterest),
        bytes(data.index),
        bytes(data.markPrice),
        funding,
        bytes(data.last),
    )
