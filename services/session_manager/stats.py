"""Once a second: plain counts into metrics, signs of work into the health report, and both to where they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import Counter

from penstock import clock, telemetry
from penstock.health import Signs
from services.session_manager import metrics
from services.session_manager.connection import Connection
from services.session_manager.queue import Queue
from services.session_manager.stamp import Stamper

_PERIOD_S: Final = 1.0
_LOOP_S, _STUCK_S, _LATELY_S = 15.0, 120.0, 10.0


def signs() -> Signs:
    """A heartbeat envelope goes through both queues each second, whatever the venue does: acknowledgements prove that
    frames would arrive. A normalizer that takes nothing for `_STUCK_S` needs a new start; a venue that is away does not.
    """
    return Signs(
        live={"loop": _LOOP_S, "normalizer": _STUCK_S},
        ready={"session": _LATELY_S, "normalizer": _LATELY_S, "batch_processor": _LATELY_S},
    )


class Stats:
    """Reports one session manager."""

    def __init__(
        self, stamper: Stamper, queues: Sequence[Queue], live: Mapping[int, Connection], shown: Signs,
        reporter: telemetry.Reporter,
    ) -> None:  # fmt: skip
        self.wanted = 0
        """How many connections there should be; 0 while that is not known yet."""
        self._stamper = stamper
        self._queues = queues
        self._live = live
        self._signs = shown
        self._reporter = reporter
        self._reported: dict[tuple[str, str], int] = {}
        self._data: dict[int, int] = {}
        self._data_s = self._up_s = clock.monotonic_s()
        self._log = telemetry.logger()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.report()
            self._reporter.tick()

    def finish(self) -> None:
        """Report what was counted since the last time."""
        self.report()
        self._reporter.finish()

    def report(self) -> None:
        """Bring the metrics and the signs up to date."""
        self._signs.seen("loop")
        self._add(metrics.FRAMES, "frames", "", self._stamper.frames)
        for queue in self._queues:
            name = queue.consumer
            self._add(metrics.ENQUEUED.labels(name), "enqueued", name, queue.enqueued)
            if self._add(metrics.DELIVERED.labels(name), "delivered", name, queue.delivered):
                self._signs.seen(name)
            if dropped := self._add(metrics.DROPPED.labels(name), "dropped", name, queue.dropped):
                self._log.warning("dropped", consumer=name, count=dropped)
            metrics.QUEUE_HELD.labels(name).set(queue.held)
            metrics.QUEUE_BYTES.labels(name).set(queue.bytes)
            metrics.QUEUE_LIMIT_BYTES.labels(name).set(queue.limit_bytes)
        self._connections(list(self._live.values()), clock.monotonic_s())

    def _connections(self, live: Sequence[Connection], now_s: float) -> None:
        up = sum(one.alive for one in live)
        if up:
            self._signs.seen("session")
        if self.wanted and up >= self.wanted:
            self._up_s = now_s
        data = {one.number: one.data for one in live}
        if any(count > self._data.get(number, 0) for number, count in data.items()):
            self._data_s = now_s
        self._data = data
        metrics.CONNECTIONS_WANTED.set(self.wanted)
        metrics.CONNECTIONS_UP.set(up)
        metrics.DOWN_SECONDS.set(round(now_s - self._up_s, 3))
        metrics.DATA_AGE_SECONDS.set(round(now_s - self._data_s, 3))
        metrics.SUBSCRIPTIONS_WANTED.set(sum(len(one.plan.channels) for one in live))
        metrics.SUBSCRIPTIONS_MISSING.set(sum(len(one.subscriptions.missing) for one in live))
        metrics.CHANNELS_WITHOUT_DATA.set(sum(one.without_data for one in live))

    def _add(self, counter: Counter, name: str, consumer: str, total: int) -> int:
        """Add what came since the last report; answers how much."""
        new = total - self._reported.get((name, consumer), 0)
        self._reported[name, consumer] = total
        counter.inc(new)
        return new
