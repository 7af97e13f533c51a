"""Messages of `full`, and orders of level 3, in DBN's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from penstock.dbn import ASK, BID
from penstock.errors import PayloadError
from penstock.streams import Units
from providers.coinbase_exchange.orders import Order, check_room, order_key
from providers.coinbase_exchange.payloads import Change, Done, Match, Open, Received
from providers.coinbase_exchange.stream import time_of


class Event(NamedTuple):
    """One message in DBN's numbers. `size` None keeps the order's, `price` None too; `taken` is what a match took."""

    kind: str
    sequence: int
    ts_event: int
    order_id: str = ""
    side: bytes = b""
    price: int | None = None
    size: int | None = None
    taken: int = 0


class Reader:
    """Reads one product's messages exactly. All methods raise PayloadError."""

    def __init__(self, units: Units) -> None:
        self._prices = units.prices
        self._sizes = units.sizes

    def order(self, message: Received | Open | Done | Change, sequence: int) -> Event:
        """What happened to an order."""
        ts_event = time_of(message.time)
        if isinstance(message, Open):
            size = self._size(message.remaining_size)
            side, price = _side(message.side), self._prices[message.price]
            return Event("open", sequence, ts_event, message.order_id, side, price, size)
        if isinstance(message, Done):
            return Event("done", sequence, ts_event, message.order_id)
        if isinstance(message, Change):
            new_size = None if message.new_size is None else self._size(message.new_size)
            new_price = None if message.new_price is None else self._prices[message.new_price]
            return Event("change", sequence, ts_event, message.order_id, price=new_price, size=new_size)
        return Event("received", sequence, ts_event)

    def match(self, match: Match) -> Event:
        """What a trade took from the resting order."""
        side, price, size = _side(match.side), self._prices[match.price], self._sizes[match.size]
        ts_event = time_of(match.time)
        return Event("match", match.sequence, ts_event, match.maker_order_id, side, price, taken=size)

    def resting(self, side: bytes, rows: Iterable[tuple[str, str, int | str]]) -> Iterator[tuple[str, Order]]:
        """The orders of one side of a book of level 3."""
        for price, text, order_id in rows:
            if not isinstance(order_id, str):
                raise PayloadError("shape", "book", order_id, "order ids, as of level 3")
            order = Order(order_key(order_id), side, self._prices[price], self._size(text))
            if order.size:
                yield order_id, order

    def _size(self, text: str) -> int:
        size = self._sizes[text]
        check_room(size)
        return size


def _side(word: str) -> bytes:
    return BID if word == "buy" else ASK
