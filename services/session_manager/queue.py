"""Envelopes waiting for one consumer: bounded by bytes and age, and exact about what it dropped.

An envelope is `waiting` (never sent), in `flight` (sent, not acknowledged) or in `front` (to be sent before everything
that waits). What is over the bound is dropped from the oldest waiting end; a KIND_DROPPED envelope per affected channel goes
out in its place, with the number of the last envelope it stands for, so that sequence still rises. Two policies:

- DROP_OLDEST (hot): sent at most once. What was in flight when a stream broke, and its consumer does not have, is dropped.
- RESEND (cold): kept until acknowledged. What was in flight when a stream broke is sent again; being full drops too,
  declared, and only what was never sent.

Connection markers are never dropped: a consumer that missed one would not know that its channels follow a gap. They are
few: the reconnect backoff bounds them.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from penstock.raw.v1.raw_pb2 import Envelope, Kind

# Looking an enum value up by name costs as much as half an envelope.
_DROPPED: Final = Kind.KIND_DROPPED
_KEPT_KINDS: Final = frozenset({Kind.KIND_CONNECTED, Kind.KIND_DISCONNECTED})
_MARKER_BYTES: Final = 400


class Policy(enum.Enum):
    """What becomes of envelopes in flight when the stream to their consumer breaks."""

    DROP_OLDEST = "drop_oldest"
    RESEND = "resend"


class Entry(NamedTuple):
    """An envelope with what queues ask of it often: its number, its bytes in memory, and when it came (monotonic ns)."""

    sequence: int
    envelope: Envelope
    size: int
    since_ns: int


class _Range(msgspec.Struct):
    first: int
    last: int
    count: int


@dataclass(slots=True)
class _Hole:
    """The dropped envelopes of one channel that no marker has declared yet."""

    range: _Range
    connection: int
    ts_recv: int

    def add(self, envelope: Envelope, lost: _Range) -> None:
        self.range.first = min(self.range.first, lost.first)
        self.range.count += lost.count
        if lost.last >= self.range.last:
            self.range.last, self.connection, self.ts_recv = lost.last, envelope.connection, envelope.ts_recv


class Queue:
    """One consumer's queue. `enqueued == delivered + dropped + held` after every call; markers are in none of them."""

    def __init__(self, consumer: str, policy: Policy, max_bytes: int, max_age_s: float | None = None) -> None:
        self.consumer = consumer
        self.enqueued = self.delivered = self.dropped = self.bytes = 0
        self._policy = policy
        self._max_bytes = max_bytes
        self._max_age_ns = round(max_age_s * 1e9) if max_age_s is not None else 2**63
        self._waiting: deque[Entry] = deque()
        self._front: deque[Entry] = deque()
        self._flight: deque[Entry] = deque()
        self._kept: list[Entry] = []
        self._holes: dict[str, _Hole] = {}
        self._markers = 0  # in front and flight
        self._ready = asyncio.Event()

    @property
    def held(self) -> int:
        """Envelopes that are neither acknowledged nor dropped."""
        return len(self._waiting) + len(self._front) + len(self._flight) + len(self._kept) - self._markers

    @property
    def limit_bytes(self) -> int:
        """Bytes above which it drops."""
        return self._max_bytes

    @property
    def pending(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self._front or self._waiting or self._kept or self._holes)

    def put(self, entry: Entry) -> None:
        """Append an entry that came just now, dropping what is then over the bound."""
        self.enqueued += 1
        self.bytes += entry.size
        self._waiting.append(entry)
        if self.bytes > self._max_bytes or entry.since_ns - self._waiting[0].since_ns > self._max_age_ns:
            self._shed(entry.since_ns)
        self._ready.set()

    async def wait(self) -> None:
        """Return when there is something to take, or `wake` was called."""
        await self._ready.wait()

    def wake(self) -> None:
        """End a `wait`."""
        self._ready.set()

    def take(self, max_count: int, max_bytes: int) -> list[Envelope]:
        """The next envelopes to send, in sequence order: at most `max_count`, and `max_bytes` unless the first is
        larger. They are in flight until `acknowledge` or `rewind`."""
        batch: list[Envelope] = []
        room = max_bytes
        while len(batch) < max_count and (source := self._next()):
            entry = source[0]
            if batch and entry.size > room:
                break
            room -= entry.size
            self._flight.append(source.popleft())
            batch.append(entry.envelope)
        if not batch:
            self._ready.clear()
        return batch

    def acknowledge(self, sequence: int) -> None:
        """Forget what was sent up to `sequence`: the consumer has it."""
        for entries in (self._flight, self._front):
            while entries and entries[0].sequence <= sequence:
                self._release(entries.popleft())

    def rewind(self, sequence: int) -> None:
        """A new stream begins, whose consumer has everything up to `sequence`: what else was in flight is sent again,
        or dropped, by this queue's policy."""
        self.acknowledge(sequence)
        if self._policy is Policy.RESEND:
            self._front.extendleft(reversed(self._flight))
            self._flight.clear()
        else:
            # What is in front was never sent, but markers made from here on must not overtake it: dissolve both.
            sent, unsent = self._flight, self._front
            self._flight, self._front = deque(), deque()
            for entry in (*sent, *unsent):
                self._markers -= entry.envelope.kind == _DROPPED
                self._drop(entry)
        self._ready.set()

    def _next(self) -> deque[Entry] | None:
        if not self._front and (self._holes or self._kept):
            self._declare()
        return self._front or self._waiting or None

    def _declare(self) -> None:
        """Move markers of all holes, and the kept envelopes between them, to the front."""
        markers = [_marker(channel, hole) for channel, hole in self._holes.items()]
        self._markers += len(markers)
        self.bytes += _MARKER_BYTES * len(markers)
        self._front.extend(sorted([*markers, *self._kept], key=lambda entry: entry.sequence))
        self._holes.clear()
        self._kept.clear()

    def _shed(self, now_ns: int) -> None:
        waiting = self._waiting
        while waiting and (self.bytes > self._max_bytes or now_ns - waiting[0].since_ns > self._max_age_ns):
            self._drop(waiting.popleft())

    def _drop(self, entry: Entry) -> None:
        envelope = entry.envelope
        if envelope.kind in _KEPT_KINDS:
            self._kept.append(entry)
            return
        self.bytes -= entry.size
        if envelope.kind == _DROPPED:
            lost = msgspec.json.decode(
                envelope.payload, type=_Range
            )  # a marker that was not delivered: back into holes
        else:
            lost = _Range(entry.sequence, entry.sequence, 1)
            self.dropped += 1
        if (hole := self._holes.get(envelope.channel)) is None:
            self._holes[envelope.channel] = _Hole(lost, envelope.connection, envelope.ts_recv)
        else:
            hole.add(envelope, lost)

    def _release(self, entry: Entry) -> None:
        self.bytes -= entry.size
        if entry.envelope.kind == _DROPPED:
            self._markers -= 1
        else:
            self.delivered += 1


def _marker(channel: str, hole: _Hole) -> Entry:
    envelope = Envelope(
        sequence=hole.range.last,
        ts_recv=hole.ts_recv,
        connection=hole.connection,
        channel=channel,
        kind=_DROPPED,
        payload=msgspec.json.encode(hole.range),
    )
    return Entry(hole.range.last, envelope, _MARKER_BYTES, 0)
