"""Coinbase Exchange's trades: whose side, which are new, and what shows that one is missing."""

from __future__ import annotations

import pytest

from penstock.errors import PayloadError
from penstock.tradeids import MAX_STEP
from tests.contract import naive
from tests.unit.coinbase_exchange_frames import T0, Feed, data, gaps, resyncs, trade_ids

CHANNEL = "matches.BTC-USD"


@pytest.mark.parametrize(("maker", "aggressor"), [("sell", "B"), ("buy", "A")])
def test_the_aggressor_is_on_the_other_side_of_the_maker(maker: str, aggressor: str):
    (message,) = data(Feed().match(7, side=maker), "TRADES")
    trade = naive.trades(message)
    assert (trade.side, trade.price, trade.size, trade.ts_event) == (aggressor, pytest.approx(100), 50_000_000, T0)


def test_a_trade_beyond_u32_lots_is_several_records_that_add_up():
    (message,) = data(Feed().match(7, size="100"), "TRADES")
    assert len(message) == 3 * 48
    assert naive.trades(message).size == 10**10


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", "0", "zero_price"), ("size", "0.0", "zero_size"), ("size", "0.000000001", "not_whole_lots"),
        ("time", "2026-09-21 14:13:20", "time_format"), ("price", "1e3", "number_format"), ("side", "none", "shape"),
        ("trade_id", -1, "shape"), ("trade_id", "7", "shape"),
    ],
)  # fmt: skip
def test_bad_trades_are_refused_and_change_nothing(field: str, value: object, reason: str):
    feed = Feed()
    feed.match(6)
    with pytest.raises(PayloadError) as refused:
        feed.match(**({"trade_id": 7} | {field: value}))
    assert refused.value.reason == reason
    assert trade_ids(feed.match(7)) == [7]


def test_a_last_match_is_history_first_and_a_gap_later():
    feed = Feed()
    assert not data(feed.match(5, "last_match"), "TRADES")
    assert trade_ids(feed.match(6)) == [6]
    assert not feed.match(6, "last_match")
    outputs = feed.match(9, "last_match")
    assert gaps(outputs) == [(CHANNEL, "trade_id")]
    assert trade_ids(outputs) == [9]
    assert trade_ids(Feed(archive=True).match(5, "last_match")) == [5]


def test_a_hole_is_declared_asked_for_and_filled_from_rest():
    feed = Feed()
    feed.match(5)
    outputs = feed.match(8)
    assert gaps(outputs) == [(CHANNEL, "trade_id")]
    assert resyncs(outputs) == [CHANNEL]
    rows = [
        {"trade_id": number, "side": "buy", "size": "1", "price": "99.5", "time": "2026-09-21T14:13:19Z"}
        for number in (9, 8, 7, 6, 5, 4)
    ]
    # Newer ones come by the stream, older ones are history.
    assert trade_ids(feed.rest("rest/trades/BTC-USD", rows)) == [6, 7]
    assert not feed.rest("rest/trades/BTC-USD", rows)
    assert trade_ids(feed.match(9)) == [9]


def test_a_heartbeat_proves_a_lost_last_trade():
    """Nothing traded since, so no id shows the loss: the venue's own account does, at the second heartbeat that names it."""
    feed = Feed()
    feed.match(5)
    feed.now = 1.0
    assert not feed.heartbeat(6)
    feed.now = 2.0
    outputs = feed.heartbeat(6)
    assert gaps(outputs) == [(CHANNEL, "trade_id")]
    assert resyncs(outputs) == [CHANNEL]
    feed.now = 3.0
    assert not feed.heartbeat(6)
    assert trade_ids(feed.match(7)) == [7]
    assert not gaps(feed.match(8))
    assert trade_ids(feed.match(6)) == [6], "late, and it fills the hole"


def test_a_heartbeat_may_overtake_its_match_and_come_on_two_connections():
    feed = Feed()
    feed.match(5)
    for _ in range(2):
        feed.now += 1.0
        assert not feed.heartbeat(6)
        feed.now += 0.01
        assert not feed.heartbeat(6), "the other connection's"
        feed.now += 0.2
        assert not gaps(feed.match(6))


def test_trades_that_never_come_at_all_are_noticed():
    """Acknowledged and never served: heartbeats count on."""
    feed = Feed()
    seen = []
    for number in range(5):
        feed.now += 1.0
        seen += gaps(feed.heartbeat(100 + number))
    assert seen[0] == (CHANNEL, "trade_id")


def test_one_absurd_number_is_believed_in_neither_direction():
    feed = Feed()
    feed.match(5)
    feed.now = 1.0
    assert not feed.heartbeat(10**17)
    feed.now = 2.0
    assert not feed.heartbeat(5)
    with pytest.raises(PayloadError):
        feed.match(5 + 2 * MAX_STEP)
    assert trade_ids(feed.match(6)) == [6]


def test_an_absurd_first_id_is_forgotten():
    feed = Feed()
    feed.match(10**15)
    outputs = []
    for number in range(3):
        feed.now += 1.0
        outputs += feed.heartbeat(7 + number)
    assert gaps(outputs) == [(CHANNEL, "id_jump")]
    assert trade_ids(feed.match(11)) == [11]
