"""A small venue with a protocol of its own, its Session, and a consumer: real sockets, real gRPC, no provider folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from aiohttp import WSMsgType, web

from penstock import clock
from penstock.payloads import CONTROL
from penstock.provider import ChannelRule, Endpoints, Limit, Limits, ProviderInfo
from penstock.raw.v1 import service
from penstock.raw.v1.raw_pb2 import Envelope, Kind, PushRequest, PushResponse
from penstock.session import Action, Plan, Reconnect, Rejected, Request, Send, Subscribed
from services.session_manager.service import Service, Setup
from services.session_manager.timing import Timing

CHANNELS = ("book.A", "trades.A")
QUICK = Timing(
    backoff_base_s=0.05, backoff_cap_s=0.2, acknowledge_s=0.6, definitions_wait_s=1.0, overlap_s=0.1, drain_s=3
)


def info(**changes: object) -> ProviderInfo:
    """The toy venue's facts, with generous limits."""
    facts: dict[str, object] = {
        "name": "toy",
        "title": "Toy",
        "publisher_id": 65000,
        "dataset": "TOY",
        "venue": "TOYX",
        "evidence": (),
        "endpoints": Endpoints("ws://unused", "http://unused"),
        "symbols": ("A",),
        "limits": Limits(Limit(400, 1), Limit(400, 1), Limit(400, 1), 100),
        "channels": (ChannelRule("book.*", "MBO"), ChannelRule("trades.*", "TRADES")),
        "stale_after_s": 6.0,
    }
    return ProviderInfo(**(facts | changes))  # type: ignore[arg-type]


def channel_of(frame: bytes) -> str:
    """Data frames are `<channel> <number>`; everything else is control."""
    head, _, tail = frame.partition(b" ")
    return head.decode() if tail.isdigit() else CONTROL


class ToySession:
    """`sub <channel>` is answered by `ack <channel>`, a probe by the number of the venue's newest trade."""

    def __init__(self, venue: ToyVenue) -> None:
        self.venue = venue

    def definitions(self) -> Sequence[Request]:
        return (Request("rest/instruments", f"{self.venue.rest}/instruments"),)

    def plans(self) -> Sequence[Plan]:
        return (Plan(f"{self.venue.stream}/ws", CHANNELS),)

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        return [Send(f"sub {channel}") for channel in plan.channels]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        word, _, rest = frame.decode().partition(" ")
        if word == "ack":
            return (Subscribed((rest,)),)
        if word == "moving":
            return (Reconnect("moving"),)
        return (Rejected(rest, terminal=word == "fatal"),) if word in {"no", "fatal"} else ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        return (Request("rest/book/A", f"{self.venue.rest}/book"),)

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        return (Send(f"snapshot {channel}"),)

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        return (Send("tick"),)

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        probed = self.venue.has_probe and channel in {"", "trades.A"}
        return Request("rest/probe/trades.A", f"{self.venue.rest}/newest") if probed else None

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        return last_frame is None or int(body) > int(last_frame.split()[1])


class ToyVenue:
    """The venue's server. Switches are plain attributes; `log` holds (monotonic s, what happened)."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.log: list[tuple[float, str]] = []
        self.number = 0
        self.has_probe = True
        self.acknowledges: Callable[[str], str | None] = lambda channel: f"ack {channel}"
        self.accepts = True  # False: each connection is closed at once
        self.rest_status: dict[str, tuple[int, dict[str, str]]] = {}
        self.stream = self.rest = ""

    def count(self, what: str) -> int:
        """How many logged events start with `what`."""
        return sum(event.startswith(what) for _, event in self.log)

    async def publish(self, channel: str = "trades.A") -> int:
        """Send the next numbered frame on a channel to all connections; its number."""
        self.number += 1
        for socket in list(self.sockets):
            if not socket.closed:
                await socket.send_str(f"{channel} {self.number}")
        return self.number

    async def send(self, text: str) -> None:
        for socket in list(self.sockets):
            await socket.send_str(text)

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.2)
        await socket.prepare(request)
        self.log.append((clock.monotonic_s(), "connect"))
        if not self.accepts:
            await socket.close()
            return socket
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                self.log.append((clock.monotonic_s(), message.data))
                word, _, channel = message.data.partition(" ")
                if word == "sub" and (answer := self.acknowledges(channel)) is not None:
                    await socket.send_str(answer)
        finally:
            self.sockets.remove(socket)
        return socket

    async def get(self, request: web.Request) -> web.Response:
        self.log.append((clock.monotonic_s(), f"GET {request.path}"))
        status, headers = self.rest_status.get(request.path, (200, {}))
        text = str(self.number) if request.path == "/newest" else f"body of {request.path}"
        return web.Response(status=status, headers=headers, text=text)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ToyVenue]:
        app = web.Application()
        app.router.add_get("/ws", self.websocket)
        app.router.add_get("/{path:.*}", self.get)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.stream, self.rest = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()


class Consumer:
    """A RawService that keeps what it gets. `known` is what it acknowledged; `frozen` stops it from reading."""

    def __init__(self, target: str, acknowledges: bool = True) -> None:
        self.target = target
        self.acknowledges = acknowledges
        self.received: list[Envelope] = []
        self.batches: list[PushRequest] = []
        self.known = 0
        self.wishes: list[str] = []
        self.stale_below = 0
        self.running = asyncio.Event()
        self.running.set()
        self.server: grpc.aio.Server | None = None

    async def push(
        self, requests: AsyncIterator[PushRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[PushResponse]:
        first = True
        async for request in requests:
            await self.running.wait()
            if request.epoch < self.stale_below:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a newer owner exists")
            if first:
                yield PushResponse(acked_sequence=self.known)
                first = False
            self.batches.append(request)
            self.received += request.envelopes
            if self.acknowledges:
                self.known = max(self.known, request.envelopes[-1].sequence)
            wishes, self.wishes = self.wishes, []
            yield PushResponse(acked_sequence=self.known, resync_channels=wishes)

    async def start(self) -> None:
        self.server = grpc.aio.server(options=service.OPTIONS)
        service.add_push(self.server, self.push)
        self.server.add_insecure_port(self.target)
        await self.server.start()

    async def stop(self) -> None:
        """End at once, as a killed process would: what was read and not handled is lost."""
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    def of(self, kind: Kind) -> list[Envelope]:
        """The envelopes of a kind, in order of arrival."""
        return [envelope for envelope in self.received if envelope.kind == kind]

    def frames(self, channel: str) -> list[int]:
        """The numbers of the data frames of a channel."""
        return [int(e.payload.split()[1]) for e in self.of(Kind.KIND_FRAME) if e.channel == channel]

    def sequences(self) -> list[int]:
        """Every sequence received or declared dropped, in order."""
        found: list[int] = []
        for envelope in self.received:
            if envelope.kind != Kind.KIND_DROPPED:
                found.append(envelope.sequence)
        return found

    def dropped(self) -> list[tuple[str, int, int, int]]:
        """(channel, first, last, count) of each declared drop."""
        return [(e.channel, *json.loads(e.payload).values()) for e in self.of(Kind.KIND_DROPPED)]


class Rig:
    """A venue, two consumers and a session manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venue = ToyVenue()
        self.hot = Consumer(f"unix:{folder}/hot.sock")
        self.cold = Consumer(f"unix:{folder}/cold.sock")
        self.stop = asyncio.Event()
        self.service: Service | None = None
        self.task: asyncio.Task[None] | None = None
        self.redact: Callable[[bytes], bytes] = bytes

    def manager(self, *, timing: Timing = QUICK, facts: ProviderInfo | None = None, **bounds: object) -> Service:
        """Another session manager for the same venue and consumers."""
        setup = Setup(
            info=facts or info(),
            instance="PRIMARY",
            epoch=7,
            make_session=lambda: ToySession(self.venue),
            channels_on=lambda _url: channel_of,
            normalizer=self.hot.target,
            batch_processor=self.cold.target,
            state_dir=self.folder,
            timing=timing,
            redact=self.redact,
            **bounds,  # type: ignore[arg-type]
        )
        return Service(setup)

    async def subscribed(self, connections: int = 1) -> None:
        """Wait until so many connections have been announced."""
        await until(lambda: len(self.hot.of(Kind.KIND_CONNECTED)) >= connections, "connected")


@asynccontextmanager
async def running(folder: Path, rig: Rig | None = None, *, hot: bool = True, **options: object) -> AsyncIterator[Rig]:
    """A rig at work, without its normalizer unless `hot`; it is stopped cleanly at the end unless the test did."""
    rig = rig or Rig(folder)
    async with rig.venue.serving():
        if hot:
            await rig.hot.start()
        await rig.cold.start()
        rig.service = rig.manager(**options)  # type: ignore[arg-type]
        rig.task = asyncio.ensure_future(rig.service.run(rig.stop))
        try:
            yield rig
        finally:
            rig.stop.set()
            try:
                await asyncio.wait({rig.task}, timeout=10)
            finally:
                await rig.hot.stop()
                await rig.cold.stop()
    if not rig.task.cancelled() and (error := rig.task.exception()):
        raise error


async def until(condition: Callable[[], object], what: str, timeout_s: float = 8.0) -> None:
    """Wait for a condition; fails naming it."""
    end_s = clock.monotonic_s() + timeout_s
    while not condition():
        if clock.monotonic_s() > end_s:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(0.01)
