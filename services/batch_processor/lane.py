"""One provider's stream into this instance: accepted, made durable in groups, acknowledged, chunked, stored."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

import providers
from penstock import telemetry
from penstock.errors import PenstockError, StaleEpoch
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope, PushRequest
from penstock.timestamps import MAX_NS, NS_PER_S
from services.batch_processor.chunks import Chunk, Chunker, ChunkId
from services.batch_processor.settings import Settings
from services.batch_processor.spool import BATCH, CUT, Segment, Spool
from services.batch_processor.uploads import Upload, Uploads

GROUP_S: Final = 0.02
"""How long a commit waits for company: the price of one fsync is shared, and an acknowledgement is late by this."""

PENDING_BYTES: Final = 32 * 1024 * 1024
"""What may wait for the disk before the session manager is no longer read from; its own queue then has the say."""

SEGMENT_NS: Final = 60 * NS_PER_S
"""A new segment after so much stream time, that the spool of a slow stream is let go too."""

_KINDS: Final = frozenset(raw_pb2.Kind.values()) - {raw_pb2.KIND_UNSPECIFIED}

_duplicates = telemetry.counter("batch_processor", "duplicates")
_failures = telemetry.counter("batch_processor", "spool_failures")
_spool_bytes = telemetry.gauge("batch_processor", "spool_bytes")


class Refused(PenstockError):
    """A batch breaks the contract of raw.proto: sending it again cannot help."""


class SpoolFailed(PenstockError):
    """The disk took nothing (full, or broken): the sender keeps what is not acknowledged and tries again."""


class Lane:
    """The stream of one provider. All methods are for one asyncio loop; only disk work happens in threads."""

    def __init__(self, provider: str, settings: Settings, uploads: Uploads) -> None:
        """Takes up where a killed process left: everything in the spool is chunked again, what is stored is skipped."""
        info = providers.info(provider)
        self._segment_bytes = settings.segment_bytes
        self._uploads = uploads
        self._spool = Spool(Path(settings.spool) / provider)
        self._outbox = Path(settings.spool) / provider / "outbox"
        shutil.rmtree(self._outbox, ignore_errors=True)
        self._outbox.mkdir(parents=True)
        self._gauge = _spool_bytes.labels(provider)
        self._stored = self._spool.stored()
        self._waiting: dict[int, tuple[int, int]] = {}
        self._boxed = 0
        self._chunker = Chunker(
            info, providers.payloads(provider), settings.instance, round(settings.roll_s * NS_PER_S),
            settings.object_bytes, self._spool.start(), self._stored,
        )  # fmt: skip
        self._replay()
        position = self._chunker.position
        self._accepted = self._durable = (position.epoch, position.sequence)
        self._pending: list[PushRequest] = []
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._failures = 0
        self._committing = asyncio.Lock()
        self._spool.roll(position)

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and sequence up to which everything is on disk or stored."""
        return self._durable

    def durable(self, epoch: int) -> int:
        """The last sequence of `epoch` that is on disk or stored; 0 where there is none."""
        return self._durable[1] if self._durable[0] == epoch else 0

    async def offer(self, request: PushRequest) -> None:
        """Take a batch, without what came before; waits while too much is pending.

        Raises StaleEpoch, Refused or SpoolFailed.
        """
        if request.epoch < self._accepted[0]:
            raise StaleEpoch(f"epoch is {request.epoch}, {self._accepted[0]} has been seen")
        _check(request.envelopes)
        failures = self._failures
        async with self._changed:
            await self._changed.wait_for(lambda: self._pending_bytes < PENDING_BYTES or self._failures != failures)
        if self._failures != failures:
            raise SpoolFailed("the spool's disk takes nothing")
        # Nothing is awaited from here on: two streams of one epoch must not take the same envelopes twice.
        if request.epoch < self._accepted[0]:
            raise StaleEpoch(f"epoch is {request.epoch}, {self._accepted[0]} has been seen")
        seen = self._accepted[1] if self._accepted[0] == request.epoch else 0
        old = sum(1 for envelope in request.envelopes if envelope.sequence <= seen)
        if old:
            _duplicates.inc(old)
            del request.envelopes[:old]
        if request.envelopes:
            self._accepted = (request.epoch, request.envelopes[-1].sequence)
            self._pending.append(request)
            self._pending_bytes += request.ByteSize()
            self._wake.set()

    async def advanced(self, epoch: int, beyond: int) -> int:
        """Wait until more than `beyond` of `epoch` is durable; how far. Raises StaleEpoch or SpoolFailed."""
        failures = self._failures
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.durable(epoch) > beyond or self._durable[0] > epoch or self._failures != failures
            )
        if self._failures != failures:
            raise SpoolFailed("the spool's disk takes nothing")
        if self._durable[0] > epoch:
            raise StaleEpoch(f"epoch is {epoch}, {self._durable[0]} has been seen")
        return self.durable(epoch)

    async def run(self) -> None:
        """Commit what is offered until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GROUP_S)
            self._wake.clear()
            await self.commit()

    async def commit(self) -> None:
        """Make everything pending durable, then chunk it."""
        async with self._committing:
            batches, self._pending, self._pending_bytes = self._pending, [], 0
            if not batches:
                return
            end = (batches[-1].epoch, batches[-1].envelopes[-1].sequence)
            records = [(BATCH, request.SerializeToString()) for request in batches]
            try:
                await asyncio.to_thread(self._spool.append, records, end)
            except OSError as error:
                await self._fail(error)
                return
            self._durable = end
            async with self._changed:
                self._changed.notify_all()
            for request in batches:
                self._box(self._feed(request))
                await asyncio.sleep(0)
            await self._roll()
            self._gauge.set(self._spool.size)

    async def finish(self) -> None:
        """The stream ends here for now: commit, then close every open chunk, durably, so that a replay does the same."""
        await self.commit()
        async with self._committing:
            if self._chunker.oldest is None:
                return
            try:
                await asyncio.to_thread(self._spool.append, [(CUT, b"")], self._durable)
            except OSError as error:
                # What is open stays open: the next start goes on with it.
                _spool_failed(error)
                return
            self._box(self._chunker.close())

    async def settle(self) -> None:
        """Let go of what is stored, and close the spool."""
        async with self._committing:
            await self._begin_segment()
            self._release()
            self._spool.close()

    def _replay(self) -> None:
        for segment, kind, body in self._spool.records():
            if kind == CUT:
                self._box(self._chunker.close())
                continue
            request = PushRequest.FromString(body)
            self._box(self._feed(request))
            segment.end = (request.epoch, request.envelopes[-1].sequence)
        self._gauge.set(self._spool.size)

    def _feed(self, request: PushRequest) -> list[Chunk]:
        feed, epoch = self._chunker.feed, request.epoch
        closed: list[Chunk] = []
        for envelope in request.envelopes:
            if chunks := feed(epoch, envelope):
                closed += chunks
        return closed

    def _box(self, chunks: list[Chunk]) -> None:
        """Hand closed chunks to the uploads. The files need no fsync: the spool can make them again."""
        for chunk in chunks:
            self._boxed += 1
            number, path = self._boxed, self._outbox / str(self._boxed)
            data, sha256 = chunk.finish()
            path.write_bytes(data)
            self._waiting[number] = (chunk.epoch, chunk.first)
            chunk_id = chunk.id
            self._uploads.add(
                Upload(chunk.key, path, sha256, chunk.rows, lambda n=number, i=chunk_id: self._done(n, i))  # type: ignore[misc] # the defaults bind this turn's values
            )

    def _done(self, number: int, chunk: ChunkId) -> None:
        del self._waiting[number]
        self._stored.append(chunk)
        self._release()

    def _release(self) -> None:
        oldest = min(self._waiting.values(), default=None)
        if (still_open := self._chunker.oldest) is not None:
            oldest = min(oldest, still_open) if oldest is not None else still_open
        # What is durable and not yet chunked is after every segment but the newest, which stays.
        if self._spool.release(oldest, self._stored):
            self._gauge.set(self._spool.size)

    async def _roll(self) -> None:
        newest: Segment = self._spool.segments[-1]
        position = self._chunker.position
        if newest.size >= self._segment_bytes or position.watermark - newest.start.watermark >= SEGMENT_NS:
            await self._begin_segment()

    async def _begin_segment(self) -> None:
        try:
            await asyncio.to_thread(self._spool.roll, self._chunker.position)
        except OSError as error:
            # The present segment goes on; the next commit tries again.
            _spool_failed(error)

    async def _fail(self, error: OSError) -> None:
        _spool_failed(error)
        self._pending, self._pending_bytes = [], 0
        self._accepted = self._durable
        self._failures += 1
        async with self._changed:
            self._changed.notify_all()


def _spool_failed(error: OSError) -> None:
    _failures.inc()
    telemetry.logger().error("spool_failed", reason=str(error))


def _check(envelopes: object) -> None:
    last = 0
    envelope: Envelope
    for envelope in envelopes:  # type: ignore[attr-defined] # protobuf's repeated field
        if not last < envelope.sequence < 2**63 or not 0 < envelope.ts_recv <= MAX_NS:
            raise Refused(
                f"envelope has sequence {envelope.sequence} after {last} and ts_recv {envelope.ts_recv}, expected "
                "a rising sequence and UNIX nanoseconds"
            )
        if envelope.kind not in _KINDS or not 0 < len(envelope.channel) <= 512:
            raise Refused(
                f"envelope {envelope.sequence} has kind {envelope.kind} and channel {envelope.channel[:40]!r}"
            )
        last = envelope.sequence
