"""The TypeScript consumer of clients/typescript: generated and compiled here, then dialled by a real session manager."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
import pytest

from penstock.cli.process import Process
from penstock.raw.v1 import raw_pb2, service
from penstock.raw.v1.raw_pb2 import Envelope, Kind, PushRequest
from tests.integration.session_manager_harness import Consumer, until

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "typescript"
MAIN = CLIENT / "dist" / "src" / "main.js"

# npm's words for a registry that cannot be reached; anything else that fails is our mistake and fails the test.
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH")

NPM_S = 60


def npm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *arguments], cwd=CLIENT, capture_output=True, text=True, timeout=NPM_S, check=False)


@pytest.fixture(scope="module")
def program() -> Path:
    """The compiled program. Its packages are installed once per lock file; generating and compiling is done each time."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version[1:].partition(".")[0]) < 20:
        pytest.skip(f"node is {version}, the TypeScript consumer needs 20 or later")
    installed, lock = CLIENT / "node_modules" / ".package-lock.json", CLIENT / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        try:
            done = npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0")
        except subprocess.TimeoutExpired:
            pytest.skip(f"the npm registry did not deliver within {NPM_S} s")
        if done.returncode and any(word in done.stderr for word in UNREACHABLE):
            pytest.skip("the npm registry cannot be reached")
        assert done.returncode == 0, done.stderr
    built = npm("run", "build")
    assert built.returncode == 0, built.stdout + built.stderr
    return MAIN


class Node:
    """One running program: its envelopes (stdout) and events (stderr) as they come."""

    def __init__(self, program: Path, target: str, *arguments: str, provider: str = "deribit") -> None:
        self.argv = [
            "node", str(program), "--provider", provider, "--instance", "PRIMARY", "--listen", target, *arguments,
        ]  # fmt: skip
        self.envelopes: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.process: asyncio.subprocess.Process | None = None
        self.reading: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=1 << 24
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.reading = [
            asyncio.create_task(collect(self.process.stdout, self.envelopes)),
            asyncio.create_task(collect(self.process.stderr, self.events)),
        ]
        await until(lambda: self.events, "listening")
        assert self.named("listening"), self.events
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.process is not None and self.process.returncode is None:
            await self.kill()

    async def kill(self) -> None:
        """As a crash would; returns when everything it wrote has been read."""
        assert self.process is not None
        self.process.kill()
        await self._end()

    async def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return await self._end()

    async def _end(self) -> int | None:
        assert self.process is not None
        async with asyncio.timeout(10):
            await self.process.wait()
            await asyncio.gather(*self.reading)
        return self.process.returncode

    def named(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def sequences(self) -> list[int]:
        return [int(one["sequence"]) for one in self.envelopes]


async def collect(stream: asyncio.StreamReader, into: list[dict[str, Any]]) -> None:
    async for line in stream:
        into.append(json.loads(line) if line.startswith(b"{") else {"event": "words", "text": line.decode()})


def read(line: dict[str, Any]) -> tuple[object, ...]:
    """What one printed line says, in Python's terms."""
    payload = base64.b64decode(line["payload_base64"]) if "payload_base64" in line else line["payload"].encode()
    kind = Kind.Value(f"KIND_{line['kind']}")
    return int(line["sequence"]), int(line["ts_recv"]), line["connection"], line["channel"], kind, payload


def sent(envelope: Envelope) -> tuple[object, ...]:
    """The same of an envelope that Python received."""
    return (
        envelope.sequence, envelope.ts_recv, envelope.connection, envelope.channel, envelope.kind, envelope.payload,
    )  # fmt: skip


@asynccontextmanager
async def market(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A simulated Deribit; its URLs."""
    async with process(
        folder, "simulator", "--providers", "deribit", "--ledger", f"{folder}/ledger", "--rate", "400"
    ) as it:
        yield (await it.wait_event("listening", 20))["providers"]["deribit"]


@asynccontextmanager
async def process(folder: Path, *module: str) -> AsyncIterator[Process]:
    """A process of ours, stopped at the end."""
    one = Process(module[0], module, folder / f"{module[0]}.log", restart=False)
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        await one.stop()
        await task


def session_manager(folder: Path, urls: dict[str, str], hot: str, cold: str) -> Any:
    return process(
        folder, "services.session_manager", "--provider", "deribit", "--instance", "PRIMARY", "--normalizer", hot,
        "--batch-processor", cold, "--state-dir", f"{folder}/state", "--stream-url", urls["stream"],
        "--rest-url", urls["rest"],
    )  # fmt: skip


@asynccontextmanager
async def python_consumer(target: str) -> AsyncIterator[Consumer]:
    consumer = Consumer(target)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def test_typescript_reads_what_python_reads(program: Path, tmp_path: Path):
    """Two epochs: every field of every envelope is the same in both languages, and all is acknowledged to the end."""
    hot, cold = f"unix:{tmp_path}/hot.sock", f"unix:{tmp_path}/cold.sock"
    async with market(tmp_path) as urls, python_consumer(cold) as python, Node(program, hot) as node:
        for epoch in (1, 2):
            async with session_manager(tmp_path, urls, hot, cold) as manager:
                await manager.wait_event("session_connected", 20)
                seen = len(node.envelopes)
                await until(lambda seen=seen: len(node.envelopes) > seen + 150, "envelopes", 20)
            assert (manager.exits, manager.events[-1]["event"]) == ([0], "stopped")
            assert manager.events[-1]["hot_held"] == 0, f"epoch {epoch}: not everything was acknowledged"
            python.known = 0
        assert await node.stop() == 0
    assert [read(line) for line in node.envelopes] == [sent(envelope) for envelope in python.received]
    assert {line["kind"] for line in node.envelopes} == {"FRAME", "CONNECTED", "DISCONNECTED", "HEARTBEAT"}
    epochs = [int(line["epoch"]) for line in node.envelopes]
    assert len(set(epochs)) == 2
    assert epochs == sorted(epochs)
    assert not node.named("gap")


async def test_a_killed_consumer_comes_back_and_asks_for_its_books(program: Path, tmp_path: Path):
    """What was on its way is declared, the new process asks for the books it has not, and nobody else notices."""
    hot, cold = f"unix:{tmp_path}/hot.sock", f"unix:{tmp_path}/cold.sock"
    async with (
        market(tmp_path) as urls,
        python_consumer(cold) as python,
        session_manager(tmp_path, urls, hot, cold) as manager,
    ):
        async with Node(program, hot) as first:
            await until(lambda: len(first.envelopes) > 150, "envelopes", 20)
            await first.kill()
        began = len(python.received)
        await until(lambda: len(python.received) > began + 100, "others go on")
        async with Node(program, hot, "--state", "book.") as second:
            resync = await manager.wait_event("resync_requested", 10)
            books = [line["channel"] for line in second.envelopes if line["channel"].startswith("book.")]
            assert resync["channel"] in books
            await until(lambda: snapshots(second, resync["channel"]), "a new snapshot")
            await manager.stop()
            assert await second.stop() == 0
    received = [sent(envelope) for envelope in python.received]
    everything = {entry[0]: entry for entry in received}
    assert [entry[0] for entry in received] == list(range(1, len(received) + 1))
    lines = [*first.envelopes, *second.envelopes]
    assert all(everything[int(line["sequence"])] == read(line) for line in lines if line["kind"] != "DROPPED")
    assert not second.named("gap")
    assert missing(second) == 0


def snapshots(node: Node, channel: str) -> list[dict[str, Any]]:
    """The venue's snapshots of a book."""
    frames = [one for one in node.envelopes if (one["kind"], one["channel"]) == ("FRAME", channel)]
    return [one for one in frames if json.loads(one["payload"])["params"]["data"]["type"] == "snapshot"]


def missing(node: Node) -> int:
    """How many sequences, from the first printed on, were neither printed nor in a declared range."""
    printed = {int(one["sequence"]) for one in node.envelopes if one["kind"] != "DROPPED"}
    ranges = [json.loads(one["payload"]) for one in node.envelopes if one["kind"] == "DROPPED"]
    declared = {n for one in ranges for n in range(one["first"], one["last"] + 1)}
    return len(set(range(min(printed), max(printed) + 1)) - printed - declared)


class Stream:
    """One stream of a made-up session, written batch by batch."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.aio.insecure_channel(
            target, options=(*service.OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        )
        self.call = service.push(self.channel)

    async def send(self, epoch: int, *envelopes: Envelope, provider: str = "deribit") -> None:
        batch = PushRequest(provider=provider, instance=raw_pb2.INSTANCE_PRIMARY, epoch=epoch, envelopes=envelopes)
        await self.call.write(batch)

    async def answer(self) -> tuple[int, list[str]]:
        async with asyncio.timeout(5):
            response = await self.call.read()
        assert response is not grpc.aio.EOF, await self.call.code()
        return response.acked_sequence, list(response.resync_channels)

    async def code(self) -> grpc.StatusCode:
        """How the stream ended; answers before that are read over."""
        with suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(5):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
        code: grpc.StatusCode = await self.call.code()
        return code


@asynccontextmanager
async def streams(target: str) -> AsyncIterator[Callable[[], Stream]]:
    opened: list[Stream] = []

    def another() -> Stream:
        opened.append(Stream(target))
        return opened[-1]

    yield another
    for stream in opened:
        await stream.channel.close()


def frames(numbers: Sequence[int], channel: str = "book.A") -> list[Envelope]:
    return [envelope(number, raw_pb2.KIND_FRAME, b"%d" % number, channel) for number in numbers]


def envelope(sequence: int, kind: Kind, payload: bytes, channel: str = "session") -> Envelope:
    return Envelope(sequence=sequence, ts_recv=sequence, connection=1, channel=channel, kind=kind, payload=payload)


HEARTBEAT = b'{"connections":{"1":["book.A","book.B","trades.A"]}}'


async def test_losses_and_repetitions(program: Path, tmp_path: Path):
    """Repeated envelopes count once; a declared loss asks for its channel, an undeclared one for all that have a state."""
    target = f"unix:{tmp_path}/hot.sock"
    async with Node(program, target, "--state", "book.") as node, streams(target) as another:
        stream = another()
        await stream.send(7, *frames(range(1, 4)), envelope(4, raw_pb2.KIND_HEARTBEAT, HEARTBEAT))
        assert await stream.answer() == (0, [])
        await stream.send(7, *frames(range(3, 7)))
        dropped = b'{"first":7,"last":9,"count":%d}'
        markers = [envelope(8, raw_pb2.KIND_CONNECTED, b"{}"), envelope(9, raw_pb2.KIND_DROPPED, dropped % 2, "book.B")]
        await stream.send(7, *markers, *frames([10]))
        assert await stream.answer() == (10, ["book.B"])
        assert not node.named("gap")
        await stream.send(7, *frames([13]), envelope(14, raw_pb2.KIND_HEARTBEAT, HEARTBEAT))
        assert await stream.answer() == (14, ["book.A", "book.B"])
        again = another()
        await again.send(7, *frames(range(11, 16)))
        assert await again.answer() == (14, [])
        await again.call.done_writing()
        assert await again.answer() == (15, [])
        assert await again.code() is grpc.StatusCode.OK
    assert [(one["first"], one["last"], one["count"]) for one in node.named("gap")] == [("11", "12", "2")]
    assert node.sequences() == [1, 2, 3, 4, 5, 6, 8, 9, 10, 13, 14, 15]


async def test_who_is_refused(program: Path, tmp_path: Path):
    """An older epoch, an older stream, another provider's, and batches that break the rules written in raw.proto."""
    target = f"unix:{tmp_path}/hot.sock"
    async with Node(program, target) as node, streams(target) as another:
        older, newer, stale = another(), another(), another()
        await older.send(2, *frames([1]))
        await older.answer()
        await newer.send(2, *frames([2]))
        await newer.answer()
        await older.send(2, *frames([3]))
        assert await older.code() is grpc.StatusCode.ABORTED
        await stale.send(1, *frames([4]))
        assert await stale.code() is grpc.StatusCode.FAILED_PRECONDITION
        for epoch, provider, bad in [
            (2, "kraken", frames([9])),
            (2, "Not a name", frames([9])),
            (0, "deribit", frames([9])),
            (2, "deribit", []),
            (2, "deribit", frames([9, 9])),
            (2, "deribit", frames([9], channel="")),
            (2, "deribit", [envelope(9, raw_pb2.KIND_DROPPED, b"{}")]),
        ]:
            stream = another()
            await stream.send(epoch, *bad, provider=provider)
            assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT, bad
        await newer.send(2, *frames([3]))
        await until(lambda: node.sequences() == [1, 2, 3], "the newest stream goes on")


async def test_it_stops_when_all_is_acknowledged(program: Path, tmp_path: Path):
    """SIGTERM ends each stream after its next batch, with what was written acknowledged."""
    target = f"unix:{tmp_path}/hot.sock"
    async with Node(program, target) as node, streams(target) as another:
        stream = another()
        await stream.send(3, *frames([1]))
        assert await stream.answer() == (0, [])
        stopping = asyncio.create_task(node.stop())
        await asyncio.sleep(0.3)
        await stream.send(3, *frames([2]))
        assert await stream.answer() == (2, [])
        assert await stream.code() is grpc.StatusCode.OK
        assert await stopping == 0
    assert node.sequences() == [1, 2]


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0:9000", "expected unix:/path.sock or a loopback address"),
        ("127.0.0.1:99999", "expected unix:/path.sock or a loopback address"),
        ("unix:/no/such/folder.sock", "/no/such/folder.sock"),
    ],
)
async def test_a_wrong_address_is_one_line(program: Path, listen: str, words: str):
    argv = ["node", str(program), "--provider", "deribit", "--instance", "PRIMARY", "--listen", listen]
    done = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, errors = await done.communicate()
    assert (done.returncode, errors.count(b"\n")) == (2, 1), errors
    assert words in errors.decode()
