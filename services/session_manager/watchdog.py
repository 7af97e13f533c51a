"""Tells a dead connection from a quiet market, by a positive signal and within `stale_after_s`.

- Nothing at all, though pings were sent: the peer is gone.
- No data, and a REST probe proves that the venue published newer data: the feed is dead, whatever its pongs say.
- No data, and the probe shows nothing newer: the market is quiet. No alarm.
- No frame of any kind, though the venue promises heartbeats within `stale_after_s` (`heartbeat_s` in provider.yaml, or a
  provider without a probe because its protocol's heartbeats prove life): dead, however quiet the market is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from penstock import clock, telemetry
from penstock.errors import ConnectionLost, PayloadError
from penstock.provider import ProviderInfo
from penstock.session import Plan, Request, Session
from services.session_manager import metrics
from services.session_manager.liveness import Liveness
from services.session_manager.rest import Rest
from services.session_manager.traffic import Traffic
from services.session_manager.websocket import WebSocket

PROBE: Final = "rest/probe/"

# Of stale_after_s. The sum of what must happen one after the other stays below 1.
_PING: Final = 1 / 3  # silent for this long: ask for a pong
_PROBE: Final = 1 / 2  # no data for this long: ask REST
_ANSWER: Final = 1 / 3  # how long REST may take
_CONFIRM: Final = 1 / 12  # data that REST showed first may be on its way
_LATE: Final = 1 / 3  # the same while other channels have data: what is conflated may take longer than that
_AUDIT: Final = 5 / 2  # how often one of the channels that are quieter than the others is asked about
_DEAD: Final = 0.85
_TICK: Final = 1 / 24
_LONGEST_TICK_S: Final = 0.25


class Watchdog:
    """Watches one open connection; `repair` subscribes one of its channels again.

    `watch` and `probe` run for ever and raise ConnectionLost where it is dead.
    """

    def __init__(
        self,
        plan: Plan,
        session: Session,
        rest: Rest,
        traffic: Traffic,
        info: ProviderInfo,
        repair: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._session = session
        self._rest = rest
        self._traffic = traffic
        self._stale_s = info.stale_after_s
        self._heartbeat_s = info.heartbeat_s
        self._ping_s = info.ping_s
        self._tick_s = min(_LONGEST_TICK_S, self._stale_s * _TICK)
        self._life = Liveness(clock.monotonic_s())
        self._bodies: dict[str, bytes] = {}
        self._suspect = False
        self._repair = repair
        self._repaired: dict[str, bytes | None] = {}
        self._doubted: set[str] = set()
        self._turn = 0
        self._log = telemetry.logger()
        self.silent: tuple[str, ...] = ()
        """Channels acknowledged long ago without any frame; set by the connection."""

    @property
    def alive(self) -> bool:
        """False while the connection is silent or under suspicion; it is then not vouched for in heartbeats."""
        return not self._suspect and self._life.quiet_s < self._stale_s * _PROBE

    async def watch(self, socket: WebSocket) -> None:
        """Ping a silent peer, and give it up when it stays silent; ping any peer that wants to be."""
        pinged_s = clock.monotonic_s()
        while True:
            await asyncio.sleep(self._tick_s)
            now_s = clock.monotonic_s()
            self._life.observe(now_s, socket.beats, self._traffic.frames, self._traffic.data)
            if self._life.quiet_s >= self._stale_s * _DEAD:
                raise self._stale("silent: no frame and no pong")
            silent = self._life.quiet_s >= self._stale_s * _PING and now_s - pinged_s >= self._stale_s * _PING
            if silent or (self._ping_s and now_s - pinged_s >= self._ping_s):
                pinged_s = now_s
                try:
                    async with asyncio.timeout(self._stale_s * _PING):
                        await socket.ping()
                except TimeoutError:
                    raise self._stale("silent: the peer reads nothing") from None

    async def probe(self) -> None:
        """Ask the venue's REST whether it moved on while this connection brought no data. To be run once subscribed."""
        asked_s = audited_s = float("-inf")
        while True:
            await asyncio.sleep(self._tick_s)
            if self._heartbeat_s:
                self._expect_heartbeat()
            now_s = clock.monotonic_s()
            if self._life.idle_s >= self._stale_s * _PROBE:
                # A quiet market is asked about at the pace of _PROBE. It has a clock of its own: a feed that dies is
                # noticed at once, whenever single channels were last asked about.
                if now_s - asked_s >= self._stale_s * _PROBE:
                    request = self._session.probe(self._plan)
                    if request is None:
                        self._expect_heartbeat()
                    else:
                        asked_s = now_s
                        await self._prove(request, self._stale_s * _CONFIRM)
            elif now_s - audited_s >= self._stale_s * (_PROBE if self.silent else _AUDIT):
                audited_s = now_s
                await self._audit()

    def _expect_heartbeat(self) -> None:
        if self._life.mute_s >= self._stale_s * _DEAD:
            raise self._stale("stale: no heartbeat of the venue")

    async def _audit(self) -> None:
        """Ask about one channel: those that never had data take turns, then the one that has had none for longest."""
        now_ns = clock.time_ns()
        quiet = [
            channel
            for channel, at_ns in sorted(self._traffic.at_ns.items(), key=lambda item: item[1])
            if now_ns - at_ns >= self._stale_s * 1e9 and channel not in self._doubted
        ]
        self._turn += 1
        turn = self._turn % max(1, len(self.silent))
        for channel in (*self.silent[turn:], *self.silent[:turn], *quiet):
            request = self._session.probe(self._plan, channel)
            if request is not None:
                await self._prove(request, self._stale_s * _LATE)
                return

    async def _prove(self, request: Request, confirm_s: float) -> None:
        try:
            async with asyncio.timeout(self._stale_s * _ANSWER):
                body = await self._rest.get(request)
        except (ConnectionLost, TimeoutError) as error:
            self._log.warning("probe_failed", channel=request.channel, reason=str(error) or "no answer in time")
            return
        channel = request.channel.removeprefix(PROBE)
        if not self._moved(channel, body):
            return
        idle = self._life.idle_s >= self._stale_s * _PROBE
        self._suspect = idle
        data = self._traffic.data
        await asyncio.sleep(confirm_s)
        self._suspect = False
        if not self._moved(channel, body):
            return
        if idle and self._traffic.data == data:
            raise self._stale(f"stale: the venue is ahead on {channel}")
        if not idle:
            self._dead_channel(channel)

    def _dead_channel(self, channel: str) -> None:
        """The venue is ahead on one channel of a connection that has data."""
        last = self._traffic.last.get(channel)
        if channel in self._repaired:
            if last is not self._repaired[channel]:
                # It had data since, and is behind again: what the probe compares goes on without this channel.
                self._doubted.add(channel)
                self._log.warning("probe_doubted", channel=channel)
                return
            raise self._stale(f"stale: the venue is ahead on {channel}, and subscribing again did not help")
        self._repaired[channel] = last
        self._bodies.pop(channel, None)
        metrics.STALE_DECLARED.inc()
        self._log.warning("channel_dead", channel=channel, url=self._plan.url)
        self._repair(channel)

    def _moved(self, channel: str, body: bytes) -> bool:
        last = self._traffic.last.get(channel)
        try:
            if last is not None:
                return self._session.behind(channel, last, body)
            # Without a frame to compare with, only a change between two answers shows that the venue moves.
            first = self._bodies.setdefault(channel, body)
            return channel in self.silent and body != first and self._session.behind(channel, None, body)
        except PayloadError as error:
            self._log.warning("probe_unreadable", channel=channel, reason=error.reason)
            return False

    def _stale(self, reason: str) -> ConnectionLost:
        metrics.STALE_DECLARED.inc()
        self._log.warning("stale_declared", reason=reason, idle_s=round(self._life.idle_s, 2), url=self._plan.url)
        return ConnectionLost(reason)
