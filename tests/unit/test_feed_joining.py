"""The seam of history and live data: whatever the order of events, each trade once, in order, and no hole unsaid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.objects import Price, Quantity

from strategies.feed import joining
from strategies.feed.joining import BOTH, Joint
from strategies.feed.notices import Loss

KEY = InstrumentId.from_str("BTC-PERPETUAL.DERIBIT")
ONE = Price.from_str("1.0"), Quantity.from_str("1")
BASE = 2**32 - 20


def trade(number: int, every: int = 1) -> TradeTick:
    """Trade `number`; two in a row share a venue time, and ids wrap."""
    identity = TradeId(str((BASE + number * every) % 2**32))
    at = 10**9 + number // 2
    return TradeTick(KEY, *ONE, AggressorSide.BUYER, identity, at, at + 5)


def numbers(made: list[object]) -> list[int]:
    return [(int(each.trade_id.value) - BASE) % 2**32 for each in made if isinstance(each, TradeTick)]


@given(
    stored=st.integers(1, 60), first=st.integers(0, 60), before=st.integers(0, 10), during=st.integers(0, 10),
    after=st.integers(1, 80), asks=st.integers(1, 2),
)  # fmt: skip
def test_each_trade_once_and_no_hole_unsaid(
    stored: int, first: int, before: int, during: int, after: int, asks: int
) -> None:
    """Live trades from `first` on come before, while and after history of `stored` trades is read, once or twice."""
    joint, live = Joint(), iter(range(first, first + before + during + after))
    delivered: list[object] = []
    for _ in range(before):
        delivered += joint.live(trade(next(live)))
    early = numbers(delivered)
    for _ in range(asks):
        joint.begin()
    for _ in range(during):
        delivered += joint.live(trade(next(live)))
    answers = []
    for _ in range(asks):
        answered, behind = joint.end([trade(number) for number in range(stored)])
        answers.append(numbers(answered))
        delivered += behind
    for number in live:
        delivered += joint.live(trade(number))
    begin = first if early else max(first, stored)
    history = list(range(min(stored, first) if early else stored))
    assert answers == [history] * asks
    assert numbers(delivered) == list(range(begin, first + before + during + after))
    losses = [each for each in delivered if isinstance(each, Loss)]
    missing = Loss(BOTH, "history", (BASE + stored) % 2**32, (BASE + first) % 2**32, covered=False)
    if history:
        assert losses == ([missing] if first > stored else [])


def test_a_loss_stands_where_the_hole_is() -> None:
    """Between what was answered and the first live trade, once."""
    joint = Joint()
    joint.begin()
    assert joint.live(trade(9)) == ()
    _, behind = joint.end([trade(number) for number in range(5)])
    assert [type(each) for each in behind] == [Loss, TradeTick]
    assert joint.live(trade(11)) == (trade(11),)


def test_ids_that_do_not_count_by_one_are_known_by_meeting() -> None:
    """A venue whose ids jump: whole where some trade is in both, unknown and said so where none is."""
    for stored, losses in ((6, 0), (5, 1)):
        joint = Joint()
        joint.begin()
        joint.live(trade(5, every=3))
        _, behind = joint.end([trade(number, every=3) for number in range(stored)])
        behind += joint.live(trade(6, every=3))
        assert sum(isinstance(each, Loss) for each in behind) == losses
        assert len(numbers(behind)) == (1 if stored == 6 else 2)


def test_nothing_stored_is_a_hole_and_nobody_asked_is_none() -> None:
    """An empty answer is declared with the first live trade; without a request there is nothing to declare."""
    joint = Joint()
    joint.begin()
    assert joint.end([]) == ([], [])
    assert [type(each) for each in joint.live(trade(3))] == [Loss, TradeTick]
    assert list(Joint().live(trade(3))) == [trade(3)]


def test_what_waits_is_bounded_and_what_it_drops_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that takes longer than memory lasts: the oldest of what waits are given up, and that is said."""
    monkeypatch.setattr(joining, "_HELD", 4)
    joint = Joint()
    joint.begin()
    for number in range(3, 10):
        joint.live(trade(number))
    _, behind = joint.end([trade(number) for number in range(3)])
    assert isinstance(behind[0], Loss)
    assert numbers(behind) == [6, 7, 8, 9]


def test_quotes_join_by_what_they_say() -> None:
    """The same top of book at the same venue time is the same quote, whichever lane's receive time it has."""

    def quote(at: int, received: int) -> QuoteTick:
        return QuoteTick(KEY, ONE[0], Price.from_str("2.0"), ONE[1], ONE[1], at, received)

    joint = Joint()
    joint.begin()
    joint.live(quote(2, 9))
    joint.live(quote(3, 9))
    answered, behind = joint.end([quote(1, 5), quote(2, 5)])
    assert [each.ts_event for each in answered] == [1, 2]
    assert [each.ts_event for each in behind] == [3]
