"""A deterministic market: per listing an order book, and agents that place, cancel and cross orders in it.

Every number is an integer at 1e-9, also inside the agents; the same listings, seed and step times give the same events
on every machine. Providers' simulators turn events into their venue's frames with `decimal`.

    market = Market([Listing("BTC-USD", "BTC", "USD", tick=10**7, lot=10, price=60_000 * ONE)], seed=7)
    event = market.step(clock.time_ns())
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final, Literal, NamedTuple

from simulator.matching import BookSide, Fill, LevelChange, Order, OrderBook, Outcome

__all__ = ["ONE", "Event", "Fill", "LevelChange", "Listing", "Market", "Statistics", "Trade", "decimal"]

ONE: Final = 1_000_000_000
"""One whole unit of price or quantity."""

RECENT_TRADES: Final = 1000

_LEVELS: Final = (60, 110)  # a side thinner than the first is refilled, one deeper than the second trimmed
_ORDERS: Final = (250, 450)  # the same for the orders of a book
_START_LEVELS: Final = 80
_MIN_TICKS: Final = 2000  # a listing below this price in ticks would have no room for its bids
# Walls exceed DBN's u32 sizes in lots where the lot allows it: a size that does not fit must be met before production.
_WALL_LOTS: Final = 5 * 10**9
_WALL_LIMIT: Final = 10**18


class Listing(NamedTuple):
    """What is traded: `tick`, `lot` and the starting `price` at 1e-9; `price` is a multiple of `tick`."""

    symbol: str
    base: str
    quote: str
    tick: int
    lot: int
    price: int
    kind: Literal["spot", "perpetual"] = "spot"


class Event(NamedTuple):
    """One order action: at least one level change, absolute quantities, at most one change per level and side.

    `sequence` counts the events of the listing from 1; `ts_ns` strictly increases within the listing.
    """

    listing: Listing
    sequence: int
    ts_ns: int
    changes: tuple[LevelChange, ...]
    fills: tuple[Fill, ...]


class Trade(NamedTuple):
    """A fill and the time of its event, for the venue's lists of recent trades."""

    ts_ns: int
    fill: Fill


@dataclass(frozen=True, slots=True)
class Statistics:
    """What tickers show, all at 1e-9. Since the start of the market; `last`, `high` and `low` start at the start price.

    `turnover` is volume in the quote currency (rounded down per fill), `funding` a signed 8-hour rate.
    """

    last: int
    open: int
    high: int
    low: int
    volume: int
    turnover: int
    mark: int
    index: int
    open_interest: int
    funding: int


class Market:
    """Several listings, one seed. Not thread-safe."""

    def __init__(self, listings: Iterable[Listing], seed: int | str) -> None:
        random = Random(str(seed))  # text seeds by SHA-512, integers of different sign would collide
        self._random = random
        self._pits = [_Pit(listing, random) for listing in listings]
        self._by_symbol = {pit.listing.symbol: pit for pit in self._pits}
        if not self._pits or len(self._by_symbol) != len(self._pits):
            raise ValueError("a market needs at least one listing, and one symbol for each")

    @property
    def listings(self) -> list[Listing]:
        return [pit.listing for pit in self._pits]

    def step(self, ts_ns: int) -> Event:
        """One order action somewhere. A `ts_ns` not after the listing's last event counts as 1 ns after it."""
        return self._pits[self._random.getrandbits(24) % len(self._pits)].step(ts_ns)

    def book(self, symbol: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(bids from the highest, asks from the lowest), each a list of (price, quantity). Raises KeyError."""
        return self._by_symbol[symbol].book.levels()

    def best(self, symbol: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """((bid price, quantity), (ask price, quantity)); much cheaper than `book`."""
        book = self._by_symbol[symbol].book
        bid, ask = book.price("bid"), book.price("ask")
        return (bid, book.quantity("bid", bid)), (ask, book.quantity("ask", ask))

    def sequence(self, symbol: str) -> int:
        """The sequence of the listing's last event; 0 before the first."""
        return self._by_symbol[symbol].sequence

    def trades(self, symbol: str) -> list[Trade]:
        """The last trades, oldest first, at most RECENT_TRADES."""
        return list(self._by_symbol[symbol].trades)

    def statistics(self, symbol: str) -> Statistics:
        """The listing's figures as of its last event."""
        return self._by_symbol[symbol].statistics()


@lru_cache(maxsize=262_144)
def decimal(value: int, places: int = 0) -> str:
    """A 1e-9 integer as plain decimal text with at least `places` decimals (0 to 9).

    `decimal(100_000_000)` is "0.1", `decimal(60_000 * ONE, 2)` is "60000.00".
    """
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, rest = divmod(value, ONE)
    fraction = f"{rest:09d}"
    kept = max(len(fraction.rstrip("0")), places)
    return f"{sign}{whole}.{fraction[:kept]}" if kept else f"{sign}{whole}"


@dataclass(slots=True)
class _Figures:
    last: int
    high: int
    low: int
    volume: int = 0
    turnover: int = 0
    open_interest: int = 0


class _Pit:
    """One listing's book and the agents that trade in it. `_fair` is the price in ticks they believe in."""

    def __init__(self, listing: Listing, random: Random) -> None:
        ticks, rest = divmod(listing.price, listing.tick)
        if rest or ticks < _MIN_TICKS:
            raise ValueError(f"{listing.symbol}: price must be a multiple of tick, at least {_MIN_TICKS} ticks")
        self.listing = listing
        self.book = OrderBook()
        self.sequence = 0
        self.trades: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self._ts_ns = 0
        self._random = random
        self._fair = self._start = ticks
        self._wall: Order | None = None
        self._figures = _Figures(listing.price, listing.price, listing.price)
        self._figures.open_interest = listing.lot * (1_000_000 + random.getrandbits(20))
        for distance in range(1, _START_LEVELS + 1):
            self.book.place("bid", (ticks - distance) * listing.tick, self._quantity())
            self.book.place("ask", (ticks + distance) * listing.tick, self._quantity())

    def step(self, ts_ns: int) -> Event:
        self._walk()
        changes, fills = self._act()
        self.sequence += 1
        self._ts_ns = ts_ns = max(ts_ns, self._ts_ns + 1)
        for fill in fills:
            self._count(fill)
            self.trades.append(Trade(ts_ns, fill))
        return Event(self.listing, self.sequence, ts_ns, changes, fills)

    def statistics(self) -> Statistics:
        figures, listing = self._figures, self.listing
        mark = (self.book.price("bid") + self.book.price("ask")) // 2
        index = self._fair * listing.tick
        return Statistics(
            last=figures.last,
            open=listing.price,
            high=figures.high,
            low=figures.low,
            volume=figures.volume,
            turnover=figures.turnover,
            mark=mark,
            index=index,
            open_interest=figures.open_interest,
            funding=(mark - index) * ONE // index,
        )

    def _act(self) -> Outcome:
        """One action: thin sides are refilled first, else one of the agents acts."""
        book, random = self.book, self._random
        if book.depth("bid") < _LEVELS[0]:
            return self._refill("bid")
        if book.depth("ask") < _LEVELS[0]:
            return self._refill("ask")
        draw = random.getrandbits(10)
        if draw < 215:
            return self._cross(draw)
        if book.depth("bid") > _LEVELS[1]:
            return self._trim("bid")
        if book.depth("ask") > _LEVELS[1]:
            return self._trim("ask")
        orders = len(book)
        if orders < _ORDERS[0] or (draw < 620 and orders < _ORDERS[1]):
            return self._quote()
        return self._cancel()

    def _walk(self) -> None:
        """Move the fair price now and then; within half and one and a half of the start, so that prices stay positive."""
        draw = self._random.getrandbits(8)
        if draw < 12:
            step = 1 + (draw & 1) * 2
            self._fair += step if draw & 2 else -step
            self._fair = min(max(self._fair, self._start // 2), self._start * 3 // 2)

    def _quote(self) -> Outcome:
        """A maker rests an order near the fair price, never crossing; now and then a wall well behind it."""
        random, book, tick = self._random, self.book, self.listing.tick
        side: BookSide = "bid" if random.getrandbits(1) else "ask"
        distance = 1 + random.getrandbits(2 + random.getrandbits(2))
        quantity = self._quantity()
        wall = not random.getrandbits(14) and (self._wall is None or not self._wall.quantity)
        if wall:
            distance += 5
            quantity = self.listing.lot * min(_WALL_LOTS, _WALL_LIMIT // self.listing.lot)
        if side == "bid":
            price = min((self._fair - distance) * tick, book.price("ask") - tick)
        else:
            price = max((self._fair + distance) * tick, book.price("bid") + tick)
        outcome = book.place(side, price, quantity)
        if wall:
            self._wall = book[len(book) - 1]
        return outcome

    def _refill(self, side: BookSide) -> Outcome:
        step = (1 + self._random.getrandbits(1)) * self.listing.tick
        price = self.book.worst(side) + (step if side == "ask" else -step)
        return self.book.place(side, price, self._quantity())

    def _trim(self, side: BookSide) -> Outcome:
        order = self.book.first(side, self.book.worst(side))
        return self.book.reduce(order, order.quantity)

    def _cancel(self) -> Outcome:
        """Any resting order is cancelled, or one in four reduced where it has lots to spare."""
        book, random, lot = self.book, self._random, self.listing.lot
        order = book[random.getrandbits(24) % len(book)]
        lots = order.quantity // lot
        if lots > 1 and not random.getrandbits(2):
            return book.reduce(order, lot * (1 + random.getrandbits(32) % (lots - 1)))
        return book.reduce(order, order.quantity)

    def _cross(self, draw: int) -> Outcome:
        """A taker buys or sells, towards the fair price: mostly a bite, else all of the best level and more, or a sweep."""
        book = self.book
        bid, ask = book.price("bid"), book.price("ask")
        fair = self._fair * self.listing.tick
        buys = fair >= ask or (fair > bid and bool(self._random.getrandbits(1)))
        side, other, best = ("bid", "ask", ask) if buys else ("ask", "bid", bid)
        return self._take(side, other, best, draw)  # type: ignore[arg-type] # both are sides

    def _take(self, side: BookSide, other: BookSide, best: int, draw: int) -> Outcome:
        book = self.book
        if draw < 6:
            worst = book.price(other, 1 + self._random.getrandbits(2))
            total = sum(book.quantity(other, book.price(other, rank)) for rank in range(5))
            return book.place(side, worst, total, rest=False)
        available = book.quantity(other, best)
        if draw < 40:
            return book.place(side, best, available + self._quantity())
        return book.place(side, best, min(available, self._quantity()), rest=False)

    def _quantity(self) -> int:
        """Whole lots, mostly a handful, a thousand times as many in one draw of a thousand."""
        random = self._random
        lots = 1 + random.getrandbits(4 + random.getrandbits(3))
        return self.listing.lot * (lots * 1000 if not random.getrandbits(10) else lots)

    def _count(self, fill: Fill) -> None:
        figures = self._figures
        figures.last = fill.price
        figures.high = max(figures.high, fill.price)
        figures.low = min(figures.low, fill.price)
        figures.volume += fill.quantity
        figures.turnover += fill.price * fill.quantity // ONE
        # Roughly every other trade opens a position rather than closing one.
        delta = fill.quantity if fill.trade_id & 1 else -fill.quantity
        figures.open_interest = max(figures.open_interest + delta, 0)
