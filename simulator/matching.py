"""One order book with price-time priority. Prices and quantities are integers at 1e-9; nothing here is random."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final, Literal, NamedTuple

BookSide = Literal["bid", "ask"]
Aggressor = Literal["buy", "sell"]


class Fill(NamedTuple):
    """One trade: an incoming order met one resting order. `trade_id` counts from 1, +1 per book."""

    trade_id: int
    price: int
    quantity: int
    aggressor: Aggressor


class LevelChange(NamedTuple):
    """A price level after an event: `quantity` is absolute, 0 where the level is gone; `existed` before the event."""

    side: BookSide
    price: int
    quantity: int
    existed: bool


class Outcome(NamedTuple):
    """What one order action did: at most one change per level, fills in matching order."""

    changes: tuple[LevelChange, ...]
    fills: tuple[Fill, ...]


class Order:
    """A resting order. `quantity` is what is left of it."""

    __slots__ = ("_index", "number", "price", "quantity", "side")

    def __init__(self, number: int, side: BookSide, price: int, quantity: int) -> None:
        self.number = number
        self.side: BookSide = side
        self.price = price
        self.quantity = quantity
        self._index = -1


class _Level:
    """The orders at one price in arrival order (a dict keeps it, and forgets a cancelled order in O(1))."""

    __slots__ = ("orders", "quantity")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.quantity = 0


class _Side:
    """One side. `keys` ascends to the best price: the price of a bid, minus the price of an ask."""

    __slots__ = ("keys", "levels", "name", "sign")

    def __init__(self, name: BookSide) -> None:
        self.name: BookSide = name
        self.sign: Final = 1 if name == "bid" else -1
        self.keys: list[int] = []
        self.levels: dict[int, _Level] = {}

    def add(self, order: Order) -> bool:
        """True where the level existed."""
        level = self.levels.get(order.price)
        existed = level is not None
        if level is None:
            level = self.levels[order.price] = _Level()
            insort(self.keys, order.price * self.sign)
        level.orders[order.number] = order
        level.quantity += order.quantity
        return existed

    def drop(self, price: int) -> None:
        """Forget an empty level."""
        del self.levels[price]
        key = price * self.sign
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]


class OrderBook:
    """Orders in, level changes and fills out. Never crossed and never locked: what could trade has traded."""

    def __init__(self) -> None:
        self._bids = _Side("bid")
        self._asks = _Side("ask")
        self._orders: list[Order] = []
        self._number = 0
        self._trades = 0

    def __len__(self) -> int:
        """The number of resting orders."""
        return len(self._orders)

    def __getitem__(self, index: int) -> Order:
        """A resting order by an arbitrary but deterministic index below `len`."""
        return self._orders[index]

    def depth(self, side: BookSide) -> int:
        """The number of price levels on a side."""
        return len((self._bids if side == "bid" else self._asks).keys)

    def price(self, side: BookSide, rank: int = 0) -> int:
        """The price of the level `rank` places behind the best. Raises IndexError where there are fewer levels."""
        part = self._bids if side == "bid" else self._asks
        return part.keys[-1 - rank] * part.sign

    def worst(self, side: BookSide) -> int:
        """The price of the level farthest from the best."""
        part = self._bids if side == "bid" else self._asks
        return part.keys[0] * part.sign

    def quantity(self, side: BookSide, price: int) -> int:
        """The quantity resting at a price; 0 where there is no level."""
        level = (self._bids if side == "bid" else self._asks).levels.get(price)
        return 0 if level is None else level.quantity

    def first(self, side: BookSide, price: int) -> Order:
        """The order that is served first at a price. Raises KeyError where there is no level."""
        return next(iter((self._bids if side == "bid" else self._asks).levels[price].orders.values()))

    def levels(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(bids from the highest, asks from the lowest), each a list of (price, quantity)."""
        bids = [(key, self._bids.levels[key].quantity) for key in reversed(self._bids.keys)]
        asks = [(-key, self._asks.levels[-key].quantity) for key in reversed(self._asks.keys)]
        return bids, asks

    def place(self, side: BookSide, price: int, quantity: int, *, rest: bool = True) -> Outcome:
        """An order to buy ("bid") or sell ("ask") at `price` or better.

        It meets the other side's best prices first, and the oldest order first within a price. What is left rests in
        the book, or is cancelled with `rest=False`. Price and quantity are positive.
        """
        changes: list[LevelChange] = []
        fills: list[Fill] = []
        other = self._asks if side == "bid" else self._bids
        sign = -other.sign
        while quantity and other.keys:
            best = other.keys[-1] * other.sign
            if best * sign > price * sign:
                break
            quantity = self._match(other, best, quantity, fills)
            level = other.levels[best]
            changes.append(LevelChange(other.name, best, level.quantity, existed=True))
            if not level.quantity:
                other.drop(best)
        if quantity and rest:
            changes.append(self._rest(side, price, quantity))
        return Outcome(tuple(changes), tuple(fills))

    def reduce(self, order: Order, quantity: int) -> Outcome:
        """Take `quantity` off a resting order, which keeps its place; all of it cancels the order."""
        part = self._bids if order.side == "bid" else self._asks
        level = part.levels[order.price]
        order.quantity -= quantity
        level.quantity -= quantity
        if not order.quantity:
            del level.orders[order.number]
            self._forget(order)
            if not level.quantity:
                part.drop(order.price)
        return Outcome((LevelChange(order.side, order.price, level.quantity, existed=True),), ())

    def _match(self, other: _Side, price: int, quantity: int, fills: list[Fill]) -> int:
        """Fill against one level; returns what is left of the incoming order."""
        level = other.levels[price]
        aggressor: Aggressor = "buy" if other.name == "ask" else "sell"
        while quantity and level.orders:
            order = next(iter(level.orders.values()))
            filled = min(quantity, order.quantity)
            self._trades += 1
            fills.append(Fill(self._trades, price, filled, aggressor))
            quantity -= filled
            level.quantity -= filled
            order.quantity -= filled
            if not order.quantity:
                del level.orders[order.number]
                self._forget(order)
        return quantity

    def _rest(self, side: BookSide, price: int, quantity: int) -> LevelChange:
        self._number += 1
        order = Order(self._number, side, price, quantity)
        order._index = len(self._orders)  # noqa: SLF001 # the book's own bookkeeping
        self._orders.append(order)
        part = self._bids if side == "bid" else self._asks
        existed = part.add(order)
        return LevelChange(side, price, part.levels[price].quantity, existed)

    def _forget(self, order: Order) -> None:
        # The last order takes the freed index: any order can be drawn by number in O(1).
        last = self._orders.pop()
        if last is not order:
            self._orders[order._index] = last  # noqa: SLF001
            last._index = order._index  # noqa: SLF001
