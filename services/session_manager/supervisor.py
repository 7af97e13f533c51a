"""Keeps one plan connected: the only loop that reconnects to a venue.

Connections of a limited life, and those whose end the venue announces, are replaced before it ends them: the successor
is subscribed before its predecessor closes, so that every frame comes on at least one of the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from penstock import clock, telemetry
from penstock.errors import ConnectionLost
from penstock.session import Plan, Resumable, Session
from services.session_manager import metrics, rotation
from services.session_manager.backoff import Backoff
from services.session_manager.connection import Connection, Ended
from services.session_manager.venue import Venue

_LOOK_S: Final = 1.0  # how often the age of a connection is looked at


@dataclass(frozen=True, slots=True)
class _Running:
    connection: Connection
    task: asyncio.Task[Ended]


class Supervisor:
    """One plan, `index` of its session. `make_session` gives each connection a Session of its own, because during a
    replacement two connections speak the protocol at once. `live` holds the running connections by number."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        instance: str,
        venue: Venue,
        make_session: Callable[[], Session],
        next_number: Callable[[], int],
        live: MutableMapping[int, Connection],
    ) -> None:
        self._plan = plan
        self._index = index
        self._instance = instance
        self._venue = venue
        self._make_session = make_session
        self._next_number = next_number
        self._live = live
        self._backoff = Backoff(venue.timing.backoff_base_s, venue.timing.backoff_cap_s)
        self._attempts = 0
        self._was_partial = False
        self._not_before_s = 0.0
        self._session: Session | None = None
        self._last: dict[str, bytes] = {}
        self._log = telemetry.logger().bind(plan=index)

    async def run(self) -> None:
        """Hold the plan for ever."""
        look_s = min(_LOOK_S, self._venue.info.max_connection_s / 50 or _LOOK_S)
        async with asyncio.TaskGroup() as group:
            current = self._start(group)
            while True:
                await asyncio.wait({current.task}, timeout=look_s)
                if current.task.done():
                    await asyncio.sleep(self._ended(current))
                    current = self._start(group)
                elif self._is_due(current.connection):
                    current = await self._replace(group, current)

    def _start(self, group: asyncio.TaskGroup) -> _Running:
        if self._attempts:
            metrics.RECONNECTS.inc()
        self._attempts += 1
        session = self._make_session()
        if self._session is not None and isinstance(session, Resumable):
            session.resume(self._session, self._last)
        connection = Connection(self._next_number(), self._plan, session, self._venue, accept_partial=self._was_partial)
        self._live[connection.number] = connection
        return _Running(connection, group.create_task(connection.run()))

    def _ended(self, running: _Running) -> float:
        """Account for the end of a connection; the delay in seconds before the next."""
        ended = running.task.result()
        connection = running.connection
        del self._live[connection.number]
        self._session = connection.session
        self._last.update(connection.last)
        timing = self._venue.timing
        if ended.healthy_s >= timing.healthy_s:
            self._backoff.reset()
            self._was_partial = False
        if ended.reason == "subscription_missing":
            self._was_partial = True  # the next attempt is the one resubscription; what it gets must do
        delay_s = max(self._backoff.next_s(), ended.retry_after_s)
        self._log.warning(
            "session_lost",
            connection=connection.number,
            reason=ended.reason,
            healthy_s=round(ended.healthy_s, 1),
            retry_s=round(delay_s, 2),
        )
        return delay_s

    def _is_due(self, connection: Connection) -> bool:
        if not connection.ready.done() or clock.monotonic_s() < self._not_before_s:
            return False
        if connection.leaving:
            return True
        now_ns = clock.time_ns()
        if connection.partial and now_ns - connection.opened_ns >= self._venue.timing.refused_s * 1e9:
            return True  # try for the missing channels again, without losing those it has
        limit_s = self._venue.info.max_connection_s
        return limit_s > 0 and now_ns >= rotation.due_ns(connection.opened_ns, limit_s, self._instance, self._index)

    async def _replace(self, group: asyncio.TaskGroup, current: _Running) -> _Running:
        """Make before break: the connection to go on with, which is `current` where its successor failed."""
        successor = self._start(group)
        either: set[asyncio.Future[Any]] = {successor.task, successor.connection.ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if successor.task.done():
            if current.task.done():
                return successor  # both are gone: the loop reconnects
            self._not_before_s = clock.monotonic_s() + self._ended(successor)
            return current
        await asyncio.sleep(self._venue.timing.overlap_s)
        leaving = current.connection.leaving
        if leaving:
            # A server that goes may announce it to the successor as well: no storm of replacements.
            self._not_before_s = clock.monotonic_s() + self._venue.timing.healthy_s
        current.connection.end(ConnectionLost(f"reconnect: {leaving}" if leaving else "rotated"))
        await asyncio.wait({current.task})
        del self._live[current.connection.number]
        self._log.info("session_rotated", connection=current.connection.number, successor=successor.connection.number)
        return successor
