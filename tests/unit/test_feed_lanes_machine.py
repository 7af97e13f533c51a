"""Whatever each lane loses, doubles or delays: what comes out is what the venue sent, as far as any lane had it."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock import dbn
from penstock.markers import Gap, Heartbeat
from strategies.feed.arbiter import Arbiter
from strategies.feed.config import ArbiterConfig
from strategies.feed.notices import Live, Loss, Output, Stale
from strategies.feed.states import newer

PUBLISHER, INSTRUMENT, T0 = 60005, 7, 1_700_000_000_000_000_000
MS, S = 1_000_000, 1_000_000_000
LANES = st.integers(0, 1)
CONFIG = ArbiterConfig(trade_window=256)


class Wire(RuleBasedStateMachine):
    """One channel on two lanes, each in order, each with a normalizer that counts and a wire that loses."""

    schema = ""

    @initialize(start=st.sampled_from([1, 2**31 - 5, 2**32 - 5]))
    def begin(self, start: int) -> None:
        self.arbiter = Arbiter(CONFIG)
        self.one = self.arbiter.stream(self.schema, "DERIBIT", "x.BTC.raw")
        self.now = 0
        self.next = start
        self.published = [0, 0]
        self.runs = [1, 1]
        self.dead = [False, False]
        self.lost = [0, 0]
        """Messages of each lane lost on the wire since its last heartbeat."""
        self.joined = [False, False]
        """Whether a heartbeat has begun this subscriber's counting."""
        self.ways: tuple[deque[tuple[int, bytes]], ...] = (deque(), deque())
        self.arrived: dict[int, bytes] = {}
        self.delivered: list[bytes] = []
        self.notices: list[Output] = []
        self.latest_ms = 0
        self.alone = False
        """Whether anything came while the other lane counted as dead: such a lane is waited for by nobody."""
        for lane in (0, 1):
            self.beat(lane)

    def make(self) -> bytes:
        raise NotImplementedError

    def take(self, outputs: object) -> None:
        for output in outputs:  # type: ignore[attr-defined]
            (self.delivered if isinstance(output, bytes) else self.notices).append(output)

    def pass_ms(self, ms: int) -> None:
        end = self.now + ms * MS
        while self.now < end:
            self.now = min(self.now + 50 * MS, end)
            self.take(self.one.tick(self.now))

    @rule(count=st.integers(1, 3))
    def venue_sends(self, count: int) -> None:
        for _ in range(count):
            data = self.make()
            self.next = (self.next + 1) % 2**32
            for lane in (0, 1):
                if not self.dead[lane]:
                    self.published[lane] += 1
                    self.ways[lane].append((self.now, data))

    @rule(lane=LANES)
    def arrives(self, lane: int) -> None:
        self.pass_ms(1)
        if self.ways[lane]:
            sent, data = self.ways[lane].popleft()
            self.latest_ms = max(self.latest_ms, (self.now - sent) // MS)
            self.alone |= not self.one.selector.alive(1 - lane, self.one.as_of_ns)
            self.arrived[int.from_bytes(data[44:48], "little")] = data
            self.take(self.one.receive(lane, data, self.now))

    @rule(lane=LANES)
    def all_arrives(self, lane: int) -> None:
        while self.ways[lane]:
            self.arrives(lane)

    @rule(lane=LANES)
    def is_lost(self, lane: int) -> None:
        if self.ways[lane]:
            self.ways[lane].popleft()
            self.lost[lane] += 1

    @rule(lane=LANES)
    def comes_twice(self, lane: int) -> None:
        """A venue repeats itself after a reconnect of the session: counted like everything."""
        if self.ways[lane]:
            self.published[lane] += 1
            self.ways[lane].appendleft(self.ways[lane][0])

    @rule(lane=LANES)
    def beat(self, lane: int) -> None:
        """In order with the data; what the count says is missing is declared at once."""
        self.all_arrives(lane)
        if self.dead[lane]:
            return
        before = len(self.notices)
        mark = Heartbeat(1, self.runs[lane], self.published[lane]).record(PUBLISHER, INSTRUMENT, T0 + self.now)
        self.take(self.one.receive(lane, mark, self.now))
        losses = [notice for notice in self.notices[before:] if isinstance(notice, Loss)]
        assert all((loss.lane, loss.reason) == (("PRIMARY", "REPLICA")[lane], "subscriber") for loss in losses)
        if self.joined[lane]:
            assert bool(losses) == bool(self.lost[lane])
            assert all(loss.expected - loss.got == self.lost[lane] for loss in losses)
        else:
            # After a restart the count may hide a loss among the last words of the run before, and never makes one up.
            assert not losses or self.lost[lane]
        self.lost[lane], self.joined[lane] = 0, True

    @rule(lane=LANES)
    def normalizer_declares_a_gap(self, lane: int) -> None:
        self.all_arrives(lane)
        if not self.dead[lane]:
            self.published[lane] += 1
            self.take(self.one.receive(lane, Gap("dropped", 5, 7).record(PUBLISHER, INSTRUMENT, T0), self.now))
            assert isinstance(self.notices[-1], Loss)

    @rule(lane=LANES)
    def dies(self, lane: int) -> None:
        self.dead[lane] = True
        self.ways[lane].clear()

    @rule(lane=LANES)
    def comes_back(self, lane: int) -> None:
        if self.dead[lane]:
            self.dead[lane], self.joined[lane], self.lost[lane] = False, False, 0
            self.published[lane] = 0
            self.runs[lane] += 1

    @rule(lane=LANES)
    def connection_breaks(self, lane: int) -> None:
        self.ways[lane].clear()
        self.lost[lane], self.joined[lane] = 0, False
        for _, outputs in self.arbiter.cut(lane):
            self.take(outputs)

    @rule(ms=st.integers(1, 2_500))
    def time_passes(self, ms: int) -> None:
        self.pass_ms(ms)

    @invariant()
    def stale_and_live_take_turns(self) -> None:
        if hasattr(self, "notices"):
            told = [type(notice) for notice in self.notices if isinstance(notice, Stale | Live)]
            assert told == [Stale, Live] * (len(told) // 2) + [Stale] * (len(told) % 2)

    def teardown(self) -> None:
        if hasattr(self, "one"):
            for lane in (0, 1):
                self.all_arrives(lane)
            self.pass_ms(200)
            self.judge()

    def judge(self) -> None:
        raise NotImplementedError


class Trades(Wire):
    """Every trade that came on a lane, once, whole; in the venue's order while both lanes live and none lags by more
    than the hold."""

    schema = "TRADES"

    def make(self) -> bytes:
        parts = 1 + self.next % 3 // 2
        return b"".join(
            dbn.trade(
                PUBLISHER, INSTRUMENT, T0, 100, part + 1, b"B", dbn.F_LAST if part + 1 == parts else 0, T0, self.next
            )
            for part in range(parts)
        )

    def judge(self) -> None:
        ids = [int.from_bytes(data[44:48], "little") for data in self.delivered]
        assert len(ids) == len(set(ids))
        assert dict(zip(ids, self.delivered, strict=True)) == self.arrived
        if not self.alone and self.latest_ms < CONFIG.hold_s * 1_000 - 10:
            assert all(newer(after, before) for before, after in pairwise(ids))


class Quotes(Wire):
    """Each newest state, never an older one; the last that came on any lane is the last delivered."""

    schema = "MBP_1"

    def make(self) -> bytes:
        return dbn.mbp_1(PUBLISHER, INSTRUMENT, T0, dbn.F_LAST, T0 + 9, self.next, 1, 2, 3, 4)

    def judge(self) -> None:
        ids = [int.from_bytes(data[44:48], "little") for data in self.delivered]
        assert all(newer(after, before) for before, after in pairwise(ids))
        assert all(self.arrived[key] == data for key, data in zip(ids, self.delivered, strict=True))
        if self.arrived:
            assert not any(newer(key, ids[-1]) for key in self.arrived)


Trades.TestCase.settings = Quotes.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_trades = Trades.TestCase
test_quotes = Quotes.TestCase


def test_memory_is_bounded() -> None:
    """A lane that only jumps holds no more than it may, and what is remembered is the window."""
    one = Arbiter(CONFIG).stream("TRADES", "DERIBIT", "x")
    for lane in (0, 1):
        one.receive(lane, Heartbeat(1, 1, 0).record(PUBLISHER, INSTRUMENT, T0), 0)
    one.tick(0)
    policy = one.policy
    most = 0
    for number in range(1, 20_000, 2):
        data = dbn.trade(PUBLISHER, INSTRUMENT, T0, 100, 1, b"B", dbn.F_LAST, T0, number)
        one.receive(0, data, 0)
        most = max(most, len(policy._held))  # type: ignore[union-attr]
    assert 1_000 < most <= 1_025
    assert len(policy._seen) == CONFIG.trade_window  # type: ignore[union-attr]
