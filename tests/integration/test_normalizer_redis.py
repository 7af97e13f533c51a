"""The publisher against a Valkey that dies, freezes, refuses, speaks TLS or is a cluster."""

from __future__ import annotations

import asyncio
import itertools
import signal
import ssl
import subprocess
import time
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from penstock import dbn
from penstock.errors import ConfigError, Terminal
from services.normalizer import publisher
from services.normalizer.resp import Node
from tests.conftest import free_port
from tests.integration.normalizer_harness import S, Subscriber, envelope, heartbeat, running, start_valkey, until

BOOK, TRADES = "book.BTC", "trades.BTC"
SNAPSHOT_KEY = "SNAPSHOT.PRIMARY.MBO.DERIBIT.book.BTC"
SNAPSHOT = {"seq": 1, "snapshot": True, "bids": [[5 * S, 3]], "asks": [[6 * S, 4]]}


class Server:
    """A Valkey that the test kills, freezes and starts again on the same port."""

    def __init__(self, folder, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._start = lambda: start_valkey(self.port, folder, *options)
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.process = self._start()

    async def up(self) -> None:
        async with asyncio.timeout(5):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                    return
                except OSError:
                    await asyncio.sleep(0.01)


@pytest.fixture
async def server(tmp_path):
    found = Server(tmp_path)
    await found.up()
    yield found
    found.process.send_signal(signal.SIGCONT)
    found.kill()


@asynccontextmanager
async def proxy(port: int, tls: ssl.SSLContext | None = None):
    """A proxy to `port`, speaking TLS to its clients or not, whose gate can be shut: (its port, the gate)."""
    gate = asyncio.Event()
    gate.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not gate.is_set():
            writer.close()
            return
        try:
            upstream, sink = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, sink), _pump(upstream, writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1], gate
    finally:
        listener.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def test_killed_and_restarted_redis_gets_gaps_images_and_keys(tmp_path, server):
    """While Redis is away messages are dropped and counted; back, each channel that lost some has a gap, each such book
    a snapshot of now, the keys are written again, and the stream was never held up."""
    async with proxy(server.port) as (port, gate), running(tmp_path, f"redis://127.0.0.1:{port}") as rig:
        pusher = rig.pusher()
        await pusher.send(
            envelope(1, "rest/instruments", {"symbols": ["BTC"]}), envelope(2, BOOK, SNAPSHOT),
            envelope(3, "trades.QUIET", {"id": 1}), envelope(4, TRADES, {"id": 1}),
        )  # fmt: skip
        await pusher.answer()
        await until(lambda: rig.counts.frames["data"] == 4)
        await asyncio.sleep(0.05)
        server.kill()
        gate.clear()
        await asyncio.sleep(0.05)
        await pusher.send(
            envelope(5, BOOK, {"seq": 2, "bids": [[4 * S, 1]], "asks": []}), envelope(6, TRADES, {"id": 2})
        )
        await until(lambda: rig.counts.publish_failures == 2)
        server.restart()
        await server.up()
        async with Subscriber(server.url).listening() as seen:
            gate.set()
            await until(lambda: len(seen.messages) == 3)
            assert sorted((name.split(".", 4)[4], gap.reason) for name, gap in seen.gaps()) == [
                (BOOK, "publish"), (TRADES, "publish"),
            ]  # fmt: skip
            gap, image = seen.on("MBO")[BOOK]
            assert (gap[1], len(image), image[38:39]) == (dbn.RTYPE_ERROR, 4 * 56, b"R")
            await pusher.send(envelope(7, TRADES, {"id": 3}), heartbeat(8, BOOK, TRADES))
            await pusher.acked(8)
            await until(lambda: len(seen.heartbeats()) == 3)
            # Counted: the messages written before, the gap and what followed; what was dropped was never written.
            assert {name.split(".", 4)[4]: beat.published for name, beat, _ in seen.heartbeats()} == {
                "definition.BTC": 1, BOOK: 3, TRADES: 3,
            }  # fmt: skip
            assert seen.on("TRADES")[TRADES][-1][1] == dbn.RTYPE_TRADE
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await until(lambda: client.exists(SNAPSHOT_KEY))
            assert await client.hlen("DEFINITION.DERIBIT") == 1


async def test_a_frozen_redis_is_given_up_after_one_second(tmp_path, server):
    """A stopped server that answers nothing costs one second; what it was sent meanwhile is declared on its channel,
    comes before the gap or never, and nothing is out of order. A channel that lost nothing has no gap."""
    async with running(tmp_path, server.url) as rig, Subscriber(server.url).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(envelope(1, TRADES, {"id": 1}), envelope(2, "trades.QUIET", {"id": 2}))
        await pusher.answer()
        await until(lambda: len(seen.messages) == 2)
        await asyncio.sleep(0.05)
        server.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        for first in range(3, 20_003, 4000):
            await pusher.send(*(envelope(n, TRADES, {"id": n}) for n in range(first, first + 4000)))
        await until(lambda: rig.counts.publish_failures > 0)
        assert 0.8 < time.monotonic() - stopped < 2
        await until(lambda: rig.counts.frames["data"] == 20_002)
        assert rig.counts.publish_failures == 20_000
        server.process.send_signal(signal.SIGCONT)
        await until(lambda: seen.gaps())
        await pusher.send(envelope(20_003, TRADES, {"id": 20_003}))
        await pusher.acked(20_003)
        await until(lambda: seen.on("TRADES")[TRADES][-1][44:48] == (20_003).to_bytes(4, "little"))
        await asyncio.sleep(0.2)
        found = [int.from_bytes(data[44:48], "little") if data[1] == 0 else "gap" for data in seen.on("TRADES")[TRADES]]
        numbers = [number for number in found if number != "gap"]
        assert numbers == sorted(set(numbers))
        assert found[-2:] == ["gap", 20_003]
        assert len(seen.on("TRADES")["trades.QUIET"]) == 1


async def test_a_lost_connection_declares_only_what_was_in_flight(tmp_path, server):
    """The connection is cut while idle: everything was answered, nothing is declared, the next message arrives."""
    async with running(tmp_path, server.url) as rig, Subscriber(server.url).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(envelope(1, TRADES, {"id": 1}))
        await pusher.answer()
        await until(lambda: len(seen.messages) == 1)
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.3)
        await pusher.send(envelope(2, TRADES, {"id": 2}))
        await pusher.acked(2)
        await until(lambda: len(seen.messages) == 2)
        assert (seen.gaps(), rig.counts.publish_failures) == ([], 0)


async def test_the_publisher_rotates_to_the_next_node(tmp_path, server):
    """Of several nodes a dead one is skipped at once."""
    dead = f"redis://127.0.0.1:{free_port()}"
    async with running(tmp_path, (dead, server.url)) as rig, Subscriber(server.url).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(envelope(1, TRADES, {"id": 1}))
        await until(lambda: len(seen.messages) == 1)
        assert seen.gaps() == []


async def test_redis_away_at_start_delays_nothing_and_hides_nothing(tmp_path):
    """Envelopes are consumed and acknowledged without any Redis; when it comes the loss is declared."""
    port = free_port()
    async with running(tmp_path, f"redis://127.0.0.1:{port}") as rig:
        pusher = rig.pusher()
        await pusher.send(envelope(1, TRADES, {"id": 1}))
        await pusher.acked(1)
        assert rig.counts.publish_failures == 1


async def test_a_slow_redis_bounds_what_is_in_flight(tmp_path, server, monkeypatch):
    """A server that does not answer makes the stream wait, so that memory is bounded, and is then given up."""
    monkeypatch.setattr(publisher, "IN_FLIGHT_BYTES", 400_000)
    snapshot = {"snapshot": True, "bids": [[n, 1] for n in range(1, 2000)], "asks": []}
    async with running(tmp_path, server.url) as rig:
        pusher = rig.pusher()
        await pusher.send(envelope(1, BOOK, snapshot | {"seq": 1}))
        await until(lambda: rig.counts.frames["data"] == 1)
        await asyncio.sleep(0.1)
        server.process.send_signal(signal.SIGSTOP)
        for n in range(2, 12):
            await pusher.send(envelope(n, BOOK, snapshot | {"seq": n}))
        await asyncio.sleep(0.5)
        # A snapshot is 112 kB: the fourth in flight goes over the bound.
        assert rig.counts.frames["data"] == 1 + 4
        await until(lambda: rig.counts.frames["data"] == 11)
        server.process.send_signal(signal.SIGCONT)


async def test_a_user_with_only_the_rights_it_needs_publishes(tmp_path):
    """AUTH by ACL: a user that may publish on its pattern and write its keys is enough; a wrong password ends the start
    with one line that does not show it."""
    rights = "~DEFINITION.* ~CHANNELS.* ~SNAPSHOT.* resetchannels &MARKET_DATA.* -@all +publish +set +hset"
    server = Server(tmp_path)
    await server.up()
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.execute_command("ACL", "SETUSER", "norm", "on", ">s3cr%t:x", *rights.split())
        url = f"redis://norm:s3cr%25t%3Ax@127.0.0.1:{server.port}"
        async with running(tmp_path, url) as rig, Subscriber(server.url).listening() as seen:
            await rig.pusher().send(envelope(1, TRADES, {"id": 1}), envelope(2, BOOK, SNAPSHOT))
            await until(lambda: len(seen.messages) == 2)
            async with redis.asyncio.Redis.from_url(server.url) as client:
                await until(lambda: client.exists(SNAPSHOT_KEY))
        with pytest.raises(ExceptionGroup) as refused:
            async with running(tmp_path, f"redis://norm:wrongword@127.0.0.1:{server.port}"):
                pass
        assert refused.group_contains(Terminal, match="WRONGPASS")
        assert not refused.group_contains(Terminal, match="wrongword")
    finally:
        server.kill()


async def test_a_refused_publish_is_counted_and_declared(tmp_path, server):
    """An error answer is not taken for success: the message counts as failed and its channel gets a gap later."""
    async with running(tmp_path, server.url) as rig, Subscriber(server.url).listening() as seen:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            pusher = rig.pusher()
            await pusher.send(envelope(1, TRADES, {"id": 1}))
            await until(lambda: len(seen.messages) == 1)
            await client.execute_command("ACL", "SETUSER", "default", "resetchannels", "&OTHER.*")
            await pusher.send(envelope(2, TRADES, {"id": 2}))
            await until(lambda: rig.counts.publish_failures >= 1)
            # Changing the rights cut the subscriber off as well: it may no longer listen there.
            await client.execute_command("ACL", "SETUSER", "default", "allchannels")
        async with Subscriber(server.url).listening() as again:
            async with asyncio.timeout(5):
                for n in itertools.count(3):
                    await pusher.send(envelope(n, TRADES, {"id": n}))
                    await asyncio.sleep(0.05)
                    if any(data[1] == dbn.RTYPE_TRADE for _, data in again.messages):
                        break
            first, *_ = again.on("TRADES")[TRADES]
            assert first[1] == dbn.RTYPE_ERROR or first[44:48] == (3).to_bytes(4, "little")


async def has_both(client) -> bool:
    return await client.hlen("CHANNELS.DERIBIT") == 2


async def test_a_late_joiner_finds_the_channels_of_an_instrument(tmp_path, server):
    """The hash CHANNELS.<PROVIDER> names every venue channel that carries a schema of an instrument."""
    async with running(tmp_path, server.url) as rig, redis.asyncio.Redis.from_url(server.url) as client:
        await rig.pusher().send(envelope(1, TRADES, {"id": 1}), envelope(2, BOOK, SNAPSHOT))
        await until(lambda: has_both(client))
        fields = await client.hgetall("CHANNELS.DERIBIT")
    assert {field.split()[0]: value for field, value in fields.items()} == {
        b"TRADES": TRADES.encode(), b"MBO": BOOK.encode(),
    }  # fmt: skip


async def agreed(clients) -> bool:
    infos = [await client.execute_command("CLUSTER", "INFO") for client in clients]
    return all(b"cluster_state:ok" in info and b"cluster_known_nodes:2" in info for info in infos)


async def written(clients, count: int) -> bool:
    return sum([len(await client.keys()) for client in clients]) == count


async def test_a_cluster_takes_messages_on_any_node_and_keys_on_theirs(tmp_path):
    """With two cluster nodes a subscriber on the one sees what is published on the other, and every key is written to
    the node that owns its slot."""
    nodes, buses = [], []
    for name in "ab":
        (tmp_path / name).mkdir()
        # The bus is by default at the port plus 10000, which may be none.
        buses.append(free_port())
        nodes.append(Server(tmp_path / name, "--cluster-enabled", "yes", "--cluster-port", str(buses[-1])))
    try:
        for node in nodes:
            await node.up()
        clients = [redis.asyncio.Redis.from_url(node.url) for node in nodes]
        await clients[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        await clients[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        await clients[1].execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
        await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, buses[1])
        await until(lambda: agreed(clients), 15)
        async with running(tmp_path, nodes[0].url) as rig, Subscriber(nodes[1].url).listening() as seen:
            symbols = [f"S{n}" for n in range(8)]
            await rig.pusher().send(
                envelope(1, "rest/instruments", {"symbols": symbols}),
                *(envelope(2 + n, f"book.{symbol}", SNAPSHOT) for n, symbol in enumerate(symbols)),
            )
            await until(lambda: len(seen.messages) == 16)
            await until(lambda: written(clients, 10))
            assert all([await c.keys() for c in clients])
        for client in clients:
            await client.aclose()
    finally:
        for node in nodes:
            node.kill()


async def test_tls_is_spoken_and_checked(tmp_path, server, monkeypatch):
    """rediss:// publishes over TLS to a server whose certificate is trusted, and not to one whose is not."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(  # noqa: ASYNC221 # nothing runs yet
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with proxy(server.port, context) as (port, _):
        async with running(tmp_path, f"rediss://127.0.0.1:{port}") as rig:
            assert not rig.service._pipeline.publisher.ready.is_set()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with running(tmp_path, f"rediss://127.0.0.1:{port}") as rig, Subscriber(server.url).listening() as seen:
            await rig.pusher().send(envelope(1, TRADES, {"id": 1}), envelope(2, BOOK, SNAPSHOT))
            await until(lambda: len(seen.messages) == 2)
            async with redis.asyncio.Redis.from_url(server.url) as client:
                await until(lambda: client.exists(SNAPSHOT_KEY))


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://x", "redis://", "redis://user:hunter2@host:notaport"])
def test_a_wrong_redis_url_is_refused_without_showing_it(url):
    """The message says what was expected and shows nothing of the URL, which may hold a password."""
    with pytest.raises(ConfigError) as refused:
        Node.parse(url)
    assert "hunter2" not in str(refused.value)


def test_a_node_never_shows_its_password():
    """Neither str nor repr of a node has its user or password."""
    node = Node.parse("rediss://norm:hunter2@cache.example:7000")
    assert "hunter2" not in f"{node} {node!r}"
    assert (str(node), node.tls, node.password) == ("cache.example:7000", True, "hunter2")
