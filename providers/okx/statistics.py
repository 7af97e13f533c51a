"""Statistics out of tickers, mark and index prices, funding rates, open interest and liquidations; top of book; candles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from penstock.dbn import (
    RTYPE_OHLCV_1M,
    STAT_LIQUIDATION,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
    UNDEF_TIMESTAMP,
    ohlcv,
    quote,
    statistic,
)
from penstock.errors import PayloadError
from penstock.lots import fixed, lots
from penstock.statistics import Reader, Told, Value
from penstock.timestamps import from_ms
from providers.okx.definitions import Known
from providers.okx.payloads import BookData, Candle, Level, Liquidation

LONG_CLOSED: Final = 1
SHORT_CLOSED: Final = 2

_REMEMBERED: Final = 65_536
_MAX_VOLUME: Final = 2**64 - 1


class Stated(NamedTuple):
    """One statistic of a frame, as its text. Empty texts are not stated."""

    kind: int
    text: str
    read: Reader
    ts_ref: int = UNDEF_TIMESTAMP


class StatisticsStream:
    """What was last published of one instrument's statistics on one channel."""

    def __init__(self) -> None:
        self._told = Told[tuple[Value, int]]()

    def take(self, stated: Sequence[Stated], known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
        """The values that changed, or all where a new span of venue time began; b"" where there is nothing to say.

        A number that DBN cannot hold exactly (finer than 1e-9, no whole lots) is stated as undefined, never rounded: it is
        no reason to refuse those beside it. Raises PayloadError with nothing changed.
        """
        values = {one.kind: (one.read(one.text, known.unit), one.ts_ref) for one in stated if one.text}
        fresh = self._told.news(values.items(), ts_event)
        return b"".join(
            statistic(publisher_id, known.id, ts_event, ts_recv, kind, 0, *value, ts_ref=ts_ref)
            for kind, (value, ts_ref) in fresh
        )


def liquidation(item: Liquidation, known: Known, publisher_id: int, ts_recv: int) -> bytes:
    """One liquidation; stat_flags say which position was closed. Raises PayloadError."""
    if item.side not in {"buy", "sell"}:
        raise PayloadError("direction", "side", item.side, "buy or sell")
    if item.posSide not in {"long", "short", "net"}:
        raise PayloadError("liquidation", "posSide", item.posSide, "long, short or net")
    closed = item.posSide if item.posSide != "net" else "long" if item.side == "sell" else "short"
    at, amount = fixed(item.bkPx, "bkPx"), lots(item.sz, known.unit, "sz")
    if amount >= UNDEF_STAT_QUANTITY:
        raise PayloadError("number_range", "sz", item.sz, "a quantity below 2**63 lots")
    flags = LONG_CLOSED if closed == "long" else SHORT_CLOSED
    ts_event = from_ms(int(item.ts), "ts")
    return statistic(publisher_id, known.id, ts_event, ts_recv, STAT_LIQUIDATION, 0, at, amount, stat_flags=flags)


def top(data: BookData, known: Known, publisher_id: int, ts_event: int, ts_recv: int) -> bytes:
    """The best bid and ask as one MBP-1 record. Raises PayloadError."""
    bid, ask = _side(data.bids, known.unit, "bids"), _side(data.asks, known.unit, "asks")
    return quote(publisher_id, known.id, ts_event, ts_recv, data.seqId or 0, bid, ask)


def _side(levels: list[Level], unit: int, field: str) -> tuple[int, int]:
    if len(levels) > 1:
        raise PayloadError("shape", field, len(levels), "one level at most")
    if not levels:
        return UNDEF_PRICE, 0
    price, amount = _price(levels[0][0]), _size(levels[0][1], unit)
    if not amount:
        return UNDEF_PRICE, 0
    if not price:
        raise PayloadError("zero_price", field, "0", "a price above 0")
    return price, amount


_price = lru_cache(maxsize=_REMEMBERED)(fixed)
_size = lru_cache(maxsize=_REMEMBERED)(lots)


def finished(candle: Candle) -> bool:
    """True where the ninth word says that the minute is over; recordings of 2022 have no such word, and say nothing."""
    return len(candle) >= 9 and candle[8] == "1"


def bar(candle: Candle, known: Known, publisher_id: int) -> tuple[int, bytes]:
    """(start of the minute in UNIX ns, its record). Raises PayloadError."""
    if not candle[0].isdecimal() or not candle[0].isascii() or len(candle[0]) > 16:
        raise PayloadError("time_range", "ts", candle[0], "UNIX milliseconds")
    start = from_ms(int(candle[0]), "ts")
    first, high, low, last = (fixed(text, field) for text, field in zip(candle[1:5], "ohlc", strict=True))
    volume = lots(candle[5], known.unit, "vol")
    if volume > _MAX_VOLUME:
        raise PayloadError("number_range", "vol", candle[5], "a volume below 2**64 lots")
    return start, ohlcv(RTYPE_OHLCV_1M, publisher_id, known.id, start, first, high, low, last, volume)
