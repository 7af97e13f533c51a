"""Coinbase Exchange's books by level: what shows that one is wrong, and that nothing else does."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import ASK, BID
from penstock.errors import PayloadError
from penstock.normalizing import Output
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_HEARTBEAT
from providers.coinbase_exchange.audit import CONFIRM_NS, SETTLE_NS, Audit
from tests.contract import naive
from tests.unit.coinbase_exchange_frames import T0, Feed, data, gaps, resyncs

CHANNEL = "level2.BTC-USD"
BIDS, ASKS = [["100.00", "1"], ["99.00", "2"]], [["101.00", "1"], ["102.00", "2"]]


def started() -> Feed:
    feed = Feed()
    feed.snapshot(BIDS, ASKS)
    feed.now = 0.1
    return feed


def bad(outputs: Sequence[Output]) -> bool:
    """Whether the MBO message among the outputs is flagged."""
    (message,) = data(outputs, "MBO")
    return bool(naive.flags(message) & naive.F_MAYBE_BAD_BOOK)


def test_snapshot_and_updates():
    feed, book = Feed(), naive.Book()
    for outputs in (
        feed.snapshot(BIDS, ASKS),
        feed.update(["buy", "100.50", "3"], ["sell", "101.00", "0"]),
        feed.update(["buy", "98.00", "0.0"]),
    ):
        for message in data(outputs, "MBO"):
            book.apply(message)
    assert not book.bad
    assert (book.level("B", 100_500_000_000), book.level("A", 101_000_000_000)) == (300_000_000, 0)


def test_an_update_before_any_snapshot_is_doubtful_and_asks_once():
    feed = Feed()
    outputs = feed.update(["buy", "100.00", "1"])
    assert gaps(outputs) == [(CHANNEL, "no_snapshot")]
    assert resyncs(outputs) == [CHANNEL]
    feed.now = 1.0
    assert not resyncs(feed.update(["buy", "100.00", "2"]))
    feed.now = 6.0
    assert resyncs(feed.update(["buy", "100.00", "3"])) == [CHANNEL]
    assert not bad(feed.snapshot(BIDS, ASKS))


def test_an_older_update_is_out_of_order_and_a_copy_is_not():
    feed = started()
    feed.update(["buy", "100.00", "5"], when=0.2)
    assert not feed.update(["buy", "100.00", "5"], when=0.2), "the same once more"
    assert not gaps(feed.update(["buy", "100.00", "6"], when=0.2)), "the venue's times repeat"
    outputs = feed.update(["buy", "100.00", "4"], when=0.1)
    assert gaps(outputs) == [(CHANNEL, "out_of_order")]
    assert bad(outputs)
    assert bad(feed.update(["buy", "100.00", "7"], when=0.3))
    assert not gaps(feed.snapshot(BIDS, ASKS))
    assert not bad(feed.update(["buy", "100.00", "7"], when=0.4))


def test_crossing_is_flagged_in_the_message_that_crosses():
    outputs = started().update(["buy", "101.00", "1"])
    assert gaps(outputs) == [(CHANNEL, "crossed")]
    assert bad(outputs)
    assert resyncs(outputs) == [CHANNEL]


def test_a_crossed_snapshot_is_flagged_and_asked_for_again_in_time():
    feed = Feed()
    assert gaps(feed.snapshot([["105.00", "1"]], ASKS)) == [(CHANNEL, "crossed")]
    feed.now = 0.5
    assert not resyncs(feed.snapshot([["105.00", "1"]], ASKS)), "not as fast as it comes"


def test_a_trade_without_an_update_shows_a_dead_channel():
    feed = started()
    feed.match(1)
    for feed.now in (1.0, 2.0, 5.0):
        assert not gaps(feed.heartbeat(1))
    feed.now = 6.0
    outputs = feed.heartbeat(1)
    assert gaps(outputs) == [(CHANNEL, "stale")]
    assert resyncs(outputs) == [CHANNEL]


def test_a_quiet_market_is_no_dead_channel():
    feed = started()
    feed.match(1)
    feed.update(["sell", "101.00", "0.5"])
    for feed.now in range(1, 100):
        assert not feed.heartbeat(1)


def test_only_the_connection_of_the_snapshot_feeds_the_book():
    feed = started()
    assert not feed.update(["buy", "100.00", "9"], connection=2)
    assert data(feed.snapshot(BIDS, ASKS, connection=2), "MBO")
    assert not feed.update(["buy", "100.00", "9"], connection=1)
    assert data(feed.update(["buy", "100.00", "9"], connection=2), "MBO")


def test_a_lost_connection_and_dropped_frames_are_doubt():
    feed = started()
    feed.take("session", json.dumps({"channels": [CHANNEL]}).encode(), 1, KIND_CONNECTED)
    assert gaps(feed.take("session", b'{"reason":"x"}', 1, KIND_DISCONNECTED)) == [(CHANNEL, "disconnected")]
    assert not gaps(feed.snapshot(BIDS, ASKS, connection=2))
    feed.now = 10.0
    outputs = feed.take(CHANNEL, b"", 0, KIND_DROPPED)
    assert gaps(outputs) == [(CHANNEL, "dropped")]
    assert resyncs(outputs) == [CHANNEL]


def test_a_channel_that_is_acknowledged_and_never_served_is_asked_for_again():
    feed = Feed()
    feed.take("session", json.dumps({"channels": [CHANNEL]}).encode(), 1, KIND_CONNECTED)
    alive = json.dumps({"connections": {"1": [CHANNEL]}}).encode()
    for feed.now in (1.0, 4.0):
        assert not feed.take("session", alive, 0, KIND_HEARTBEAT)
    feed.now = 5.0
    assert resyncs(feed.take("session", alive, 0, KIND_HEARTBEAT)) == [CHANNEL]
    assert not gaps(feed.snapshot(BIDS, ASKS))
    feed.now = 20.0
    assert not feed.take("session", alive, 0, KIND_HEARTBEAT)


@pytest.mark.parametrize(
    "change",
    [["none", "100.00", "1"], ["buy", "0", "1"], ["buy", "1e2", "1"], ["buy", "100.00", "0.000000001"], ["buy"]],
)
def test_bad_updates_are_refused_and_change_nothing(change: list[str]):
    feed = started()
    with pytest.raises(PayloadError):
        feed.update(["buy", "100.00", "9"], change)
    (message,) = data(feed.update(["buy", "100.00", "1.5"]), "MBO")
    assert naive.MBO.unpack(message)[7] == 150_000_000


# --- the audit ------------------------------------------------------------------------------------------------------


def rest(*, wrong: bool = False, auction: bool = False) -> dict[str, object]:
    """GET …/book?level=2 as BIDS and ASKS are, or with another size at 99."""
    bids = [["100.00", "1", 3], ["99.00", "2.5" if wrong else "2", 1]]
    return {"sequence": 9, "bids": bids, "asks": [[*level, 1] for level in ASKS], "auction_mode": auction}


def test_two_looks_prove_a_lost_update():
    feed = started()
    for feed.now in (30.0, 60.0):
        assert not feed.rest("rest/book/BTC-USD", rest(wrong=True))
    feed.now = 61.0
    assert not feed.heartbeat(0)
    feed.now = 63.0
    outputs = feed.heartbeat(0)
    assert gaps(outputs) == [(CHANNEL, "audit")]
    assert resyncs(outputs) == [CHANNEL]


@pytest.mark.parametrize("moment", [45.0, 60.5])
def test_an_update_explains_a_difference(moment: float):
    feed = started()
    for now, act in sorted([(30.0, "look"), (60.0, "look"), (moment, "update"), (63.0, "beat")]):
        feed.now = now
        if act == "look":
            outputs = feed.rest("rest/book/BTC-USD", rest(wrong=True))
        else:
            outputs = feed.update(["buy", "99.00", "2.5"]) if act == "update" else feed.heartbeat(0)
        assert not gaps(outputs)


def test_a_level_that_moved_between_two_looks_is_a_new_difference():
    """REST may answer from a cache: what it says twice of a level that the stream changed meanwhile proves nothing."""
    feed = started()
    feed.now = 30.0
    feed.rest("rest/book/BTC-USD", rest(wrong=True))
    feed.now = 45.0
    feed.update(["buy", "99.00", "3"])
    feed.now = 60.0
    feed.rest("rest/book/BTC-USD", rest(wrong=True))
    feed.now = 63.0
    assert not feed.heartbeat(0)
    for feed.now in (90.0, 93.0):
        outputs = feed.rest("rest/book/BTC-USD", rest(wrong=True)) if feed.now == 90.0 else feed.heartbeat(0)
    assert gaps(outputs) == [(CHANNEL, "audit")], "it did not move any more"


def test_an_auction_and_an_equal_book_prove_nothing():
    feed = started()
    for feed.now in (30.0, 60.0):
        feed.rest("rest/book/BTC-USD", rest(wrong=True, auction=True))
    for feed.now in (90.0, 120.0):
        feed.rest("rest/book/BTC-USD", rest())
    feed.now = 130.0
    assert not feed.heartbeat(0)


EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from((BID, ASK)), st.integers(1, 4), st.integers(0, 3)), max_size=60
)


@given(EVENTS, st.integers(0, CONFIRM_NS - 1), st.integers(0, SETTLE_NS - 1), st.integers(0, 3))
def test_no_delay_makes_a_whole_book_look_wrong(
    events: list[tuple[int, bytes, int, int]], rest_lag: int, feed_lag: int, every: int
):
    """REST shows the book as it was up to CONFIRM_NS ago, the stream up to SETTLE_NS ago: still nothing is proved."""
    audit, history = Audit(), [(0, {BID: dict[int, int](), ASK: dict[int, int]()})]
    now, log = 0, list[tuple[int, bytes, int, int]]()
    for seconds, side, price, size in events:
        now += seconds * 10**9
        book = {name: dict(levels) for name, levels in history[-1][1].items()}
        book[side] = {**book[side], price: size} if size else {p: s for p, s in book[side].items() if p != price}
        history.append((now, book))
        log.append((now, side, price, size))

    def as_of(instant: int) -> dict[bytes, dict[int, int]]:
        return next(book for when, book in reversed(history) if when <= max(0, instant))

    clock, told = 0, 0
    while clock < now + 20 * 10**9:
        clock += 10**9
        while told < len(log) and log[told][0] + feed_lag <= clock:
            audit.touch([(log[told][1], log[told][2])])
            told += 1
        if clock % (6 + every) == 0 or clock // 10**9 % (6 + every) == 0:
            ours, theirs = as_of(clock - feed_lag), as_of(clock - rest_lag)
            audit.compare(ours[BID], ours[ASK], theirs[BID], theirs[ASK], T0 + clock)
        assert not audit.proved(T0 + clock)
