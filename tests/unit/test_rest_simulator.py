"""The simulated sources: signatures, pages, 304, limits, and a ledger that says what was answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession, web

import providers
from penstock import clock
from providers.rest import simulator
from simulator.ledger import Ledger
from simulator.venue import Router

PRODUCT = "/rest/coinbase/api/v3/brokerage/market/products/BTC-USD/ticker"


class Served:
    """A simulator behind a real socket, whose market moves when told to."""

    def __init__(self, venue: simulator.Simulator, url: str, http: ClientSession, path: Path) -> None:
        self.venue, self.url, self.http, self.path = venue, url, http, path

    def trade(self, count: int) -> None:
        """Until so many more trades were made of each listing."""
        for listing in self.venue.market.listings:
            wanted = len(self.venue.market.trades(listing.symbol)) + count
            while len(self.venue.market.trades(listing.symbol)) < wanted:
                self.venue.market.step(clock.time_ns())

    async def get(self, path: str, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        async with self.http.get(self.url + path, headers=headers) as response:
            text = await response.text()
            body = json.loads(text) if response.content_type == "application/json" and text else text
            return response.status, body, response.headers

    async def desk(self, path: str, query: str = "pair=BTC-USD", **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        stamp = str(clock.time_ns() // 10**6)
        message = f"{stamp}GET/rest/otc{path}?{query}"
        sign = base64.b64encode(hmac.new(simulator.SECRET.encode(), message.encode(), hashlib.sha256).digest()).decode()
        signed = {"X-OTC-KEY": simulator.KEY, "X-OTC-TIMESTAMP": stamp, "X-OTC-SIGN": sign} | headers
        return await self.get(f"/rest/otc{path}?{query}", **signed)

    def ledger(self, schema: str, symbol: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if line.get("schema") == schema and line["symbol"] == symbol]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    path = folder / "ledger.jsonl"
    with Ledger(path) as ledger:
        venue = simulator.Simulator(3, ledger)
        app = web.Application()
        venue.routes(Router(app, venue))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with ClientSession() as http:
                yield Served(venue, f"http://127.0.0.1:{runner.addresses[0][1]}", http, path)
        finally:
            await runner.cleanup()


def test_its_secrets_are_those_of_the_source_file():
    """The session signs with what the simulator checks."""
    path = Path(providers.__path__[0]) / "rest" / "sources" / "otc.yaml"
    auth = yaml.safe_load(path.read_text())["auth"]
    assert auth["simulated"] == {"OTC_KEY": simulator.KEY, "OTC_SECRET": simulator.SECRET}
    assert simulator.acknowledge("anything") == []


async def test_what_an_answer_holds_is_in_the_ledger_before_it_and_once(tmp_path: Path):
    """Trades up to the newest that was answered, tops as they were answered; nothing that nobody asked for."""
    async with served(tmp_path) as sources:
        sources.trade(5)
        assert sources.ledger("TRADES", "coinbase/BTC-USD") == []
        _, body, _ = await sources.get(f"{PRODUCT}?limit=2")
        listed = [int(trade["trade_id"]) for trade in body["trades"]]
        entries = sources.ledger("TRADES", "coinbase/BTC-USD")
        assert [entry["sequence"] for entry in entries] == listed[::-1]
        assert [entry["receivers"] for entry in entries] == [1, 1]
        sources.trade(3)
        _, body, _ = await sources.get(f"{PRODUCT}?limit=1")
        assert len(sources.ledger("TRADES", "coinbase/BTC-USD")) >= 5, "who asks for one could have asked for all"
        before = len(sources.ledger("TRADES", "coinbase/BTC-USD"))
        await sources.get(f"{PRODUCT}?limit=250")
        assert len(sources.ledger("TRADES", "coinbase/BTC-USD")) == before
        side = {"BUY": "A", "SELL": "B"}
        trade = body["trades"][0]
        assert sources.ledger("TRADES", "coinbase/BTC-USD")[-1]["side"] == side[trade["side"]]
        assert len(sources.ledger("MBP_1", "coinbase/BTC-USD")) >= 1


async def test_once_stopped_a_list_ends_with_the_ledger(tmp_path: Path):
    """What nobody had been answered is not published any more."""
    async with served(tmp_path) as sources:
        sources.trade(5)
        await sources.desk("/deals")
        known = [entry["sequence"] for entry in sources.ledger("TRADES", "otc/BTC-USD")]
        sources.trade(5)
        sources.venue.stopped = True
        _, body, _ = await sources.desk("/deals")
        assert [int(item["i"][2:]) for item in body["data"]["items"]] == known
        assert [entry["sequence"] for entry in sources.ledger("TRADES", "otc/BTC-USD")] == known


async def test_signatures_are_checked(tmp_path: Path):
    """A wrong one, an old one, one of another query, none: 401."""
    async with served(tmp_path) as sources:
        sources.trade(1)
        assert (await sources.desk("/quote"))[0] == 200
        assert (await sources.get("/rest/otc/quote?pair=BTC-USD"))[0] == 401
        assert (await sources.desk("/quote", **{"X-OTC-SIGN": "x"}))[0] == 401
        assert (await sources.desk("/quote", **{"X-OTC-TIMESTAMP": "1"}))[0] == 401
        assert (await sources.desk("/quote", **{"X-OTC-TIMESTAMP": "soon"}))[0] == 401
        assert (await sources.desk("/quote", **{"X-OTC-KEY": "other"}))[0] == 401
        assert (await sources.desk("/quote", "pair=ETH-USD"))[0] == 404


async def test_an_answer_that_did_not_change_is_304(tmp_path: Path):
    """By its ETag."""
    async with served(tmp_path) as sources:
        sources.trade(1)
        for ask in (
            lambda **headers: sources.desk("/quote", **headers),
            lambda **headers: sources.get(f"{PRODUCT}?limit=1", **headers),
        ):
            status, _, headers = await ask()
            assert status == 200
            assert (await ask(**{"If-None-Match": headers["ETag"]}))[:2] == (304, "")
            sources.trade(3)
            assert (await ask(**{"If-None-Match": headers["ETag"]}))[0] == 200


async def test_deals_come_in_pages(tmp_path: Path):
    """After an id, oldest first; an id that is none is refused."""
    async with served(tmp_path) as sources:
        sources.trade(70)
        _, body, _ = await sources.desk("/deals")
        items = [item["i"] for item in body["data"]["items"]]
        assert len(items) == 50
        _, body, _ = await sources.desk("/deals", f"pair=BTC-USD&since={items[-2]}")
        assert [item["i"] for item in body["data"]["items"]] == items[-1:]
        assert (await sources.desk("/deals", "pair=BTC-USD&since=d-0"))[0] == 400


async def test_more_than_its_limit_is_429_and_so_is_a_ban_on_request(tmp_path: Path):
    """With Retry-After."""
    async with served(tmp_path) as sources:
        sources.trade(1)
        answers = [await sources.get(f"{PRODUCT}?limit=1") for _ in range(12)]
        assert [status for status, _, _ in answers] == [200] * 10 + [429] * 2
        assert answers[-1][2]["Retry-After"] == "1"
        assert (await sources.get(f"{PRODUCT}?limit=x"))[0] == 429
        assert (await sources.desk("/book"))[0] == 200, "another source has a limit of its own"
