"""RawService.Push: batches in, cumulative acknowledgements out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import grpc.aio
import protovalidate

from penstock import listener, telemetry
from penstock.errors import ConfigError, StaleEpoch
from penstock.raw.v1.raw_pb2 import Instance, PushRequest, PushResponse
from penstock.raw.v1.service import OPTIONS, PushHandler, add_push
from services.batch_processor.lane import Lane, Refused, SpoolFailed

_stale_epochs = telemetry.counter("batch_processor", "stale_epochs_refused")


class Server:
    """Serves Push for one instance. `lane` gives the lane of a provider; it raises ConfigError for an unknown one."""

    def __init__(self, listen: str, instance: str, lane: Callable[[str], Lane], credentials: Any = None) -> None:
        self._instance = Instance.Value(f"INSTANCE_{instance}")
        self._lane = lane
        self._server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", 0)))
        # A coroutine that reads and writes its context: reading batches and writing acknowledgements are two tasks.
        add_push(self._server, cast("PushHandler", self.push))
        self._listen = listen
        self.port = listener.bind(self._server, listen, credentials)

    async def start(self) -> None:
        """Accept streams."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new; streams have `grace_s` to end by themselves."""
        await self._server.stop(grace_s)
        listener.remove(self._listen)

    async def push(self, requests: AsyncIterator[PushRequest], context: grpc.aio.ServicerContext) -> None:
        """One stream of one session."""
        refusal: tuple[grpc.StatusCode, BaseExceptionGroup] | None = None
        try:
            await self._serve(requests, context)
        except* StaleEpoch as group:
            refusal = grpc.StatusCode.FAILED_PRECONDITION, group
            _stale_epochs.inc()
        except* (Refused, ConfigError, protovalidate.ValidationError) as group:
            refusal = grpc.StatusCode.INVALID_ARGUMENT, group
        except* SpoolFailed as group:
            refusal = grpc.StatusCode.UNAVAILABLE, group
        except* grpc.aio.BaseError:
            # The peer went while an acknowledgement was being written: it is told again on its next stream.
            telemetry.logger().info("stream_lost")
        if refusal is not None:
            code, error = refusal[0], _leaf(refusal[1])
            telemetry.logger().warning("stream_refused", code=code.name, reason=str(error)[:300])
            await context.abort(code, str(error)[:300])

    async def _serve(self, requests: AsyncIterator[PushRequest], context: grpc.aio.ServicerContext) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        protovalidate.validate(first)
        if first.instance != self._instance:
            raise Refused(f"instance is {Instance.Name(first.instance)}, this is {Instance.Name(self._instance)}")
        provider, epoch = first.provider, first.epoch
        try:
            lane = self._lane(provider)
        except OSError as error:
            raise SpoolFailed(f"no spool for {provider}: {error.strerror}") from None
        await lane.ready()
        known = lane.durable(epoch)
        last = _last(first)
        await lane.offer(first)
        await context.write(PushResponse(acked_sequence=known))
        writing = asyncio.Lock()
        async with asyncio.TaskGroup() as tasks:
            acknowledging = tasks.create_task(_acknowledge(lane, epoch, known, context, writing))
            try:
                async for request in requests:
                    protovalidate.validate(request)
                    if (request.provider, request.instance, request.epoch) != (provider, self._instance, epoch):
                        raise Refused("provider, instance or epoch changed within a stream")
                    last = _last(request)
                    await lane.offer(request)
                # The sender is done: it gets its last acknowledgement before the stream ends.
                while lane.durable(epoch) < last:
                    await lane.advanced(epoch, lane.durable(epoch))
            finally:
                # A write cancelled half-way leaves a call that neither ends nor takes another write (grpcio 1.85).
                async with writing:
                    acknowledging.cancel()
        await context.write(PushResponse(acked_sequence=lane.durable(epoch)))


async def _acknowledge(
    lane: Lane, epoch: int, sent: int, context: grpc.aio.ServicerContext, writing: asyncio.Lock
) -> None:
    while True:
        sent = await lane.advanced(epoch, sent)
        async with writing:
            await context.write(PushResponse(acked_sequence=sent))


def _last(request: PushRequest) -> int:
    return request.envelopes[-1].sequence


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
