"""Once a second: plain counts into metrics, and the metrics into one log line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import Counter

from penstock import telemetry
from services.session_manager import metrics
from services.session_manager.connection import Connection
from services.session_manager.queue import Queue
from services.session_manager.stamp import Stamper

_PERIOD_S: Final = 1.0


class Stats:
    """Reports one session manager."""

    def __init__(self, stamper: Stamper, queues: Sequence[Queue], live: Mapping[int, Connection]) -> None:
        self._stamper = stamper
        self._queues = queues
        self._live = live
        self._reported: dict[tuple[str, str], int] = {}
        self._log = telemetry.logger()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.report()

    def report(self) -> None:
        """Bring the metrics up to date and log them."""
        self._add(metrics.FRAMES, "frames", "", self._stamper.frames)
        for queue in self._queues:
            name = queue.consumer
            self._add(metrics.ENQUEUED.labels(name), "enqueued", name, queue.enqueued)
            self._add(metrics.DELIVERED.labels(name), "delivered", name, queue.delivered)
            if dropped := self._add(metrics.DROPPED.labels(name), "dropped", name, queue.dropped):
                self._log.warning("dropped", consumer=name, count=dropped)
            metrics.QUEUE_HELD.labels(name).set(queue.held)
            metrics.QUEUE_BYTES.labels(name).set(queue.bytes)
        live = list(self._live.values())
        metrics.CONNECTIONS_UP.set(sum(one.alive for one in live))
        metrics.SUBSCRIPTIONS_MISSING.set(sum(len(one.subscriptions.missing) for one in live))
        metrics.CHANNELS_WITHOUT_DATA.set(sum(one.without_data for one in live))
        self._log.info("stats", metrics=telemetry.snapshot())

    def _add(self, counter: Counter, name: str, consumer: str, total: int) -> int:
        """Add what came since the last report; answers how much."""
        new = total - self._reported.get((name, consumer), 0)
        self._reported[name, consumer] = total
        counter.inc(new)
        return new
