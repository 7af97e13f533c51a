"""The simulated Binance spot over real sockets, read by this provider's own session and normalizer."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from penstock import clock
from penstock.dbn import records
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import CONTROL
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.session import Request, Send, Subscribed
from providers.binance_spot import simulator
from providers.binance_spot.normalizer import Normalizer
from providers.binance_spot.payloads import channel_of
from providers.binance_spot.session import Session
from providers.binance_spot.simulator import Simulator
from simulator.ledger import Ledger
from simulator.market import Fill
from simulator.server import Server
from tests.unit.binance_spot_frames import (
    DEPTH,
    EXCHANGE_INFO,
    INFO,
    LOT,
    MBP_1,
    QUOTES,
    STAT,
    T0,
    TRADE,
    TRADES,
    Rebuilt,
    data,
    defined,
    envelope,
    gaps,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Client:
    """What a session manager does, in its simplest form: obeys the Session, hands everything to the Normalizer."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, urls: dict[str, str], path: Path) -> None:
        self.http, self.server, self.urls, self._path = http, server, urls, path
        self.session = Session(INFO, Endpoints(urls["stream"], urls["rest"]), SYMBOLS, None)
        self.normalizer = Normalizer(INFO)
        self.outputs: list[Output] = []
        self.refused: list[str] = []
        self.count: Counter[str] = Counter()
        (self.plan,) = self.session.plans()

    async def open(self) -> aiohttp.ClientWebSocketResponse:
        await self.act(self.session.definitions())
        socket = await self.http.ws_connect(self.plan.url)
        for action in self.session.opened(self.plan, 0):
            assert isinstance(action, Send)
            await socket.send_str(action.text)
        return socket

    async def act(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Request):
                async with self.http.get(action.url) as answer:
                    if answer.status == 200:
                        await self.take(action.channel, await answer.read())
            elif isinstance(action, Subscribed):
                assert action.channels == self.plan.channels
                await self.act(self.session.subscribed(self.plan))

    async def take(self, channel: str, payload: bytes) -> None:
        item = Envelope(
            sequence=1, ts_recv=clock.time_ns(), connection=1, channel=channel, kind=KIND_FRAME, payload=payload
        )
        try:
            outputs = self.normalizer.normalize(item)
        except PayloadError as error:
            self.refused.append(error.reason)
            return
        self.outputs += outputs
        self.count.update(output.channel for output in outputs if isinstance(output, Message))
        for output in outputs:
            if isinstance(output, Resync):
                await self.act(self.session.resync(self.plan, output.channel))

    async def read(self, socket: aiohttp.ClientWebSocketResponse, done: Callable[[], bool]) -> None:
        """Take frames until `done`, and then what is still on its way."""
        async with asyncio.timeout(20):
            while not done():
                await self._frame(await socket.receive())
            async with self.http.post(self.urls["rest"].rsplit("/", 1)[0] + "/control/stop"):
                pass
            while True:
                try:
                    await self._frame(await socket.receive(0.3))
                except TimeoutError:
                    return

    async def _frame(self, message: aiohttp.WSMessage) -> None:
        assert message.type is WSMsgType.TEXT, message
        payload = message.data.encode()
        channel = channel_of(payload)
        if channel == CONTROL:
            with suppress(PayloadError):  # the normalizer counts it
                await self.act(self.session.received(self.plan, payload, 0))
        await self.take(channel, payload)

    async def fault(self, kind: str, channel: str = "*", **fields: Any) -> None:
        url = self.urls["rest"].rsplit("/", 1)[0] + "/control/fault"
        body = {"provider": "binance_spot", "kind": kind, "channel": channel} | fields
        async with self.http.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()

    def ledger(self, schema: str, channel: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._path.read_bytes().splitlines()]
        return [
            line for line in lines if line.get("schema") == schema and line["channel"] == channel and line["receivers"]
        ]

    def got(self, channel: str) -> list[Message]:
        return [message for message in data(self.outputs) if message.channel == channel]


@asynccontextmanager
async def serving(tmp_path: Path, rate: float = 3000) -> AsyncIterator[Client]:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        server = Server([Simulator(1, ledger)], ledger, rate)
        urls = await server.start(0)
        running = asyncio.create_task(server.run())
        try:
            async with aiohttp.ClientSession() as http:
                yield Client(http, server, urls["binance_spot"], path)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()


def check_book(client: Client, symbol: str) -> None:
    """The book that a subscriber rebuilt is the market's."""
    channel = f"{symbol.lower()}@depth@100ms"
    rebuilt = Rebuilt()
    for message in client.got(channel):
        rebuilt.apply(message)
    (venue,) = client.server._venues.values()
    bids, asks = venue.market.book(symbol)
    lot = LOT  # both listings have lots of 0.000001
    assert {price: size * lot for price, size in rebuilt.bids.items()} == dict(bids)
    assert {price: size * lot for price, size in rebuilt.asks.items()} == dict(asks)


async def test_everything_in_the_ledger_arrives_exactly(tmp_path: Path) -> None:
    """Session and normalizer against the venue's own record: every trade, every quote, and both books."""
    async with serving(tmp_path) as client:
        socket = await client.open()
        await client.read(socket, lambda: client.count[TRADES] > 200)
        assert not client.refused
        assert not gaps(client.outputs)
        said = client.ledger("TRADES", TRADES)
        got = [TRADE.unpack_from(message.data) for message in client.got(TRADES)]
        assert [fields[13] for fields in got] == [line["sequence"] % 2**32 for line in said]
        assert [fields[4] for fields in got] == [line["ts_event"] for line in said]
        assert [fields[8] for fields in got] == [line["side"].encode() for line in said]
        sizes = [sum(part[6] for part in TRADE.iter_unpack(message.data)) * LOT for message in client.got(TRADES)]
        assert [Decimal(size) / 10**9 for size in sizes] == [Decimal(line["quantity"]) for line in said]
        quotes = [MBP_1.unpack(message.data) for message in client.got(QUOTES)]
        expected = client.ledger("MBP_1", QUOTES)
        assert [Decimal(fields[14]) / 10**9 for fields in quotes] == [Decimal(line["bid"][0]) for line in expected]
        assert [Decimal(fields[17] * LOT) / 10**9 for fields in quotes] == [
            Decimal(line["ask"][1]) for line in expected
        ]
        for symbol in SYMBOLS:
            check_book(client, symbol)
        await socket.close()


def test_tickers_and_bars_are_those_of_the_market(tmp_path: Path) -> None:
    """Each finished minute has the volume, the extremes and the last price of its trades; tickers the ledger's figures."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        venue = Simulator(3, ledger)
        taken: list[bytes] = []
        connection = SimpleNamespace(
            number=1, closed=False, subscriptions=set(), deliver=lambda _c, f, _e: taken.append(f)
        )
        for stream in ("ticker", "kline_1m"):
            venue.subscribe(connection, f"btcusdt@{stream}")  # type: ignore[arg-type]
        normalizer = defined()
        trades: dict[int, list[Fill]] = {}
        at = T0
        for step in range(9000):
            at += 20_000_000
            if step < 6000:
                event = venue.market.step(at)
                venue.on_event(event)
                if event.listing.symbol == "BTCUSDT":
                    trades.setdefault(event.ts_ns // (60 * 10**9), []).extend(event.fills)
            if step % 3 == 0:
                venue.on_tick(at)
        ledger.flush()
        said = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_bytes().splitlines()]
    outputs: list[Output] = []
    for framed in taken:
        payload = framed[framed.index(b"{") :]
        outputs += normalizer.normalize(envelope(channel_of(payload), payload, at))
    bars = data(outputs, "OHLCV_1M")
    assert len(bars) == 3
    for message in bars:
        start, *prices, volume = struct.unpack("<QqqqqQ", message.data[8:])
        fills = trades.get(start // (60 * 10**9), [])
        assert volume * LOT == sum(fill.quantity for fill in fills)
        paid = [fill.price for fill in fills] or [prices[3]]
        assert prices == [paid[0], max(paid), min(paid), paid[-1]]
    figures = [line for line in said if line.get("schema") == "STATISTICS" and line["symbol"] == "BTCUSDT"]
    assert len(figures) == len([framed for framed in taken if b"24hrTicker" in framed]) > 100
    last = {STAT.unpack(record)[11]: STAT.unpack(record) for message in data(outputs, "STATISTICS")
            for _, record in records(message.data)}  # fmt: skip
    assert [Decimal(last[kind][7]) / 10**9 for kind in (20005, 4, 5)] == [
        Decimal(figures[-1]["values"][name]) for name in ("c", "l", "h")
    ]
    assert Decimal(last[6][8] * LOT) / 10**9 == Decimal(figures[-1]["values"]["v"])


@pytest.mark.parametrize("kind", ["drop", "reorder", "duplicate", "garbage", "lose_snapshot"])
async def test_faults_are_declared_and_healed(tmp_path: Path, kind: str) -> None:
    """Whatever happens to a book's updates, its book is right in the end; only what was lost is declared."""
    async with serving(tmp_path) as client:
        socket = await client.open()

        async def until(count: int) -> None:
            while client.count[DEPTH] < count:
                await client._frame(await socket.receive())

        async with asyncio.timeout(20):
            await until(4)
            if kind == "lose_snapshot":
                await client.fault(kind, DEPTH, count=1)
                await client.fault("drop", DEPTH, count=1)
            else:
                await client.fault(kind, DEPTH, count=4 if kind == "garbage" else 1)
        await client.read(socket, lambda: client.count[DEPTH] > 14)
        found = [gap.reason for gap in gaps(client.outputs)]
        assert found == ([] if kind in {"duplicate", "garbage"} else ["update_id"])
        assert len(client.refused) == (4 if kind == "garbage" else 0)
        if kind == "lose_snapshot":
            # It is asked for again after five seconds, which need not be waited for here.
            await client.act(client.session.resync(client.plan, DEPTH))
        assert len(list(client.normalizer.images(1))) == 2
        for symbol in SYMBOLS:
            check_book(client, symbol)
        await socket.close()


async def test_the_venues_answers_are_in_its_own_words(tmp_path: Path) -> None:
    """Acknowledgements, listings, refusals, unknown streams, and the streams of the URL."""
    async with serving(tmp_path, 0.001) as client:
        socket = await client.http.ws_connect(client.urls["stream"] + "/stream?streams=btcusdt@trade/ethusdt@trade")

        async def ask(text: str) -> Any:
            await socket.send_str(text)
            return json.loads((await socket.receive(5)).data)

        assert await ask('{"method":"SUBSCRIBE","params":["nosuch@trade"],"id":"a"}') == {"result": None, "id": "a"}
        assert await ask('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":2}') == {"result": None, "id": 2}
        assert await ask('{"method":"LIST_SUBSCRIPTIONS","id":3}') == {
            "result": ["ethusdt@trade", "nosuch@trade"], "id": 3,
        }  # fmt: skip
        assert (await ask("nonsense"))["error"]["code"] == 3
        assert (await ask('{"method":"DANCE","id":4}'))["error"]["code"] == 2
        # The sixth message within a second is one too many.
        await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":5}')
        assert (await socket.receive(5)).type is WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_rest_answers_are_weighed(tmp_path: Path) -> None:
    """Weights as documented, 429 with Retry-After beyond 6,000 in a minute, and the errors of wrong symbols."""
    async with serving(tmp_path, 0.001) as client:

        async def get(path: str) -> tuple[int, Any, Any]:
            async with client.http.get(client.urls["rest"] + path) as answer:
                return answer.status, await answer.json(), answer.headers

        status, book, headers = await get("/api/v3/depth?symbol=BTCUSDT&limit=2")
        assert (status, len(book["bids"]), len(book["asks"]), headers["X-MBX-USED-WEIGHT-1M"]) == (200, 2, 2, "5")
        status, info, headers = await get('/api/v3/exchangeInfo?symbols=["ETHUSDT"]')
        assert (status, [entry["symbol"] for entry in info["symbols"]]) == (200, ["ETHUSDT"])
        assert headers["X-MBX-USED-WEIGHT-1M"] == "25"
        assert (await get("/api/v3/exchangeInfo?symbol=NOSUCH"))[:2] == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert (await get("/api/v3/depth?symbol=NOSUCH"))[0] == 400
        assert (await get("/api/v3/depth?symbol=BTCUSDT&limit=x"))[0] == 400
        statuses = [(await get("/api/v3/depth?symbol=BTCUSDT&limit=5000"))[0] for _ in range(24)]
        assert statuses[-2:] == [200, 429]
        assert "Retry-After" in (await get("/api/v3/depth?symbol=BTCUSDT"))[2]


async def test_connections_are_pinged_and_those_that_do_not_answer_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping every 20 s and a pong within a minute, here a hundred times as fast."""
    monkeypatch.setattr(simulator, "_PING_NS", 200_000_000)
    monkeypatch.setattr(simulator, "_PONG_NS", 600_000_000)
    async with serving(tmp_path, 0.001) as client:
        answering = await client.http.ws_connect(client.urls["stream"] + "/stream")
        mute = await client.http.ws_connect(client.urls["stream"] + "/stream", autoping=False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await answering.receive()
        kinds = [(await mute.receive(5)).type for _ in range(3)]
        while kinds[-1] is WSMsgType.PING:
            kinds.append((await mute.receive(5)).type)
        assert kinds[-1] is WSMsgType.CLOSE
        await answering.close()


def test_a_replay_is_acknowledged_and_defined() -> None:
    """What the replay server needs: answers to subscriptions, and definitions for recordings that lack them."""
    assert simulator.acknowledge('{"method":"SUBSCRIBE","params":["x"],"id":7}') == ['{"result":null,"id":7}']
    assert json.loads(simulator.acknowledge("{")[0])["error"]["code"] == 3
    assert json.loads(simulator.acknowledge('{"method":"x"}')[0])["error"]["code"] == 2
    (body,) = simulator.definitions_for(["BTCUSDT", "NOSUCH"]).values()
    normalizer = defined()
    assert not normalizer.normalize(envelope(EXCHANGE_INFO, body))
    assert not simulator.definitions_for(["NOSUCH"])
