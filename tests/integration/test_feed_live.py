"""Two lanes published into a real Valkey, and what comes out of the feed and of a real trading node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import BookType

import providers
from penstock import dbn
from penstock.book import Book
from penstock.channels import INSTANCES, Channel, encode
from penstock.errors import Terminal
from penstock.instruments import FUTURE, Instrument
from penstock.lots import decimal_text
from penstock.markers import Heartbeat
from strategies.feed.arbiter import Stream
from strategies.feed.codec import Codec
from strategies.feed.feed import Feed
from strategies.feed.instruments import Definitions
from strategies.feed.notices import LaneSwitch, Live, Loss, Output, Stale
from strategies.run import main
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]
PROVIDER = "DERIBIT"
LISTING = Instrument(
    providers.info("deribit").publisher,
    "BTC-PERPETUAL",
    10 * 10**9,
    "USD",
    5 * 10**8,
    FUTURE,
    "PERP",
    "BTC",
    "USD",
    "BTC",
    "INV",
)
CHANNELS = {"TRADES": "trades.BTC-PERPETUAL.raw", "MBO": "book.BTC-PERPETUAL.raw", "MBP_1": "quote.BTC-PERPETUAL"}
BASE = 2**32 - 200
"""Trade ids wrap at 2**32 soon after the start."""


class Lanes:
    """A market of one instrument, told on two lanes by the rules of the normalizer service."""

    def __init__(self, url: str) -> None:
        self.redis = redis.asyncio.Redis.from_url(url)
        self.chance = random.Random(7)
        self.ids = (LISTING.publisher.publisher_id, LISTING.instrument_id)
        self.book = Book(*self.ids)
        self.mid = 64_000 * 10**9
        self.trades: list[tuple[int, int, int, str]] = []
        """(id, price, lots, side) in the venue's order."""
        self.quotes: list[int] = []
        self.alive = dict.fromkeys(INSTANCES, False)
        self.runs = dict.fromkeys(INSTANCES, 0)
        self.counts: dict[tuple[str, str], int] = {}
        self.published = 0
        self.sequence = BASE
        now = time.time_ns()
        levels = (
            [(self.mid - i * LISTING.tick, 5 + i) for i in range(1, 51)],
            [(self.mid + i * LISTING.tick, 5 + i) for i in range(1, 51)],
        )
        self.book.replace(*levels, now, now, self.sequence)

    async def define(self, *, channels: bool = True) -> None:
        now = time.time_ns()
        await self.redis.hset(f"DEFINITION.{PROVIDER}", LISTING.raw_symbol, LISTING.record(now, now))
        if channels:
            fields = {f"{schema} {LISTING.instrument_id}": encode(channel) for schema, channel in CHANNELS.items()}
            await self.redis.hset(f"CHANNELS.{PROVIDER}", mapping=fields)

    async def start(self, instance: str) -> None:
        """A new run of the lane: counts begin at zero, the book's channel with a snapshot."""
        self.alive[instance] = True
        self.runs[instance] = time.time_ns()
        for schema in CHANNELS:
            self.counts[instance, schema] = 0
        now = time.time_ns()
        image = self.book.image(now, now, self.sequence)
        await self.redis.set(f"SNAPSHOT.{instance}.MBO.{PROVIDER}.{encode(CHANNELS['MBO'])}", image, ex=120)
        await self.send({"MBO": image}, (instance,))

    def kill(self, instance: str) -> None:
        self.alive[instance] = False

    async def send(self, messages: dict[str, bytes], instances: Sequence[str] = INSTANCES) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            for instance in instances:
                for schema, message in messages.items():
                    if self.alive[instance] and message:
                        self.counts[instance, schema] += 1
                        self.published += 1
                        pipe.publish(Channel(instance, schema, PROVIDER, CHANNELS[schema]).name, message)
            await pipe.execute()

    async def beat(self) -> None:
        now = time.time_ns()
        for instance in INSTANCES:
            for schema, channel in CHANNELS.items():
                if self.alive[instance]:
                    mark = Heartbeat(1, self.runs[instance], self.counts[instance, schema]).record(*self.ids, now)
                    await self.redis.publish(Channel(instance, schema, PROVIDER, channel).name, mark)

    async def step(self) -> None:
        """One event of the venue."""
        now = time.time_ns()
        self.sequence = (self.sequence + 1) % 2**32
        side, sign = self.chance.choice([(dbn.BID, -1), (dbn.ASK, 1)])
        price = self.mid + sign * self.chance.randrange(2, 50) * LISTING.tick
        size = self.chance.choice([0, 1, 2, 3, 2**32 + 5])
        messages = {"MBO": self.book.update([(side, price, size)], now, now, self.sequence)}
        top = [
            (self.mid - LISTING.tick, self.chance.randrange(1, 9)),
            (self.mid + LISTING.tick, self.chance.randrange(1, 9)),
        ]
        messages["MBP_1"] = dbn.mbp_1(
            *self.ids, now, dbn.F_LAST, now, self.sequence, top[0][0], top[1][0], top[0][1], top[1][1]
        )
        self.quotes.append(now)
        if self.chance.random() < 0.5:
            number, lots = (BASE + len(self.trades)) % 2**32, self.chance.choice([1, 7, 2**32 + 3])
            aggressor = self.chance.choice([dbn.BID, dbn.ASK])
            sizes = [lots] if lots < 2**32 else [2**32 - 2, lots - 2**32 + 2]
            messages["TRADES"] = b"".join(
                dbn.trade(
                    *self.ids, now, self.mid, part, aggressor, dbn.F_LAST if i + 1 == len(sizes) else 0, now, number
                )
                for i, part in enumerate(sizes)
            )
            self.trades.append((number, self.mid, lots, aggressor.decode()))
        await self.send(messages)

    async def run(self, seconds: float, per_s: int = 200) -> None:
        """The market for a while, heartbeats each second."""
        end, beats = time.monotonic() + seconds, time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= beats:
                beats += 1.0
                await self.beat()
            await self.step()
            await asyncio.sleep(1 / per_s)

    def levels(self) -> tuple[dict[str, str], dict[str, str]]:
        """The reference book as plain decimal texts, price to quantity."""
        return (
            {decimal_text(price): str(size * 10) for price, size in self.book.bids.items()},
            {decimal_text(price): str(size * 10) for price, size in self.book.asks.items()},
        )


@contextlib.asynccontextmanager
async def market(url: str) -> AsyncIterator[Lanes]:
    lanes = Lanes(url)
    try:
        yield lanes
    finally:
        await lanes.redis.aclose()


class Received:
    """Everything that came out of a feed, as Nautilus objects and notices, with a Nautilus book kept by the deltas."""

    def __init__(self, url: str) -> None:
        self.feed = Feed((url,), self.take)
        self.codec = Codec()
        listing = Definitions().listing(PROVIDER, LISTING.record(1, 2))
        self.codec.learn(listing)
        self.trades: list[TradeTick] = []
        self.quotes: list[QuoteTick] = []
        self.book = OrderBook(listing.id, BookType.L2_MBP)
        self.flags = dbn.F_MAYBE_BAD_BOOK
        self.notices: list[tuple[str, Output]] = []
        self.at: list[float] = []

    def take(self, stream: Stream, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if not isinstance(output, bytes):
                self.notices.append((stream.schema, output))
                self.at.append(time.monotonic())
                continue
            for made in self.codec.objects(output):
                if isinstance(made, TradeTick):
                    self.trades.append(made)
                elif isinstance(made, QuoteTick):
                    self.quotes.append(made)
                elif isinstance(made, OrderBookDeltas):
                    self.book.apply_deltas(made)
                    self.flags = made.flags

    def levels(self) -> tuple[dict[str, str], dict[str, str]]:
        def side(levels: list[object]) -> dict[str, str]:
            return {plain(str(level.price)): str(int(level.size())) for level in levels}  # type: ignore[attr-defined]

        return side(self.book.bids()), side(self.book.asks())

    def said(self, schema: str, kind: type) -> list[Output]:
        return [notice for where, notice in self.notices if where == schema and isinstance(notice, kind)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Received]:
        for schema in CHANNELS:
            await self.feed.subscribe(schema, PROVIDER, LISTING.instrument_id)
        task = asyncio.create_task(self.feed.run())
        try:
            while not all(reader.connected for reader in self.feed.readers):  # noqa: ASYNC110 # no event says so
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            yield self
        finally:
            task.cancel()
            await asyncio.wait((task,))


def plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def wanted(lanes: Lanes) -> list[tuple[str, str, str]]:
    return [(str(number), decimal_text(price), str(lots * 10)) for number, price, lots, _ in lanes.trades]


def got(received: Received) -> list[tuple[str, str, str]]:
    return [(t.trade_id.value, plain(str(t.price)), str(t.size)) for t in received.trades]


@pytest.mark.parametrize("known", [True, False], ids=["exact channels", "provider-wide pattern"])
async def test_primary_dies_and_nothing_is_lost(valkey: str, known: bool) -> None:
    """Trades once each and in order, quotes never back in time, the book equal to the venue's after the switch."""
    async with market(valkey) as lanes:
        await lanes.define(channels=known)
        async with Received(valkey).running() as received:
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(1.2)
            lanes.kill("PRIMARY")
            died = time.monotonic()
            await lanes.run(2.2)
            await asyncio.sleep(0.2)
            assert got(received) == wanted(lanes)
            times = [quote.ts_event for quote in received.quotes]
            assert times == sorted(set(times)) == lanes.quotes
            assert received.levels() == lanes.levels()
            assert not received.flags & dbn.F_MAYBE_BAD_BOOK
            switches = [notice for notice in received.said("MBO", LaneSwitch) if notice.previous]
            assert [(s.lane, s.reason) for s in switches] == [("REPLICA", "silent")]
            at = received.at[received.notices.index(("MBO", switches[0]))]
            assert at - died <= 1.5
            assert not received.said("TRADES", Loss)
            assert not received.codec.refused


async def test_both_lanes_die_and_return(valkey: str) -> None:
    """STALE within 1.5 s on every channel, LIVE with the first word, and a whole book again."""
    async with market(valkey) as lanes:
        await lanes.define()
        async with Received(valkey).running() as received:
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(1.1)
            for instance in INSTANCES:
                lanes.kill(instance)
            await asyncio.sleep(1.5)
            assert all(len(received.said(schema, Stale)) == 1 for schema in CHANNELS)
            await lanes.start("REPLICA")
            await lanes.run(0.3)
            await asyncio.sleep(0.1)
            assert all(received.said(schema, Live) == [Live("REPLICA")] for schema in CHANNELS)
            assert received.levels() == lanes.levels()
            assert len(got(received)) == len(wanted(lanes))


async def test_a_late_joiner_begins_with_the_stored_image(valkey: str) -> None:
    """A subscriber of a running market gets a book at once, flagged until an image later than its joining is stored."""
    async with market(valkey) as lanes:
        await lanes.define()
        for instance in INSTANCES:
            await lanes.start(instance)
        await lanes.run(0.5)
        async with Received(valkey).running() as received:
            await lanes.run(1.9)
            assert len(received.book.bids()) > 20  # most of what the market holds, which moves
            assert received.flags & dbn.F_MAYBE_BAD_BOOK
            now = time.time_ns()
            image = lanes.book.image(now, now, lanes.sequence)
            await lanes.redis.set(f"SNAPSHOT.PRIMARY.MBO.{PROVIDER}.{encode(CHANNELS['MBO'])}", image)
            await lanes.run(0.6)
            await asyncio.sleep(0.1)
            assert not received.flags & dbn.F_MAYBE_BAD_BOOK
            assert received.levels() == lanes.levels()


async def test_a_broken_connection_is_said_and_healed(valkey: str) -> None:
    """Redis drops one lane's subscriber: declared, the book moves, nothing of the trades is lost, it subscribes again."""
    async with market(valkey) as lanes:
        await lanes.define()
        async with Received(valkey).running() as received:
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(0.4)
            clients = await lanes.redis.client_list(_type="pubsub")
            primary = min(clients, key=lambda client: int(client["id"]))
            await lanes.redis.client_kill_filter(_id=primary["id"])
            await lanes.run(0.8)
            await asyncio.sleep(0.1)
            assert sorted(reader.connects for reader in received.feed.readers) == [1, 2]
            lost = received.said("TRADES", Loss)
            assert [(loss.reason, loss.covered) for loss in lost] == [("disconnected", True)]
            assert got(received) == wanted(lanes)
            assert received.levels() == lanes.levels()


async def test_a_node_that_answers_nothing_is_left(valkey: str) -> None:
    """A frozen Redis sends no error: declared lost within 1.5 s, and subscribed again when it answers."""
    async with market(valkey) as lanes:
        await lanes.define()
        async with Received(valkey).running() as received:
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(0.2)
            frozen = time.monotonic()
            await lanes.redis.client_pause(1500)
            await asyncio.sleep(1.6)
            lost = [
                i for i, (where, notice) in enumerate(received.notices) if where == "MBO" and isinstance(notice, Loss)
            ]
            assert len(lost) == 2
            assert all(received.at[i] - frozen <= 1.5 for i in lost)
            await asyncio.sleep(0.6)
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(0.3)
            await asyncio.sleep(0.1)
            assert received.levels() == lanes.levels()
            assert not received.flags & dbn.F_MAYBE_BAD_BOOK


async def test_garbage_on_the_channels_harms_nothing(valkey: str) -> None:
    """Bytes that are no messages are counted on the stream and stop nothing."""
    async with market(valkey) as lanes:
        await lanes.define()
        async with Received(valkey).running() as received:
            for instance in INSTANCES:
                await lanes.start(instance)
            for bad in (b"", b"x" * 48, bytes(56), lanes.book.image(1, 2, 3)[:-3]):
                for schema, channel in CHANNELS.items():
                    await lanes.redis.publish(Channel("PRIMARY", schema, PROVIDER, channel).name, bad)
            await lanes.run(0.4)
            await asyncio.sleep(0.15)
            assert got(received) == wanted(lanes)
            assert received.levels() == lanes.levels()
            assert sum(s.counts.malformed for s in received.feed.arbiter.streams.values()) == 12


def command(url: str, log: Path) -> list[str]:
    return [
        sys.executable, "-m", "strategies.run", "--strategy", "witness", "--redis", url,
        "--instruments", f"{PROVIDER}:{LISTING.raw_symbol}", "--trades-log", str(log), "--stats",
    ]  # fmt: skip


async def test_a_trading_node_sees_every_trade_once_while_primary_dies(valkey: str, tmp_path: Path) -> None:
    """A real node in its own process: the trades its strategy saw are the venue's, its stats show the switch, its
    sandbox fills orders, and SIGTERM ends it with code 0."""
    log, port = tmp_path / "trades.jsonl", free_port()
    async with market(valkey) as lanes:
        await lanes.define()
        began = time.monotonic()
        node = await asyncio.create_subprocess_exec(
            *command(valkey, log),
            "--metrics-port",
            str(port),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ),
        )
        stats: list[dict[str, dict[str, object]]] = []

        async def read() -> None:
            assert node.stdout is not None
            async for line in node.stdout:
                event = json.loads(line)
                if event["event"] == "stats":
                    stats.append(event["metrics"])

        reading = asyncio.create_task(read())
        try:
            for instance in INSTANCES:
                await lanes.start(instance)
            while not stats or not stats[-1][PROVIDER]["deltas"]:
                await lanes.run(0.2)
                assert node.returncode is None
                assert time.monotonic() - began < 100
            ready_s = time.monotonic() - began
            for instance in INSTANCES:
                await lanes.start(instance)
            await lanes.run(1.5)
            lanes.kill("PRIMARY")
            await lanes.run(3.0)
            await asyncio.sleep(0.5)
            async with aiohttp.ClientSession() as web, web.get(f"http://127.0.0.1:{port}/metrics") as answer:
                exported = await answer.text()
            node.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(node.wait(), 10) == 0
        finally:
            if node.returncode is None:
                node.kill()
            assert node.stderr is not None
            errors = (await node.stderr.read()).decode()
            print(errors)
            await reading
            await node.wait()
    assert re.search(r'^penstock_feed_switches_total\{[^}]*provider="DERIBIT"[^}]*\} 1\.0$', exported, re.MULTILINE)
    last = stats[-1][PROVIDER]
    print(f"node ready after {ready_s:.1f} s; last stats {last}")
    seen = [
        (row["trade_id"], row["price"], row["size"], row["side"])
        for row in map(json.loads, log.read_text().splitlines())
    ]
    reference = [(str(n), decimal_text(p), str(lots * 10), side) for n, p, lots, side in lanes.trades]
    assert seen == reference[-len(seen) :]
    assert len(seen) > 300
    assert last["lane"] == "REPLICA"
    assert last["switches"] == 1
    assert last["orders"] == last["fills"] > 0
    assert errors == ""


def test_what_cannot_start_says_so(valkey: str, tmp_path: Path) -> None:
    """An instrument nobody defines: Terminal, which the command line prints as one readable line."""
    arguments = [*command(valkey, tmp_path / "log")[3:], "--definitions-timeout-s", "0.3"]
    with pytest.raises(Terminal, match=r"no definition of DERIBIT:BTC-PERPETUAL has appeared in Redis within 0\.3 s"):
        main(arguments)
