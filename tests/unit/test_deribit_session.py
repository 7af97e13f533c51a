"""Deribit's session as data, and the same session against the simulated venue over real sockets."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import providers
from penstock import clock
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output
from penstock.payloads import CONTROL
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from providers.deribit import payloads, wire
from providers.deribit.normalizer import Normalizer
from providers.deribit.session import CHANNELS_PER_CALL, Session
from providers.deribit.simulator import Simulator, acknowledge
from simulator.ledger import Ledger
from simulator.market import ONE, Fill
from simulator.server import Server

INFO = providers.info("deribit")
KEYS = Credentials({"DERIBIT_CLIENT_ID": "id-1", "DERIBIT_CLIENT_SECRET": "hush"})
NOW = 1_700_000_000 * 10**9


def session(*symbols: str, credentials: Credentials | None = None) -> tuple[Session, Plan]:
    made = Session(INFO, INFO.endpoints, symbols or INFO.symbols, credentials)
    return made, made.plans()[0]


def calls(actions: Any) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def reply(call: dict[str, Any], result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()


def refusal(call: dict[str, Any], code: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": "no"}}).encode()


def test_without_credentials_it_takes_the_100ms_channels_at_once() -> None:
    """Heartbeats, then one public/subscribe; the channels that the result lists are acknowledged."""
    made, plan = session("BTC-PERPETUAL", "SOL_USDC-PERPETUAL")
    assert plan.url == "wss://www.deribit.com/ws/api/v2"
    assert plan.channels == (
        "platform_state", "platform_state.public_methods_state",
        "instrument.state.future.BTC", "instrument.state.future.USDC", "trades.BTC-PERPETUAL.100ms",
        "book.BTC-PERPETUAL.100ms", "ticker.BTC-PERPETUAL.100ms", "quote.BTC-PERPETUAL", "chart.trades.BTC-PERPETUAL.1",
        "trades.SOL_USDC-PERPETUAL.100ms", "book.SOL_USDC-PERPETUAL.100ms", "ticker.SOL_USDC-PERPETUAL.100ms",
        "quote.SOL_USDC-PERPETUAL", "chart.trades.SOL_USDC-PERPETUAL.1",
    )  # fmt: skip
    heartbeat, subscribe = calls(made.opened(plan, NOW))
    assert (heartbeat["method"], heartbeat["params"]) == ("public/set_heartbeat", {"interval": 10})
    assert (subscribe["method"], tuple(subscribe["params"]["channels"])) == ("public/subscribe", plan.channels)
    assert made.received(plan, reply(heartbeat, "ok"), NOW) == ()
    assert made.received(plan, reply(subscribe, sorted(plan.channels)), NOW) == [Subscribed(plan.channels)]


def test_with_credentials_it_authenticates_first_and_never_shows_the_secret() -> None:
    """The auth frame is marked secret; `.raw` channels by private/subscribe follow its reply; the token is renewed."""
    made, plan = session("BTC-PERPETUAL", credentials=KEYS)
    assert "book.BTC-PERPETUAL.raw" in plan.channels
    opened = made.opened(plan, NOW)
    assert [isinstance(action, Send) and action.secret for action in opened] == [False, True]
    auth = calls(opened)[1]
    assert auth["method"] == "public/auth"
    assert auth["params"] == {"grant_type": "client_credentials", "client_id": "id-1", "client_secret": "hush"}
    (subscribe,) = calls(made.received(plan, reply(auth, {"access_token": "t", "expires_in": 900}), NOW))
    assert (subscribe["method"], tuple(subscribe["params"]["channels"])) == ("private/subscribe", plan.channels)
    assert made.tick(plan, NOW + 700 * 10**9) == ()
    (renewal,) = made.tick(plan, NOW + 721 * 10**9)
    assert isinstance(renewal, Send)
    assert renewal.secret
    assert made.tick(plan, NOW + 722 * 10**9) == ()
    assert made.received(plan, reply(json.loads(renewal.text), {"expires_in": 900}), NOW) == ()
    assert "hush" not in repr(KEYS) + repr(made)


def test_a_wrong_name_is_missing_in_the_result_and_said() -> None:
    """What is granted is acknowledged; what is not is refused for good."""
    made, plan = session("BTC-PERPETUAL", "NO-SUCH")
    subscribe = calls(made.opened(plan, NOW))[1]
    granted = [name for name in plan.channels if "NO" not in name]
    subscribed, rejected = made.received(plan, reply(subscribe, granted), NOW)
    assert subscribed == Subscribed(tuple(granted))
    assert isinstance(rejected, Rejected)
    assert rejected.terminal
    assert "book.NO-SUCH.100ms" in rejected.reason


@pytest.mark.parametrize(
    ("code", "expected"),
    [(13004, Rejected("public/auth: 13004 no", terminal=True)), (10028, Reconnect("public/auth: 10028 no")),
     (11051, Reconnect("public/auth: 11051 no"))],
)  # fmt: skip
def test_errors_that_pass_are_told_from_those_that_stay(code: int, expected: Action) -> None:
    """invalid_credentials stays, too_many_requests and maintenance pass."""
    made, plan = session(credentials=KEYS)
    auth = calls(made.opened(plan, NOW))[1]
    assert made.received(plan, refusal(auth, code), NOW) == [expected]


def test_test_requests_are_answered_and_heartbeats_are_not() -> None:
    """Unanswered ones would close the connection."""
    made, plan = session()
    made.opened(plan, NOW)
    frame = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"%s"}}'
    assert made.received(plan, frame % b"heartbeat", NOW) == ()
    (answer,) = calls(made.received(plan, frame % b"test_request", NOW))
    assert answer["method"] == "public/test"
    assert made.received(plan, reply(answer, {"version": "1"}), NOW) == ()


@pytest.mark.parametrize("frame", [b"", b"{", b"5", b'{"id":"x"}', b'{"method":5}', b"[" * 100_000])
def test_control_frames_that_cannot_be_read_are_refused(frame: bytes) -> None:
    """PayloadError, and nothing is awaited differently afterwards."""
    made, plan = session()
    subscribe = calls(made.opened(plan, NOW))[1]
    with pytest.raises(PayloadError):
        made.received(plan, frame, NOW)
    assert made.received(plan, reply(subscribe, list(plan.channels)), NOW) == [Subscribed(plan.channels)]


def test_a_malformed_token_reply_is_refused_without_quoting_it() -> None:
    """The error goes to logs; the token must not."""
    made, plan = session(credentials=KEYS)
    auth = calls(made.opened(plan, NOW))[1]
    with pytest.raises(PayloadError) as caught:
        made.received(plan, reply(auth, {"access_token": "very-secret", "expires_in": "x"}), NOW)
    assert "very-secret" not in f"{caught.value} {caught.value.value} {caught.value.expected}"


def test_a_resync_resubscribes_one_channel_and_no_other() -> None:
    """Unsubscribe, subscribe with its reply; asking again meanwhile changes nothing."""
    made, plan = session("BTC-PERPETUAL")
    channel, subscribe = "book.BTC-PERPETUAL.100ms", calls(made.opened(plan, NOW))[1]
    assert made.resync(plan, channel) == ()  # its snapshot is on its way
    made.received(plan, reply(subscribe, list(plan.channels)), NOW)
    (leave,) = calls(made.resync(plan, channel))
    assert (leave["method"], leave["params"]) == ("public/unsubscribe", {"channels": [channel]})
    assert made.resync(plan, channel) == ()
    (join,) = calls(made.received(plan, reply(leave, [channel]), NOW))
    assert (join["method"], join["params"]) == ("public/subscribe", {"channels": [channel]})
    assert made.received(plan, reply(join, [channel]), NOW) == [Subscribed((channel,))]
    assert len(made.resync(plan, channel)) == 1
    assert made.resync(plan, "book.OTHER.100ms") == ()


def test_many_symbols_are_split_over_connections_and_calls() -> None:
    """No connection beyond the limit, a symbol's channels together, no channel twice or lost."""
    symbols = [f"BTC-{i}DEC30-1000-C" for i in range(400)]
    made, _ = session(*symbols)
    plans = made.plans()
    limit = INFO.limits.channels_per_connection
    assert [len(plan.channels) <= limit for plan in plans] == [True] * 5
    channels = Counter(channel for plan in plans for channel in plan.channels)
    assert len(channels) == 3 + 5 * len(symbols)
    assert set(channels.values()) == {1}
    for plan in plans:
        made.opened(plan, NOW)
        assert len(plan.channels) <= CHANNELS_PER_CALL
    assert [request.channel for request in made.definitions()] == ["rest/get_instruments/BTC"]


def test_definitions_are_asked_for_once_per_currency() -> None:
    """By REST, at the URL the venue documents."""
    made, _ = session("BTC-PERPETUAL", "BTC-27DEC24", "SOL_USDC-PERPETUAL")
    base = "https://www.deribit.com/api/v2/public/get_instruments"
    assert made.definitions() == [
        Request("rest/get_instruments/BTC", f"{base}?currency=BTC&expired=false"),
        Request("rest/get_instruments/USDC", f"{base}?currency=USDC&expired=false"),
    ]


def test_a_probe_compares_change_ids_of_each_book_in_turn() -> None:
    """Ahead is behind; equal or older is a quiet market; no frame at all after a subscription is behind."""
    made, plan = session("BTC-PERPETUAL", "ETH-PERPETUAL")
    probes = [made.probe(plan) for _ in range(3)]
    assert [probe and probe.channel for probe in probes] == [
        "rest/probe/book.BTC-PERPETUAL.100ms", "rest/probe/book.ETH-PERPETUAL.100ms", "rest/probe/book.BTC-PERPETUAL.100ms",
    ]  # fmt: skip
    frame = b'{"params":{"channel":"book.X.raw","data":{"prev_change_id":98,"change_id":99}}}'
    answers = [
        (b'{"result":{"change_id":100}}', True),
        (b'{"result":{"change_id":99}}', False),
        (b'{"error":{}}', False),
    ]
    for body, expected in answers:
        assert made.behind("book.X.raw", frame, body) is expected
    assert made.behind("book.X.raw", None, answers[1][0])
    assert not made.behind("trades.X.raw", None, answers[1][0])


def test_maintenance_is_no_alarm() -> None:
    """What the venue answers meanwhile proves nothing, and passes: a probe is not ahead, a call is tried again."""
    made, plan = session("BTC-PERPETUAL")
    body = b'{"jsonrpc":"2.0","error":{"code":11051,"message":"system_maintenance"}}'
    frame = b'{"params":{"channel":"book.BTC-PERPETUAL.100ms","data":{"change_id":99}}}'
    assert not made.behind("book.BTC-PERPETUAL.100ms", frame, body)
    (_, subscribe) = calls(made.opened(plan, NOW))
    refusal = {"jsonrpc": "2.0", "id": subscribe["id"], "error": {"code": 11051, "message": "system_maintenance"}}
    assert [type(action) for action in made.received(plan, json.dumps(refusal).encode(), NOW)] == [Reconnect]
    notice = (
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"platform_state","data":{"maintenance":true}}}'
    )
    assert INFO.schema_of(payloads.channel_of(notice)) == "SYSTEM"  # neither data nor a reply: it is stored
    assert {"platform_state", "platform_state.public_methods_state"} <= set(plan.channels)


def test_the_replay_server_can_acknowledge_recorded_subscriptions() -> None:
    """In the venue's words, everything granted, nonsense answered as such."""
    made, plan = session(credentials=KEYS)
    heartbeat, auth = (json.dumps(call) for call in calls(made.opened(plan, NOW)))
    assert made.received(plan, acknowledge(heartbeat)[0].encode(), NOW) == ()
    (subscribe,) = made.received(plan, acknowledge(auth)[0].encode(), NOW)
    assert isinstance(subscribe, Send)
    assert made.received(plan, acknowledge(subscribe.text)[0].encode(), NOW) == [Subscribed(plan.channels)]
    assert json.loads(acknowledge("nonsense")[0])["error"]["code"] == -32700


# --- against the simulated venue ----------------------------------------------------------------------------------


@asynccontextmanager
async def venue(path: Path) -> AsyncIterator[tuple[Endpoints, str, Path]]:
    """A running simulator: its endpoints, its control URL and its ledger."""
    with Ledger(path / "ledger.jsonl") as ledger:
        server = Server([Simulator(5, ledger)], ledger, 2000)
        urls = (await server.start(0))["deribit"]
        running = asyncio.create_task(server.run())
        try:
            yield Endpoints(urls["stream"], urls["rest"]), urls["rest"].removesuffix("/deribit"), path / "ledger.jsonl"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()


class Lane:
    """A session and a normalizer on one real connection."""

    def __init__(self, endpoints: Endpoints, http: aiohttp.ClientSession, credentials: Credentials | None) -> None:
        self.session = Session(INFO, endpoints, INFO.symbols, credentials)
        self.plan = self.session.plans()[0]
        self.http = http
        self.normalizer = Normalizer(INFO)
        self.outputs: list[Output] = []
        self.actions: list[Action] = []
        self.last: dict[str, bytes] = {}

    async def define(self) -> None:
        for request in self.session.definitions():
            async with self.http.get(request.url) as answer:
                self.take(request.channel, await answer.read())

    def take(self, channel: str, payload: bytes) -> None:
        self.last[channel] = payload
        envelope = Envelope(sequence=1, ts_recv=clock.time_ns(), connection=1, channel=channel, kind=KIND_FRAME)
        envelope.payload = payload
        self.outputs += self.normalizer.normalize(envelope)

    async def act(self, socket: aiohttp.ClientWebSocketResponse, actions: Any) -> None:
        for action in actions:
            self.actions.append(action)
            if isinstance(action, Send):
                await socket.send_str(action.text)

    async def run(self, socket: aiohttp.ClientWebSocketResponse, until: Any) -> None:
        """Receive until `until()` holds."""
        async with asyncio.timeout(20):
            while not until():
                frame = (await socket.receive_str()).encode()
                channel = payloads.channel_of(frame)
                self.take(channel, frame)
                if channel == CONTROL:
                    await self.act(socket, self.session.received(self.plan, frame, clock.time_ns()))

    def published(self, schema: str) -> int:
        return sum(isinstance(output, Message) and output.schema == schema for output in self.outputs)

    def gaps(self) -> list[Message]:
        return [output for output in self.outputs if isinstance(output, Message) and b"gap reason=" in output.data]


def trades_of(ledger: Path) -> Iterator[tuple[str, int, str]]:
    for line in ledger.read_text().splitlines():
        entry = json.loads(line)
        if entry.get("schema") == "TRADES":
            yield entry["symbol"], entry["sequence"], entry["channel"]


@pytest.mark.parametrize("credentials", [None, KEYS], ids=["public", "authenticated"])
async def test_the_simulated_venue_is_read_without_a_gap(tmp_path: Path, credentials: Credentials | None) -> None:
    """Subscribed, definitions and every schema published, no gap, a resync costs none, the probe answers, and every trade
    stands once in the ledger."""
    async with venue(tmp_path) as (endpoints, _, ledger), aiohttp.ClientSession() as http:
        lane = Lane(endpoints, http, credentials)
        await lane.define()
        async with http.ws_connect(endpoints.stream) as socket:
            await lane.act(socket, lane.session.opened(lane.plan, clock.time_ns()))
            await lane.run(socket, lambda: lane.published("MBO") > 12 and lane.published("TRADES") > 20)
            assert Subscribed(lane.plan.channels) in lane.actions
            channel = next(name for name in lane.plan.channels if name.startswith("book.ETH"))
            await lane.act(socket, lane.session.resync(lane.plan, channel))
            await lane.run(socket, lambda: Subscribed((channel,)) in lane.actions)
            more = lane.published("MBO") + 8
            await lane.run(socket, lambda: lane.published("MBO") > more)
            probe = lane.session.probe(lane.plan)
            assert probe is not None
            async with http.get(probe.url) as answer:
                name = probe.channel.removeprefix("rest/probe/")
                assert lane.session.behind(name, lane.last[name], await answer.read()) in {True, False}
        assert lane.gaps() == []
        assert all(lane.published(schema) for schema in ("DEFINITION", "STATUS", "STATISTICS", "MBP_1"))
        rows = list(trades_of(ledger))
        assert len(rows) == len({row[:2] for row in rows})


async def test_the_simulated_venue_sends_candles_that_its_ledger_adds_up_to(tmp_path: Path) -> None:
    """Each finished minute has the volume, the extremes and the last price of its trades; quiet ones have none."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        simulator = Simulator(5, ledger)
        feed = Normalizer(INFO)
        connection = Wire()
        listed = wire.reply(None, [wire.instrument(listing, 1) for listing in simulator.market.listings])
        feed.normalize(
            Envelope(ts_recv=1, channel="rest/get_instruments/any", kind=KIND_FRAME, payload=listed.encode())
        )
        channel = "chart.trades.BTC-PERPETUAL.1"
        simulator.subscribe(connection, channel)  # type: ignore[arg-type]
        at, bars = 1_700_000_000 * 10**9, []
        trades: dict[int, list[Fill]] = {}
        for step in range(9000):
            at += 20_000_000
            if step < 6000:
                event = simulator.market.step(at)
                simulator.on_event(event)
                if event.listing.symbol == "BTC-PERPETUAL":
                    minute = event.ts_ns // 60_000_000_000
                    trades.setdefault(minute, []).extend(event.fills)
            simulator.on_tick(at)
            for payload in connection.taken():
                envelope = Envelope(ts_recv=at, connection=1, channel=channel, kind=KIND_FRAME, payload=payload)
                outputs = feed.normalize(envelope)
                bars += [message for message in outputs if isinstance(message, Message)]
        assert len(bars) == 3
        for message in bars:
            assert (message.schema, message.channel) == ("OHLCV_1M", channel)
            start, *prices, volume = struct.unpack("<QqqqqQ", message.data[8:])
            fills = trades.get(start // 60_000_000_000, [])
            assert volume * 10 * ONE == sum(fill.quantity for fill in fills)
            paid = [fill.price for fill in fills] or [prices[3]]
            assert prices == [paid[0], max(paid), min(paid), paid[-1]]
        assert struct.unpack("<Q", bars[-1].data[48:]) == (0,) or len(trades) == 3


class Wire:
    """Takes what the venue sends to one connection."""

    number, closed = 1, False

    def __init__(self) -> None:
        self.subscriptions: set[str] = set()
        self._frames: list[bytes] = []

    def deliver(self, channel: str, framed: bytes, entry: int) -> None:
        del channel, entry
        self._frames.append(framed[framed.index(b"{") :])

    def taken(self) -> list[bytes]:
        frames, self._frames = self._frames, []
        return frames


async def test_a_dropped_book_message_is_declared_and_repaired(tmp_path: Path) -> None:
    """The simulator's drop fault: one gap, a resync, and an unflagged book again."""
    async with venue(tmp_path) as (endpoints, control, _), aiohttp.ClientSession() as http:
        lane = Lane(endpoints, http, KEYS)
        await lane.define()
        async with http.ws_connect(endpoints.stream) as socket:
            await lane.act(socket, lane.session.opened(lane.plan, clock.time_ns()))
            await lane.run(socket, lambda: lane.published("MBO") > 5)
            fault = {"provider": "deribit", "kind": "drop", "channel": "book.BTC-PERPETUAL.raw"}
            async with http.post(f"{control}/control/fault", json=fault) as answer:
                assert answer.status == 200
            await lane.run(socket, lane.gaps)
            await lane.act(socket, lane.session.resync(lane.plan, "book.BTC-PERPETUAL.raw"))
            await lane.run(socket, lambda: len(list(lane.normalizer.images(1))) == 2)
        assert [(gap.schema, gap.channel) for gap in lane.gaps()] == [("MBO", "book.BTC-PERPETUAL.raw")]


async def test_the_simulated_venue_refuses_as_the_real_one_does(tmp_path: Path) -> None:
    """Bad credentials, raw channels without them, private calls, unknown names and methods, nonsense."""
    async with (
        venue(tmp_path) as (endpoints, _, _),
        aiohttp.ClientSession() as http,
        http.ws_connect(endpoints.stream) as socket,
    ):

        async def ask(method: str, **params: Any) -> dict[str, Any]:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            answer: dict[str, Any] = await socket.receive_json()
            return answer

        auth = {"grant_type": "client_credentials", "client_id": "bad", "client_secret": "x"}
        assert (await ask("public/auth", **auth))["error"]["code"] == 13004
        raw = ["book.BTC-PERPETUAL.raw"]
        assert (await ask("public/subscribe", channels=raw))["error"]["code"] == 13778
        assert (await ask("private/subscribe", channels=raw))["error"]["code"] == 13009
        wrong = ["book.NO.100ms", "book.BTC-PERPETUAL.1s", "trades.BTC-PERPETUAL", "x", ""]
        assert (await ask("public/subscribe", channels=wrong))["result"] == []
        assert (await ask("public/subscribe", channels="x"))["error"]["code"] == -32602
        assert (await ask("public/set_heartbeat", interval=9))["error"]["code"] == -32602
        assert (await ask("public/nothing"))["error"]["code"] == -32601
        await socket.send_str("nonsense")
        assert (await socket.receive_json())["error"]["code"] == -32700


async def test_an_unanswered_test_request_ends_the_connection(tmp_path: Path) -> None:
    """Two intervals of the venue's clock, which the test advances; who answers stays."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        simulator = Simulator(5, ledger)
        server = Server([simulator], ledger, 1)
        urls = (await server.start(0))["deribit"]
        async with aiohttp.ClientSession() as http, http.ws_connect(urls["stream"]) as socket:
            call = {"jsonrpc": "2.0", "id": 1, "method": "public/set_heartbeat", "params": {"interval": 10}}
            await socket.send_json(call)
            assert (await socket.receive_json())["result"] == "ok"
            now = clock.time_ns()

            async def tick(seconds: int) -> list[str]:
                simulator.on_tick(now + seconds * 10**9)
                simulator.flush()
                return [(await socket.receive_json())["params"]["type"] for _ in range(2)]

            simulator.on_tick(now)
            assert await tick(11) == ["heartbeat", "test_request"]
            await socket.send_json({"jsonrpc": "2.0", "id": 2, "method": "public/test", "params": {}})
            assert (await socket.receive_json())["result"] == {"version": "1.2.26"}
            assert await tick(22) == ["heartbeat", "test_request"]
            simulator.on_tick(now + 33 * 10**9)
            assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
        await server.close()
