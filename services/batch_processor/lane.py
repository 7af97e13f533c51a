"""One provider's stream into this instance: accepted, made durable in groups, acknowledged, chunked, stored."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import providers
from penstock import telemetry
from penstock.errors import PenstockError, StaleEpoch
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope, PushRequest
from penstock.timestamps import MAX_NS, NS_PER_S
from services.batch_processor.chunks import Chunk, Chunker
from services.batch_processor.disk import Disk
from services.batch_processor.outbox import Outbox
from services.batch_processor.settings import Settings
from services.batch_processor.spool import BATCH, CUT, Spool
from services.batch_processor.uploads import Uploads

GROUP_S: Final = 0.02
"""How long a commit waits for company: the price of one fsync is shared, and an acknowledgement is late by this."""

PENDING_BYTES: Final = 32 * 1024 * 1024
"""What may wait for the disk before the session manager is no longer read from; its own queue then has the say."""

SEGMENT_NS: Final = 60 * NS_PER_S
"""A new segment after so much stream time, that the spool of a slow stream is let go too."""

_RETRY_S: Final = 1.0
"""Between two looks at a disk that refuses what it must take before anything else can go on."""

_KINDS: Final = frozenset(raw_pb2.Kind.values()) - {raw_pb2.KIND_UNSPECIFIED}

_duplicates = telemetry.counter("batch_processor", "duplicates")
_spool_failures = telemetry.counter("batch_processor", "spool_failures")
_spool_bytes = telemetry.gauge("batch_processor", "spool_bytes")


class Refused(PenstockError):
    """A batch breaks the contract of raw.proto: sending it again cannot help."""


class SpoolFailed(PenstockError):
    """The disk takes nothing (full, or broken): the sender keeps what is not acknowledged and tries again."""


class Lane:
    """The stream of one provider. All methods are for one asyncio loop; only disk work happens in threads."""

    def __init__(self, provider: str, settings: Settings, uploads: Uploads, disk: Disk) -> None:
        info = providers.info(provider)
        folder = Path(settings.spool) / provider
        self._provider = provider
        self._segment_bytes = settings.segment_bytes
        self._disk = disk
        self._spool = Spool(folder)
        stored = self._spool.stored()
        self._outbox = Outbox(folder / "outbox", uploads, stored, self._stored_one)
        self._chunker = Chunker(
            info, providers.payloads(provider), settings.instance, round(settings.roll_s * NS_PER_S),
            settings.object_bytes, self._spool.start(), stored,
        )  # fmt: skip
        self._accepted = self._durable = (0, 0)
        self._ready = False
        self._pending: list[PushRequest] = []
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._failures = 0
        self._reason = ""
        self._unreleased = False
        self._committing = asyncio.Lock()

    async def ready(self) -> None:
        """Return when what a former process left is chunked again. Raises SpoolFailed where the disk does not let it."""
        await self._until(lambda: self._ready)

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
        await self._until(lambda: self._pending_bytes < PENDING_BYTES)
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
        await self._until(lambda: self.durable(epoch) > beyond or self._durable[0] > epoch)
        if self._durable[0] > epoch:
            raise StaleEpoch(f"epoch is {epoch}, {self._durable[0]} has been seen")
        return self.durable(epoch)

    async def run(self) -> None:
        """Take up where a former process left, then commit what is offered until cancelled."""
        async with self._committing:
            await self._patiently(self._outbox.clear)
            await self._replay()
            await self._patiently(lambda: self._spool.roll(self._chunker.position))
            position = self._chunker.position
            self._accepted = self._durable = (position.epoch, position.sequence)
            self._ready = True
            await self._notify()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S if self._unreleased else None):
                    await self._wake.wait()
            await asyncio.sleep(GROUP_S)
            self._wake.clear()
            await self.commit()
            async with self._committing:
                self._release()

    async def commit(self) -> None:
        """Make everything pending durable, then chunk it."""
        async with self._committing:
            batches, self._pending, self._pending_bytes = self._pending, [], 0
            if not batches:
                return
            end = (batches[-1].epoch, batches[-1].envelopes[-1].sequence)
            records = [(BATCH, request.SerializeToString()) for request in batches]
            try:
                self._disk.check(sum(len(body) for _, body in records))
                await asyncio.to_thread(self._spool.append, records, end)
            except OSError as error:
                await self._fail(error)
                await self._make_room()
                return
            self._durable = end
            await self._notify()
            for request in batches:
                await self._box(self._feed(request))
                await asyncio.sleep(0)
            await self._roll()
            self._count()

    async def finish(self) -> None:
        """The stream ends here for now: commit, then close every open chunk, durably, so that a replay does the same."""
        if not self._ready:
            return  # the next start replays it all
        await self.commit()
        async with self._committing:
            await self._cut()

    async def settle(self) -> None:
        """Let go of what is stored, and close the spool."""
        if self._ready:
            async with self._committing:
                await self._begin_segment()
                self._unreleased = True
                self._release()
        self._spool.close()

    async def _replay(self) -> None:
        for segment, kind, body in self._spool.records():
            if kind == CUT:
                await self._box(self._chunker.close())
                continue
            request = PushRequest.FromString(body)
            segment.end = (request.epoch, request.envelopes[-1].sequence)
            await self._box(self._feed(request))
            await asyncio.sleep(0)
        self._count()

    def _feed(self, request: PushRequest) -> list[Chunk]:
        feed, epoch = self._chunker.feed, request.epoch
        closed: list[Chunk] = []
        for envelope in request.envelopes:
            if chunks := feed(epoch, envelope):
                closed += chunks
        return closed

    async def _box(self, chunks: Sequence[Chunk]) -> None:
        """Hand closed chunks to the uploads. What the disk refuses is waited for, so that it cannot fill the memory."""
        for chunk in chunks:
            refused = self._outbox.add(chunk)
            while refused is not None and self._outbox.in_memory:
                await self._fail(refused)
                await asyncio.sleep(_RETRY_S)

    async def _cut(self) -> bool:
        """Close every open chunk, durably; whether there was one."""
        if self._chunker.oldest is None:
            return False
        try:
            await asyncio.to_thread(self._spool.append, [(CUT, b"")], self._durable)
        except OSError as error:
            # What is open stays open: the next start goes on with it.
            await self._fail(error)
            return False
        await self._box(self._chunker.close())
        return True

    async def _make_room(self) -> None:
        # Where nothing is on its way to the store, only what is open holds the spool: nothing else would ever free it.
        if self._outbox.oldest is None and await self._cut():
            await self._begin_segment()

    def _stored_one(self) -> None:
        self._unreleased = True
        self._wake.set()

    def _release(self) -> None:
        if not self._unreleased:
            return
        oldest = min(filter(None, (self._outbox.oldest, self._chunker.oldest)), default=None)
        # What is durable and not yet chunked is after every segment but the newest, which stays.
        try:
            self._spool.release(oldest, self._outbox.stored)
        except OSError as error:
            # Not even the list of what is stored could be written: tried again until it can.
            self._log(error)
            return
        self._unreleased = False
        self._count()

    def _count(self) -> None:
        self._disk.used[self._provider] = used = self._spool.size + self._outbox.size
        _spool_bytes.labels(self._provider).set(used)

    async def _roll(self) -> None:
        newest = self._spool.segments[-1]
        if (
            newest.size >= self._segment_bytes
            or abs(self._chunker.position.watermark - newest.start.watermark) >= SEGMENT_NS
        ):
            await self._begin_segment()

    async def _begin_segment(self) -> None:
        try:
            await asyncio.to_thread(self._spool.roll, self._chunker.position)
            self._unreleased = True
        except OSError as error:
            # The present segment goes on; the next commit tries again.
            self._log(error)

    async def _patiently(self, step: Callable[[], None]) -> None:
        """Do what everything else needs, as often as the disk refuses it."""
        while True:
            try:
                step()
            except OSError as error:
                await self._fail(error)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _until(self, condition: Callable[[], bool]) -> None:
        failures = self._failures
        async with self._changed:
            await self._changed.wait_for(lambda: condition() or self._failures != failures)
        if self._failures != failures:
            raise SpoolFailed(f"the spool takes nothing: {self._reason}")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _fail(self, error: OSError) -> None:
        """End every stream: its sender keeps what is not acknowledged, and declares what it must drop."""
        self._log(error)
        self._pending, self._pending_bytes = [], 0
        self._accepted = self._durable
        self._failures += 1
        self._reason = error.strerror or str(error)
        await self._notify()

    def _log(self, error: OSError) -> None:
        _spool_failures.inc()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        telemetry.logger().error("spool_failed", provider=self._provider, full=full, reason=str(error))


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
