"""Carries one consumer's queue to it over a gRPC stream, and its acknowledgements and wishes back.

Batches are adaptive without a timer: what is queued when the previous write returned goes out at once, so an idle feed waits
for nothing and a busy one batches by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from penstock import clock, telemetry
from penstock.errors import ConnectionLost, StaleEpoch
from penstock.raw.v1 import service
from penstock.raw.v1.raw_pb2 import Envelope, Instance, Kind, PushRequest
from penstock.tracing import RECEIVE, Tracer
from services.session_manager import metrics
from services.session_manager.backoff import Backoff
from services.session_manager.queue import Queue

_BATCH: Final = 256
_BATCH_BYTES: Final = 4 * 1024 * 1024
_RETRY_BASE_S: Final = 0.05
_RETRY_CAP_S: Final = 0.5
_REASON: Final = 200  # characters of a consumer's words in our log
_REACH_S: Final = 2.0
_ANSWER_S: Final = 5.0

# gRPC's own reconnect backoff starts at 1 s and would decide over ours; the pool of subchannels is shared by default.
_OPTIONS: Final = (
    *service.OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


# A peer killed in the middle of a write raises ExecuteBatchError, of which only the base class is public.
_STREAM_ERRORS: Final = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError, ConnectionLost)


class Identity(NamedTuple):
    """Whose envelopes these are; on every batch."""

    provider: str
    instance: Instance
    epoch: int


class Forwarder:
    """One consumer. `resync` is called with the channels it lost; `connected` when a stream is up, with whether it is
    another than the first; `check` before each batch, to raise StaleEpoch where nothing may be sent any more.
    `credentials` (penstock.mtls) are for a consumer on another host; none are needed where a socket's mode decides."""

    def __init__(
        self,
        target: str,
        queue: Queue,
        identity: Identity,
        resync: Callable[[Sequence[str]], None],
        connected: Callable[[bool], None],
        check: Callable[[], None],
        credentials: Any = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._target = target
        self._queue = queue
        self._identity = identity
        self._resync = resync
        self._connected = connected
        self._check = check
        self._credentials = credentials
        self._tracer = tracer
        self._draining = False
        self._streams = 0
        self._told = False
        self._log = telemetry.logger().bind(consumer=queue.consumer)
        self._up = metrics.CONSUMERS_UP.labels(queue.consumer)

    def drain(self) -> None:
        """End `run` once everything queued is sent and the consumer has ended the stream."""
        self._draining = True
        self._queue.wake()

    async def run(self) -> None:
        """Forward until drained. Raises StaleEpoch where the consumer knows a newer owner."""
        backoff = Backoff(_RETRY_BASE_S, _RETRY_CAP_S)
        async with self._channel() as channel:
            while not (self._draining and self._queue.held == 0):
                try:
                    await self._reach(channel)
                    await self._stream(service.push(channel), backoff)
                except ConnectionLost as lost:
                    self._up.set(0)
                    if not self._told:  # once per outage
                        self._log.warning("consumer_lost", target=self._target, reason=str(lost))
                        self._told = True
                    await asyncio.sleep(backoff.next_s())
                else:
                    return

    def _channel(self) -> grpc.aio.Channel:
        if self._credentials is None or self._target.startswith("unix:"):
            return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        return grpc.aio.secure_channel(self._target, self._credentials, options=_OPTIONS)

    async def _reach(self, channel: grpc.aio.Channel) -> None:
        """Wait until the consumer accepts calls: nothing is taken from the queue, and so put at risk, before."""
        try:
            async with asyncio.timeout(_REACH_S):
                await channel.channel_ready()
        except TimeoutError:
            raise ConnectionLost("unreachable") from None

    async def _stream(self, call: Any, backoff: Backoff) -> None:
        """One stream until it is drained. Raises ConnectionLost and StaleEpoch."""
        # A consumer tells streams apart by their first batch, so it can only answer what it has after that. Batches it
        # receives twice it recognizes by their sequence.
        self._queue.rewind(0)
        answered = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(call, answered))
                await self._introduce(call, answered)
                self._opened(backoff)
                await self._write(call)
        except ExceptionGroup as group_error:
            raise await self._verdict(call, group_error) from None
        finally:
            call.cancel()

    async def _introduce(self, call: Any, answered: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._send(call)
                await answered.wait()
        except TimeoutError:
            raise ConnectionLost("no answer") from None

    def _opened(self, backoff: Backoff) -> None:
        backoff.reset()
        self._streams += 1
        self._told = False
        self._up.set(1)
        self._log.info("consumer_connected", target=self._target)
        self._connected(self._streams > 1)

    async def _write(self, call: Any) -> None:
        while not (self._draining and not self._queue.pending):
            await self._send(call)
        await call.done_writing()

    async def _send(self, call: Any) -> None:
        """Send one batch of what is queued; wait for the first envelope where nothing is."""
        batch = self._queue.take(_BATCH, _BATCH_BYTES)
        if not batch:
            await self._queue.wait()
            batch = self._queue.take(_BATCH, _BATCH_BYTES)
        if batch:
            self._check()
            provider, instance, epoch = self._identity
            await call.write(PushRequest(provider=provider, instance=instance, epoch=epoch, envelopes=batch))
            if self._tracer is not None and self._tracer.next(batch[0].sequence) <= batch[-1].sequence:
                self._trace(self._tracer, batch, clock.time_ns())

    def _trace(self, tracer: Tracer, batch: Sequence[Envelope], now_ns: int) -> None:
        """The spans of the sampled envelopes of a batch that was written now. Markers bear numbers of what was lost."""
        for envelope in batch:
            sequence = envelope.sequence
            if sequence % tracer.every == 0 and envelope.kind != Kind.KIND_DROPPED:
                tracer.span(RECEIVE, self._identity.epoch, sequence, envelope.ts_recv, now_ns, envelope.channel)

    async def _read(self, call: Any, answered: asyncio.Event) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            self._queue.acknowledge(response.acked_sequence)
            answered.set()
            if response.resync_channels:
                self._resync(response.resync_channels)
        if not (self._draining and not self._queue.pending):
            raise ConnectionLost("stream ended")

    async def _verdict(self, call: Any, group: ExceptionGroup[Exception]) -> Exception:
        """What the end of a stream means for the caller; errors that are none of gRPC's are handed on as they are."""
        error = group.exceptions[0]
        if not isinstance(error, _STREAM_ERRORS):
            return error
        # A write that fails because the call is over says nothing; the call itself knows its status.
        code, details = (await call.code(), await call.details()) if call.done() else (None, "")
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            return StaleEpoch(f"{self._queue.consumer} refuses epoch {self._identity.epoch}: {details}")
        if isinstance(error, ConnectionLost):
            return error
        return ConnectionLost(f"{code.name}: {details}"[:_REASON] if code else "write failed")
