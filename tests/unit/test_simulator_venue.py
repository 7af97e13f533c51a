"""A simulated venue over real sockets: the ledger before the frames, faults after it, limits in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType, web
from yarl import URL

from simulator import ledger as entries
from simulator.ledger import Ledger
from simulator.market import ONE, Listing, decimal
from simulator.server import Server
from simulator.tampering import garbage
from simulator.traffic import _most
from simulator.venue import Venue

ALL = ["trades.BTC", "book.BTC", "trades.ETH", "book.ETH"]


class ToyVenue(Venue):
    """Trades and books as they happen, an in-stream snapshot, a number per connection, one REST path."""

    name = "toy"
    stream_path = "/ws"

    def listings(self):
        return [
            Listing("BTC", "BTC", "USD", tick=10**7, lot=10, price=60_000 * ONE),
            Listing("ETH", "ETH", "USD", tick=10**7, lot=10**5, price=3_000 * ONE),
        ]

    def routes(self, router):
        router.stream("/ws")
        router.get("/time", self._time)

    async def _time(self, request):
        return web.Response(text="now")

    async def on_text(self, connection, text):
        for channel in json.loads(text):
            self.subscribe(connection, channel)
            connection.send(json.dumps({"ack": channel}))
            self.snapshot(connection, channel, json.dumps({"channel": channel, "snapshot": True}))

    def on_event(self, event):
        symbol = event.listing.symbol
        for fill in event.fills:
            entry = entries.trade(symbol, event.ts_ns, fill.trade_id, fill.price, fill.quantity, fill.aggressor)
            text = {"channel": f"trades.{symbol}", "id": fill.trade_id, "price": decimal(fill.price)}
            self.broadcast(f"trades.{symbol}", json.dumps(text), entry)
        channel = f"book.{symbol}"
        entry = entries.book(symbol, event.ts_ns, event.sequence, event.changes)
        self.broadcast(
            channel, lambda c: json.dumps({"channel": channel, "u": event.sequence, "number": c.count()}), entry
        )

    def on_tick(self, now_ns):
        if self.wanted("blob"):
            self.broadcast("blob", "x" * (1 << 20))


class ToyTrade(msgspec.Struct):
    channel: str
    id: int
    price: str


class Client:
    """A raw WebSocket client and the control paths."""

    def __init__(self, session, urls, ledger: Path) -> None:
        self.session, self.urls, self.ledger_path = session, urls, ledger
        self.control_url = urls["rest"].rsplit("/", 1)[0] + "/control/"

    async def connect(self, channels=ALL, **options):
        socket = await self.session.ws_connect(self.urls["stream"], max_msg_size=0, **options)
        if channels:
            await socket.send_str(json.dumps(channels))
        return socket

    async def fault(self, kind: str, status: int = 200, **fields):
        async with self.session.post(
            self.control_url + "fault", json={"provider": "toy", "kind": kind} | fields
        ) as found:
            assert found.status == status, await found.text()
            return await found.json()

    async def stop(self):
        async with self.session.post(self.control_url + "stop") as found:
            return await found.json()

    async def state(self):
        async with self.session.get(self.control_url + "state") as found:
            return await found.json()

    def ledger(self):
        return [json.loads(line) for line in self.ledger_path.read_bytes().splitlines()]

    def faults(self):
        return [line for line in self.ledger() if "fault" in line]


@asynccontextmanager
async def serving(tmp_path: Path, rate: float = 2000) -> AsyncIterator[Client]:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        server = Server([ToyVenue(1, ledger)], ledger, rate)
        urls = await server.start(0)
        running = asyncio.create_task(server.run())
        async with aiohttp.ClientSession() as session:
            yield Client(session, urls["toy"], path)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()


async def frames(socket, count: int, *, channel: str = "", timeout: float = 5.0) -> list[dict]:
    """The next `count` frames of a channel (any: all data frames)."""
    found: list[dict] = []
    async with asyncio.timeout(timeout):
        while len(found) < count:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT, message
            frame = json.loads(message.data)
            if frame.get("channel", "").startswith(channel) and "ack" not in frame and "snapshot" not in frame:
                found.append(frame)
    return found


def ids(found: list[dict]) -> list[int]:
    return [frame["u"] for frame in found]


async def test_everything_received_is_already_in_the_ledger(tmp_path):
    """When a frame arrives, its line can be read from the file, with the number of receivers."""
    async with serving(tmp_path) as client:
        first, second = await client.connect(), await client.connect()
        await frames(first, 5)
        await frames(second, 1)
        await frames(first, 300)
        last = (await frames(first, 1, channel="book.BTC"))[0]
        line = next(x for x in client.ledger() if x.get("channel") == "book.BTC" and x.get("sequence") == last["u"])
        assert line["receivers"] == 2
        assert line["provider"] == "TOY"
        assert line["ts"] >= line["ts_event"]


async def test_each_frame_is_preceded_by_its_line(tmp_path):
    """The frame of every single book event is in the ledger at the moment of receipt."""
    async with serving(tmp_path, rate=300) as client:
        socket = await client.connect(["book.BTC"])
        for _ in range(60):
            (frame,) = await frames(socket, 1)
            assert f'"sequence":{frame["u"]},'.encode() in client.ledger_path.read_bytes()


async def test_received_equals_ledger(tmp_path):
    """Without faults a connection gets exactly what the ledger says it was sent, in its order."""
    async with serving(tmp_path, rate=0) as client:
        socket = await client.connect(["book.BTC"])
        await asyncio.sleep(0.2)
        counts = await client.stop()
        lines = [x for x in client.ledger() if x.get("channel") == "book.BTC" and x["receivers"] == 1]
        assert counts["ledger"] == len(client.ledger())
        assert len(lines) > 100
        assert ids(await frames(socket, len(lines))) == [line["sequence"] for line in lines]
        with pytest.raises(TimeoutError):
            await frames(socket, 1, timeout=0.1)
        assert (await client.state())["stopped"] is True


async def test_snapshot_comes_between_acknowledgement_and_data(tmp_path):
    """A subscription is answered first, then the snapshot, then changes without a hole."""
    async with serving(tmp_path) as client:
        socket = await client.connect(["book.BTC"])
        assert (await socket.receive_json())["ack"] == "book.BTC"
        assert (await socket.receive_json())["snapshot"] is True
        found = await frames(socket, 50)
        assert ids(found) == list(range(found[0]["u"], found[0]["u"] + 50))
        assert [frame["number"] for frame in found] == list(range(50))


async def test_drop_loses_frames_on_one_connection(tmp_path):
    """The dropped frames are missing on the oldest connection only, and the ledger names their lines."""
    async with serving(tmp_path) as client:
        first, second = await client.connect(["book.BTC"]), await client.connect(["book.BTC"])
        await frames(first, 1)
        await frames(second, 1)
        assert await client.fault("drop", channel="book.*", count=3) == {"connections": 1}
        hit, whole = ids(await frames(first, 100)), ids(await frames(second, 100))
        assert whole == list(range(whole[0], whole[0] + 100))
        lost = sorted(set(range(hit[0], hit[-1])) - set(hit))
        assert len(lost) == 3
        lines = {line["n"]: line for line in client.ledger()}
        faults = [line for line in client.faults() if line["fault"] == "drop"]
        assert [lines[fault["n_entry"]]["sequence"] for fault in faults] == lost
        assert {fault["connection"] for fault in faults} == {1}


async def test_duplicate_and_reorder(tmp_path):
    """A duplicated frame comes twice in a row, a reordered one after its successor."""
    async with serving(tmp_path) as client:
        socket = await client.connect(["book.BTC"])
        await frames(socket, 1)
        await client.fault("duplicate", channel="book.BTC", connection="newest")
        found = ids(await frames(socket, 100))
        steps = [after - before for before, after in pairwise(found)]
        assert sorted(set(steps)) == [0, 1]
        assert steps.count(0) == 1
        await client.fault("reorder", connection=1)
        last = found[-1]
        found = ids(await frames(socket, 100))
        steps = [after - before for before, after in pairwise([last, *found])]
        assert [step for step in steps if step != 1] == [2, -1, 2]


async def test_stall_keeps_the_socket_open(tmp_path):
    """During a stall nothing but pongs arrives; afterwards the stream goes on behind the hole."""
    async with serving(tmp_path) as client:
        socket = await client.connect(["book.BTC"], autoping=False)
        before = ids(await frames(socket, 10))[-1]
        await client.fault("stall", seconds=0.5)
        began = asyncio.get_running_loop().time()
        await socket.ping(b"there?")
        kinds = []
        async with asyncio.timeout(5):
            while True:
                message = await socket.receive()
                if message.type is WSMsgType.TEXT:
                    if asyncio.get_running_loop().time() - began > 0.4:
                        break
                    before = json.loads(message.data)["u"]
                else:
                    kinds.append((message.type, bytes(message.data)))
        assert kinds == [(WSMsgType.PONG, b"there?")]
        assert json.loads(message.data)["u"] > before + 10
        assert [fault["fault"] for fault in client.faults()] == ["stall", "stall_end"]


async def test_close_ends_one_connection(tmp_path):
    """A closed connection gets a close frame; the other goes on; the ledger has both ends."""
    async with serving(tmp_path) as client:
        first, second = await client.connect(["book.BTC"]), await client.connect(["book.BTC"])
        await frames(second, 1)
        await client.fault("close", connection="newest")
        async with asyncio.timeout(5):
            while (await second.receive()).type is WSMsgType.TEXT:
                pass
        assert second.close_code == 1001
        await frames(first, 50)
        states = [(x["connection"], x["state"]) for x in client.ledger() if "state" in x]
        assert states == [(1, "open"), (2, "open"), (2, "closed")]


async def test_garbage_is_unparsable_text(tmp_path):
    """Garbage frames of four kinds arrive as text frames among the data."""
    async with serving(tmp_path) as client:
        socket = await client.connect(["trades.BTC"])
        await frames(socket, 1)
        await client.fault("garbage", channel="trades.*", count=4)
        bad: list[str] = []
        async with asyncio.timeout(5):
            while len(bad) < 4:
                message = await socket.receive()
                assert message.type is WSMsgType.TEXT
                try:
                    msgspec.json.decode(message.data, type=ToyTrade)
                except msgspec.DecodeError:
                    bad.append(message.data)
        assert len(set(bad)) == 4
        await frames(socket, 5)
        assert [fault["fault"] for fault in client.faults()] == ["garbage"] * 4


@pytest.mark.parametrize("number", range(4))
def test_garbage_never_passes_for_data(number):
    """No kind of garbage leaves a number of the sample where it was."""
    sample = b'{"id":17,"price":"60000.50","levels":[["1.5","2"],[3,-4.25]]}'
    found = garbage(sample, number)
    try:
        decoded = json.loads(found, parse_constant=lambda name: name)
    except ValueError:
        return
    assert decoded["id"] in ("NaN", {"unexpected": [None]})
    assert "60000.50" not in str(decoded)


async def test_ack_without_data(tmp_path):
    """The subscription is acknowledged and nothing follows; the ledger does not count the connection."""
    async with serving(tmp_path) as client:
        await client.fault("ack_without_data", channel="book.*")
        socket = await client.connect(["book.BTC"])
        assert (await socket.receive_json())["ack"] == "book.BTC"
        assert (await socket.receive_json())["snapshot"] is True
        with pytest.raises(TimeoutError):
            await frames(socket, 1, timeout=0.2)
        assert not any(line.get("receivers") for line in client.ledger())
        again = await client.connect(["book.BTC"])
        await frames(again, 1)


async def test_refuse_connect(tmp_path):
    """For some seconds connects and REST calls get 503, or 429 with Retry-After; open connections are untouched."""
    async with serving(tmp_path) as client:
        socket = await client.connect(["book.BTC"])
        await client.fault("refuse_connect", seconds=0.4)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.connect()
        assert refused.value.status == 503
        await client.fault("refuse_connect", seconds=0.3, retry_after_s=7)
        async with client.session.get(client.urls["rest"] + "/time") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        await frames(socket, 5)
        await asyncio.sleep(0.35)
        await frames(await client.connect(["book.BTC"]), 1)


async def test_lose_snapshot(tmp_path):
    """The snapshot of one subscription does not come; data does, and the next subscription has its snapshot."""
    async with serving(tmp_path) as client:
        await client.fault("lose_snapshot", channel="book.BTC")
        for expected in (False, True):
            socket = await client.connect(["book.BTC"])
            assert "ack" in await socket.receive_json()
            assert ("snapshot" in await socket.receive_json()) is expected
        assert [fault["fault"] for fault in client.faults()] == ["lose_snapshot"]


@pytest.mark.parametrize("kind", ["close", "reset"])
async def test_a_closed_connection_is_no_receiver(tmp_path, kind):
    """From the fault's line on no entry says that it was handed to the closed connection."""
    async with serving(tmp_path) as client:
        socket = await client.connect()
        await frames(socket, 50)
        await client.fault(kind)
        await asyncio.sleep(0.05)
        await client.stop()
        lines = client.ledger()
    (at,) = [line["n"] for line in lines if line.get("fault") == kind]
    later = [line["receivers"] for line in lines[at:] if "receivers" in line]
    assert later
    assert not any(later)


async def test_reset_closes_everything(tmp_path):
    """After a reset every connection is closed and new ones are served."""
    async with serving(tmp_path) as client:
        sockets = [await client.connect(["book.BTC"]) for _ in range(3)]
        for socket in sockets:
            await frames(socket, 1)
        assert await client.fault("reset") == {"connections": 3}
        for socket in sockets:
            async with asyncio.timeout(5):
                while (await socket.receive()).type is WSMsgType.TEXT:
                    pass
            assert socket.close_code == 1012
        await frames(await client.connect(["book.BTC"]), 1)


async def test_nonsense_faults_are_refused(tmp_path):
    """An unknown kind, field or provider is a 400, a fault without a connection to hit a 409."""
    async with serving(tmp_path) as client:
        assert "explode" in (await client.fault("explode", status=400))["error"]
        assert "colour" in (await client.fault("drop", status=400, colour="red"))["error"]
        assert "expected one of toy" in (await client.fault("drop", status=400, provider="nope"))["error"]
        assert "no open connection" in (await client.fault("drop", status=409))["error"]


async def test_slow_consumer_is_cut_off(tmp_path):
    """A client that does not read is closed and the others notice nothing."""
    async with serving(tmp_path) as client:
        url = URL(client.urls["stream"])
        _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        writer.transport.pause_reading()
        writer.write(
            b"GET /toy/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        writer.write(bytes((0x81, 0x80 | 8, 0, 0, 0, 0)) + b'["blob"]')
        good = await client.connect(["book.BTC"])
        found: list[dict] = []
        async with asyncio.timeout(20):
            while not any(fault["fault"] == "slow_consumer" for fault in client.faults()):
                found += await frames(good, 50)
        assert ids(found) == list(range(found[0]["u"], found[0]["u"] + len(found)))
        assert list((await client.state())["providers"]["toy"]["connections"]) == ["2"]
        writer.close()


async def test_client_calls_are_logged(tmp_path):
    """Connects, messages and REST calls are counted with the most per window."""
    async with serving(tmp_path) as client:
        await client.connect(["book.BTC"])
        second = await client.connect(["book.BTC"])
        await second.send_str('["trades.BTC"]')
        for _ in range(4):
            async with client.session.get(client.urls["rest"] + "/time?x=1") as answer:
                assert await answer.text() == "now"
        await frames(second, 1)
        found = (await client.state())["providers"]["toy"]
        assert found["connect"]["count"] == 2
        assert found["request"]["max_per_s"] == {"1": 4, "10": 4, "60": 4, "300": 4}
        assert found["message"]["count"] == 3
        assert found["message"]["max_per_connection"]["1"] == 2
        async with client.session.get(client.control_url + "calls?provider=toy") as answer:
            calls = await answer.json()
        assert [call["detail"] for call in calls if call["kind"] == "request"] == ["/toy/time?x=1"] * 4


def test_window_maximum():
    """A window holds calls less than its width apart."""
    assert _most([], 10) == 0
    assert _most([0, 9, 10, 11, 30], 10) == 3


async def test_rate_is_kept(tmp_path):
    """About as many events as asked for, shared between the listings."""
    async with serving(tmp_path, rate=1000) as client:
        before = (await client.state())["events"]
        await asyncio.sleep(1)
        after = (await client.state())["events"]
        assert 800 <= after - before <= 1200
