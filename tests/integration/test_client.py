"""The client on real Valkeys, fed by real normalizer services of both lanes: arbitration, gaps, late joining, a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import redis.asyncio

from penstock import dbn
from penstock.channels import INSTANCES
from penstock.client import Beat, Item, LaneSwitch, Live, Loss, Message, Notice, Stale, Subscription, subscribe
from penstock.errors import Terminal
from strategies.feed.directory import Directory
from strategies.feed.feed import Feed
from tests.conftest import free_port
from tests.integration.client_harness import BOOK, TICKER, market
from tests.integration.normalizer_harness import S, start_valkey, until

SLOTS = ((5000, 9999), (0, 4999), (10_000, 16_383))


def book(sequence: int, bid: int, size: int, *, snapshot: bool = False) -> tuple[str, dict[str, object]]:
    frame: dict[str, object] = {"seq": sequence, "bids": [[bid * S, size]], "asks": [[90 * S, 1]] if snapshot else []}
    return BOOK, frame | ({"snapshot": True} if snapshot else {})


class Consumer:
    """Takes everything a subscription yields, with the time it came."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.at: list[float] = []
        self.feed: Feed | None = None

    async def consume(self, stream: Subscription) -> None:
        async for item in stream:
            self.items.append(item)
            self.at.append(time.monotonic())

    def ids(self) -> list[int]:
        return [r.sequence for m in self.items if isinstance(m, Message) and m.schema == "TRADES" for r in m.records]

    def said(self, schema: str, kind: type) -> list[object]:
        return [
            item.event
            for item in self.items
            if isinstance(item, Notice) and item.schema == schema and isinstance(item.event, kind)
        ]

    def levels(self) -> tuple[dict[tuple[str, int], int], int]:
        """The book the messages make, and the flags of its last record."""
        levels: dict[tuple[str, int], int] = {}
        flags = 0
        for item in self.items:
            for record in item.records if isinstance(item, Message) and item.schema == "MBO" else ():
                flags = record.flags
                if str(record.action) == "R":
                    levels.clear()
                elif str(record.action) == "C":
                    levels.pop((str(record.side), record.price // S))
                else:
                    levels[str(record.side), record.price // S] = record.size
        return levels, flags


@asynccontextmanager
async def consuming(
    url: str | Sequence[str], schema: str | Sequence[str], **options: object
) -> AsyncIterator[Consumer]:
    """A consumer of BTC that is connected on both lanes."""
    stream = subscribe(url, provider="deribit", schema=schema, symbols="BTC", **options)  # type: ignore[arg-type]
    consumer = Consumer()
    async with stream:
        task = asyncio.create_task(consumer.consume(stream))
        feed = stream.feed
        assert feed is not None
        consumer.feed = feed
        await until(lambda: all(reader.connected for reader in feed.readers))
        await asyncio.sleep(0.05)
        yield consumer
    await asyncio.wait_for(task, 5)  # the end of the subscription ends the iteration


async def test_one_lane_dies_and_every_trade_still_comes_once_and_in_order(tmp_path: Path, valkey: str) -> None:
    """Both lanes bring each trade, one is delivered; the book moves to the living lane within 1.5 s and stays right."""
    async with market(tmp_path, valkey) as venue, consuming(valkey, ["trades", "mbo"]) as consumer:
        await venue.beat()
        await venue.tell(book(1, 50, 3, snapshot=True))
        await venue.trades(1, 40)
        await until(lambda: consumer.ids() == list(range(1, 41)))
        await venue.beat()
        venue.alive[0] = False
        died = time.monotonic()
        for number in range(2, 9):
            await venue.tell(book(number, 40 + number, number))
            await venue.trades(number * 10 + 21, number * 10 + 30)
            await venue.beating(0.2)
        await until(lambda: consumer.said("MBO", LaneSwitch)[1:])
        await until(lambda: len(consumer.ids()) == 110)
        assert consumer.ids() == list(range(1, 111))
        switches = consumer.said("MBO", LaneSwitch)
        assert switches == [LaneSwitch("PRIMARY", "", "start"), LaneSwitch("REPLICA", "PRIMARY", "silent")]
        at = next(i for i, x in enumerate(consumer.items) if isinstance(x, Notice) and x.event == switches[1])
        assert consumer.at[at] - died < 1.5
        levels, flags = consumer.levels()
        assert levels == {("B", 50): 3, ("A", 90): 1} | {("B", 40 + n): n for n in range(2, 9)}
        assert not flags & dbn.F_MAYBE_BAD_BOOK
        assert not consumer.said("TRADES", Loss)


async def test_a_late_joiner_has_definitions_and_the_book_from_redis(tmp_path: Path, valkey: str) -> None:
    """The definition is the first item, the stored book comes though nothing of it is published any more, flagged until
    an image later than the joining; records, decimals and columns agree."""
    async with market(tmp_path, valkey) as venue:
        await venue.beat()
        await venue.tell(book(1, 50, 3, snapshot=True), (TICKER, {}))
        client = redis.asyncio.Redis.from_url(valkey)
        await until(lambda: client.exists("SNAPSHOT.PRIMARY.MBO.DERIBIT.book.BTC"))
        async with consuming(valkey, ["definition", "mbo", "statistics"], heartbeats=True) as consumer:
            first = consumer.items[0]
            assert isinstance(first, Message)
            assert (first.schema, first.symbol, first.records[0].raw_symbol) == ("DEFINITION", "BTC", "BTC")
            await venue.beat(seconds=1)
            await venue.beating(1.6)  # PRIMARY is given the grace to show a book that is not doubtful
            await until(lambda: consumer.levels()[0] == {("B", 50): 3, ("A", 90): 1})
            assert consumer.levels()[1] & dbn.F_MAYBE_BAD_BOOK
            assert {beat.lane for beat in consumer.said("MBO", Beat)} == set(INSTANCES)  # type: ignore[attr-defined]
            await venue.beat(seconds=6)
            await until(lambda: not consumer.levels()[1] & dbn.F_MAYBE_BAD_BOOK)
            image = next(x for x in reversed(consumer.items) if isinstance(x, Message) and x.schema == "MBO")
            assert image.array["order_id"].tolist() == [r.order_id for r in image.records]
            assert [image.listing.price(r.price) for r in image.records[1:]] == [Decimal(50), Decimal(90)]
            assert image.listing.quantity(*(r.size for r in image.records)) == Decimal(4)
            await venue.tell((TICKER, {}))
            await until(lambda: any(isinstance(x, Message) and x.schema == "STATISTICS" for x in consumer.items))
        await client.aclose()


async def test_gaps_are_items_of_the_stream_and_both_lanes_dead_is_stale(tmp_path: Path, valkey: str) -> None:
    """PRIMARY misses a book update: a Loss, then the other lane's book. Nothing from anybody: Stale, then Live."""
    async with market(tmp_path, valkey) as venue, consuming(valkey, ["MBO", "TRADES"]) as consumer:
        await venue.beat()
        await venue.tell(book(1, 50, 3, snapshot=True))
        await until(lambda: consumer.levels()[0] == {("B", 50): 3, ("A", 90): 1})
        await asyncio.sleep(0.1)  # for the other lane, which nothing shows: a lane never heard of covers no loss
        await venue.tell(book(2, 51, 4), lanes=(1,))
        await venue.tell(book(3, 52, 5))
        await until(lambda: consumer.levels()[0] == {("B", 50): 3, ("B", 51): 4, ("B", 52): 5, ("A", 90): 1})
        (lost,) = consumer.said("MBO", Loss)
        assert isinstance(lost, Loss)
        assert (lost.lane, lost.reason, lost.covered) == ("PRIMARY", "sequence", True)
        assert consumer.said("MBO", LaneSwitch)[-1] == LaneSwitch("REPLICA", "PRIMARY", "doubtful")
        await venue.trades(1, 3)
        quiet = time.monotonic()
        await until(lambda: consumer.said("TRADES", Stale) and consumer.said("MBO", Stale))
        assert time.monotonic() - quiet < 1.5
        await venue.beat(seconds=2)
        await venue.trades(4, 5)
        await until(lambda: consumer.ids() == [1, 2, 3, 4, 5])
        await until(lambda: len(consumer.said("TRADES", Live)) == 1)


async def test_a_broken_connection_of_one_lane_is_told_and_costs_no_trade(tmp_path: Path, valkey: str) -> None:
    """Redis drops one of the two subscribers; both are there again soon."""
    async with market(tmp_path, valkey) as venue, consuming(valkey, "TRADES") as consumer:
        await venue.beat()
        await venue.trades(1, 5)
        await until(lambda: len(consumer.ids()) == 5)
        async with redis.asyncio.Redis.from_url(valkey) as client:
            clients = await client.client_list(_type="pubsub")
            assert len(clients) == 2
            await client.client_kill_filter(_id=clients[0]["id"])
            await venue.trades(6, 10)
            await until(lambda: consumer.ids() == list(range(1, 11)))
            (lost,) = consumer.said("TRADES", Loss)
            assert isinstance(lost, Loss)
            assert (lost.reason, lost.covered) == ("disconnected", True)

            async def again() -> bool:
                return len(await client.client_list(_type="pubsub")) == 2

            await until(again)


async def test_a_slow_consumer_is_told_what_it_lost_and_harms_nobody(tmp_path: Path, valkey: str) -> None:
    """A consumer that stops for a while: what it got and what was declared lost add up; another one got all."""
    slow = subscribe(valkey, provider="deribit", schema="TRADES", symbols=["BTC"], buffer_bytes=10_000)
    async with market(tmp_path, valkey) as venue, consuming(valkey, "TRADES") as other, slow as stream:
        feed = stream.feed
        assert feed is not None
        await until(lambda: all(reader.connected for reader in feed.readers))
        await asyncio.sleep(0.05)
        await venue.beat()
        await venue.trades(1, 200)
        await until(lambda: len(other.ids()) == 200)
        taken, lost = [], 0
        async for item in stream:
            if isinstance(item, Message):
                taken += [record.sequence for record in item.records]
            elif isinstance(item.event, Loss):
                lost = item.event.expected
                assert item.event.reason == "slow"
                await venue.trades(201, 201)
            if taken[-1:] == [201]:
                break
        assert taken == [*range(1, len(taken)), 201]
        assert len(taken) + lost == 201
        assert lost > 100


async def test_leaving_the_loop_closes_the_connections(tmp_path: Path, valkey: str) -> None:
    """Without `async with`, when the loop is left: and the same subscription may be iterated again."""
    async with market(tmp_path, valkey) as venue, redis.asyncio.Redis.from_url(valkey) as client:
        stream = subscribe(valkey, provider="deribit", schema="DEFINITION", symbols=["BTC", "ETH"])
        for _ in range(2):
            seen = set()
            async for item in stream:
                seen.add(item.symbol)
                if seen == {"BTC", "ETH"}:
                    break

            async def closed() -> bool:
                return not await client.client_list(_type="pubsub")

            await until(closed)
        await venue.beat()


async def test_what_cannot_start_says_why(valkey: str) -> None:
    """A symbol nobody defines, and a Redis that is not there."""
    options = {"provider": "deribit", "schema": "TRADES", "symbols": ["NONE"], "definitions_timeout_s": 0.2}
    with pytest.raises(Terminal, match=r"no definition of DERIBIT:NONE has appeared in Redis within 0\.2 s"):
        await anext(aiter(subscribe(valkey, **options)))  # type: ignore[arg-type]
    with pytest.raises(Terminal, match=r"no Redis node answers HMGET: .*: is that where Redis runs"):
        await anext(aiter(subscribe(f"redis://127.0.0.1:{free_port()}", **options)))  # type: ignore[arg-type]


# --- a cluster ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def cluster(tmp_path: Path) -> AsyncIterator[list[tuple[str, object]]]:
    """Three primaries, of which the second owns the slots of definitions and channels, the third those of the snapshots:
    (URL, process) of each."""
    ports, buses, servers = [free_port() for _ in SLOTS], [free_port() for _ in SLOTS], []
    for port, bus in zip(ports, buses, strict=True):
        folder = tmp_path / f"node{port}"
        folder.mkdir()
        options = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-require-full-coverage", "no")
        servers.append(start_valkey(port, folder, *options))
    clients = [redis.asyncio.Redis(port=port) for port in ports]
    try:
        for client in clients:
            await until(lambda client=client: answers(client))
        for i, client in enumerate(clients):
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", *SLOTS[i])
            await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])

        async def agreed() -> bool:
            infos = [str(await client.execute_command("CLUSTER", "INFO")) for client in clients]
            return all("cluster_state:ok" in info and f"known_nodes:{len(SLOTS)}" in info for info in infos)

        await until(agreed, 15)
        yield [(f"redis://127.0.0.1:{port}", server) for port, server in zip(ports, servers, strict=True)]
    finally:
        for client in clients:
            await client.aclose()
        for server in servers:
            server.kill()
            server.wait()


async def answers(client: redis.asyncio.Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.exceptions.ConnectionError:
        return False


async def test_in_a_cluster_keys_are_followed_and_the_next_node_serves_when_one_dies(tmp_path: Path) -> None:
    """From one known node: definitions and channels are read from whichever node owns them; one lane is on the known
    one and goes on, when that dies, from a node that only the cluster named; the other never was there."""
    async with cluster(tmp_path) as nodes:
        (known, process), (other, _) = nodes[0], nodes[2]
        async with market(tmp_path, other) as venue, consuming(known, ["DEFINITION", "TRADES", "MBO"]) as consumer:
            await venue.beat()
            await venue.tell(book(1, 50, 3, snapshot=True))
            await venue.trades(1, 10)
            await until(lambda: consumer.ids() == list(range(1, 11)))
            process.kill()  # type: ignore[attr-defined]
            await until(lambda: consumer.said("TRADES", Loss))
            await asyncio.sleep(0.5)
            assert consumer.said("TRADES", Loss) == [Loss("PRIMARY", "disconnected", 0, 0, covered=True)]
            await venue.tell(book(2, 51, 4))
            await venue.trades(11, 20)
            await until(lambda: consumer.ids()[-10:] == list(range(11, 21)))
            await venue.beat(seconds=6)
            await until(lambda: not consumer.levels()[1] & dbn.F_MAYBE_BAD_BOOK, 8)
            assert consumer.levels()[0] == {("B", 50): 3, ("B", 51): 4, ("A", 90): 1}


async def test_keys_of_a_cluster_are_found_by_redirection_and_after_the_known_node_is_gone(tmp_path: Path) -> None:
    """A user who may only read learns from MOVED answers where a key is, and logs in there too. One who may ask for the
    nodes still finds keys when the only configured one is dead."""
    async with cluster(tmp_path) as nodes:
        for url, _ in nodes:
            await store(url, "ACL", "SETUSER", "app", "on", ">word", "~*", "&*", "+@read", "+@pubsub")
        await store(nodes[1][0], "HSET", "DEFINITION.DERIBIT", "BTC", b"the definition")
        await store(nodes[2][0], "SET", "SNAPSHOT.PRIMARY.MBO.DERIBIT.book.BTC", b"the image")
        reading = Directory([nodes[0][0].replace("//", "//app:word@")])
        assert await reading.definitions("DERIBIT", ["BTC", "ETH"]) == {"BTC": b"the definition"}
        asking = Directory([nodes[1][0]])
        assert await asking.definitions("DERIBIT", ["BTC"]) == {"BTC": b"the definition"}
        nodes[1][1].kill()  # type: ignore[attr-defined]
        assert await asking.image("PRIMARY", "DERIBIT", "book.BTC") == b"the image"
        for directory in (reading, asking):
            await directory.close()


async def store(url: str, *command: object) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.execute_command(*command)
