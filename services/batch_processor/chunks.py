"""Which envelopes share an object: a pure function of the stream.

A chunk is the rows of one venue channel whose payload time falls into one bucket of `roll_ns`. It closes when the
stream's own time, the watermark, has passed its bucket by `LATENESS_NS`, or when it is full; what comes later goes to a
further object of its own partition. No clock is read: feeding the same envelopes again, in whatever batches, makes the
same objects.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Final, NamedTuple

import msgspec
from isal import isal_zlib

from penstock.channels import encode
from penstock.objectstore_raw import HEADER, MAX_CHANNEL_BYTES, SESSION, Partition, row
from penstock.payloads import CONTROL, REST, Payloads
from penstock.provider import ProviderInfo
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.timestamps import NS_PER_S, day_start_ns, utc_day
from services.batch_processor.streamtime import StreamTime

LATENESS_NS: Final = 2 * NS_PER_S
"""How long after its bucket's end a chunk still takes rows."""

_PIECE_BYTES: Final = 64 * 1024
_LEVEL: Final = 2
_DAY_NS: Final = 86_400 * NS_PER_S

_OBSERVATIONS: Final = {
    raw_pb2.KIND_CONNECTED: "CONNECTED",
    raw_pb2.KIND_DISCONNECTED: "DISCONNECTED",
    raw_pb2.KIND_DROPPED: "DROPPED",
}


class Position(msgspec.Struct, frozen=True):
    """All that later chunking depends on, besides the open chunks. Times are UNIX ns, 0 before the first envelope.

    `sequence` and `ts_recv` are of the last envelope of `epoch`; the rest is StreamTime's.
    """

    epoch: int = 0
    sequence: int = 0
    ts_recv: int = 0
    watermark: int = 0
    offset: int = 0
    doubts: int = 0
    heard: bool = False


class ChunkId(NamedTuple):
    """One object: envelopes `first` to `last` of an epoch that belong to one partition and bucket."""

    schema: str
    channel: str
    day: dt.date
    bucket: int
    epoch: int
    first: int
    last: int


_Where = tuple[str, str, dt.date, int]
"""What the rows of an open chunk have in common: schema, channel, day, bucket."""


class Chunk:
    """The rows of one object to be, compressed as they come so that an open chunk takes a seventh of its size.

    They are of the times from `start` to before `end`: of one bucket and one day.
    """

    def __init__(
        self, partition: Partition, bucket: int, start: int, end: int, epoch: int, first: int, deadline: int
    ) -> None:
        self.partition = partition
        self.bucket = bucket
        self.start, self.end = start, end
        self.epoch = epoch
        self.first = self.last = first
        self.deadline = deadline
        self.rows = 0
        self.size = 0
        self._pending = [HEADER]
        self._pending_bytes = len(HEADER)
        self._digest = hashlib.sha256()
        self._gzip = isal_zlib.compressobj(_LEVEL, wbits=31)
        self._parts: list[bytes] = []

    @property
    def id(self) -> ChunkId:
        _, _, schema, channel, day = self.partition
        return ChunkId(schema, channel, day, self.bucket, self.epoch, self.first, self.last)

    @property
    def key(self) -> str:
        """The object's key."""
        return self.partition.key(self.epoch, self.first, self.last)

    def add(self, sequence: int, line: bytes) -> int:
        """Append one row; the size with it, in bytes before compression."""
        size = len(line)
        self.last = sequence
        self.rows += 1
        self.size += size
        self._pending.append(line)
        self._pending_bytes += size
        # Cut where the rows themselves say: the compressor's output depends on how its input is cut.
        if self._pending_bytes >= _PIECE_BYTES:
            self._compress()
        return self.size

    def finish(self) -> tuple[bytes, str]:
        """The object's gzip bytes and the SHA-256 (hex) of what is in them. Call once, at the end."""
        self._compress()
        self._parts.append(self._gzip.flush())
        return b"".join(self._parts), self._digest.hexdigest()

    def _compress(self) -> None:
        piece = b"".join(self._pending)
        self._digest.update(piece)
        self._parts.append(self._gzip.compress(piece))
        self._pending, self._pending_bytes = [], 0


class Chunker:
    """Sorts one provider's envelopes into chunks. Envelopes come in sequence order, each once, epochs rising."""

    def __init__(
        self, info: ProviderInfo, payloads: Payloads, instance: str, roll_ns: int, max_bytes: int,
        position: Position | None = None, stored: Iterable[ChunkId] = (),
    ) -> None:  # fmt: skip
        """`stored` are objects that need not be made again while a stream is replayed from `position`."""
        position = position or Position()
        self._event_time = payloads.event_time
        self._place = lru_cache(65536)(partial(_place, info))
        self._provider, self._instance = info.segment, instance
        self._roll_ns, self._max_bytes = roll_ns, max_bytes
        self._epoch, self._sequence = position.epoch, position.sequence
        self._ts_recv = position.ts_recv
        self._time = StreamTime(position.watermark, position.offset, position.doubts, position.heard)
        self._open: dict[_Where, Chunk] = {}
        self._recent: dict[str, Chunk] = {}
        self._next_deadline = 0
        self._stored: dict[tuple[str, str, dt.date, int, int], list[tuple[int, int]]] = {}
        for chunk in stored:
            self._stored.setdefault(chunk[:5], []).append((chunk.first, chunk.last))

    @property
    def position(self) -> Position:
        time = self._time
        return Position(
            self._epoch, self._sequence, self._ts_recv, time.watermark, time.offset, time.doubts, time.heard
        )

    @property
    def oldest(self) -> tuple[int, int] | None:
        """(epoch, sequence) of the first row of all open chunks, None where none is open."""
        return min(((chunk.epoch, chunk.first) for chunk in self._open.values()), default=None)

    def feed(self, epoch: int, envelope: Envelope) -> list[Chunk]:
        """Take one envelope; the chunks that it closed."""
        closed: list[Chunk] = []
        ts_recv, sequence = envelope.ts_recv, envelope.sequence
        if epoch != self._epoch:
            closed = self.close()
            self._epoch, self._sequence, self._ts_recv = epoch, 0, 0
        if sequence != self._sequence + 1:
            closed += self._hole(sequence, ts_recv)
        kind = envelope.kind
        if kind == KIND_FRAME:
            closed += self._frame(envelope, sequence, ts_recv)
        else:
            closed += self._observed(kind, envelope, sequence, ts_recv)
        self._sequence, self._ts_recv = sequence, ts_recv
        if self._open and self._time.watermark >= self._next_deadline:
            closed += self._expire()
        return closed

    def close(self) -> list[Chunk]:
        """Close every open chunk, in the order of their first rows."""
        closed = sorted(self._open.values(), key=lambda chunk: (chunk.first, chunk.bucket, chunk.partition))
        self._open.clear()
        self._recent.clear()
        return closed

    def _frame(self, envelope: Envelope, sequence: int, ts_recv: int) -> list[Chunk]:
        channel, payload = envelope.channel, envelope.payload
        time = self._time
        at = time.frame(self._event_time(channel, payload), ts_recv, self._ts_recv, live=not channel.startswith(REST))
        closed = self._anew() if time.anew else []
        line = row(ts_recv, self._epoch, envelope.connection, sequence, payload)
        chunk = self._recent.get(channel)
        if chunk is None or not chunk.start <= at < chunk.end:
            return closed + self._add(*self._place(channel), at, sequence, line, channel)
        return [] if chunk.add(sequence, line) < self._max_bytes else self._full(chunk)

    def _anew(self) -> list[Chunk]:
        self._time.anew = False
        return self.close()

    def _observed(self, kind: raw_pb2.Kind, envelope: Envelope, sequence: int, ts_recv: int) -> list[Chunk]:
        at = self._time.quiet(ts_recv, self._ts_recv)
        closed = self._anew() if self._time.anew else []
        if kind == raw_pb2.KIND_HEARTBEAT:
            return closed
        text = _observation(_OBSERVATIONS[kind], envelope.channel, envelope.payload)
        line = row(ts_recv, self._epoch, envelope.connection, sequence, text)
        return closed + self._add("SYSTEM", SESSION, at, sequence, line)

    def _hole(self, sequence: int, ts_recv: int) -> list[Chunk]:
        """A row that says which envelopes never came. Its sequence is the last of them, which no other row has."""
        first, last = self._sequence + 1, sequence - 1
        text = msgspec.json.encode({"kind": "HOLE", "first": first, "last": last, "after": self._ts_recv})
        at = ts_recv + self._time.offset
        return self._add("SYSTEM", SESSION, at, last, row(ts_recv, self._epoch, 0, last, text))

    def _add(
        self, schema: str, channel: str, at: int, sequence: int, line: bytes, frames: str | None = None
    ) -> list[Chunk]:
        """Append a row to its chunk, where further frames of the channel `frames` then find it by its times alone."""
        where = (schema, channel, _day(at // _DAY_NS), at // self._roll_ns)
        stored = self._stored.get((*where, self._epoch)) if self._stored else None
        if stored and any(first <= sequence <= last for first, last in stored):
            return []
        chunk = self._open.get(where)
        if chunk is None:
            chunk = self._begin(where, sequence)
        if frames is not None and not stored:
            self._recent[frames] = chunk
        return [] if chunk.add(sequence, line) < self._max_bytes else self._full(chunk)

    def _full(self, chunk: Chunk) -> list[Chunk]:
        del self._open[chunk.id[:4]]
        self._recent.clear()
        return [chunk]

    def _begin(self, where: _Where, sequence: int) -> Chunk:
        schema, channel, day, bucket = where
        start, end = bucket * self._roll_ns, (bucket + 1) * self._roll_ns
        deadline = end + LATENESS_NS
        if deadline <= self._time.watermark:
            # Late: gathered until the present bucket ends, instead of one object for each row.
            deadline = (self._time.watermark // self._roll_ns + 1) * self._roll_ns + LATENESS_NS
        partition, midnight = Partition(self._instance, self._provider, schema, channel, day), day_start_ns(day)
        chunk = self._open[where] = Chunk(
            partition, bucket, max(start, midnight), min(end, midnight + _DAY_NS), self._epoch, sequence, deadline
        )
        self._next_deadline = min(self._next_deadline, deadline) if len(self._open) > 1 else deadline
        return chunk

    def _expire(self) -> list[Chunk]:
        passed = [where for where, chunk in self._open.items() if chunk.deadline <= self._time.watermark]
        closed = [self._open.pop(where) for where in passed]
        self._recent.clear()
        self._next_deadline = min((chunk.deadline for chunk in self._open.values()), default=0)
        return sorted(closed, key=lambda chunk: (chunk.first, chunk.bucket, chunk.partition))


def _place(info: ProviderInfo, channel: str) -> tuple[str, str]:
    """The schema and channel under which a channel's frames are stored."""
    if len(channel) * 3 > MAX_CHANNEL_BYTES < len(encode(channel)):
        # No channel of anybody's subscription: its name came out of a frame that nobody could read.
        return "SYSTEM", CONTROL
    return info.schema_of(channel), channel


def _observation(kind: str, channel: str, payload: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = {"text": payload.decode("utf-8", "replace")}
    return msgspec.json.encode({"kind": kind, "channel": channel, **fields})


@lru_cache(64)
def _day(days: int) -> dt.date:
    return utc_day(days * _DAY_NS)
