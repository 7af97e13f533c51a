"""The ten best levels of each side: MBP_10 records as they come, or taken from a book kept by its deltas."""

from __future__ import annotations

import struct
from typing import Any, Final

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import NULL_ORDER, BookOrder, OrderBookDeltas, OrderBookDepth10
from nautilus_trader.model.enums import BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity

import providers
from penstock.dbn import F_LAST, UNDEF_ORDER_SIZE, UNDEF_PRICE
from strategies.feed.instruments import PRICE_PRECISION, TO_RAW, Listing

TEN: Final = struct.Struct("<8xQ14xBxQ4xI320s")  # ts_event flags ts_recv sequence levels
LEVEL: Final = struct.Struct("<qqIIII")  # bid ask bid_size ask_size bid_count ask_count
_LEVELS: Final = 10


def depth_of(listing: Listing, data: bytes) -> list[OrderBookDepth10]:
    """MBP_10 records as objects. Raises ValueError for a level of unknown size: its price alone is no depth."""
    made = []
    for ts_event, flags, ts_recv, sequence, levels in TEN.iter_unpack(data):
        bids, asks, bid_counts, ask_counts = [], [], [], []
        for bid, ask, bid_size, ask_size, bid_count, ask_count in LEVEL.iter_unpack(levels):
            bids.append(_order(listing, OrderSide.BUY, bid, bid_size))
            asks.append(_order(listing, OrderSide.SELL, ask, ask_size))
            bid_counts.append(bid_count)
            ask_counts.append(ask_count)
        made.append(
            OrderBookDepth10(listing.id, bids, asks, bid_counts, ask_counts, flags, sequence, ts_event, ts_recv)
        )
    return made


def _order(listing: Listing, side: OrderSide, price: int, size: int) -> BookOrder:
    if price == UNDEF_PRICE:
        return NULL_ORDER
    if size == UNDEF_ORDER_SIZE:
        raise ValueError("a level of unknown size")
    return BookOrder(
        side,
        Price.from_raw(price * TO_RAW, PRICE_PRECISION),
        Quantity.from_raw(size * listing.lot_raw, listing.size_precision),
        0,
    )


def schema(provider: str) -> str:
    """MBP_10 where the provider (`DATABENTO`) has a channel of ten levels, else MBO: the book whose top is told."""
    offered = {rule.schema for rule in providers.info(provider.lower()).channels}
    return "MBP_10" if "MBP_10" in offered else "MBO"


class Depths:
    """The ten best levels of venues that publish whole books only: one book per instrument, told when they change."""

    def __init__(self) -> None:
        self._books: dict[InstrumentId, OrderBook] = {}
        self._last: dict[InstrumentId, Any] = {}

    def watch(self, instrument_id: InstrumentId) -> None:
        """Keep this instrument's book from its next deltas on: begin before its snapshot."""
        self._books.setdefault(instrument_id, OrderBook(instrument_id, BookType.L2_MBP))

    def forget(self, instrument_id: InstrumentId) -> None:
        """No longer keep it."""
        self._books.pop(instrument_id, None)
        self._last.pop(instrument_id, None)

    def apply(self, deltas: OrderBookDeltas) -> OrderBookDepth10 | None:
        """The ten best levels after these deltas, with their flags and times; None where they are as before, or where
        nobody watches this book."""
        book = self._books.get(deltas.instrument_id)
        if book is None:
            return None
        book.apply_deltas(deltas)
        sides = [book.bids()[:_LEVELS], book.asks()[:_LEVELS]]
        seen = [[(level.price.raw, level.size()) for level in side] for side in sides]
        if self._last.get(deltas.instrument_id) == (seen, deltas.flags & ~F_LAST):
            return None
        self._last[deltas.instrument_id] = (seen, deltas.flags & ~F_LAST)
        orders = [[_summed(level) for level in side] for side in sides]
        counts = [[len(level.orders()) for level in side] for side in sides]
        for side, numbers in zip(orders, counts, strict=True):
            side.extend([NULL_ORDER] * (_LEVELS - len(side)))
            numbers.extend([0] * (_LEVELS - len(numbers)))
        return OrderBookDepth10(
            deltas.instrument_id, *orders, *counts, deltas.flags, deltas.sequence, deltas.ts_event, deltas.ts_init
        )


def _summed(level: Any) -> BookOrder:
    first, *rest = level.orders()
    size = sum((order.size.raw for order in rest), first.size.raw)
    return BookOrder(first.side, level.price, Quantity.from_raw(size, first.size.precision), 0)
