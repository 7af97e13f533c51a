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
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from isal import isal_zlib

from penstock.channels import encode
from penstock.objectstore_raw import HEADER, MAX_CHANNEL_BYTES, PLAUSIBLE_NS, SESSION, Partition, payload_time, row
from penstock.provider import CONTROL, Payloads, ProviderInfo
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from penstock.timestamps import NS_PER_S, utc_day

AHEAD_NS: Final = 2 * NS_PER_S
"""How far the watermark may be ahead of receive time: more than the clocks of a venue and a receiver are apart
(1.5 s seen in recordings), and little enough that one wrong payload closes nothing early."""

LATENESS_NS: Final = 2 * NS_PER_S
"""How long after its bucket's end a chunk still takes rows."""

_PIECE_BYTES: Final = 64 * 1024
_LEVEL: Final = 2

_OBSERVATIONS: Final = {
    raw_pb2.KIND_CONNECTED: "CONNECTED",
    raw_pb2.KIND_DISCONNECTED: "DISCONNECTED",
    raw_pb2.KIND_DROPPED: "DROPPED",
}


class Position(msgspec.Struct, frozen=True):
    """All that later chunking depends on, besides the open chunks. Times are UNIX ns, 0 before the first envelope.

    `sequence` and `ts_recv` are of the last envelope of `epoch`.
    """

    epoch: int = 0
    sequence: int = 0
    ts_recv: int = 0
    watermark: int = 0


class ChunkId(NamedTuple):
    """One object: envelopes `first` to `last` of an epoch that belong to one partition and bucket."""

    schema: str
    channel: str
    day: dt.date
    bucket: int
    epoch: int
    first: int
    last: int


class Chunk:
    """The rows of one object to be, compressed as they come so that an open chunk takes a seventh of its size."""

    def __init__(self, partition: Partition, bucket: int, epoch: int, first: int, deadline: int) -> None:
        self.partition = partition
        self.bucket = bucket
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

    def add(self, sequence: int, line: bytes) -> None:
        """Append one row."""
        self.last = sequence
        self.rows += 1
        self.size += len(line)
        self._pending.append(line)
        self._pending_bytes += len(line)
        # Cut where the rows themselves say: the compressor's output depends on how its input is cut.
        if self._pending_bytes >= _PIECE_BYTES:
            self._compress()

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
        self._merge_key = payloads.merge_key
        self._schema_of = lru_cache(65536)(info.schema_of)
        self._provider, self._instance = info.segment, instance
        self._roll_ns, self._max_bytes = roll_ns, max_bytes
        self._epoch, self._sequence = position.epoch, position.sequence
        self._ts_recv, self._watermark = position.ts_recv, position.watermark
        self._open: dict[tuple[str, str, dt.date, int], Chunk] = {}
        self._next_deadline = 0
        self._stored: dict[tuple[str, str, dt.date, int, int], list[tuple[int, int]]] = {}
        for chunk in stored:
            self._stored.setdefault(chunk[:5], []).append((chunk.first, chunk.last))

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._sequence, self._ts_recv, self._watermark)

    @property
    def oldest(self) -> tuple[int, int] | None:
        """(epoch, sequence) of the first row of all open chunks, None where none is open."""
        return min(((chunk.epoch, chunk.first) for chunk in self._open.values()), default=None)

    def feed(self, epoch: int, envelope: Envelope) -> list[Chunk]:
        """Take one envelope; the chunks that it closed."""
        closed = self.close() if epoch != self._epoch else []
        if epoch != self._epoch:
            self._epoch, self._sequence, self._ts_recv = epoch, 0, 0
        if envelope.ts_recv + PLAUSIBLE_NS < self._watermark:
            # The receiver's clock was ahead and has been put right: time starts anew, or nothing would close any more.
            closed += self.close()
            self._watermark = 0
        if envelope.sequence != self._sequence + 1:
            closed += self._hole(envelope)
        closed += self._take(envelope)
        self._sequence, self._ts_recv = envelope.sequence, envelope.ts_recv
        if self._open and self._watermark >= self._next_deadline:
            closed += self._expire()
        return closed

    def close(self) -> list[Chunk]:
        """Close every open chunk, in the order of their first rows."""
        closed = sorted(self._open.values(), key=lambda chunk: (chunk.first, chunk.bucket, chunk.partition))
        self._open.clear()
        return closed

    def _take(self, envelope: Envelope) -> list[Chunk]:
        ts_recv, kind = envelope.ts_recv, envelope.kind
        if kind == raw_pb2.KIND_FRAME:
            channel, payload = envelope.channel, envelope.payload
            at = payload_time(self._merge_key(channel, payload).ts_event, ts_recv)
            self._advance(min(at, ts_recv + AHEAD_NS))
            schema = self._schema_of(channel)
            if len(channel) * 3 > MAX_CHANNEL_BYTES < len(encode(channel)):
                # No channel of anybody's subscription: its name came out of a frame that nobody could read.
                schema, channel = "SYSTEM", CONTROL
            line = row(ts_recv, self._epoch, envelope.connection, envelope.sequence, payload)
            return self._add(schema, channel, at, envelope.sequence, line)
        if kind == raw_pb2.KIND_HEARTBEAT:
            # On an idle feed stream time moves on by as much as the receiver's did, whatever lies between the clocks.
            idle = max(0, ts_recv - self._ts_recv) if self._ts_recv else 0
            self._advance(min(self._watermark + idle, ts_recv + AHEAD_NS) if self._watermark else ts_recv)
            return []
        text = _observation(_OBSERVATIONS[kind], envelope.channel, envelope.payload)
        line = row(ts_recv, self._epoch, envelope.connection, envelope.sequence, text)
        return self._add("SYSTEM", SESSION, ts_recv, envelope.sequence, line)

    def _hole(self, envelope: Envelope) -> list[Chunk]:
        """A row that says which envelopes never came. Its sequence is the last of them, which no other row has."""
        first, last, ts_recv = self._sequence + 1, envelope.sequence - 1, envelope.ts_recv
        text = msgspec.json.encode({"kind": "HOLE", "first": first, "last": last, "after": self._ts_recv})
        return self._add("SYSTEM", SESSION, ts_recv, last, row(ts_recv, self._epoch, 0, last, text))

    def _add(self, schema: str, channel: str, at: int, sequence: int, line: bytes) -> list[Chunk]:
        bucket, day = at // self._roll_ns, _day(at // NS_PER_S // 86400)
        where = (schema, channel, day, bucket)
        if self._stored and any(
            first <= sequence <= last for first, last in self._stored.get((*where, self._epoch), ())
        ):
            return []
        chunk = self._open.get(where)
        if chunk is None:
            chunk = self._begin(where, sequence)
        chunk.add(sequence, line)
        if chunk.size < self._max_bytes:
            return []
        del self._open[where]
        return [chunk]

    def _begin(self, where: tuple[str, str, dt.date, int], sequence: int) -> Chunk:
        schema, channel, day, bucket = where
        deadline = (bucket + 1) * self._roll_ns + LATENESS_NS
        if deadline <= self._watermark:
            # Late: gathered until the present bucket ends, instead of one object for each row.
            deadline = (self._watermark // self._roll_ns + 1) * self._roll_ns + LATENESS_NS
        partition = Partition(self._instance, self._provider, schema, channel, day)
        chunk = self._open[where] = Chunk(partition, bucket, self._epoch, sequence, deadline)
        self._next_deadline = min(self._next_deadline, deadline) if len(self._open) > 1 else deadline
        return chunk

    def _advance(self, to: int) -> None:
        self._watermark = max(self._watermark, to)

    def _expire(self) -> list[Chunk]:
        passed = [where for where, chunk in self._open.items() if chunk.deadline <= self._watermark]
        closed = [self._open.pop(where) for where in passed]
        self._next_deadline = min((chunk.deadline for chunk in self._open.values()), default=0)
        return sorted(closed, key=lambda chunk: (chunk.first, chunk.bucket, chunk.partition))


def _observation(kind: str, channel: str, payload: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = {"text": payload.decode("utf-8", "replace")}
    return msgspec.json.encode({"kind": kind, "channel": channel, **fields})


@lru_cache(64)
def _day(days: int) -> dt.date:
    return utc_day(days * 86400 * NS_PER_S)
