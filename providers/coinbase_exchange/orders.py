"""One product's resting orders, kept as MBO records with the venue's order ids."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from penstock.dbn import ADD, ASK, BID, CANCEL, CLEAR, MODIFY, NONE, UNDEF_PRICE, MboPart
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, split

MAX_ORDER_PARTS: Final = 256
"""Most records one order is split into: 1.1e12 lots, or 10,995 BTC, which no single order has."""


class Order(NamedTuple):
    """A resting order: side BID or ASK, price at 1e-9, size in lots; `key` is its id in records."""

    key: int
    side: bytes
    price: int
    size: int


def order_key(order_id: str, part: int = 0) -> int:
    """The u64 id of an order: the first 8 bytes of the blake2s of the venue's id, `id/part` for what u32 cannot hold."""
    return int.from_bytes(blake2s(f"{order_id}/{part}".encode() if part else order_id.encode()).digest()[:8], "big")


def check_room(size: int) -> None:
    """Raises PayloadError("size_range") for what has more parts than any order."""
    if size > MAX_SIZE * MAX_ORDER_PARTS:
        raise PayloadError("size_range", "size", size, f"at most {MAX_SIZE * MAX_ORDER_PARTS} lots")


class OrderBook:
    """Resting orders by the venue's id. Methods return the parts of one message, empty where nothing changed."""

    __slots__ = ("_ask_heap", "_bid_heap", "_counts", "orders")

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self._counts: dict[tuple[bytes, int], int] = {}
        # Heaps of every price seen, tops discarded when their level is gone: best prices without scanning the book.
        self._bid_heap: list[int] = []
        self._ask_heap: list[int] = []

    def replace(self, orders: Iterable[tuple[str, Order]]) -> None:
        """Take a snapshot as the whole book."""
        self.orders = dict(orders)
        self._counts = {}
        for order in self.orders.values():
            level = order.side, order.price
            self._counts[level] = self._counts.get(level, 0) + 1
        self._bid_heap = [-price for side, price in self._counts if side == BID]
        self._ask_heap = [price for side, price in self._counts if side == ASK]
        heapify(self._bid_heap)
        heapify(self._ask_heap)

    def image(self) -> list[MboPart]:
        """The present book: R, then an A of each order in order of arrival."""
        parts: list[MboPart] = [(0, UNDEF_PRICE, 0, CLEAR, NONE)]
        for order_id, order in self.orders.items():
            parts.extend(_parts(order_id, order, None))
        return parts

    def put(self, order_id: str, order: Order) -> list[MboPart]:
        """Add an order, or give a resting one another price or size; size 0 takes it off."""
        old = self.orders.get(order_id)
        if old == order:
            return []
        if old is not None:
            self._leave(old)
        if order.size:
            if old is not None and (old.side, old.price) != (order.side, order.price):
                del self.orders[order_id]  # it goes to the end of its new level's queue
            self.orders[order_id] = order
            self._join(order)
        elif old is not None:
            del self.orders[order_id]
        return _parts(order_id, order, old)

    def remove(self, order_id: str) -> list[MboPart]:
        """Take an order off; nothing where it does not rest."""
        order = self.orders.get(order_id)
        return [] if order is None else self.put(order_id, order._replace(size=0))

    @property
    def crossed(self) -> bool:
        """True where the best bid is at or above the best ask."""
        bids, asks, counts = self._bid_heap, self._ask_heap, self._counts
        while bids and (BID, -bids[0]) not in counts:
            heappop(bids)
        while asks and (ASK, asks[0]) not in counts:
            heappop(asks)
        return bool(bids and asks) and -bids[0] >= asks[0]

    def _join(self, order: Order) -> None:
        level = order.side, order.price
        count = self._counts.get(level, 0)
        self._counts[level] = count + 1
        if not count:
            is_bid = order.side == BID
            heap = self._bid_heap if is_bid else self._ask_heap
            heappush(heap, -order.price if is_bid else order.price)
            if len(heap) > 2 * len(self._counts) + 1024:
                # A level that comes and goes leaves a key each time; rebuild before they outweigh the book.
                heap[:] = [-price if is_bid else price for side, price in self._counts if (side == BID) == is_bid]
                heapify(heap)

    def _leave(self, order: Order) -> None:
        level = order.side, order.price
        count = self._counts[level] - 1
        if count:
            self._counts[level] = count
        else:
            del self._counts[level]


def _parts(order_id: str, new: Order, old: Order | None) -> list[MboPart]:
    """The records that take an order from `old` to `new`; one whose price moved is cancelled and added."""
    if old is not None and old.price != new.price:
        return _parts(order_id, old._replace(size=0), old) + _parts(order_id, new, None)
    side, price = new.side, new.price
    before, after = _split(old.size) if old else [], _split(new.size)
    parts: list[MboPart] = []
    for part in range(max(len(before), len(after))):
        key = order_key(order_id, part) if part else new.key
        if part >= len(after):
            parts.append((key, price, before[part], CANCEL, side))
        elif part >= len(before):
            parts.append((key, price, after[part], ADD, side))
        elif before[part] != after[part]:
            parts.append((key, price, after[part], MODIFY, side))
    return parts


def _split(size: int) -> list[int]:
    return split(size) if size else []
