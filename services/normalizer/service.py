"""The normalizer put together: one object that a process, or a test, runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc.aio

from penstock import clock, listener, telemetry
from penstock.drift import Vocabulary
from penstock.normalizing import Normalizer
from penstock.provider import ProviderInfo
from penstock.raw.v1.service import OPTIONS, add_push
from penstock.tracing import Tracer
from services.normalizer.config import NormalizerConfig
from services.normalizer.counts import Counts
from services.normalizer.drift import DriftWatch
from services.normalizer.health import Health
from services.normalizer.ingest import Ingest
from services.normalizer.pipeline import Pipeline
from services.normalizer.quarantine import Quarantine
from services.normalizer.state import State

_GRACE_S: Final = 1.5
"""Session managers send at least a heartbeat each second, so that every stream can end after a batch."""

_FIRST_CONNECTION_S: Final = 1.0


class Service:
    """One normalizer. `run` serves until `stop` is called."""

    def __init__(
        self,
        config: NormalizerConfig,
        info: ProviderInfo,
        normalizer: Normalizer,
        vocabulary: Vocabulary | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.counts = Counts()
        self.health = Health()
        self.listening = asyncio.Event()
        self._config = config
        self._nodes = config.nodes()
        self._stop = asyncio.Event()
        self._quarantine = Quarantine(
            Path(config.quarantine_dir), f"{info.name}-{config.instance.lower()}", config.quarantine_bytes
        )
        self._state = State(config.instance, info.segment)
        self._pipeline = Pipeline(
            info, config.instance, normalizer, self.counts, self._quarantine, self._state, self._nodes,
            DriftWatch(vocabulary, self.counts), run=clock.time_ns(), tracer=tracer,
        )  # fmt: skip
        self._ingest = Ingest(info.name, config.instance, self._pipeline, self.health)
        self._log: Any = telemetry.logger()

    def observe(self) -> None:
        """Bring the gauges and the signs of work up to date; to be called about once a second."""
        unanswered = self._pipeline.publisher.unanswered_bytes
        self.counts.redis_up, self.counts.unanswered_bytes = unanswered is not None, unanswered or 0
        self.health.signs.seen("loop")
        if self.counts.redis_up:
            self.health.signs.seen("redis")

    def stop(self) -> None:
        """Begin to end: streams end after their next batch, what was received is published, `run` returns."""
        self._ingest.stop()
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped. Raises Terminal where the configuration cannot work."""
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._pipeline.publisher.run()),
                tasks.create_task(self._state.run()),
                tasks.create_task(self._quarantine.run()),
            ]
            try:
                await self._serve()
            finally:
                for task in background:
                    task.cancel()

    async def _serve(self) -> None:
        publisher = self._pipeline.publisher
        # A first connection before the first envelope saves a gap on every channel; Redis may also be away for long.
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_CONNECTION_S):
                await publisher.ready.wait()
        # Two processes on one TCP port would share its connections.
        server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", 0)))
        add_push(server, self._ingest.push)
        self.health.serve(server)
        try:
            listener.bind(server, self._config.listen)
            await server.start()
            self._log.info("listening", address=self._config.listen)
            self.listening.set()
            await self._stop.wait()
        finally:
            await server.stop(_GRACE_S)
        listener.remove(self._config.listen)
        await publisher.drain()
        await self._state.flush()
        self._log.info("stopped", acked=self._pipeline.acked)
