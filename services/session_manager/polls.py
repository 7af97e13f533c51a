"""The requests of one connection, polls above all: which channels were answered lately enough to be vouched for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock import clock, telemetry
from penstock.errors import ConnectionLost
from penstock.session import POLL, Action, Plan, Polling, Request, Session
from services.session_manager.rest import Refused, Rest
from services.session_manager.traffic import Traffic

_NEVER: Final = float("-inf")


class Polls:
    """Of one plan. An answer counts as a frame, and as data where it has a body."""

    def __init__(self, plan: Plan, session: Session, rest: Rest, traffic: Traffic) -> None:
        self.polled: Final = plan.url.startswith(POLL)
        """True where polls are all that the connection is."""
        self._plan = plan
        self._session = session if isinstance(session, Polling) else None
        self._rest = rest
        self._traffic = traffic
        self._until_s: dict[str, float] = {}
        self._failing: set[str] = set()
        self._log = telemetry.logger()

    def vouched(self, channels: Sequence[str]) -> tuple[str, ...]:
        """Those of the acknowledged `channels` that are alive: all of a stream's, of polled ones those answered lately."""
        if not self.polled:
            return tuple(channels)
        now_s = clock.monotonic_s()
        return tuple(channel for channel in channels if self._until_s.get(channel, _NEVER) > now_s)

    async def fetch(self, request: Request) -> Sequence[Action]:
        """Make a session's request; what the session wants after its answer. One that is no poll is repeated until it
        succeeds; of a poll a failure is logged, the first of a row as a warning, and the next poll is the repetition."""
        poll = request.poll
        if poll is None:
            await self._rest.fetch(request)
            return ()
        try:
            body = await self._rest.poll(request)
        except ConnectionLost as lost:
            log = self._log.info if poll.channel in self._failing else self._log.warning
            log("poll_failed", channel=poll.channel, reason=str(lost))
            self._failing.add(poll.channel)
            if self._session and isinstance(lost, Refused):
                self._session.refused(self._plan, request)
            return ()
        if poll.channel in self._failing:
            self._failing.remove(poll.channel)
            self._log.info("poll_recovered", channel=poll.channel)
        self._until_s[poll.channel] = clock.monotonic_s() + poll.within_s
        self._traffic.frames += 1
        if body is not None:
            self._traffic.note(poll.channel, body, clock.time_ns())
        return self._session.answered(self._plan, request, body, clock.time_ns()) if self._session else ()
