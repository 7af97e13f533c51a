"""A consumer's queue: bounded, exact about what it dropped, in order whatever happens to the stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.raw.v1.raw_pb2 import Envelope, Kind
from services.session_manager.queue import Entry, Policy, Queue

S = 10**9


def entry(sequence: int, channel: str = "a", size: int = 100, at_s: float = 0.0, kind: Kind = Kind.KIND_FRAME) -> Entry:
    envelope = Envelope(sequence=sequence, ts_recv=sequence, connection=1, channel=channel, kind=kind, payload=b"x")
    return Entry(sequence, envelope, size, round(at_s * S))


def filled(count: int, policy: Policy = Policy.DROP_OLDEST, max_bytes: int = 10**9) -> Queue:
    queue = Queue("normalizer", policy, max_bytes)
    for sequence in range(1, count + 1):
        queue.put(entry(sequence))
    return queue


def shown(batch: list[Envelope]) -> list[object]:
    """Frames as their numbers, markers as (channel, first, last, count)."""
    return [(e.channel, *json.loads(e.payload).values()) if e.kind == Kind.KIND_DROPPED else e.sequence for e in batch]


def test_over_the_byte_bound_the_oldest_go_and_a_marker_of_each_channel_stands_in_their_place():
    """Dropped envelopes are declared per channel, exactly, before what follows them."""
    queue = Queue("normalizer", Policy.DROP_OLDEST, max_bytes=300)
    for sequence, channel in enumerate("abaab", start=1):
        queue.put(entry(sequence, channel))
    assert shown(queue.take(10, 10**6)) == [("a", 1, 1, 1), ("b", 2, 2, 1), 3, 4, 5]
    assert (queue.dropped, queue.held) == (2, 3)


def test_over_the_age_bound_the_oldest_go():
    """What waited longer than the bound is not delivered late."""
    queue = Queue("normalizer", Policy.DROP_OLDEST, max_bytes=10**6, max_age_s=5)
    for sequence, at_s in ((1, 0.0), (2, 4.0), (3, 5.5)):
        queue.put(entry(sequence, at_s=at_s))
    assert shown(queue.take(10, 10**6)) == [("a", 1, 1, 1), 2, 3]


def test_a_lost_stream_resends_what_the_consumer_does_not_have():
    """The cold policy loses nothing that was not acknowledged, and repeats nothing that was."""
    queue = filled(6, Policy.RESEND)
    queue.take(4, 10**6)
    queue.rewind(2)
    assert shown(queue.take(10, 10**6)) == [3, 4, 5, 6]
    queue.acknowledge(6)
    assert (queue.delivered, queue.held, queue.bytes) == (6, 0, 0)


def test_a_lost_stream_declares_what_the_consumer_may_not_have():
    """The hot policy sends at most once: what was in flight becomes a declared gap."""
    queue = filled(6)
    queue.take(4, 10**6)
    queue.rewind(2)
    assert shown(queue.take(10, 10**6)) == [("a", 3, 4, 2), 5, 6]


def test_a_marker_lost_with_its_stream_is_declared_again_with_what_was_lost_beside_it():
    """A consumer never misses a gap because the marker itself was in flight."""
    queue = Queue("normalizer", Policy.DROP_OLDEST, max_bytes=200)
    for sequence in range(1, 5):
        queue.put(entry(sequence))
    queue.take(2, 10**6)
    queue.rewind(0)
    queue.put(entry(5))
    assert shown(queue.take(10, 10**6)) == [("a", 1, 3, 3), 4, 5]
    assert queue.dropped == 3


def test_a_full_resending_queue_drops_only_what_was_never_sent():
    """What is in flight can still be resent exactly; the rest is declared in its place."""
    queue = filled(3, Policy.RESEND, max_bytes=500)
    queue.take(3, 10**6)
    for sequence in range(4, 8):
        queue.put(entry(sequence))
    queue.rewind(0)
    assert shown(queue.take(10, 10**6)) == [1, 2, 3, ("a", 4, 5, 2), 6, 7]


def test_connection_markers_survive_every_bound():
    """A consumer always learns that a connection ended, in the right place among the drops."""
    queue = Queue("normalizer", Policy.DROP_OLDEST, max_bytes=250)
    queue.put(entry(1))
    queue.put(entry(2, "session", kind=Kind.KIND_DISCONNECTED))
    for sequence in range(3, 6):
        queue.put(entry(sequence, "b"))
    assert shown(queue.take(10, 10**6)) == [("a", 1, 1, 1), 2, ("b", 3, 4, 2), 5]


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 8), st.integers(1, 100))
def test_batches_keep_order_and_both_bounds(sizes: list[int], max_count: int, max_bytes: int):
    """A batch holds at most `max_count` envelopes and `max_bytes`, a single larger one alone, and nothing is left out."""
    queue = Queue("normalizer", Policy.DROP_OLDEST, 10**6)
    for sequence, size in enumerate(sizes, start=1):
        queue.put(entry(sequence, size=size))
    seen: list[int] = []
    while batch := queue.take(max_count, max_bytes):
        assert len(batch) <= max_count
        assert len(batch) == 1 or sum(sizes[e.sequence - 1] for e in batch) <= max_bytes
        seen += [e.sequence for e in batch]
    assert seen == list(range(1, len(sizes) + 1))
    assert not queue.pending


class Accounting(RuleBasedStateMachine):
    """A consumer that takes, acknowledges, dies and comes back: in = delivered + dropped + held, and per channel every
    envelope is received or covered by a marker, never neither and never both."""

    policy = Policy.DROP_OLDEST

    def __init__(self) -> None:
        super().__init__()
        hot = self.policy is Policy.DROP_OLDEST
        self.queue = Queue("x", self.policy, max_bytes=2500, max_age_s=20 if hot else None)
        self.sequence = self.now = self.last = 0
        self.droppable: dict[str, set[int]] = {"a": set(), "b": set(), "session": set()}
        self.stream: list[Envelope] = []
        self.received: set[int] = set()
        self.covered: set[int] = set()

    def put(self, channel: str, size: int, later_s: int, kind: Kind) -> None:
        self.sequence += 1
        self.now += later_s
        if kind not in (Kind.KIND_CONNECTED, Kind.KIND_DISCONNECTED):
            self.droppable[channel].add(self.sequence)
        self.queue.put(entry(self.sequence, channel, size, self.now, kind))

    @rule(channel=st.sampled_from("ab"), size=st.integers(1, 700), later_s=st.integers(0, 6))
    def put_frame(self, channel: str, size: int, later_s: int) -> None:
        self.put(channel, size, later_s, Kind.KIND_FRAME)

    @rule(kind=st.sampled_from([Kind.KIND_CONNECTED, Kind.KIND_DISCONNECTED, Kind.KIND_HEARTBEAT]))
    def put_marker(self, kind: Kind) -> None:
        self.put("session", 50, 0, kind)

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        self.stream += self.queue.take(count, 1500)

    @precondition(lambda self: self.stream)
    @rule(data=st.data())
    def handle(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, len(self.stream)))):
            self.handle_one(self.stream.pop(0))

    def handle_one(self, envelope: Envelope) -> None:
        assert envelope.sequence > self.last, "sequence rises"
        self.last = envelope.sequence
        if envelope.kind == Kind.KIND_DROPPED:
            lost = json.loads(envelope.payload)
            inside = {n for n in self.droppable[envelope.channel] if lost["first"] <= n <= lost["last"]}
            assert len(inside) == lost["count"], "the count is exact"
            self.covered |= inside
        else:
            self.received.add(envelope.sequence)

    @rule()
    def acknowledge(self) -> None:
        self.queue.acknowledge(self.last)

    @rule()
    def reconnect(self) -> None:
        """The consumer keeps what it handled; what the old stream still held is gone."""
        self.stream.clear()
        self.queue.rewind(self.last)

    @invariant()
    def balanced(self) -> None:
        queue = self.queue
        assert queue.enqueued == self.sequence == queue.delivered + queue.dropped + queue.held
        assert queue.bytes >= 0

    def teardown(self) -> None:
        self.reconnect()
        while batch := self.queue.take(100, 10**9):
            self.stream += batch
        for envelope in self.stream:
            self.handle_one(envelope)
        self.queue.acknowledge(self.sequence)
        assert self.queue.held == self.queue.bytes == 0
        assert self.received | self.covered == set(range(1, self.sequence + 1)), "no silent gap"
        assert not self.received & self.covered, "no false gap"
        assert self.queue.dropped == len(self.covered)


class Resending(Accounting):
    policy = Policy.RESEND


@pytest.mark.parametrize("machine", [Accounting, Resending])
def test_accounting(machine: type[Accounting]):
    """Whatever a consumer does, nothing is lost without a marker, and nothing is marked that was not lost."""
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    case = machine.TestCase()
    case.runTest()
