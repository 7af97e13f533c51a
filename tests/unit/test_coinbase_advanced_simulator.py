"""The simulated venue over a real socket, read by the real session and normalizer, compared with its ledger."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest

from penstock import clock
from penstock.dbn import records
from penstock.normalizing import Message, Resync
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.session import Send, Subscribed
from providers.coinbase_advanced.normalizer import Normalizer
from providers.coinbase_advanced.payloads import channel_of
from providers.coinbase_advanced.session import Session
from providers.coinbase_advanced.simulator import Simulator, acknowledge, idle_frames
from simulator.ledger import Ledger
from simulator.server import Server
from tests.unit.coinbase_advanced_frames import INFO, TRADE, gaps, is_gap, mbo


class Client:
    """One lane: a socket, the provider's session and its normalizer, in place of the services between them."""

    def __init__(self, http: aiohttp.ClientSession, urls: dict[str, str]) -> None:
        self.http = http
        self.session = Session(INFO, Endpoints(urls["stream"], urls["rest"]), ("BTC-USD", "ETH-USD"), None)
        self.normalizer = Normalizer(INFO)
        self.plan = self.session.plans()[0]
        self.outputs: list[object] = []
        self.missing = set(self.plan.channels)
        self.frames = 0
        self.last: dict[str, bytes] = {}

    def take(self, channel: str, connection: int, payload: bytes) -> list[object]:
        self.frames += 1
        envelope = Envelope(
            sequence=self.frames, ts_recv=clock.time_ns(), connection=connection, channel=channel, kind=KIND_FRAME,
            payload=payload,
        )  # fmt: skip
        found = list(self.normalizer.normalize(envelope))
        self.outputs += found
        return found

    async def get(self, request) -> bytes:
        async with self.http.get(request.url, headers=dict(request.headers)) as answer:
            assert answer.status == 200
            return await answer.read()

    async def run(self, seconds: float) -> None:
        for request in self.session.definitions():
            self.take(request.channel, 0, await self.get(request))
        async with self.http.ws_connect(self.plan.url, max_msg_size=0) as socket:
            for action in self.session.opened(self.plan, clock.time_ns()):
                await socket.send_str(action.text)
            end = clock.monotonic_s() + seconds
            while (left := end - clock.monotonic_s()) > 0:
                try:
                    message = await socket.receive(left)
                except TimeoutError:
                    break
                payload = message.data.encode()
                channel = channel_of(payload)
                self.last[channel] = payload
                actions = self.session.received(self.plan, payload, clock.time_ns()) if channel == "control" else ()
                for action in actions:
                    assert isinstance(action, Subscribed)
                    self.missing -= set(action.channels)
                for output in self.take(channel, 1, payload):
                    for answer in self.session.resync(self.plan, output.channel) if isinstance(output, Resync) else ():
                        assert isinstance(answer, Send)
                        await socket.send_str(answer.text)

    def messages(self, schema: str) -> list[Message]:
        return [o for o in self.outputs if isinstance(o, Message) and o.schema == schema and not is_gap(o)]


@asynccontextmanager
async def venue(tmp_path, rate=2000):
    """A running venue: its URLs, its ledger's path, and its control base URL."""
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        server = Server([Simulator(7, ledger)], ledger, rate)
        urls = (await server.start(0))["coinbase_advanced"]
        running = asyncio.create_task(server.run())
        try:
            async with aiohttp.ClientSession() as http:
                yield http, urls, path
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_two_lanes_equal_the_ledger(tmp_path):
    """Every trade, book change and top of book of the ledger arrives exactly, on both connections, without a gap."""
    async with venue(tmp_path) as (http, urls, path):
        lanes = [Client(http, urls), Client(http, urls)]
        stop = asyncio.create_task(_stop_after(http, urls, 1.0))
        await asyncio.gather(*(lane.run(1.6) for lane in lanes))
        await stop
    truth = entries(path)
    for lane in lanes:
        assert lane.missing == set()
        assert gaps(lane.outputs) == []
        _compare_trades(lane, truth)
        _compare_books(lane, truth)
        tops = {(e["channel"], e["ts_event"]) for e in truth if e.get("schema") == "MBP_1"}
        got = [(m.channel, int.from_bytes(m.data[8:16], "little")) for m in lane.messages("MBP_1")]
        assert len([each for each in got if each in tops]) > 5
        assert {m.channel for m in lane.messages("DEFINITION")} == {"definition.BTC-USD", "definition.ETH-USD"}
        assert {m.channel for m in lane.messages("STATUS")} == {"status.BTC-USD", "status.ETH-USD"}


async def _stop_after(http, urls, seconds):
    await asyncio.sleep(seconds)
    base = urls["rest"].rpartition("/")[0]
    async with http.post(f"{base}/control/stop") as answer:
        assert answer.status == 200


def _compare_trades(lane, truth):
    expected = {
        (e["channel"], e["sequence"]): (Decimal(e["price"]), Decimal(e["quantity"]), e["side"], e["ts_event"])
        for e in truth
        if e.get("schema") == "TRADES"
    }
    for channel in ("market_trades.BTC-USD", "market_trades.ETH-USD"):
        got = {}
        for message in lane.messages("TRADES"):
            if message.channel == channel:
                found = [TRADE.unpack(record) for _, record in records(message.data)]
                first = found[0]
                size = sum(record[6] for record in found) * Decimal("1e-8")
                got[first[13]] = (first[5] * Decimal("1e-9"), size, first[8].decode(), first[4])
        ids = sorted(got)
        assert len(ids) > 20
        assert ids == list(range(ids[0], ids[-1] + 1))
        assert ids[-1] == max(sequence for name, sequence in expected if name == channel)
        assert all(expected[channel, number] == got[number] for number in ids)


def _compare_books(lane, truth):
    """The records of each update are the ledger's changes of its time, and none of them is missing after the first."""
    expected: dict[str, dict[int, dict[tuple[str, int], int]]] = defaultdict(dict)
    for e in truth:
        if e.get("schema") == "MBO":
            levels = {(s, int(Decimal(p) * 10**9)): int(Decimal(q) * 10**8) for s, p, q in e["changes"]}
            expected[e["channel"]][e["ts_event"]] = levels
    for channel, changes in expected.items():
        times = []
        for message in lane.messages("MBO"):
            if message.channel != channel or mbo(message.data)[0].action == b"R":
                continue
            ts_event = int.from_bytes(message.data[8:16], "little")
            sizes: dict[tuple[str, int], int] = defaultdict(int)
            for record in mbo(message.data):
                sizes[record.side.decode(), record.price] += 0 if record.action == b"C" else record.size
            assert sizes == changes[ts_event]
            times.append(ts_event)
        assert len(times) > 10
        assert times == [at for at in changes if at >= times[0]]


@pytest.mark.parametrize("kind", ["drop", "lose_snapshot", "reorder", "duplicate"])
async def test_faults_are_declared_and_repaired(tmp_path, kind):
    """A lost frame is a gap with a resync, after which books are right; a copy is nothing."""
    async with venue(tmp_path, rate=500) as (http, urls, _):
        lane = Client(http, urls)
        base = urls["rest"].rpartition("/")[0]
        fault = {"provider": "coinbase_advanced", "kind": kind, "channel": "level2.BTC-USD", "count": 1}

        async def arm():
            await asyncio.sleep(0 if kind == "lose_snapshot" else 0.5)
            where = {} if kind == "lose_snapshot" else {"connection": "all"}
            async with http.post(f"{base}/control/fault", json=fault | where) as answer:
                assert answer.status == 200, await answer.text()

        if kind == "lose_snapshot":
            await arm()
            await lane.run(1.0)
        else:
            armed = asyncio.create_task(arm())
            await lane.run(1.2)
            await armed
    declared = {reason for _, _, reason in gaps(lane.outputs)}
    assert declared == (set() if kind == "duplicate" else declared & {"sequence_num", "no_snapshot"})
    assert bool(declared) == (kind != "duplicate")
    live = lane.normalizer._books["BTC-USD"]
    assert live.synced
    assert not live.bad


async def test_probe_over_rest(tmp_path):
    """The last trade over REST is not ahead of a connection that lives, and is ahead of one that stands still."""
    async with venue(tmp_path) as (http, urls, _):
        lane = Client(http, urls)
        await lane.run(0.8)
        request = lane.session.probe(lane.plan)
        channel = request.channel.removeprefix("rest/probe/")
        assert channel == "market_trades.BTC-USD"
        await asyncio.sleep(0.4)
        assert lane.session.behind(channel, lane.last[channel], await lane.get(request))
        assert not lane.session.behind(channel, lane.last[channel], b'{"trades":[],"best_bid":"1","best_ask":"2"}')
        async with http.get(urls["rest"] + "/api/v3/brokerage/market/products/NO-USD/ticker?limit=1") as answer:
            assert answer.status == 404


async def test_nonsense_is_answered_as_the_venue_does(tmp_path):
    """Garbage and unknown products get an error frame; the connection lives on."""
    async with venue(tmp_path) as (http, urls, _), http.ws_connect(urls["stream"]) as socket:
        for text in (
            "{",
            '{"type":"subscribe","channel":"level3"}',
            '{"type":"subscribe","channel":"level2","product_ids":["X"]}',
        ):
            await socket.send_str(text)
            assert json.loads((await socket.receive(2)).data)["type"] == "error"


def test_replay_answers():
    """Acknowledgements of a replay are not numbered: the recording's own numbers stay without a gap."""
    session = Session(INFO, Endpoints("ws://x", "http://x"), ("BTC-USD",), None)
    (plan,) = session.plans()
    normalizer, missing = Normalizer(INFO), set(plan.channels)
    for action in session.opened(plan, 1):
        (text,) = acknowledge(action.text)
        (found,) = session.received(plan, text.encode(), 1)
        missing -= set(found.channels)
        envelope = Envelope(
            sequence=1, ts_recv=1, connection=1, channel="control", kind=KIND_FRAME, payload=text.encode()
        )
        assert normalizer.normalize(envelope) == []
    assert missing == set()
    assert acknowledge("{") == []
    (beat,) = idle_frames(3)
    assert channel_of(beat.encode()) == "heartbeats"
