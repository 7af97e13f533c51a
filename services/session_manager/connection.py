"""One connection to a venue, from dialling to its end. It never reconnects: the supervisor does.

The reading task does nothing but read, stamp, classify and enqueue; control frames also go to the provider's Session, whose
answers are queued for the other tasks. No consumer and no request is ever waited for there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from penstock import clock, telemetry
from penstock.errors import ConnectionLost, PayloadError
from penstock.payloads import CONTROL
from penstock.raw.v1.raw_pb2 import Kind
from penstock.session import Action, Plan, Reconnect, Rejected, Request, Send, Session, Subscribed, Warn
from services.session_manager import metrics
from services.session_manager.budget import Banned
from services.session_manager.polls import Polls
from services.session_manager.resyncs import Resyncs
from services.session_manager.stamp import SESSION
from services.session_manager.subscriptions import Subscriptions
from services.session_manager.traffic import Traffic
from services.session_manager.venue import Venue
from services.session_manager.watchdog import Watchdog
from services.session_manager.websocket import WebSocket

_MAX_OUTBOX: Final = 4096
_TEND_S: Final = 0.25
_SLOWEST_ACKNOWLEDGE: Final = 3  # times acknowledge_s, while subscriptions are still being sent


class Ended(NamedTuple):
    """Why a connection ended, the least delay the peer or the reason asks for, and how long it had been subscribed."""

    reason: str
    retry_after_s: float
    healthy_s: float


class Connection:
    """One connection; `run` once. `number` counts within the epoch. `accept_partial`: a repeated attempt, on which
    channels that stay unacknowledged do not end the connection again."""

    def __init__(
        self, number: int, plan: Plan, session: Session, venue: Venue, *, accept_partial: bool = False
    ) -> None:
        self.number = number
        self.plan = plan
        self.subscriptions = Subscriptions(plan.channels)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is subscribed."""
        self.opened_ns = 0
        self.partial = False
        """Subscribed, but not to every channel."""
        self.leaving = ""
        """Why the venue will end the connection soon; a successor is wanted."""
        self._session = session
        self._venue = venue
        self._accept_partial = accept_partial
        self._traffic = Traffic(venue.info.schema_of)
        self._polls = Polls(plan, session, venue.rest_of(plan), self._traffic)
        self._watchdog: Watchdog | None = None
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_MAX_OUTBOX)
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._fetching: set[str] = set()
        self._resyncs = Resyncs(venue.timing.resync_s)
        self._end: asyncio.Future[ConnectionLost] = asyncio.get_running_loop().create_future()
        self._opened_s = self._asked_s = self._ready_s = 0.0
        self._refused = ""
        self._log = telemetry.logger().bind(connection=number)

    @property
    def alive(self) -> bool:
        """Open, acknowledged and not silent; where it is polled, answered as well."""
        watched = self._watchdog is not None and (self._polls.polled or self._watchdog.alive)
        return watched and self.ready.done() and not self._end.done() and bool(self.vouched)

    @property
    def vouched(self) -> tuple[str, ...]:
        """The channels that heartbeats may name while the connection is alive."""
        return self._polls.vouched(self.subscriptions.acknowledged)

    @property
    def last(self) -> Mapping[str, bytes]:
        """The last frame of each data channel."""
        return self._traffic.last

    @property
    def data(self) -> int:
        """How many data frames have come."""
        return self._traffic.data

    @property
    def session(self) -> Session:
        """What speaks the protocol on this connection."""
        return self._session

    @property
    def without_data(self) -> int:
        """How many channels were acknowledged long ago without a frame."""
        return len(self._watchdog.silent) if self._watchdog else 0

    def end(self, lost: ConnectionLost) -> None:
        """End the connection for this reason; the first reason stays."""
        if not self._end.done():
            self._end.set_result(lost)

    def resync(self, channel: str) -> None:
        """A new snapshot of one channel is wanted. Nothing to do before subscribing: that brings one anyway."""
        if self.ready.done() and channel not in self.subscriptions.missing:
            self._resyncs.want(channel)
            self._answer_resyncs()

    async def run(self) -> Ended:
        """Hold the connection until it ends and say why. Raises nothing but the caller's own cancellation."""
        reason, retry_after_s = "stopped", 0.0
        try:
            await self._venue.budget.connects.acquire()
            socket = await self._venue.dial(self.plan.url)
            try:
                await self._hold(socket)
            finally:
                self._end.cancel()
                await socket.close()
        except ConnectionLost as lost:
            reason, retry_after_s = str(lost), lost.retry_after_s or 0.0
            if isinstance(lost, Banned):
                await self._venue.budget.connects.ban(lost.ban_s)
        healthy_s = clock.monotonic_s() - self._ready_s if self._ready_s else 0.0
        return Ended(reason, retry_after_s, healthy_s)

    async def _hold(self, socket: WebSocket) -> None:
        self.opened_ns = clock.time_ns()
        self._opened_s = self._asked_s = clock.monotonic_s()
        watchdog = Watchdog(self.plan, self._session, self._venue.rest, self._traffic, self._venue.info, self.resync)
        self._watchdog = watchdog
        reason = "stopped"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ending())
                group.create_task(self._read(socket))
                group.create_task(self._send(socket))
                group.create_task(self._request(group))
                group.create_task(self._tend(watchdog))
                group.create_task(watchdog.watch(socket))
                self._act(self._session.opened(self.plan, self.opened_ns))
                await asyncio.shield(self.ready)
                if not self._polls.polled:
                    await watchdog.probe()
        except ExceptionGroup as errors:
            lost = self._reason(errors)
            reason = str(lost)
            raise lost from None
        finally:
            self._mark(Kind.KIND_DISCONNECTED, {"reason": reason})

    def _reason(self, errors: ExceptionGroup[Exception]) -> ConnectionLost:
        error = errors.exceptions[0]
        if isinstance(error, ConnectionLost):
            if self._refused and not self.subscriptions.acknowledged:
                # Some venues hang up on whom they refuse: asking again soon would not help.
                return ConnectionLost(f"rejected: {self._refused}", self._venue.timing.refused_s)
            return error
        # A fault of one provider's session must not end the others: it costs this connection, with backoff.
        self._log.error("connection_failed", stage="connection", exc_info=error)
        return ConnectionLost(f"failed: {type(error).__name__}")

    async def _ending(self) -> None:
        raise await self._end

    async def _read(self, socket: WebSocket) -> None:
        receive, time_ns = socket.receive, clock.time_ns
        channel_of, stamp = self._venue.channels_on(self.plan.url), self._venue.stamper.stamp
        traffic, number, frame_kind, redact = self._traffic, self.number, Kind.KIND_FRAME, self._venue.redact
        while True:
            frame = await receive()
            ts_recv = time_ns()
            channel = channel_of(frame)
            traffic.frames += 1
            if channel == CONTROL:
                stamp(number, channel, frame_kind, redact(frame), ts_recv)
                self._control(frame, ts_recv)
            else:
                stamp(number, channel, frame_kind, frame, ts_recv)
                traffic.note(channel, frame, ts_recv)

    def _control(self, frame: bytes, now_ns: int) -> None:
        try:
            actions = self._session.received(self.plan, frame, now_ns)
        except PayloadError as error:
            metrics.CONTROL_UNREADABLE.inc()
            self._log.warning("control_unreadable", reason=error.reason)
            return
        self._act(actions)

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(text):
                    if self._outbox.full():
                        self.end(ConnectionLost("failed: too much to send"))
                    else:
                        self._outbox.put_nowait(text)
                case Request():
                    if action.channel not in self._fetching:
                        self._fetching.add(action.channel)
                        self._requests.put_nowait(action)
                case Subscribed(channels):
                    self._acknowledged(channels)
                case Rejected(reason, terminal):
                    self._rejected(reason, terminal)
                case Warn(reason):
                    self._log.warning("venue_warned", reason=reason[:256])
                case Reconnect(reason, overlap=True) if self.ready.done():
                    self.leaving = reason
                case Reconnect(reason):
                    self.end(ConnectionLost(f"reconnect: {reason}"))

    def _acknowledged(self, channels: Sequence[str]) -> None:
        if unasked := self.subscriptions.acknowledge(channels, clock.monotonic_s()):
            self._log.warning("subscription_unasked", channels=unasked[:20])
        if not self.subscriptions.missing:
            self.partial = False
            self._subscribed()

    def _subscribed(self) -> None:
        if self.ready.done():
            return
        self._ready_s = clock.monotonic_s()
        self.ready.set_result(None)
        channels = self.subscriptions.acknowledged
        self._mark(Kind.KIND_CONNECTED, {"url": self.plan.url, "channels": channels})
        self._log.info("session_connected", channels=len(channels), seconds=round(self._ready_s - self._opened_s, 3))
        self._act(self._session.subscribed(self.plan))

    def _rejected(self, reason: str, terminal: bool) -> None:
        self._log.error("subscription_rejected", reason=reason[:256], terminal=terminal)
        if terminal:
            self._refused = reason[:256]  # what the venue does grant is kept; the rest is settled at acknowledge_s
        else:
            self.end(ConnectionLost(f"rejected: {reason[:256]}"))

    def _settle(self) -> None:
        """The time for acknowledgements is over."""
        missing = self.subscriptions.missing
        nothing = not self.subscriptions.acknowledged
        self._log.warning("subscription_missing", channels=missing[:20], count=len(missing), refused=self._refused)
        if nothing and self._refused:
            self.end(ConnectionLost(f"rejected: {self._refused}", self._venue.timing.refused_s))
        elif nothing or not (self._refused or self._accept_partial):
            self.end(ConnectionLost("subscription_missing"))
        else:
            self.partial = True
            self._subscribed()

    def _mark(self, kind: Kind, content: dict[str, object]) -> None:
        self._venue.stamper.stamp(self.number, SESSION, kind, msgspec.json.encode(content), clock.time_ns())

    async def _send(self, socket: WebSocket) -> None:
        while True:
            text = await self._outbox.get()
            await self._venue.budget.messages.acquire()
            await socket.send(text)
            self._asked_s = clock.monotonic_s()

    async def _request(self, group: asyncio.TaskGroup) -> None:
        while True:
            group.create_task(self._fetch(await self._requests.get()))

    async def _fetch(self, request: Request) -> None:
        try:
            actions = await self._polls.fetch(request)
        finally:
            self._fetching.discard(request.channel)
        self._act(actions)

    async def _tend(self, watchdog: Watchdog) -> None:
        """What a connection needs regularly: the provider's own ticks, deadlines, and resyncs that have become due."""
        timing = self._venue.timing
        ticked_s = 0.0
        while True:
            await asyncio.sleep(_TEND_S)
            now_s = clock.monotonic_s()
            if not self.ready.done():
                asked_s = min(self._asked_s, self._opened_s + timing.acknowledge_s * (_SLOWEST_ACKNOWLEDGE - 1))
                if now_s - asked_s >= timing.acknowledge_s:
                    self._settle()
            self._answer_resyncs()
            if now_s - ticked_s >= 1.0:
                ticked_s = now_s
                self._act(self._session.tick(self.plan, clock.time_ns()))
                self._note_silent(watchdog, now_s)

    def _note_silent(self, watchdog: Watchdog, now_s: float) -> None:
        """Channels that were acknowledged and never had data. A book's subscription always brings a snapshot, so its
        absence alone is reason to ask for one; of anything else only the watchdog's probe can tell quiet from dead."""
        without = self.subscriptions.silent(self._traffic.last, now_s, self._venue.timing.first_data_s)
        # Channels that carry no data, like a venue's heartbeats, are not expected to.
        silent = tuple(channel for channel in without if self._venue.info.schema_of(channel) != "SYSTEM")
        if new := [channel for channel in silent if channel not in watchdog.silent]:
            self._log.warning("channel_without_data", channels=new[:20], count=len(new))
            for channel in new:
                if self._venue.info.schema_of(channel) == "MBO":
                    self.resync(channel)
        watchdog.silent = silent

    def _answer_resyncs(self) -> None:
        for channel in self._resyncs.due(clock.monotonic_s()):
            actions = self._session.resync(self.plan, channel)
            if any(isinstance(action, Request) and action.channel in self._fetching for action in actions):
                self._resyncs.want(channel)  # one in flight; it may be older than what was lost since
                continue
            metrics.RESYNCS.inc()
            self._log.info("resync_requested", channel=channel)
            self._act(actions)
