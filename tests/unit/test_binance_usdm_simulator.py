"""The simulated Binance USD-M futures over real sockets: both routes, its refusals, and what a session makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from providers.binance_usdm import simulator
from providers.binance_usdm.normalizer import Normalizer
from providers.binance_usdm.payloads import channel_of
from providers.binance_usdm.simulator import Simulator
from simulator.ledger import Ledger
from simulator.server import Server
from tests.unit.binance_usdm_frames import (
    CONTRACT,
    DEPTH,
    EXCHANGE_INFO,
    INFO,
    LIQUIDATIONS,
    MARK,
    OPEN_INTEREST,
    QUOTES,
    SNAPSHOT,
    TRADES,
    data,
    defined,
    envelope,
    gaps,
    statistics,
)

EVERYTHING = f"{DEPTH}/{QUOTES}/{TRADES}/{MARK}/{LIQUIDATIONS}/btcusdt@kline_1m/btcusdt@ticker/{CONTRACT}"


class Client:
    """A connection to a route, and REST."""

    def __init__(self, http: aiohttp.ClientSession, urls: dict[str, str], ledger: Path) -> None:
        self.http, self.urls, self.ledger = http, urls, ledger

    async def connect(self, route: str, streams: str = "", **options: Any) -> aiohttp.ClientWebSocketResponse:
        return await self.http.ws_connect(f"{self.urls['stream']}/{route}/stream?streams={streams}", **options)

    async def get(self, path: str) -> tuple[int, Any, Any]:
        async with self.http.get(self.urls["rest"] + path) as answer:
            return answer.status, await answer.json(), answer.headers

    async def frames(self, socket: aiohttp.ClientWebSocketResponse, seconds: float) -> list[bytes]:
        """What comes within a time."""
        found: list[bytes] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await socket.receive()
                    assert message.type is WSMsgType.TEXT, message
                    found.append(message.data.encode())
        except TimeoutError:
            return found


@asynccontextmanager
async def serving(tmp_path: Path, rate: float = 2000) -> AsyncIterator[Client]:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        server = Server([Simulator(1, ledger)], ledger, rate)
        urls = await server.start(0)
        running = asyncio.create_task(server.run())
        try:
            async with aiohttp.ClientSession() as http:
                yield Client(http, urls["binance_usdm"], path)
        finally:
            running.cancel()
            await server.close()


async def test_each_route_serves_its_own_streams_and_acknowledges_all(tmp_path: Path) -> None:
    """As the venue does since 2026-04-23: the wrong route is silent, not an error."""
    async with serving(tmp_path) as client:
        public, market = await client.connect("public", EVERYTHING), await client.connect("market", EVERYTHING)
        call = json.dumps({"method": "SUBSCRIBE", "params": EVERYTHING.split("/"), "id": 1})
        await public.send_str(call)
        await market.send_str(call)
        on_public, on_market = await asyncio.gather(client.frames(public, 3.2), client.frames(market, 3.2))
        assert {channel_of(frame) for frame in on_public} == {DEPTH, QUOTES, "control"}
        assert {channel_of(frame) for frame in on_market} >= {
            TRADES,
            MARK,
            "btcusdt@kline_1m",
            "btcusdt@ticker",
            "control",
        }
        assert not {channel_of(frame) for frame in on_market} & {DEPTH, QUOTES}
        assert b'{"result":null,"id":1}' in on_public
        assert b'{"result":null,"id":1}' in on_market
        await public.close()
        await market.close()


async def test_its_books_chain_by_the_previous_id_and_end_as_the_market(tmp_path: Path) -> None:
    """Ids are far apart, `pu` is the `u` before; with a snapshot in between the book is the REST book."""
    async with serving(tmp_path) as client:
        socket = await client.connect("public", DEPTH)
        normalizer, outputs = defined(), []
        frames = await client.frames(socket, 0.6)
        _, body, _ = await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
        frames += [json.dumps(body).encode()] + await client.frames(socket, 0.6)
        for frame in frames:
            outputs += normalizer.normalize(
                envelope(SNAPSHOT if frame.startswith(b'{"last') else channel_of(frame), frame)
            )
        assert not gaps(outputs)
        assert len(data(outputs)) > 5
        updates = [json.loads(frame)["data"] for frame in frames if frame.startswith(b'{"stream"')]
        assert all(later["pu"] == earlier["u"] for earlier, later in pairwise(updates))
        assert all(update["pu"] < update["U"] <= update["u"] for update in updates)
        assert any(update["U"] > update["pu"] + 1 for update in updates)
        await socket.close()


async def test_answers_are_in_the_venues_own_words(tmp_path: Path) -> None:
    """Listings, refusals, unknown streams; the 1,025th stream and the eleventh message in a second end the connection."""
    async with serving(tmp_path, 0.001) as client:
        socket = await client.connect("market", TRADES)

        async def ask(text: str) -> Any:
            await socket.send_str(text)
            return json.loads((await socket.receive(5)).data)

        assert await ask('{"method":"SUBSCRIBE","params":["nosuch@aggTrade"],"id":"a"}') == {"result": None, "id": "a"}
        assert await ask(f'{{"method":"UNSUBSCRIBE","params":["{TRADES}"],"id":2}}') == {"result": None, "id": 2}
        assert await ask('{"method":"LIST_SUBSCRIPTIONS","id":3}') == {"result": ["nosuch@aggTrade"], "id": 3}
        assert (await ask("nonsense"))["error"]["code"] == 3
        assert (await ask('{"method":"DANCE","id":4}'))["error"]["code"] == 2
        many = json.dumps({"method": "SUBSCRIBE", "params": [f"s{n}@aggTrade" for n in range(1024)], "id": 5})
        assert await ask(many) == {"error": {"code": 4, "msg": "Too many subscriptions"}}
        assert (await socket.receive(5)).type is WSMsgType.CLOSE
        socket = await client.connect("market")
        for number in range(11):
            await socket.send_str(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
        while (message := await socket.receive(5)).type is WSMsgType.TEXT:
            pass
        assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1008)


async def test_rest_answers_are_weighed_and_understood(tmp_path: Path) -> None:
    """Weights as documented, 429 with Retry-After beyond 2,400 in a minute, and the errors of wrong parameters."""
    async with serving(tmp_path, 0.001) as client:
        status, book, headers = await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=5")
        assert (status, len(book["bids"]), len(book["asks"]), headers["X-MBX-USED-WEIGHT-1M"]) == (200, 5, 5, "2")
        _, info, _ = await client.get("/fapi/v1/exchangeInfo")
        normalizer = Normalizer(INFO)
        defined_ = normalizer.normalize(envelope(EXCHANGE_INFO, json.dumps(info)))
        assert [m.channel for m in data(defined_, "DEFINITION")] == ["definition.BTCUSDT", "definition.ETHUSDT"]
        _, interest, _ = await client.get("/fapi/v1/openInterest?symbol=BTCUSDT")
        (message,) = data(normalizer.normalize(envelope(OPEN_INTEREST, json.dumps(interest))))
        assert [one.kind for one in statistics(message)] == [9]
        _, premium, headers = await client.get("/fapi/v1/premiumIndex?symbol=BTCUSDT")
        assert {"markPrice", "indexPrice", "nextFundingTime", "time"} <= premium.keys()
        assert headers["X-MBX-USED-WEIGHT-1M"] == "5"
        invalid = (400, {"code": -1121, "msg": "Invalid symbol."})
        for path in ("depth", "openInterest", "premiumIndex"):
            assert (await client.get(f"/fapi/v1/{path}?symbol=NOSUCH"))[:2] == invalid
        assert (await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=7"))[:2] == (
            400, {"code": -4021, "msg": "7 is not valid depth limit"},
        )  # fmt: skip
        statuses = [(await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000"))[0] for _ in range(120)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert "Retry-After" in (await client.get("/fapi/v1/depth?symbol=BTCUSDT"))[2]


async def test_connections_are_pinged_and_those_that_do_not_answer_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping every three minutes and a pong within ten, here a thousand times as fast."""
    monkeypatch.setattr(simulator, "_PING_NS", 180_000_000)
    monkeypatch.setattr(simulator, "_PONG_NS", 600_000_000)
    async with serving(tmp_path, 0.001) as client:
        answering, mute = await client.connect("public"), await client.connect("public", autoping=False)
        assert not await client.frames(answering, 1.2)
        kinds = [(await mute.receive(5)).type for _ in range(3)]
        while kinds[-1] is WSMsgType.PING:
            kinds.append((await mute.receive(5)).type)
        assert kinds[-1] is WSMsgType.CLOSE
        await answering.close()


async def test_a_minute_of_the_market_is_a_bar_a_sample_of_liquidations_and_a_contract_state(tmp_path: Path) -> None:
    """In virtual time: what the bar says is what was traded."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        venue = Simulator(3, ledger)
        sent: list[tuple[str, Any]] = []
        venue.broadcast = lambda channel, text, *_: sent.append((channel, json.loads(text)))  # type: ignore[method-assign,assignment,arg-type]
        start = 1_790_000_040_000_000_000
        start -= start % 60_000_000_000
        for step in range(1, 65 * 20):
            now = start + step * 50_000_000
            for _ in range(4):
                venue.on_event(venue.market.step(now))
            venue.on_tick(now)
    bars = [frame["data"]["k"] for channel, frame in sent if channel == "btcusdt@kline_1m" and frame["data"]["k"]["x"]]
    (finished,) = bars
    assert finished["t"] * 1_000_000 == start
    trades = [frame["data"] for channel, frame in sent if channel == TRADES and frame["data"]["T"] <= finished["T"]]
    prices = [float(trade["p"]) for trade in trades]
    assert [float(finished[name]) for name in "hlc"] == [max(prices), min(prices), prices[-1]]
    assert round(sum(float(trade["q"]) for trade in trades), 3) == float(finished["v"])
    assert all(later["a"] == earlier["a"] + 1 for earlier, later in pairwise(trades))
    seconds = [frame["data"]["E"] // 1000 for channel, frame in sent if channel == LIQUIDATIONS]
    assert seconds
    assert len(set(seconds)) == len(seconds)
    assert [frame["data"]["cs"] for channel, frame in sent if channel == CONTRACT] == ["TRADING", "TRADING"]


def test_a_replay_is_acknowledged_and_defined() -> None:
    """What the replay server needs: answers to subscriptions, and definitions for recordings that lack them."""
    assert simulator.acknowledge('{"method":"SUBSCRIBE","params":["x"],"id":7}') == ['{"result":null,"id":7}']
    assert json.loads(simulator.acknowledge("{")[0])["error"]["code"] == 3
    assert json.loads(simulator.acknowledge('{"method":"x"}')[0])["error"]["code"] == 2
    (body,) = simulator.definitions_for(["BTCUSDT", "NOSUCH"]).values()
    assert not defined().normalize(envelope(EXCHANGE_INFO, body))[2:]
    assert not simulator.definitions_for(["NOSUCH"])
