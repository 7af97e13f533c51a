"""Two lanes become one stream: nothing lost that either lane had, nothing twice, state never back in time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock import dbn
from penstock.book import Book
from penstock.markers import Gap, Heartbeat
from strategies.feed.arbiter import RTYPES, Arbiter, Stream
from strategies.feed.config import ArbiterConfig
from strategies.feed.notices import Beat, LaneSwitch, Live, Loss, Output, Stale

PUBLISHER, INSTRUMENT, T0 = 60005, 7, 1_700_000_000_000_000_000
MS, S = 1_000_000, 1_000_000_000
PRIMARY, REPLICA = 0, 1


def trade(sequence: int, parts: int = 1, ts: int = T0) -> bytes:
    """One trade, split into parts if asked."""
    return b"".join(
        dbn.trade(PUBLISHER, INSTRUMENT, ts, 100, i + 1, b"B", dbn.F_LAST if i == parts - 1 else 0, ts + 5, sequence)
        for i in range(parts)
    )


def quote(ts: int, sequence: int = 0, recv: int = 0) -> bytes:
    return dbn.mbp_1(PUBLISHER, INSTRUMENT, ts, dbn.F_LAST, recv or ts + 9, sequence, 1, 2, 3, 4)


def beat(run: int, count: int, ts: int = T0) -> bytes:
    return Heartbeat(1, run, count).record(PUBLISHER, INSTRUMENT, ts)


def gap(reason: str = "sequence") -> bytes:
    return Gap(reason, 5, 7).record(PUBLISHER, INSTRUMENT, T0)


def stream(schema: str) -> Stream:
    return Arbiter(ArbiterConfig()).stream(schema, "DERIBIT", "x.BTC.raw")


def data(outputs: Sequence[Output]) -> list[bytes]:
    return [output for output in outputs if isinstance(output, bytes)]


def sequences(messages: list[bytes]) -> list[int]:
    """The sequence of every record, in order."""
    return [int.from_bytes(m[at + 44 : at + 48], "little") for m in messages for at in range(0, len(m), 48)]


def live(one: Stream, *lanes: int, now: int = 0) -> None:
    """Let the lanes be known to live before the test begins."""
    for lane in lanes:
        one.receive(lane, beat(1, 0), now)
    one.tick(now)


# --- trades -------------------------------------------------------------------------------------------------------


def test_a_trade_that_both_lanes_bring_is_delivered_once() -> None:
    """First arrival wins, the copy is counted."""
    one = stream("TRADES")
    live(one, PRIMARY, REPLICA)
    got = [*one.receive(PRIMARY, trade(1), 0), *one.receive(REPLICA, trade(1), 1), *one.receive(PRIMARY, trade(2), 2)]
    assert sequences(data(got)) == [1, 2]
    assert one.policy is not None
    assert one.policy.duplicates == 1


def test_a_split_trade_stays_whole() -> None:
    """All records of one trade id are one message, delivered together and once."""
    one = stream("TRADES")
    live(one, PRIMARY)
    one.tick(2 * S)
    one.receive(PRIMARY, beat(1, 0), 2 * S)
    message = trade(9, parts=3)
    assert data(one.receive(PRIMARY, message, 2 * S)) == [message]
    assert data(one.receive(REPLICA, message, 2 * S)) == []


def test_batches_cut_differently_by_the_lanes_overlap_without_loss_or_copy() -> None:
    """Only the trades of a batch that are new go on, and the last record says it is the last."""
    one = stream("TRADES")
    live(one, PRIMARY, REPLICA)
    got = data(one.receive(PRIMARY, trade(1) + trade(2), 0))
    got += data(one.receive(REPLICA, trade(1), 0))
    got += data(one.receive(REPLICA, trade(2) + trade(3, parts=2) + trade(4), 0))
    assert sequences(got) == [1, 2, 3, 3, 4]
    assert all(message[-48 + 30] & dbn.F_LAST for message in got)


def test_what_one_lane_lost_comes_from_the_other_in_the_venues_order() -> None:
    """A trade after a jump of ids waits for the other lane, so 5 does not come after 6."""
    one = stream("TRADES")
    live(one, PRIMARY, REPLICA)
    got = data(one.receive(PRIMARY, trade(4), 0)) + data(one.receive(REPLICA, trade(4), 0))
    got += data(one.receive(PRIMARY, trade(6), 1)) + data(one.receive(REPLICA, trade(5), 2))
    got += data(one.receive(REPLICA, trade(6), 3))
    assert sequences(got) == [4, 5, 6]


def test_a_trade_both_lanes_lost_delays_the_next_by_no_more_than_the_hold() -> None:
    """What waits is delivered when the hold ends, or as soon as the other lane has passed it."""
    one = stream("TRADES")
    live(one, PRIMARY, REPLICA)
    got = data(one.receive(PRIMARY, trade(4), 0)) + data(one.receive(REPLICA, trade(4), 0))
    assert data(one.receive(PRIMARY, trade(6), 0)) == []
    assert sequences(data(one.tick(60 * MS))) == [6]
    assert data(one.receive(PRIMARY, trade(8), 61 * MS)) == []
    assert sequences(data(one.receive(REPLICA, trade(8), 62 * MS))) == [8]
    assert sequences(got) == [4]


def test_an_id_that_comes_again_at_another_time_is_another_trade() -> None:
    """32 bits of an id come again; the venue's time does not. A copy has the same of both."""
    one = stream("TRADES")
    live(one, PRIMARY)
    first, later = trade(7, ts=T0), trade(7, parts=2, ts=T0 + S)
    assert data(one.receive(PRIMARY, first, 0)) == [first]
    assert data(one.receive(PRIMARY, later, MS)) == [later]
    assert data(one.receive(PRIMARY, first, 2 * MS)) == data(one.receive(PRIMARY, later, 2 * MS)) == []


def test_a_single_lane_never_waits() -> None:
    """With the other lane dead there is nothing to wait for."""
    one = stream("TRADES")
    live(one, REPLICA)
    live(one, REPLICA, now=2 * S)
    got = [*one.receive(REPLICA, trade(4), 2 * S), *one.receive(REPLICA, trade(9), 2 * S)]
    assert sequences(data(got)) == [4, 9]


def test_a_venue_that_counts_anew_is_not_taken_for_history() -> None:
    """Ids that begin again at 1 are delivered, and in order after that."""
    one = stream("TRADES")
    live(one, PRIMARY)
    got = data(one.receive(PRIMARY, trade(5_000_000), 0))
    for sequence in (1, 2, 3):
        got += data(one.receive(PRIMARY, trade(sequence), 0))
    assert sequences(got) == [5_000_000, 1, 2, 3]


@settings(max_examples=150, deadline=None)
@example(seed=3067, start=1, lag_ms=0)
@given(seed=st.integers(0, 2**32), start=st.sampled_from([1, 2**31 - 40, 2**32 - 40]), lag_ms=st.integers(0, 900))
def test_trades_are_the_reference_set_exactly_once(seed: int, start: int, lag_ms: int) -> None:
    """Whatever each lane loses, duplicates and delays, every trade that came on a lane is delivered once; and in the
    venue's order as long as the lanes lag each other by less than the hold."""
    chance = random.Random(seed)
    reference = [(start + i) % 2**32 for i in range(150)]
    arrivals: list[tuple[int, int, int, int]] = []
    survived: set[int] = set()
    for lane in (PRIMARY, REPLICA):
        at, order = 0, 0
        dead_from = chance.randrange(150) if chance.random() < 0.5 else 999
        for i, sequence in enumerate(reference):
            sent = i * 10 * MS
            at = max(at, sent + chance.randrange(lag_ms + 1) * MS)
            if dead_from <= i < dead_from + 30 or chance.random() < 0.1:
                continue
            survived.add(sequence)
            for _ in range(1 + (chance.random() < 0.1)):
                order += 1
                arrivals.append((at, lane, order, sequence))
    arrivals.sort()
    one = stream("TRADES")
    got: list[bytes] = []
    now = 0
    for at, lane, _, sequence in arrivals:
        while now + 50 * MS <= at:
            now += 50 * MS
            got += data(one.tick(now))
        got += data(one.receive(lane, trade(sequence), at))
    for i in range(60):
        got += data(one.tick(now + i * 50 * MS))
    delivered = sequences(got)
    assert len(delivered) == len(set(delivered))
    assert set(delivered) == survived
    if lag_ms < 40:
        assert delivered == [sequence for sequence in reference if sequence in survived]


# --- states -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(0, 5)), max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_a_quote_never_goes_back_in_time(arrivals: list[tuple[int, int, int]], base: int) -> None:
    """Newest (ts_event, sequence) wins across the 2**32 wrap; an equal one is a duplicate; the newest of all arrives."""
    one = stream("MBP_1")
    seen: list[tuple[int, int]] = []
    for lane, ts, sequence in arrivals:
        for message in data(one.receive(lane, quote(T0 + ts, (base + sequence) % 2**32), 0)):
            seen.append(
                (int.from_bytes(message[8:16], "little"), (int.from_bytes(message[44:48], "little") - base) % 2**32)
            )
    assert all(a < b for a, b in pairwise(seen))
    if arrivals:
        newest = max((ts, sequence) for _, ts, sequence in arrivals)
        assert seen[-1] == (T0 + newest[0], newest[1])


def test_without_venue_time_the_venues_id_orders_quotes() -> None:
    """Binance's bookTicker has no time, so ts_event is each lane's own ts_recv: a slow lane's older id is not newer."""
    one = stream("MBP_1")
    got = data(one.receive(PRIMARY, quote(T0, 11, T0), 0))
    got += data(one.receive(REPLICA, quote(T0 + 5, 10, T0 + 5), 0)) + data(
        one.receive(REPLICA, quote(T0 + 6, 11, T0 + 6), 0)
    )
    got += data(one.receive(REPLICA, quote(T0 + 7, 12, T0 + 7), 0))
    assert [int.from_bytes(message[44:48], "little") for message in got] == [11, 12]


def test_each_statistic_is_a_state_of_its_own() -> None:
    """A newer mark price does not hide an older index price that was not yet delivered."""

    def statistics(ts: int, *kinds: int) -> bytes:
        return b"".join(dbn.statistic(PUBLISHER, INSTRUMENT, ts, ts + 1, kind, price=5) for kind in kinds)

    one = stream("STATISTICS")
    got = data(one.receive(PRIMARY, statistics(T0 + 2, 20001), 0))
    got += data(one.receive(REPLICA, statistics(T0 + 1, 20001, 10), 0))
    assert [int.from_bytes(m[at + 56 : at + 58], "little") for m in got for at in range(0, len(m), 80)] == [20001, 10]


def test_two_channels_of_one_instrument_share_its_quote() -> None:
    """Deribit tells best prices on quote and on ticker: the older of the two never overwrites the newer."""
    arbiter = Arbiter(ArbiterConfig())
    first, second = arbiter.stream("MBP_1", "DERIBIT", "quote.X"), arbiter.stream("MBP_1", "DERIBIT", "ticker.X.raw")
    assert data(first.receive(PRIMARY, quote(T0 + 5), 0))
    assert not data(second.receive(PRIMARY, quote(T0 + 4), 0))
    assert data(second.receive(PRIMARY, quote(T0 + 6), 0))


# --- losses and silence ---------------------------------------------------------------------------------------------


def test_counting_shows_what_this_subscriber_lost() -> None:
    """The publisher says 3 since its last heartbeat, two came: one loss of reason subscriber, said once."""
    one = stream("TRADES")
    one.receive(PRIMARY, beat(1, 10), 0)
    one.receive(PRIMARY, trade(1), 0)
    one.receive(PRIMARY, trade(3), 0)
    outputs = one.receive(PRIMARY, beat(1, 13), 0)
    assert [o for o in outputs if isinstance(o, Loss)] == [Loss("PRIMARY", "subscriber", 3, 2, covered=False)]
    assert not [o for o in one.receive(PRIMARY, beat(1, 13), 0) if isinstance(o, Loss)]


def test_joining_in_the_middle_or_a_new_run_is_no_loss() -> None:
    """The first heartbeat only starts the count, and a restarted normalizer counts from zero."""
    one = stream("TRADES")
    outputs = [*one.receive(PRIMARY, trade(1), 0), *one.receive(PRIMARY, beat(1, 500), 0)]
    outputs += [*one.receive(PRIMARY, trade(2), 0), *one.receive(PRIMARY, beat(2, 1), 0)]
    assert not [o for o in outputs if isinstance(o, Loss)]
    lost = one.receive(PRIMARY, beat(3, 4), 0)
    assert [o for o in lost if isinstance(o, Loss)] == [Loss("PRIMARY", "subscriber", 4, 0, covered=False)]


def test_the_normalizers_gap_is_passed_on_and_says_whether_the_other_lane_covers_it() -> None:
    """A gap on one lane, the other alive."""
    one = stream("TRADES")
    live(one, PRIMARY, REPLICA)
    assert Loss("PRIMARY", "sequence", 5, 7, covered=True) in one.receive(PRIMARY, gap(), 0)


def test_silence_of_both_lanes_is_said_once_and_ends_with_a_heartbeat() -> None:
    """STALE within 1.5 s of the last word of both; what comes then may have waited, and a heartbeat makes it LIVE."""
    one = stream("MBP_1")
    live(one, PRIMARY, REPLICA)
    said: list[Output] = []
    for now in range(50 * MS, 3 * S, 50 * MS):
        outputs = one.tick(now)
        if outputs:
            assert now <= 1_500 * MS
        said += outputs
    assert [type(o) for o in said] == [Stale]
    assert [type(o) for o in one.receive(REPLICA, quote(T0 + 3 * S), 3 * S)] == [bytes]
    assert not one.lane
    outputs = one.receive(REPLICA, beat(1, 1, T0 + 3 * S), 3 * S)
    assert [o for o in outputs if not isinstance(o, Beat)] == [Live("REPLICA")]
    assert one.lane


def test_heartbeats_that_had_piled_up_do_not_make_anything_live() -> None:
    """A process between venue and subscriber stood still for 4 s: what it then brings at once is old, the heartbeats in
    it too. The first one that comes in its time says that this is over."""
    one = stream("MBP_1")
    for second in range(3):
        one.receive(PRIMARY, beat(1, second, T0 + second * S), second * S)
    assert [type(o) for o in one.tick(4 * S)] == [Stale]
    said: list[Output] = []
    for late in range(3, 7):
        at = 6 * S + late * MS
        said += one.receive(PRIMARY, quote(T0 + late * S), at)
        said += one.receive(PRIMARY, beat(1, late, T0 + late * S), at)
    assert not [o for o in said if isinstance(o, Live)]
    assert len(data(said)) == 4
    one.receive(PRIMARY, beat(1, 7, T0 + 7 * S), 7 * S)
    assert one.tick(7 * S) == [Live("PRIMARY")]


def test_a_heartbeat_ahead_of_what_still_waits_does_not_make_it_live() -> None:
    """Old messages go on coming after a heartbeat of now: STALE stands until they are through."""
    one = stream("MBP_1")
    one.receive(PRIMARY, beat(1, 0, T0), 0)
    assert [type(o) for o in one.tick(2 * S)] == [Stale]
    one.receive(PRIMARY, quote(T0 + S), 4 * S)
    said = list(one.receive(PRIMARY, beat(1, 1, T0 + 4 * S), 4 * S))
    for late in range(10):
        at = 4 * S + late * 100 * MS
        said += one.receive(PRIMARY, quote(T0 + 2 * S + late * 100 * MS), at)
        said += one.tick(at)
    assert not [o for o in said if isinstance(o, Live)]
    one.receive(PRIMARY, quote(T0 + 5 * S), 5 * S)
    assert one.tick(5 * S + 250 * MS) == [Live("PRIMARY")]


def test_a_clock_that_was_set_is_believed_after_a_while() -> None:
    """The sender's clock goes back by a minute while nothing comes: its heartbeats say LIVE within 11 s, not never."""
    one = stream("MBP_1")
    one.receive(PRIMARY, beat(1, 0, T0), 0)
    one.tick(2 * S)
    lived = []
    for second in range(2, 20):
        outputs = [*one.receive(PRIMARY, beat(1, 0, T0 + (second - 60) * S), second * S), *one.tick(second * S)]
        lived += [second for o in outputs if isinstance(o, Live)]
    assert lived == [13]


def test_a_stall_of_this_process_is_not_the_death_of_a_lane() -> None:
    """Silence is measured up to the last tick, not up to a message read late from one socket before the other's."""
    one, book = stream("MBO"), Book(PUBLISHER, INSTRUMENT)
    image = book.replace([(10, 1)], [(11, 1)], T0, T0, 1)
    for lane in (PRIMARY, REPLICA):
        one.receive(lane, image, 0)
    one.tick(50 * MS)
    assert not [o for o in one.receive(REPLICA, beat(1, 1), 5 * S) if isinstance(o, LaneSwitch)]
    assert one.lane == "PRIMARY"


def test_malformed_bytes_are_counted_and_never_raise() -> None:
    """Whatever is on the channel: empty, cut, of another type, of the right type at the wrong length."""
    one = stream("MBO")
    good = Book(PUBLISHER, INSTRUMENT).replace([(10, 1)], [], T0, T0, 1)
    for bad in (
        b"",
        b"x",
        good[:-1],
        trade(1),
        b"\0" * 56,
        good + trade(1),
        bytes(320),
        beat(1, 1)[:100],
        good[56:] + b"!",
    ):
        assert not one.receive(PRIMARY, bad, 0)
    assert one.counts.malformed == 9
    assert one.lane == ""


@given(
    st.binary(max_size=400)
    | st.builds(lambda n, cut: trade(1, parts=n)[: 48 * n - cut], st.integers(1, 5), st.integers(0, 50))
)
def test_the_quick_framing_check_agrees_with_the_walk(payload: bytes) -> None:
    """A message is accepted exactly where penstock.dbn.records finds only whole records of the stream's type."""
    for schema, rtype in RTYPES.items():
        try:
            walked = all(found == rtype for found, _ in dbn.records(payload))
        except ValueError:
            walked = False
        assert stream(schema)._framed(payload) == walked


# --- books --------------------------------------------------------------------------------------------------------


class Replayed:
    """A book built from what was delivered, by the records' own actions; `strict`: which all must make sense."""

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.orders: dict[bytes, bytes] = {}
        self.flags = 0

    def take(self, outputs: Sequence[Output]) -> None:
        for message in data(outputs):
            assert message[-56 + 36] & dbn.F_LAST
            for at in range(0, len(message), 56):
                record = message[at : at + 56]
                self.flags = record[36]
                if record[38:39] == b"R":
                    self.orders.clear()
                elif record[38:39] == b"C":
                    removed = self.orders.pop(record[16:24], None)
                    assert removed is not None or not self.strict, "removes what was never there"
                else:
                    new = record[16:24] not in self.orders
                    assert (record[38:39] == b"A") == new or not self.strict, "adds twice or modifies nothing"
                    self.orders[record[16:24]] = record[24:36]


def what(book: Book) -> dict[bytes, bytes]:
    """A book as its image's orders."""
    replayed = Replayed()
    replayed.take([book.image(T0, T0, 0)])
    return replayed.orders


class Lanes(RuleBasedStateMachine):
    """A venue's book, told on two lanes that may each die, lose messages, declare gaps and restart."""

    @initialize(venue_numbers=st.booleans())
    def begin(self, venue_numbers: bool) -> None:
        self.numbered = venue_numbers
        self.one = stream("MBO")
        self.book = Book(PUBLISHER, INSTRUMENT)
        self.sequence = 2**32 - 20
        self.now = 0
        self.counts = [0, 0]
        self.lane_books = [Book(PUBLISHER, INSTRUMENT), Book(PUBLISHER, INSTRUMENT)]
        self.suspect = [False, False]
        """The lane's normalizer knows that its book is bad."""
        self.lossy = [False, False]
        """This subscriber lost something of the lane that no heartbeat has shown yet."""
        self.dead = [False, False]
        # Losses that no heartbeat has shown yet leave records without their predecessors.
        self.replayed = Replayed(strict=False)
        self.image = self.book.replace([(100, 5), (99, 5)], [(101, 5)], *self.stamp())
        for lane in (PRIMARY, REPLICA):
            self.restart(lane)
        self.both_beat()

    def stamp(self) -> tuple[int, int, int]:
        self.sequence = (self.sequence + 1) % 2**32
        self.now += 10 * MS
        return T0 + self.now, T0 + self.now, self.sequence if self.numbered else 0

    def send(self, lane: int, message: bytes) -> None:
        self.counts[lane] += 1
        self.replayed.take(self.one.receive(lane, message, self.now))

    @rule(changes=st.lists(st.tuples(st.booleans(), st.integers(90, 110), st.integers(0, 3)), min_size=1, max_size=4))
    def venue_moves(self, changes: list[tuple[bool, int, int]]) -> None:
        stamp = self.stamp()
        wanted = [(dbn.BID if is_bid else dbn.ASK, price, size) for is_bid, price, size in changes]
        self.book.update(wanted, *stamp)
        for lane in (PRIMARY, REPLICA):
            flags = dbn.F_MAYBE_BAD_BOOK if self.suspect[lane] else 0
            message = self.lane_books[lane].update(wanted, *stamp, flags)
            if message and not self.dead[lane]:
                self.send(lane, message)

    @rule(lane=st.integers(0, 1), price=st.integers(90, 110), size=st.integers(1, 9))
    def subscriber_loses(self, lane: int, price: int, size: int) -> None:
        """A message that only the other lane brings."""
        stamp = self.stamp()
        self.book.update([(dbn.BID, price, size)], *stamp)
        for each in (PRIMARY, REPLICA):
            flags = dbn.F_MAYBE_BAD_BOOK if self.suspect[each] else 0
            message = self.lane_books[each].update([(dbn.BID, price, size)], *stamp, flags)
            if each != lane and not self.dead[each]:
                self.send(each, message)
            elif not self.dead[each]:
                self.counts[each] += 1
                self.lossy[each] = True

    @rule()
    def both_beat(self) -> None:
        self.now += S // 2
        for lane in (PRIMARY, REPLICA):
            if not self.dead[lane]:
                self.replayed.take(self.one.receive(lane, beat(1, self.counts[lane], T0 + self.now), self.now))
                self.lossy[lane] = False
        self.replayed.take(self.one.tick(self.now))

    @rule(lane=st.integers(0, 1))
    def lane_dies(self, lane: int) -> None:
        self.dead[lane] = True

    @rule(lane=st.integers(0, 1))
    def restart(self, lane: int) -> None:
        """A new session of the lane begins with a snapshot in the stream."""
        self.dead[lane] = self.suspect[lane] = self.lossy[lane] = False
        levels = self.book.bids.items(), self.book.asks.items()
        self.send(lane, self.lane_books[lane].replace(*levels, *self.stamp()))

    @rule(lane=st.integers(0, 1))
    def normalizer_declares_a_gap(self, lane: int) -> None:
        if not self.dead[lane]:
            self.suspect[lane] = True
            self.send(lane, gap())

    @rule(lane=st.integers(0, 1))
    def image_is_fetched(self, lane: int) -> None:
        """The stored image of a lane whose own book is whole: taken now, while the lane lives."""
        if not self.suspect[lane] and not self.dead[lane] and lane in set(self.one.wants_snapshot()):
            ts, recv, _ = self.stamp()
            image = self.lane_books[lane].image(ts, recv, self.sequence if self.numbered else 0)
            self.replayed.take(self.one.offer(lane, image))

    @invariant()
    def delivered_is_the_active_lanes_book(self) -> None:
        if not hasattr(self, "one") or self.one.selector.active is None or self.one.books is None:
            return
        active = self.one.selector.active
        held = self.one.books[active]
        assert self.replayed.orders == {key: record[24:36] for key, record in held.orders.items()}
        if not held.doubtful and not self.lossy[active] and not self.suspect[active]:
            assert self.dead[active] or self.replayed.orders == what(self.lane_books[active])

    @invariant()
    def doubt_is_shown(self) -> None:
        if hasattr(self, "one") and self.one.lane and self.one.books is not None:
            active = self.one.selector.active
            assert active is not None
            if self.suspect[active] and not self.dead[active]:
                assert self.one.books[active].doubtful


Lanes.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
test_whatever_happens_to_the_lanes_the_delivered_book_is_the_active_lanes = Lanes.TestCase


def started(*, replica_first: bool = False) -> tuple[Stream, Book, Replayed]:
    """A stream whose lanes both have the same book, PRIMARY in use."""
    one, book, replayed = stream("MBO"), Book(PUBLISHER, INSTRUMENT), Replayed()
    image = book.replace([(100, 5), (99, 6)], [(101, 7)], T0, T0, 1)
    for lane in (REPLICA, PRIMARY) if replica_first else (PRIMARY, REPLICA):
        replayed.take(one.receive(lane, image, 0))
    replayed.take(one.tick(0))
    return one, book, replayed


def test_a_start_waits_for_primary_before_taking_the_other_lane() -> None:
    """REPLICA a moment earlier causes no needless switch; REPLICA alone is taken after the grace."""
    one, _, _ = started(replica_first=True)
    assert one.lane == "PRIMARY"
    assert one.counts.switches == 0
    alone, book = stream("MBO"), Book(PUBLISHER, INSTRUMENT)
    assert not data(alone.receive(REPLICA, book.replace([(100, 5)], [], T0, T0, 1), 0))
    alone.receive(REPLICA, beat(1, 1), S)
    assert not data(alone.tick(S))
    outputs = alone.tick(1_250 * MS)
    assert outputs[0] == LaneSwitch("REPLICA", "", "start")
    assert len(data(outputs)) == 1


def test_primary_dies_and_comes_back() -> None:
    """A switch within 1.5 s of its last word, with the whole book; back after 5 s of health and no sooner."""
    one, book, replayed = started()
    switched: list[tuple[int, LaneSwitch]] = []

    def take(now: int, outputs: Sequence[Output]) -> None:
        switched.extend((now, o) for o in outputs if isinstance(o, LaneSwitch))
        replayed.take(list(outputs))

    count = 1
    for now in range(50 * MS, 12 * S, 50 * MS):
        stamp = (T0 + now, T0 + now, 1 + now // MS)
        update = book.update([(dbn.BID, 90 + now // (50 * MS) % 7, 1 + now // MS % 4)], *stamp)
        take(now, one.receive(REPLICA, update, now))
        count += 1
        if now == 4 * S:
            take(now, one.receive(PRIMARY, book.image(*stamp), now))
        elif now > 4 * S:
            take(now, one.receive(PRIMARY, update, now))
        if now % S == 0:
            take(now, one.receive(REPLICA, beat(1, count), now))
        take(now, one.tick(now))
        assert replayed.orders == what(book) or not switched
    assert [(s.lane, s.reason) for _, s in switched] == [("REPLICA", "silent"), ("PRIMARY", "preferred")]
    assert switched[0][0] <= 1_500 * MS
    assert 9 * S - 50 * MS <= switched[1][0] <= 9 * S + 200 * MS


def test_a_lane_with_a_doubtful_book_is_left_at_once_and_returned_to_when_whole() -> None:
    """A declared gap on PRIMARY moves the book to REPLICA with the same message."""
    one, book, replayed = started()
    outputs = one.receive(PRIMARY, gap(), 10)
    assert LaneSwitch("REPLICA", "PRIMARY", "doubtful") in outputs
    replayed.take(outputs)
    assert replayed.orders == what(book)
    assert not replayed.flags & dbn.F_MAYBE_BAD_BOOK


def test_with_no_whole_lane_the_book_is_flagged_until_a_snapshot() -> None:
    """Both doubtful: what is delivered says so, and a snapshot of the lane in use ends it."""
    one, book, replayed = started()
    for lane in (REPLICA, PRIMARY):
        replayed.take(one.receive(lane, gap(), 10))
    update = book.update([(dbn.BID, 98, 3)], T0 + 1, T0 + 1, 2)
    for lane in (REPLICA, PRIMARY):
        replayed.take(one.receive(lane, update, 20))
    assert replayed.flags & dbn.F_MAYBE_BAD_BOOK
    for lane in (PRIMARY, REPLICA):
        replayed.take(one.receive(lane, book.image(T0 + 2, T0 + 2, 3), 30))
    assert replayed.orders == what(book)
    assert not replayed.flags & dbn.F_MAYBE_BAD_BOOK


def test_a_late_joiner_gets_the_stored_image_with_what_came_after_it() -> None:
    """An image from before the join is used but doubtful; one from after it is trusted, newer increments on top."""
    one, book, replayed = stream("MBO"), Book(PUBLISHER, INSTRUMENT), Replayed()
    old = book.replace([(100, 5)], [(101, 5)], T0, T0, 10)
    book.update([(dbn.BID, 99, 1)], T0 + 1, T0 + 1, 11)  # published before we joined
    replayed.take(one.receive(PRIMARY, book.update([(dbn.BID, 98, 1)], T0 + 2, T0 + 2, 12), 0))
    assert list(one.wants_snapshot()) == [PRIMARY]
    replayed.take(one.offer(PRIMARY, old))
    replayed.take(one.tick(2 * S)) if not replayed.orders else None
    one.receive(PRIMARY, beat(1, 12), 2 * S)
    replayed.take(one.tick(2 * S))
    fresh = book.image(T0 + 3, T0 + 3, 12)
    replayed.take(one.receive(PRIMARY, book.update([(dbn.ASK, 102, 2)], T0 + 4, T0 + 4, 13), 2 * S))
    replayed.take(one.offer(PRIMARY, fresh))
    assert replayed.orders == what(book)
    assert not replayed.flags & dbn.F_MAYBE_BAD_BOOK
    assert list(one.wants_snapshot()) == []


def test_a_broken_connection_declares_a_loss_on_every_stream_of_the_lane() -> None:
    """Cut says disconnected once, moves the book, and asks for a snapshot when the lane is heard again."""
    arbiter, book = Arbiter(ArbiterConfig()), Book(PUBLISHER, INSTRUMENT)
    one = arbiter.stream("MBO", "DERIBIT", "book.X")
    image = book.replace([(100, 5)], [(101, 5)], T0, T0, 10)
    for lane in (PRIMARY, REPLICA):
        one.receive(lane, image, 0)
    arbiter.stream("TRADES", "DERIBIT", "trades.X")  # never heard: nothing to lose
    ((cut, outputs),) = list(arbiter.cut(PRIMARY))
    assert cut is one
    assert outputs[0] == Loss("PRIMARY", "disconnected", 0, 0, covered=True)
    assert outputs[1] == LaneSwitch("REPLICA", "PRIMARY", "silent")
    assert list(arbiter.cut(PRIMARY)) == []
    assert list(one.wants_snapshot()) == []
    one.receive(PRIMARY, beat(1, 5), 1)
    assert list(one.wants_snapshot()) == [PRIMARY]


def test_a_snapshot_that_says_nothing_new_is_not_delivered_again() -> None:
    """Periodic images of a whole book cost the strategy nothing."""
    one, book, _ = started()
    assert not data(one.receive(PRIMARY, book.image(T0 + 5, T0 + 5, 4), 10))
    book.update([(dbn.BID, 98, 1)], T0 + 6, T0 + 6, 5)
    assert data(one.receive(PRIMARY, book.image(T0 + 7, T0 + 7, 6), 10))


def test_a_schema_the_feed_does_not_arbitrate_is_refused() -> None:
    """No stream of something whose rule of arbitration nobody wrote."""
    with pytest.raises(KeyError):
        stream("TBBO")
