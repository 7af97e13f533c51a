"""Frames as exact integers: everything that can be refused is refused here, before any state changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from penstock.book import Change, check_room
from penstock.dbn import (
    ASK,
    BID,
    STAT_CLEARED_VOLUME,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
)
from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.lots import MAX_SIZE, Fixed, Lots, Prices, fixed, lots, split
from penstock.statistics import Value
from penstock.timestamps import from_iso8601
from providers.coinbase_advanced.payloads import LevelEvent, ProductStatus, Ticker, TradesEvent

Find = Callable[[str], Instrument | None]
"""The instrument of a product, None where no definition arrived yet. Raises PayloadError where none can be made."""


_REMEMBERED: Final = 16_384


_LEVEL_PRICES, _TRADE_PRICES = Prices("price_level"), Fixed()


@lru_cache(maxsize=1024)
def _sizes(lot: int, field: str) -> Lots:
    return Lots(lot, field)


class Levels(NamedTuple):
    """One product's book event; `changes` is None without a definition. `ts_event` is UNIX ns."""

    product: str
    snapshot: bool
    changes: list[Change] | None
    ts_event: int


class Print(NamedTuple):
    """One trade: price at 1e-9, size in lots, `side` the aggressor's."""

    trade_id: int
    price: int
    size: int
    side: bytes
    ts_event: int


class Prints(NamedTuple):
    """One product's trades of one event in rising id; None without a definition."""

    product: str
    snapshot: bool
    trades: list[Print] | None


class Side(NamedTuple):
    """One side of the top of book: price at 1e-9 and lots, undefined and 0 where it is empty."""

    price: int
    size: int


class Reading(NamedTuple):
    """One product's ticker; `bid` and `ask` are None without a definition."""

    product: str
    bid: Side | None
    ask: Side | None
    statistics: dict[int, Value]


class StatusReading(NamedTuple):
    """One product's status word, and its lot at 1e-9 to compare with the definition's."""

    product: str
    status: str
    lot: int


def levels(event: LevelEvent, find: Find) -> Levels:
    """The levels of a snapshot or update, sizes absolute. Raises PayloadError."""
    snapshot = event.type == "snapshot"
    ts_event = max([from_iso8601(text, "event_time") for text in {u.event_time for u in event.updates}], default=0)
    if (instrument := find(event.product_id)) is None:
        return Levels(event.product_id, snapshot, None, ts_event)
    prices, sizes = _LEVEL_PRICES, _sizes(instrument.lot, "new_quantity")
    changes: list[Change] = [
        (BID if update.side == "bid" else ASK, prices[update.price_level], sizes[update.new_quantity])
        for update in event.updates
    ]
    for _, price, size in changes:
        if size > MAX_SIZE:
            # It may have too many parts, or no ids for them at an absurd price: find out before the book is touched.
            check_room(BID, price, size)
    return Levels(event.product_id, snapshot, changes, ts_event)


def trades(event: TradesEvent, find: Find) -> Iterable[Prints]:
    """The trades of an event by product. Raises PayloadError."""
    snapshot = event.type == "snapshot"
    products: dict[str, list[Print] | None] = {}
    for trade in event.trades:
        if (instrument := find(trade.product_id)) is None:
            products[trade.product_id] = None
            continue
        if not (trade.trade_id.isascii() and trade.trade_id.isdecimal() and len(trade.trade_id) <= 20):
            raise PayloadError("number_format", "trade_id", trade.trade_id, "digits that fit 64 bits")
        price, size = _TRADE_PRICES[trade.price], _sizes(instrument.lot, "size")[trade.size]
        if not price or not size:
            raise PayloadError(
                "zero", "price, size", f"{trade.price}, {trade.size}", "a price and a quantity above zero"
            )
        split(size)  # refused here where it has too many parts
        # The venue names the maker's side: a resting BUY was sold into.
        side = ASK if trade.side == "BUY" else BID
        entry = Print(int(trade.trade_id), price, size, side, from_iso8601(trade.time))
        found = products.setdefault(trade.product_id, [])
        assert found is not None  # find() answers alike within one frame
        found.append(entry)
    return [
        Prints(product, snapshot, None if found is None else sorted(found, key=_trade_id))
        for product, found in products.items()
    ]


def ticker(tick: Ticker, find: Find) -> Reading:
    """The top of book and the statistics of a ticker. Raises PayloadError."""
    if (instrument := find(tick.product_id)) is None:
        return Reading(tick.product_id, None, None, {})
    statistics: dict[int, Value] = {}
    for kind, text, field in (
        (STAT_LAST_PRICE, tick.price, "price"),
        (STAT_HIGH, tick.high_24_h, "high_24_h"),
        (STAT_LOW, tick.low_24_h, "low_24_h"),
    ):
        if text:
            statistics[kind] = _price(text, field)
    if (volume := _volume(tick.volume_24_h, instrument.lot)) is not None:
        statistics[STAT_CLEARED_VOLUME] = (UNDEF_PRICE, volume)
    return Reading(
        tick.product_id,
        _side(tick.best_bid, tick.best_bid_quantity, instrument.lot, "best_bid"),
        _side(tick.best_ask, tick.best_ask_quantity, instrument.lot, "best_ask"),
        statistics,
    )


def status(product: ProductStatus) -> StatusReading:
    """A product's status. Raises PayloadError."""
    return StatusReading(product.id, product.status, fixed(product.base_increment, "base_increment"))


@lru_cache(maxsize=_REMEMBERED)
def _price(text: str, field: str) -> Value:
    return fixed(text, field), UNDEF_STAT_QUANTITY


@lru_cache(maxsize=_REMEMBERED)
def _side(price: str, quantity: str, lot: int, field: str) -> Side:
    value = fixed(price, field) if price else 0
    size = lots(quantity, lot, f"{field}_quantity") if quantity else 0
    if not value or not size:
        return Side(UNDEF_PRICE, 0)
    return Side(value, size)


@lru_cache(maxsize=_REMEMBERED)
def _volume(text: str, lot: int) -> int | None:
    """24-hour volume in lots; None where it is unknown, finer than a lot or too large for its field."""
    if not text:
        return None
    try:
        volume = lots(text, lot, "volume_24_h")
    except PayloadError as error:
        if error.reason == "number_format":
            raise
        return None
    return volume if volume < UNDEF_STAT_QUANTITY else None


def _trade_id(trade: Print) -> int:
    return trade.trade_id
