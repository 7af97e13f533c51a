"""The simulated market: a real matching engine, the same every time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from simulator.conflation import Conflation
from simulator.market import ONE, Event, Listing, Market, decimal
from simulator.matching import OrderBook, Outcome

LISTINGS = [
    Listing("BTC-USD", "BTC", "USD", tick=10**7, lot=10, price=60_000 * ONE),
    Listing("ETH-USD", "ETH", "USD", tick=10**7, lot=10**5, price=3_000 * ONE),
    Listing("BTC-PERPETUAL", "BTC", "USD", tick=ONE // 2, lot=10 * ONE, price=60_000 * ONE, kind="perpetual"),
]


def events(seed: int, count: int) -> list[Event]:
    market = Market(LISTINGS, seed)
    return [market.step(1_700_000_000_000_000_000 + number) for number in range(count)]


class MatchingMachine(RuleBasedStateMachine):
    """Orders and cancels in any order, against a book rebuilt from the changes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook()
        self.rebuilt: dict[tuple[str, int], int] = {}
        self.placed = self.cancelled = self.filled = 0
        self.trades = 0

    def follow(self, outcome: Outcome) -> None:
        assert len({(change.side, change.price) for change in outcome.changes}) == len(outcome.changes)
        for change in outcome.changes:
            assert change.existed == ((change.side, change.price) in self.rebuilt)
            if change.quantity:
                self.rebuilt[change.side, change.price] = change.quantity
            else:
                del self.rebuilt[change.side, change.price]
        for fill in outcome.fills:
            self.trades += 1
            assert fill.trade_id == self.trades
            assert fill.quantity > 0
            self.filled += fill.quantity

    @rule(
        side=st.sampled_from(["bid", "ask"]), price=st.integers(95, 105), quantity=st.integers(1, 9), rest=st.booleans()
    )
    def place(self, side, price, quantity, rest):
        limit = {"bid": self.book.levels()[1], "ask": self.book.levels()[0]}[side]
        available = sum(q for p, q in limit if (p <= price if side == "bid" else p >= price))
        outcome = self.book.place(side, price, quantity, rest=rest)
        done = sum(fill.quantity for fill in outcome.fills)
        assert done == min(quantity, available)
        prices = [fill.price for fill in outcome.fills]
        assert prices == sorted(prices, reverse=side == "ask")
        self.placed += quantity
        if not rest:
            self.cancelled += quantity - done
        self.follow(outcome)

    @rule(data=st.data())
    def reduce(self, data):
        if len(self.book):
            order = self.book[data.draw(st.integers(0, len(self.book) - 1))]
            quantity = data.draw(st.integers(1, order.quantity))
            self.cancelled += quantity
            self.follow(self.book.reduce(order, quantity))

    @invariant()
    def nothing_is_made_or_lost(self):
        resting = sum(self.book[index].quantity for index in range(len(self.book)))
        assert self.placed == resting + self.cancelled + 2 * self.filled

    @invariant()
    def changes_tell_the_whole_book(self):
        bids, asks = self.book.levels()
        levels = {("bid", price): quantity for price, quantity in bids}
        levels |= {("ask", price): quantity for price, quantity in asks}
        assert self.rebuilt == levels

    @invariant()
    def never_crossed_or_locked(self):
        bids, asks = self.book.levels()
        assert not (bids and asks) or bids[0][0] < asks[0][0]


TestMatching = MatchingMachine.TestCase
TestMatching.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_oldest_order_is_served_first():
    """Within one price the order that arrived first trades first, and a reduced order keeps its place."""
    book = OrderBook()
    book.place("ask", 100, 5)
    first = book[0]
    book.place("ask", 100, 7)
    book.reduce(first, 2)
    fills = book.place("bid", 101, 4).fills
    assert [(fill.price, fill.quantity) for fill in fills] == [(100, 3), (100, 1)]
    assert book.quantity("ask", 100) == 6


def test_same_seed_same_events():
    """The same listings, seed and step times give the same events; another seed gives others."""
    assert events(7, 3000) == events(7, 3000)
    assert events(7, 100) != events(8, 100)


def test_long_run_keeps_the_books_sound():
    """Over 30,000 events: deep books, never crossed, whole lots, a fifth trades, ids and times without a hole."""
    market = Market(LISTINGS, 3)
    rebuilt: dict[str, dict[tuple[str, int], int]] = {}
    for listing in LISTINGS:
        bids, asks = market.book(listing.symbol)
        rebuilt[listing.symbol] = {("bid", p): q for p, q in bids} | {("ask", p): q for p, q in asks}
    sequences = dict.fromkeys(rebuilt, 0)
    trades = dict.fromkeys(rebuilt, 0)
    times = dict.fromkeys(rebuilt, 0)
    with_trades = 0
    for number in range(30_000):
        event = market.step(number // 3)  # the clock stands still at times
        symbol, lot, tick = event.listing.symbol, event.listing.lot, event.listing.tick
        assert event.changes
        assert event.sequence == sequences[symbol] + 1
        assert event.ts_ns > times[symbol]
        sequences[symbol], times[symbol] = event.sequence, event.ts_ns
        with_trades += bool(event.fills)
        for fill in event.fills:
            assert fill.trade_id == trades[symbol] + 1
            trades[symbol] = fill.trade_id
            assert fill.quantity % lot == 0
            assert fill.price % tick == 0
        levels = rebuilt[symbol]
        for side, price, quantity, existed in event.changes:
            assert existed == ((side, price) in levels)
            assert quantity % lot == 0
            if quantity:
                levels[side, price] = quantity
            else:
                del levels[side, price]
        (bid, _), (ask, _) = market.best(symbol)
        assert 0 < bid < ask
    for symbol, levels in rebuilt.items():
        bids, asks = market.book(symbol)
        assert min(len(bids), len(asks)) >= 50
        assert levels == {("bid", p): q for p, q in bids} | {("ask", p): q for p, q in asks}
        assert len(market.trades(symbol)) == min(trades[symbol], 1000)
    assert 0.15 < with_trades / 30_000 < 0.25


def test_statistics_follow_the_fills():
    """Volume, last, high and low are those of the fills."""
    market = Market(LISTINGS[:1], 5)
    fills = [fill for number in range(5000) for fill in market.step(number).fills]
    found = market.statistics("BTC-USD")
    assert found.volume == sum(fill.quantity for fill in fills)
    assert found.last == fills[-1].price
    assert found.high == max(60_000 * ONE, *(fill.price for fill in fills))
    assert found.low == min(60_000 * ONE, *(fill.price for fill in fills))


@given(st.integers(-(2**63), 2**63), st.integers(0, 9))
def test_decimal_is_exact(value, places):
    """The text has the value exactly, at least the decimals asked for, and no exponent."""
    text = decimal(value, places)
    whole, _, fraction = text.lstrip("-").partition(".")
    assert int(whole) * ONE + int(fraction.ljust(9, "0")) == abs(value)
    assert text.startswith("-") == (value < 0)
    assert places <= len(fraction) <= 9
    assert not fraction.endswith("0") or len(fraction) == places


@given(st.integers(1, 400))
def test_conflation_keeps_the_last_state_of_each_level(count):
    """Applying a window's changes to the book before it gives the book after it."""
    market = Market(LISTINGS[:1], 11)
    bids, asks = market.book("BTC-USD")
    levels = {("bid", p): q for p, q in bids} | {("ask", p): q for p, q in asks}
    conflation = Conflation()
    for number in range(count):
        conflation.add(market.step(number))
    (window,) = conflation.take()
    assert (window.first, window.last) == (1, count)
    for side, price, quantity, existed in window.changes:
        assert existed == ((side, price) in levels)
        levels[side, price] = quantity
    bids, asks = market.book("BTC-USD")
    assert {key: quantity for key, quantity in levels.items() if quantity} == {("bid", p): q for p, q in bids} | {
        ("ask", p): q for p, q in asks
    }
    assert conflation.take() == []


@pytest.mark.parametrize(
    "listing",
    [
        Listing("X", "X", "Y", tick=10, lot=1, price=20_001),
        Listing("X", "X", "Y", tick=10, lot=1, price=500),
    ],
)
def test_a_listing_without_room_is_refused(listing):
    """A price that is no multiple of the tick, or too few ticks for the bids, is refused at once."""
    with pytest.raises(ValueError, match="multiple of tick"):
        Market([listing], 1)


def test_speed():
    """Prints how fast the market is; the figure depends on the machine, so it is not judged."""
    market = Market(LISTINGS, 1)
    began = time.perf_counter()
    for number in range(20_000):
        market.step(number)
    print(f"market: {20_000 / (time.perf_counter() - began):,.0f} steps/s")
