"""Bybit's session as data, and the same session against the simulated venue over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest

import providers
from penstock.errors import ConfigError, PayloadError
from penstock.payloads import CONTROL, channels_on
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.session import Plan, Rejected, Send, Subscribed
from providers.bybit import payloads
from providers.bybit.normalizer import Normalizer
from providers.bybit.session import ARGS_CHARACTERS, Session
from providers.bybit.simulator import Simulator, acknowledge
from simulator.ledger import Ledger
from simulator.server import Server
from tests.unit.bybit_frames import INFO, gaps

NOW = 1_790_000_000 * 10**9
S = 10**9


def session(*symbols: str) -> Session:
    return Session(INFO, INFO.endpoints, symbols or INFO.symbols, None)


def calls(actions: Any) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def answer(call: dict[str, Any], *, success: bool = True, text: str = "", **more: Any) -> bytes:
    body = {"success": success, "ret_msg": text, "conn_id": "c", "req_id": call["req_id"], "op": call["op"]}
    return json.dumps(body | more).encode()


def test_one_connection_per_category():
    """Each with its URL; definitions one by one; liquidations of derivatives only; options have trades by coin."""
    made = session(
        "BTCUSDT-LINEAR", "BTCUSDT-SPOT", "BTCUSD-INVERSE", "BTC-30JUN25-100000-C-OPTION", "BTC-30JUN25-1-P-OPTION"
    )
    assert [plan.url.rpartition("/")[2] for plan in made.plans()] == ["linear", "inverse", "spot", "option"]
    linear, _, spot, option = (plan.channels for plan in made.plans())
    assert linear == (
        "linear.orderbook.200.BTCUSDT", "linear.tickers.BTCUSDT", "linear.publicTrade.BTCUSDT", "linear.orderbook.1.BTCUSDT",
        "linear.kline.1.BTCUSDT", "linear.allLiquidation.BTCUSDT",
    )  # fmt: skip
    assert "spot.allLiquidation.BTCUSDT" not in spot
    assert [channel for channel in option if "Trade" in channel] == ["option.publicTrade.BTC"]
    assert option[0] == "option.orderbook.100.BTC-30JUN25-100000-C"
    requests = made.definitions()
    assert requests[0].channel == "rest/instruments-info/linear/BTCUSDT"
    assert requests[0].url == "https://api.bybit.com/v5/market/instruments-info?category=linear&symbol=BTCUSDT"
    assert [request.channel for request in requests][-2:] == [
        "rest/instruments-info/option/BTC-30JUN25-1-P",
        "rest/status",
    ]


@pytest.mark.parametrize("name", ["BTCUSDT", "BTCUSDT-PERP", "-SPOT", "BTCUSDT-spot"])
def test_a_symbol_without_its_category_is_a_wrong_configuration(name):
    """It would be two instruments."""
    with pytest.raises(ConfigError, match="names no category"):
        session(name)


@pytest.mark.parametrize("category", ["SPOT", "LINEAR", "OPTION"])
def test_shards_keep_to_half_of_every_limit(category):
    """Args of a connection, channels of a connection, args of a request; every channel once, in one shard per symbol."""
    symbols = [f"COIN{n}-1JAN27-{n}-C-{category}" for n in range(900)]
    made = session(*symbols)
    assert len(made.plans()) > 1
    channels = [channel for plan in made.plans() for channel in plan.channels]
    assert len(channels) == len(set(channels))
    for plan in made.plans():
        requests = calls(made.opened(plan, NOW))
        assert sum(len(json.dumps(request["args"])) for request in requests) <= 21_000
        assert sum(len(arg) + 3 for request in requests for arg in request["args"]) <= ARGS_CHARACTERS
        assert len(plan.channels) <= 1000
        assert max(len(request["args"]) for request in requests) <= (5 if category == "SPOT" else 100)
        assert [f"{category.lower()}.{arg}" for request in requests for arg in request["args"]] == list(plan.channels)


def test_acknowledgements_are_matched_by_id_or_in_order():
    """Linear leaves the id empty where none was sent; whoever leaves it out answers in order."""
    made = session("BTCUSDT-SPOT", "ETHUSDT-SPOT")
    (plan,) = made.plans()
    first, second = calls(made.opened(plan, NOW))
    assert made.received(plan, answer(second), NOW) == [Subscribed(plan.channels[5:])]
    assert made.received(plan, answer(first, req_id=""), NOW) == [Subscribed(plan.channels[:5])]
    assert made.received(plan, b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}', NOW) == ()
    assert made.received(plan, b'{"args":["1672916271846"],"op":"pong"}', NOW) == ()


def test_a_failed_request_is_repeated_topic_by_topic():
    """So that one wrong name costs itself alone; what the venue has already is subscribed."""
    made = session("BTCUSDT-LINEAR")
    (plan,) = made.plans()
    (request,) = calls(made.opened(plan, NOW))
    alone = calls(made.received(plan, answer(request, success=False, text="error:handler not found"), NOW))
    assert [call["args"] for call in alone] == [[channel.partition(".")[2]] for channel in plan.channels]
    assert made.received(plan, answer(alone[0]), NOW) == [Subscribed(plan.channels[:1])]
    again = answer(alone[1], success=False, text="error:already subscribed,topic:x")
    assert made.received(plan, again, NOW) == [Subscribed(plan.channels[1:2])]
    (rejected,) = made.received(plan, answer(alone[2], success=False, text="error:handler not found"), NOW)
    assert isinstance(rejected, Rejected)
    assert rejected.terminal
    assert plan.channels[2] in rejected.reason


def test_options_list_what_they_accept():
    """Their answers have no id."""
    made = session("BTC-30JUN25-100000-C-OPTION")
    (plan,) = made.plans()
    made.opened(plan, NOW)
    topics = [channel.partition(".")[2] for channel in plan.channels]
    body = {
        "success": True,
        "conn_id": "c",
        "type": "COMMAND_RESP",
        "data": {"successTopics": topics[1:], "failTopics": topics[:1]},
    }
    subscribed, rejected = made.received(plan, json.dumps(body).encode(), NOW)
    assert subscribed == Subscribed(plan.channels[1:])
    assert isinstance(rejected, Rejected)
    made.resync(plan, plan.channels[1])
    body["data"] = {"successTopics": topics[1:2], "failTopics": []}
    (call,) = calls(made.received(plan, json.dumps(body).encode(), NOW))
    assert (call["op"], call["args"]) == ("subscribe", topics[1:2])


def test_resync_is_of_one_channel():
    """Unsubscribe, and subscribe again with the answer; not twice at once; only channels of the plan."""
    made = session("BTCUSDT-LINEAR")
    (plan,) = made.plans()
    assert made.resync(plan, plan.channels[0]) == ()
    (request,) = calls(made.opened(plan, NOW))
    made.received(plan, answer(request), NOW)
    (call,) = calls(made.resync(plan, plan.channels[0]))
    assert (call["op"], call["args"]) == ("unsubscribe", ["orderbook.200.BTCUSDT"])
    assert made.resync(plan, plan.channels[0]) == made.resync(plan, "spot.orderbook.200.X") == ()
    (call,) = calls(made.received(plan, answer(call), NOW))
    assert (call["op"], call["args"]) == ("subscribe", ["orderbook.200.BTCUSDT"])
    assert made.received(plan, answer(call), NOW) == [Subscribed(plan.channels[:1])]


def test_a_request_that_is_never_answered_stands_in_nobodys_way():
    """After ten seconds the book may be asked for again; the late answer is then of use as well."""
    made = session("BTCUSDT-LINEAR")
    (plan,) = made.plans()
    (request,) = calls(made.opened(plan, NOW))
    made.received(plan, answer(request), NOW)
    (lost,) = calls(made.resync(plan, plan.channels[0]))
    for second in range(10):
        assert made.resync(plan, plan.channels[0]) == ()
        made.tick(plan, NOW + second * S)
    (again,) = calls(made.resync(plan, plan.channels[0]))
    assert again["req_id"] != lost["req_id"]
    assert calls(made.received(plan, answer(again), NOW))[0]["op"] == "subscribe"


def test_a_ping_every_twenty_seconds():
    """The venue's own, in text."""
    made = session("BTCUSDT-LINEAR")
    (plan,) = made.plans()
    assert made.tick(plan, NOW) == ()
    made.opened(plan, NOW)
    sent = [at for at in range(61) if made.tick(plan, NOW + at * S)]
    assert sent == [20, 40, 60]
    made.opened(plan, NOW)
    assert made.tick(plan, NOW + 20 * S) == [Send('{"op":"ping"}')]


def test_the_probe_compares_cross_sequences():
    """Behind where the venue's is higher, or where a book never came; turns through the books."""
    made = session("BTCUSDT-LINEAR", "ETHUSDT-LINEAR")
    (plan,) = made.plans()
    first, second = made.probe(plan), made.probe(plan)
    assert first is not None
    assert second is not None
    assert first.url == "https://api.bybit.com/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=1"
    assert [request.channel for request in (first, second)] == [
        "rest/probe/linear.orderbook.200.BTCUSDT", "rest/probe/linear.orderbook.200.ETHUSDT"
    ]  # fmt: skip
    body, frame = b'{"retCode":0,"result":{"s":"BTCUSDT","u":9,"seq":%d}}', b'{"data":{"u":3,"seq":77},"cts":1}'
    channel = first.channel.removeprefix("rest/probe/")
    assert made.behind(channel, frame, body % 78)
    assert not made.behind(channel, frame, body % 77)
    assert made.behind(channel, None, body % 77)
    assert not made.behind(channel, frame, b"{}")
    assert not made.behind("linear.tickers.BTCUSDT", frame, body % 78)


@pytest.mark.parametrize("frame", [b"", b"{", b"5", b'{"op":5}', b'{"success":"yes"}', b"[" * 100_000])
def test_control_frames_that_cannot_be_read_are_refused(frame):
    """PayloadError, and nothing is awaited differently afterwards."""
    made = session("BTCUSDT-LINEAR")
    (plan,) = made.plans()
    (request,) = calls(made.opened(plan, NOW))
    with pytest.raises(PayloadError):
        made.received(plan, frame, NOW)
    assert made.received(plan, answer(request), NOW) == [Subscribed(plan.channels)]


def test_replays_acknowledge_everything():
    """In the venue's words, with the request's id."""
    (text,) = acknowledge('{"req_id":"7","op":"subscribe","args":["tickers.X"]}')
    assert json.loads(text)["req_id"] == "7"
    assert json.loads(acknowledge('{"op":"ping"}')[0])["ret_msg"] == "pong"
    assert not json.loads(acknowledge("nonsense")[0])["success"]


class Client:
    """Does for one plan what the session manager would, against the simulator's real sockets."""

    def __init__(self, made: Session, plan: Plan, http: aiohttp.ClientSession, normalizer: Normalizer) -> None:
        self.made, self.plan, self.http, self.normalizer = made, plan, http, normalizer
        self.outputs: list[Any] = []
        self.acknowledged: set[str] = set()
        self.rejected: list[str] = []

    async def run(self, seconds: float) -> None:
        named = channels_on(payloads, self.plan.url)
        async with self.http.ws_connect(self.plan.url) as socket:
            await self.act(socket, self.made.opened(self.plan, NOW))
            try:
                async with asyncio.timeout(seconds):
                    async for message in socket:
                        frame = message.data.encode()
                        channel = named(frame)
                        envelope = Envelope(ts_recv=NOW, connection=1, channel=channel, kind=KIND_FRAME, payload=frame)
                        self.outputs += self.normalizer.normalize(envelope)
                        if channel == CONTROL:
                            await self.act(socket, self.made.received(self.plan, frame, NOW))
            except TimeoutError:
                pass

    async def act(self, socket: aiohttp.ClientWebSocketResponse, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Send):
                await socket.send_str(action.text)
            elif isinstance(action, Subscribed):
                self.acknowledged.update(action.channels)
            elif isinstance(action, Rejected):
                self.rejected.append(action.reason)


async def test_the_session_against_the_simulator(tmp_path):
    """Definitions, every channel of every category acknowledged and served, a wrong symbol refused alone, no gap."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        server = Server([Simulator(5, ledger)], ledger, 400)
        urls = (await server.start(0))["bybit"]
        endpoints = Endpoints(str(urls["stream"]), str(urls["rest"]))
        made = Session(INFO, endpoints, [*INFO.symbols, "NOSUCH-SPOT"], None)
        running = asyncio.create_task(server.run())
        async with aiohttp.ClientSession() as http:
            normalizer = providers.normalizer_class("bybit")(INFO)
            for request in made.definitions():
                async with http.get(request.url) as response:
                    body = await response.read()
                normalizer.normalize(Envelope(ts_recv=NOW, channel=request.channel, kind=KIND_FRAME, payload=body))
            clients = [Client(made, plan, http, normalizer) for plan in made.plans()]
            await asyncio.gather(*(client.run(1.5) for client in clients))
            probe = made.probe(made.plans()[0])
            assert probe is not None
            async with http.get(probe.url) as response:
                assert made.behind(probe.channel.removeprefix("rest/probe/"), None, await response.read())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()
    for client in clients:
        assert client.acknowledged == {channel for channel in client.plan.channels if "NOSUCH" not in channel}
        assert not gaps(client.outputs)
    assert len(clients[2].rejected) == 5
    schemas = Counter(output.schema for client in clients for output in client.outputs)
    assert all(schemas[name] > 20 for name in ("MBO", "TRADES", "MBP_1", "STATISTICS"))
