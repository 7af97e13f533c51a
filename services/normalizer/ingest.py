"""The gRPC side: who may push, what a batch must be, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
import protovalidate

from penstock import clock, telemetry
from penstock.raw.v1.raw_pb2 import Instance, PushRequest, PushResponse
from penstock.timestamps import NS_PER_MS
from services.normalizer.health import Health
from services.normalizer.pipeline import BadEnvelope, Pipeline

ACK_EVERY_NS: Final = 500 * NS_PER_MS
ACK_EVERY_ENVELOPES: Final = 10_000


class Ingest:
    """RawService.Push of one provider and instance.

    One stream is served at a time: the newest of the highest epoch. Batches of a lower epoch end their stream with
    FAILED_PRECONDITION, an older stream of the same epoch ends with ABORTED at its next batch.
    """

    def __init__(self, provider: str, instance: str, pipeline: Pipeline, health: Health) -> None:
        self._provider = provider
        self._instance = Instance.Value(f"INSTANCE_{instance}")
        self._pipeline = pipeline
        self._health = health
        self._validator = protovalidate.Validator()
        self._owner: object = None
        self._stopping = False
        self._log: Any = telemetry.logger()

    def stop(self) -> None:
        """End each stream, acknowledged, after its next batch."""
        self._stopping = True

    async def push(
        self, requests: AsyncIterator[PushRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[PushResponse]:
        """Consume one stream. The first answer says what is known of its epoch, before its first batch is consumed."""
        pipeline, stream = self._pipeline, object()
        acked_at, unacked, opened = 0, 0, False
        async for batch in requests:
            await self._admit(batch, context)
            if not opened:
                self._owner, opened = stream, True
                pipeline.begin(batch.epoch)
                self._log.info("stream_opened", epoch=batch.epoch, acked=pipeline.acked)
                yield PushResponse(acked_sequence=pipeline.acked)
                acked_at = clock.monotonic_ns()
            await pipeline.publisher.room()
            if batch.epoch < pipeline.epoch:
                await _stale(context, batch.epoch, pipeline.epoch)
            if self._owner is not stream:
                await context.abort(grpc.StatusCode.ABORTED, "superseded by a newer stream")
            pipeline.begin(batch.epoch)
            try:
                pipeline.process(batch)
            except BadEnvelope as error:
                self._log.error("batch_refused", stage="receiving", reason=str(error))
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            self._health.consumed()
            unacked += len(batch.envelopes)
            now = clock.monotonic_ns()
            if pipeline.has_resyncs() or unacked >= ACK_EVERY_ENVELOPES or now - acked_at >= ACK_EVERY_NS:
                acked_at, unacked = now, 0
                yield PushResponse(acked_sequence=pipeline.acked, resync_channels=pipeline.resyncs())
            if self._stopping:
                break
        if unacked and self._owner is stream:
            yield PushResponse(acked_sequence=pipeline.acked, resync_channels=pipeline.resyncs())

    async def _admit(self, batch: PushRequest, context: grpc.aio.ServicerContext) -> None:
        """End the stream where a batch breaks the contract, is somebody else's, or of an older epoch."""
        try:
            self._validator.validate(batch)
        except protovalidate.ValidationError as error:
            fields = "; ".join(_violation(violation) for violation in error.violations)
            self._log.error("batch_refused", stage="receiving", reason=fields)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, fields)
        if batch.provider != self._provider or batch.instance != self._instance:
            theirs, ours = (batch.provider, batch.instance), (self._provider, self._instance)
            text = f"provider, instance: are {_name(*theirs)}, this normalizer is {_name(*ours)}"
            self._log.error("batch_refused", stage="receiving", reason=text)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if batch.epoch < self._pipeline.epoch:
            self._pipeline.counts.stale_epochs_refused += 1
            self._log.warning("stale_epoch_refused", stage="receiving", epoch=batch.epoch)
            await _stale(context, batch.epoch, self._pipeline.epoch)


async def _stale(context: grpc.aio.ServicerContext, epoch: int, seen: int) -> NoReturn:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"stale epoch: {epoch} is below {seen}")
    raise AssertionError  # abort always raises


def _violation(violation: Any) -> str:
    path = ".".join(element.field_name for element in violation.proto.field.elements)
    return f"{path}: {violation.proto.message}"


def _name(provider: str, instance: int) -> str:
    return f"{provider} {Instance.Name(instance).removeprefix('INSTANCE_')}"
