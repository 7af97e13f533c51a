"""The base of every simulated venue: connections, subscriptions, broadcasting after the ledger, faults, request log.

A provider's simulator is `providers/<name>/simulator.py` with a class `Simulator(Venue)`:

    class Simulator(Venue):
        name = "deribit"
        stream_path = "/ws/api/v2"                     # part of the printed stream URL; "" where the client adds it

        def listings(self): return [Listing("BTC-PERPETUAL", "BTC", "USD", …)]
        def routes(self, router):
            router.stream("/ws/api/v2")                # paths that accept WebSocket connections, "" for the bare base
            router.get("/api/v2/public/get_instruments", self._instruments)      # async (web.Request) -> web.Response
        async def on_open(self, connection): …         # e.g. read connection.request.query["streams"]
        async def on_text(self, connection, text): …   # subscribe, authenticate, answer heartbeats
        def on_event(self, event): …                   # broadcast frames of one market event
        def on_tick(self, now_ns): …                   # every 50 ms: conflated books, tickers, heartbeats

Answering a subscription: `self.subscribe(connection, channel)`, then `connection.send(acknowledgement)`, then
`self.snapshot(connection, channel, frame)`, without an await in between, so that no event comes in the middle.

Publishing: `self.broadcast(channel, frame, entry, …)` with entries made by `ledger.trade`, `ledger.book`, `ledger.top`
and `ledger.statistics`. The entries are what the frame says, at the resolution the frame has; they are written before
the frame can be received, also when nobody is subscribed. Venue-wide ids (trade and update ids) must therefore advance
whether or not anybody listens. A REST snapshot handler asks `self.loses_snapshot(channel)` and answers 503 if so.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import ClassVar

from aiohttp import WSMsgType, web

from penstock import clock
from simulator.connection import SLOW_BYTES, Connection
from simulator.faults import Faults
from simulator.ledger import Entry, Ledger, definition
from simulator.market import Event, Listing, Market
from simulator.tampering import garbage
from simulator.traffic import Traffic

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Frame = str | bytes | Callable[[Connection], str | bytes]
"""A frame's text, or what makes it for each connection (where the venue numbers per connection)."""

_SAMPLE = b'{"channel":"unknown","data":{"id":1,"price":"1.5"}}'
_LOG = logging.getLogger(__name__)


class Router:
    """Adds a venue's paths below `/<provider>` and logs each call."""

    def __init__(self, app: web.Application, venue: Venue) -> None:
        self._app = app
        self._venue = venue

    def get(self, path: str, handler: Handler) -> None:
        """Serve GET of a REST path, which starts with `/`."""

        async def logged(request: web.Request) -> web.StreamResponse:
            self._venue.traffic.add("request", 0, request.path_qs)
            return self._venue.faults.refusal() or await handler(request)

        self._app.router.add_get(f"/{self._venue.name}{path}", logged)

    def stream(self, path: str) -> None:
        """Accept WebSocket connections at a path, "" being the base itself."""
        self._app.router.add_get(f"/{self._venue.name}{path}", self._venue.accept)
        if not path:
            self._app.router.add_get(f"/{self._venue.name}/", self._venue.accept)


class Venue(ABC):
    """See the module. Everything runs on one event loop; only `on_open` and `on_text` may await."""

    name: ClassVar[str]
    stream_path: ClassVar[str] = ""
    connection_type: ClassVar[type[Connection]] = Connection

    def __init__(self, seed: int, ledger: Ledger) -> None:
        self.market = Market(self.listings(), f"{seed}/{self.name}")
        self.traffic = Traffic()
        self.connections: dict[int, Connection] = {}
        self.stopped = False
        """Once true, frames with ledger entries are no longer published; heartbeats still are."""
        self._ledger = ledger
        self._segment = self.name.upper()
        self._subscribers: dict[str, dict[int, Connection]] = {}
        self._samples: dict[str, bytes] = {}
        self.faults = Faults(self)
        self._opened = 0
        self._last_entry = [0]
        for listing in self.market.listings:
            ledger.write(definition(listing, *self.market.book(listing.symbol)) | {"provider": self._segment})

    # --- what a provider writes -----------------------------------------------------------------------------------

    @abstractmethod
    def listings(self) -> list[Listing]:
        """What the venue trades. Called once, before anything else."""

    @abstractmethod
    def routes(self, router: Router) -> None:
        """Add the venue's WebSocket and REST paths."""

    async def on_open(self, connection: Connection) -> None:  # noqa: B027 # a hook
        """A client connected."""

    @abstractmethod
    async def on_text(self, connection: Connection, text: str) -> None:
        """A client sent a text frame. Anything can be in it: answer nonsense as the venue does."""

    def on_close(self, connection: Connection) -> None:  # noqa: B027 # a hook
        """A connection is gone; its subscriptions are already removed."""

    @abstractmethod
    def on_event(self, event: Event) -> None:
        """The market moved: advance ids and publish what is not conflated. Must not be slow."""

    def on_tick(self, now_ns: int) -> None:  # noqa: B027 # a hook
        """Called every 50 ms with UNIX ns: publish what is conflated or periodic."""

    def on_reset(self) -> None:  # noqa: B027 # a hook
        """The venue restarts after maintenance: ids may jump here where the real one's do. Connections are closed."""

    def garbage(self, sample: bytes, number: int) -> bytes:
        """What a garbage fault sends, made of a real payload; kinds take turns by `number`."""
        return garbage(sample, number)

    # --- what a provider calls ------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, channel: str) -> None:
        """The connection gets what is broadcast on the channel from now on (unless ack_without_data is armed)."""
        connection.subscriptions.add(channel)
        if self.faults.claim("ack_without_data", channel):
            self.record_fault("ack_without_data", channel, connection.number)
        elif not connection.closed:
            self._subscribers.setdefault(channel, {})[connection.number] = connection

    def unsubscribe(self, connection: Connection, channel: str) -> None:
        connection.subscriptions.discard(channel)
        self._subscribers.get(channel, {}).pop(connection.number, None)

    def wanted(self, channel: str) -> bool:
        """True where somebody would receive a broadcast: a costly frame need not be made otherwise."""
        return bool(self._subscribers.get(channel))

    def broadcast(self, channel: str, text: Frame, *entries: Entry) -> None:
        """Publish a frame to all subscribers of the channel, after its ledger entries.

        Where nobody is subscribed the entries are written all the same and a callable `text` is not called.
        """
        if self.stopped and entries:
            return
        receivers = self._subscribers.get(channel, {})
        line = self._ledger.lines
        for entry in entries:
            entry["provider"], entry["channel"], entry["receivers"] = self._segment, channel, len(receivers)
            line = self._last_entry[0] = self._ledger.write(entry)
        if not receivers:
            return
        if callable(text):
            for connection in receivers.values():
                self._deliver(connection, channel, text(connection), line)
            return
        payload = self._samples[channel] = text.encode() if isinstance(text, str) else text
        framed = self.connection_type.framed(payload)
        for connection in receivers.values():
            connection.deliver(channel, framed, line)

    def snapshot(self, connection: Connection, channel: str, text: str | bytes) -> None:
        """Send an in-stream snapshot to one connection; not ledgered. A lose_snapshot fault swallows it."""
        if not self.loses_snapshot(channel, connection.number):
            self._deliver(connection, channel, text, self._ledger.lines)

    def loses_snapshot(self, channel: str, connection: int = 0) -> bool:
        """True where a lose_snapshot fault is armed for the channel, and thereby used up."""
        lost = self.faults.claim("lose_snapshot", channel)
        if lost:
            self.record_fault("lose_snapshot", channel, connection)
        return lost

    def record_fault(self, kind: str, channel: str, connection: int, entry: int | None = None) -> None:
        """A fault line; it hit ledger line `entry`, or came after the last one."""
        line = {"fault": kind, "provider": self._segment, "channel": channel, "connection": connection}
        self._ledger.write(line | {"n_entry": self._ledger.lines if entry is None else entry})

    def sample(self, connection: Connection, pattern: str) -> tuple[str, bytes]:
        """A subscribed channel that matches the pattern, and the last payload published on it."""
        for channel in sorted(connection.subscriptions):
            if channel in self._samples and fnmatchcase(channel, pattern):
                return channel, self._samples[channel]
        return pattern, _SAMPLE

    # --- what the server calls ------------------------------------------------------------------------------------

    def flush(self) -> int:
        """The ledger to the kernel, then every connection's queue to its socket. Slow consumers are cut off.

        Returns the bytes that the slowest of the others is behind.
        """
        self._ledger.flush()
        most = 0
        for connection in list(self.connections.values()):
            behind = connection.flush()
            if behind > SLOW_BYTES:
                self.record_fault("slow_consumer", "*", connection.number)
                connection.abort()
            else:
                most = max(most, behind)
        return most

    async def listen(self) -> str:
        """Start a listener of the venue's own and return its URL; "" where the server's paths are all it has."""
        return ""

    async def unlisten(self) -> None:  # noqa: B027 # a hook
        """Accept nobody any more."""

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket connection until it ends."""
        self.traffic.add("connect", 0, request.path_qs)
        if (refused := self.faults.refusal()) is not None:
            return refused
        # Pings and closes are answered here: nothing may write between the frames of a batch, or wait.
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        connection = self._open(request)
        try:
            await self.on_open(connection)
            self.flush()
            async for message in socket:
                await self._received(connection, message.type, message.data)
                self.flush()
        finally:
            connection.close()
            self._close(connection)
        return socket

    async def _received(self, connection: Connection, kind: WSMsgType, data: str | bytes) -> None:
        if kind is WSMsgType.TEXT and isinstance(data, str):
            self.traffic.add("message", connection.number, data)
            await self.on_text(connection, data)
        elif kind is WSMsgType.PING and not isinstance(data, str):
            connection.pong(bytes(data))
        elif kind is WSMsgType.PONG:
            connection.pong_ns = clock.monotonic_ns()

    def _open(self, request: web.Request | None, transport: asyncio.BaseTransport | None = None) -> Connection:
        self._opened += 1
        number = self._opened

        def record(kind: str, channel: str, entry: int) -> None:
            self.record_fault(kind, channel, number, entry)

        connection = self.connection_type(number, request, record, self._last_entry, transport)
        self.connections[number] = connection
        self._ledger.write({"connection": number, "provider": self._segment, "state": "open"})
        return connection

    def _close(self, connection: Connection) -> None:
        del self.connections[connection.number]
        self.forget(connection)
        self._ledger.write({"connection": connection.number, "provider": self._segment, "state": "closed"})
        self.on_close(connection)
        self.flush()

    def forget(self, connection: Connection) -> None:
        """The connection receives nothing any more, and no ledger entry says that it does."""
        for channel in connection.subscriptions:
            self._subscribers.get(channel, {}).pop(connection.number, None)

    def _deliver(self, connection: Connection, channel: str, text: str | bytes, line: int) -> None:
        payload = self._samples[channel] = text.encode() if isinstance(text, str) else text
        connection.deliver(channel, connection.framed(payload), line)
