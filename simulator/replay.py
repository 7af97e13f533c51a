"""`python -m simulator.replay`: a recording, served as the venue it was taken from.

Subscriptions are acknowledged in the venue's own words, then every connection gets every recorded frame at the recorded
pace. A provider takes part with functions in its `simulator.py`:

    acknowledge(text: str) -> list[str]                answers to a client's frame; [] where it needs none
    definitions_for(symbols: list[str]) -> dict[str, str]
                                                       optional: REST path → body, for definitions a recording lacks
    idle_frames(number: int) -> list[str]              optional: sent in a second without data (heartbeats), 0, 1, …
    symbols_in(frames: Sequence[Frame]) -> list[str]   optional: the symbols to print, where frames do not name them fully
    REPLAY_CONTROL = True                              optional: recorded control frames are sent too, where the venue
                                                       numbers them together with data; acknowledgements are doubled then

Frames are control where the provider's `payloads.channel_of` says so. Where the connection's URL is part of a channel
(`payloads.channel_on`), a connection gets only the frames that mean on it what they meant on the one they were recorded on.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from penstock import clock, config
from penstock.errors import ConfigError
from penstock.payloads import channels_on
from simulator.captures import Frame, read
from simulator.connection import Connection, frame
from simulator.recording import Recording, is_book

_SETTLE_NS: Final = 1_000_000_000  # clients may subscribe in several paced messages
_IDLE_NS: Final = 1_000_000_000
_BEHIND_BYTES: Final = 1 << 20
_DEAD_NS: Final = 10_000_000_000
_BATCH: Final = 256


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Serve a recording as a local venue on 127.0.0.1 until interrupted.

    python -m simulator.replay --capture btcusdt_20240808.gz,btcusdt_20240809.gz --provider binance_spot --speed 10

    One JSON line on stdout says where it listens, another {"event":"finished","frames":n} when all is sent. GET
    /control/state answers {"events": frames of it so far, "of": frames of the recording}.
    `capture`: files or directories. `speed`: a multiple of the recorded pace, or max. `wait_connections`: start when
    so many are subscribed; 0: on POST /control/start. `definitions`: a file to answer REST requests with that the
    recording lacks.
    `ledger`: a file that gets one JSON line per frame sent.
    """

    capture: tuple[str, ...]
    provider: str
    port: int = 0
    speed: str = "1"
    wait_connections: int = 1
    definitions: str = ""
    ledger: str = ""


class Replay:
    """Serves one recording. `speed` 0 is as fast as the slowest client reads."""

    def __init__(
        self, provider: str, frames: Sequence[Frame], speed: float, wait_connections: int, ledger: FileIO | None = None
    ) -> None:
        self.recording = Recording(frames)
        self.connections: dict[int, Connection] = {}
        self._venue: Any = import_module(f"providers.{provider}.simulator")
        self._payloads: Any = import_module(f"providers.{provider}.payloads")
        self._by_url = hasattr(self._payloads, "channel_on")
        self._channels: dict[int, Callable[[bytes], str]] = {}
        self._provider = provider
        self._speed = speed
        self._wait_connections = wait_connections
        self._ledger = ledger
        self._ready: set[int] = set()
        self._enough = asyncio.Event()
        self._asked_ns = 0
        self._sent_ns = 0
        self._position = 0
        self._moved = asyncio.Condition()
        self._opened = 0
        self._sent = self._passed = 0
        self._bodies: dict[str, str] = {}
        if hasattr(self._venue, "definitions_for"):
            self._bodies = self._venue.definitions_for(self.recording.symbols())

    def add_definitions(self, body: str) -> None:
        """Answer every request that the recording and the provider lack with this body."""
        self._bodies[""] = body

    async def start(self, port: int) -> tuple[web.AppRunner, dict[str, object]]:
        """Listen on loopback; returns the runner and the provider's entry of the listening line."""
        app = web.Application()
        app.router.add_post("/control/start", self._begin)
        app.router.add_get("/control/state", self._state)
        app.router.add_get(f"/{self._provider}{{path:.*}}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        base = f"127.0.0.1:{runner.addresses[0][1]}/{self._provider}"
        stream = getattr(getattr(self._venue, "Simulator", None), "stream_path", "")
        urls: dict[str, object] = {
            "stream": f"ws://{base}{stream}",
            "rest": f"http://{base}",
            "symbols": self._symbols(),
        }
        return runner, urls

    async def play(self) -> int:
        """Wait for the connections, then send everything, each frame after its ledger line; returns how many."""
        await self._enough.wait()
        while (rest_ns := self._asked_ns + _SETTLE_NS - clock.monotonic_ns()) > 0:  # noqa: ASYNC110 # a quiet second
            await asyncio.sleep(rest_ns / 1e9)
        keep_control = getattr(self._venue, "REPLAY_CONTROL", False)
        began = clock.monotonic_ns()
        first = self.recording.frames[0].ts_recv if self.recording.frames else 0
        for number, (ts_recv, _, _, url, payload) in enumerate(self.recording.frames):
            wait_ns = began + int((ts_recv - first) / self._speed) - clock.monotonic_ns() if self._speed else 0
            if wait_ns > 0 or not number % _BATCH:
                await self._flush()
                await asyncio.sleep(max(wait_ns, 0) / 1e9)
            self._position = ts_recv
            channel = channels_on(self._payloads, url)(payload)
            if keep_control or channel != "control":
                self._sent += 1
                self._send(self._sent, channel, payload)
            self._passed = number
        self._position = 1 << 63
        await self._flush()
        self._passed = len(self.recording.frames)
        return self._sent

    def _symbols(self) -> list[str]:
        named: Callable[[Sequence[Frame]], list[str]] | None = getattr(self._venue, "symbols_in", None)
        return self.recording.symbols() if named is None else named(self.recording.frames)

    async def beat(self) -> None:
        """Keep idle connections alive, as the venue does."""
        number = 0
        while True:
            await asyncio.sleep(_IDLE_NS / 1e9)
            if clock.monotonic_ns() - self._sent_ns < _IDLE_NS:
                continue
            frames = self._venue.idle_frames(number) if hasattr(self._venue, "idle_frames") else []
            number += 1
            for connection in self.connections.values():
                connection.ping()
                if connection.number in self._ready:
                    for text in frames:
                        connection.send(text)
                connection.flush()

    def _send(self, number: int, channel: str, payload: bytes) -> None:
        if self._ledger is not None:
            line = {"frame": number, "channel": channel, "sha256": hashlib.sha256(payload).hexdigest()}
            self._ledger.write(msgspec.json.encode(line) + b"\n")
        framed = frame(payload)
        for connection in self.connections.values():
            if connection.number not in self._ready:
                continue
            if not self._by_url or self._channels[connection.number](payload) == channel:
                connection.deliver(channel, framed, 0)

    async def _flush(self) -> None:
        """Let held REST answers go, send what is queued, and wait for the slowest client, though not for a dead one."""
        async with self._moved:
            self._moved.notify_all()
        give_up_ns = clock.monotonic_ns() + _DEAD_NS
        while behind := [peer for peer in list(self.connections.values()) if peer.flush() > _BEHIND_BYTES]:
            if clock.monotonic_ns() > give_up_ns:
                for connection in behind:
                    connection.abort()
            await asyncio.sleep(0.001)
        self._sent_ns = clock.monotonic_ns()

    # --- clients --------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        return await self._answer(request.match_info["path"], list(request.query.items()))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        self._opened += 1
        connection = self.connections[self._opened] = Connection(self._opened, request, lambda *_: None, [0])
        self._channels[self._opened] = channels_on(self._payloads, str(request.rel_url))
        if request.query_string:
            self._subscribed(connection)  # Binance: the streams are in the URL
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    if answers := self._venue.acknowledge(message.data):
                        self._subscribed(connection)
                    for text in answers:
                        connection.send(text)
                elif message.type is WSMsgType.PING:
                    connection.pong(bytes(message.data))
                connection.flush()
        finally:
            connection.close()
            del self.connections[connection.number]
            del self._channels[connection.number]
            self._ready.discard(connection.number)
        return socket

    def _subscribed(self, connection: Connection) -> None:
        self._ready.add(connection.number)
        if len(self._ready) >= self._wait_connections > 0:
            self._enough.set()
        self._asked_ns = clock.monotonic_ns()

    async def _begin(self, request: web.Request) -> web.Response:
        self._enough.set()
        return await self._state(request)

    async def _state(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.json_response({"events": self._passed, "of": len(self.recording.frames)})

    async def _answer(self, path: str, query: list[tuple[str, str]]) -> web.Response:
        """The newest recorded answer as of the replay's position. A book is not shown before its time."""
        recorded = self.recording.answers(path, query)
        if not recorded:
            body = self._bodies.get(path, self._bodies.get(""))
            if body is None:
                return web.json_response({"error": f"the recording has no answer to {path}"}, status=404)
            return web.Response(text=body, content_type="application/json")
        if is_book(path):
            async with self._moved:
                await self._moved.wait_for(lambda: recorded[0].ts_recv <= self._position)
        reached = [answer for answer in recorded if answer.ts_recv <= self._position] or recorded[:1]
        return web.Response(body=reached[-1].payload, content_type="application/json")


def main(argv: Sequence[str]) -> int:
    settings = config.load(Settings, argv)
    speed = _speed(settings.speed)
    try:
        opened = Path(settings.ledger).open("wb", buffering=0) if settings.ledger else nullcontext()  # noqa: SIM115 # used below
    except OSError as error:
        raise ConfigError(f"--ledger is {settings.ledger!r}: {error.strerror}") from None
    with opened as ledger:
        asyncio.run(_run(settings, speed, ledger))
    return 0


def _speed(text: str) -> float:
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if speed < 0 or (not speed and text != "max"):
        raise ConfigError(f"--speed is {text!r}, expected a positive number or max")
    return speed


async def _run(settings: Settings, speed: float, ledger: FileIO | None) -> None:
    frames = list(read([Path(name) for name in settings.capture], settings.provider))
    try:
        replay = Replay(settings.provider, frames, speed, settings.wait_connections, ledger)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--provider is {settings.provider!r}: no module {error.name}") from None
    if settings.definitions:
        replay.add_definitions(_text(Path(settings.definitions)))
    try:
        runner, urls = await replay.start(settings.port)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port is {settings.port}, expected a free port from 1 to 65535, or 0: {error}") from None
    _say({"event": "listening", "providers": {settings.provider: urls}})
    serving = asyncio.current_task()
    assert serving is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(replay.beat())
            _say({"event": "finished", "frames": await replay.play()})
    except asyncio.CancelledError:
        pass  # asked to end by a signal
    finally:
        await runner.cleanup()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--definitions {path}: {error}") from None


def _say(event: dict[str, object]) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    config.run(main)
