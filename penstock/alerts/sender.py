"""Groups to their webhooks: bounded queues, Discord's limits, and an honest count of what was given up."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from penstock import clock
from penstock.alerts.event import Severity
from penstock.alerts.formatter import Formatter, Undelivered
from penstock.alerts.grouping import Group, order
from penstock.alerts.limits import Limits
from penstock.alerts.webhook import Answer, Unreachable, Webhook

QUEUED: Final = 200
"""Groups, not alerts: what is already queued is counted up instead of taking more room."""

BACKOFF_MIN_S: Final = 1.0
BACKOFF_MAX_S: Final = 60.0
REFUSED_S: Final = 300.0
"""After a 401, 403 or 404: the webhook is gone, and asking on would get our address banned."""

type Log = Callable[[str, dict[str, Any]], None]
"""Called with an event and its fields; must not raise."""


@dataclass(slots=True)
class _Lane:
    webhook: Webhook
    limits: Limits = field(default_factory=Limits)
    queue: dict[str, Group] = field(default_factory=dict)
    lost: int = 0
    lost_since_ns: int = 0
    failures: int = 0


class Sender:
    """Not thread-safe: one thread offers and pumps. `dropped` counts alerts given up since the start."""

    def __init__(
        self, webhooks: Mapping[Severity, Webhook], formatter: Formatter, log: Log, queued: int = QUEUED
    ) -> None:
        self.dropped = 0
        self.delivered = 0
        self.requests = 0
        self._formatter = formatter
        self._log = log
        self._queued = queued
        # Severities may share a webhook, and then its limits and its queue too.
        lanes = {webhook.url: _Lane(webhook) for _, webhook in sorted(webhooks.items(), reverse=True)}
        self._lanes = list(lanes.values())
        self._of = {severity: lanes[webhook.url] for severity, webhook in webhooks.items()}

    @property
    def pending(self) -> int:
        """Alerts that wait to be delivered."""
        return sum(group.count for lane in self._lanes for group in lane.queue.values())

    def offer(self, group: Group) -> None:
        """Queue a group. Where the queue is full the least severe, youngest one is given up, counted and logged."""
        lane = self._of[group.sample.severity]
        if (queued := lane.queue.get(group.fingerprint)) is not None:
            queued.add(group)
            return
        lane.queue[group.fingerprint] = group
        if len(lane.queue) > self._queued:
            least = max(lane.queue.values(), key=order)
            del lane.queue[least.fingerprint]
            self._lose(lane, least.count, "queue_full")

    def lose(self, count: int, why: str) -> None:
        """Count alerts that were given up before they came here; the next message of the worst channel says so."""
        self._lose(self._lanes[0], count, why)

    def pump(self) -> float | None:
        """Send at most one message per webhook, where that is allowed now.

        Returns the seconds until the next call makes sense; None where nothing waits.
        """
        waits = []
        for lane in self._lanes:
            if not lane.queue:
                continue
            if not lane.limits.wait_s(clock.monotonic_s()):
                self._send(lane)
            if lane.queue:
                waits.append(lane.limits.wait_s(clock.monotonic_s()))
        return min(waits, default=None)

    def take_back(self) -> list[Group]:
        """Everything that waits; the queues are empty afterwards."""
        groups = [group for lane in self._lanes for group in lane.queue.values()]
        for lane in self._lanes:
            lane.queue.clear()
        return groups

    def _send(self, lane: _Lane) -> None:
        groups = sorted(lane.queue.values(), key=order)
        undelivered = Undelivered(lane.lost, lane.lost_since_ns) if lane.lost else None
        message, taken = self._formatter.message(groups, undelivered)
        lane.limits.sent(clock.monotonic_s())
        self.requests += 1
        try:
            answer = lane.webhook.post(message)
        except Unreachable as error:
            self._failed(lane, str(error))
            return
        everywhere_s = lane.limits.answered(answer.status, answer.headers, answer.body, clock.monotonic_s())
        if everywhere_s:
            for other in self._lanes:
                other.limits.pause(everywhere_s, clock.monotonic_s())
        self._settle(lane, groups[:taken], answer)

    def _settle(self, lane: _Lane, groups: list[Group], answer: Answer) -> None:
        status = answer.status
        if status == 429:
            self._say("discord_limited", lane, retry_s=round(lane.limits.wait_s(clock.monotonic_s()), 3))
        elif status in {401, 403, 404}:
            self._failed(lane, f"answered {status}: the webhook was deleted or is not ours", REFUSED_S)
        elif 200 <= status < 300 or 400 <= status < 500:
            for group in groups:
                del lane.queue[group.fingerprint]
            count = sum(group.count for group in groups)
            if status < 300:
                self.delivered += count
                lane.failures, lane.lost = 0, 0
            else:  # This message is not to Discord's liking, and would block all that come after it.
                self._lose(lane, count, f"answered {status}")
        else:
            self._failed(lane, f"answered {status}")

    def _failed(self, lane: _Lane, why: str, pause_s: float = 0.0) -> None:
        lane.failures += 1
        most_s = min(BACKOFF_MIN_S * 2 ** min(lane.failures - 1, 10), BACKOFF_MAX_S)
        pause_s = pause_s or random.uniform(most_s / 2, most_s)
        lane.limits.pause(pause_s, clock.monotonic_s())
        self._say("discord_unreachable", lane, reason=why, retry_s=round(pause_s, 3))

    def _lose(self, lane: _Lane, count: int, why: str) -> None:
        self.dropped += count
        if not lane.lost:
            lane.lost_since_ns = clock.time_ns()
        lane.lost += count
        self._say("alerts_dropped", lane, count=count, reason=why, total=self.dropped)

    def _say(self, event: str, lane: _Lane, **fields: Any) -> None:
        waiting = sum(group.count for group in lane.queue.values())
        self._log(event, {"webhook": lane.webhook.name, "waiting": waiting, **fields})
