"""Top of book and statistics out of quotes and tickers."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from penstock.dbn import (
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
    UNDEF_PRICE,
    quote,
    statistic,
)
from penstock.numbers import number, present, price, size
from penstock.statistics import Told, Value, as_price, as_quantity, as_rate
from providers.deribit.definitions import Known
from providers.deribit.payloads import Greeks, Stats, Ticker, Top


def top(data: Top, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. A side that is null or has amount 0 is empty. Raises PayloadError."""
    bid = _side(data.best_bid_price, data.best_bid_amount, known.lot, "best_bid")
    ask = _side(data.best_ask_price, data.best_ask_amount, known.lot, "best_ask")
    return quote(publisher_id, known.id, ts_event, ts_recv, 0, bid, ask)


def _side(price_raw: Raw, amount_raw: Raw, lot: int, field: str) -> tuple[int, int]:
    text = bytes(amount_raw)
    amount = size(text, lot, field) if present(text) else 0
    if not amount:
        return UNDEF_PRICE, 0
    return price(bytes(price_raw), field), amount


_NO_STATS: Final = Stats()
_NO_GREEKS: Final = Greeks()

_STATED: Final = (
    (STAT_LOW, as_price),
    (STAT_HIGH, as_price),
    (STAT_CLEARED_VOLUME, as_quantity),
    (STAT_OPEN_INTEREST, as_quantity),
    (STAT_FIXING_PRICE, as_price),
    (STAT_VOLATILITY, as_price),
    (STAT_DELTA, as_price),
    (STAT_MARK_PRICE, as_price),
    (STAT_FUNDING_RATE, as_rate),
    (STAT_ESTIMATED_DELIVERY, as_price),
    (STAT_FUNDING_RATE_8H, as_rate),
    (STAT_LAST_PRICE, as_price),
)
"""DBN's statistic of each text and how it is read, in rising order: that in which they are published."""


class StatisticsStream:
    """What was last published of one instrument's statistics, and of which texts."""

    def __init__(self) -> None:
        self._lot = 0
        self._texts: tuple[bytes, ...] = (b"",) * len(_STATED)
        self._told = Told[Value]()

    def take(self, data: Ticker, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say.

        Null and missing statistics are left out. A number that DBN cannot hold exactly (finer than 1e-9, no whole lots)
        is stated as undefined, never rounded: it is no reason to refuse the prices beside it. Raises PayloadError with
        nothing changed.
        """
        lot, texts = known.lot, _texts(data, known)
        # A text that was there before was read before.
        anew = lot != self._lot or self._told.is_due(ts_event)
        values = [
            (kind, read(number(text), lot))
            for (kind, read), text, before in zip(_STATED, texts, self._texts, strict=True)
            if (anew or text != before) and present(text)
        ]
        fresh = self._told.news(values, ts_event)
        self._lot, self._texts = lot, texts
        if not fresh:
            return b""
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
