"""Kraken's session as data, against answers in the venue's words, and its simulator's answers to nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest

import providers
from penstock.errors import PayloadError
from penstock.provider import Endpoints
from penstock.session import Credentials, Plan, Reconnect, Rejected, Send, Subscribed
from providers.kraken import payloads
from providers.kraken.requests import acknowledge, read, refusal
from providers.kraken.session import LEVEL3_SYMBOLS, PING_NS, SYMBOLS_PER_REQUEST, Session

INFO = providers.info("kraken")
TOKEN = Credentials({"KRAKEN_WS_TOKEN": "hush"})
NOW = 1_700_000_000 * 10**9


def session(*symbols: str, credentials: Credentials | None = None) -> tuple[Session, Plan]:
    made = Session(INFO, INFO.endpoints, symbols or INFO.symbols, credentials)
    return made, made.plans()[0]


def asked(actions: Any) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def opened(made: Session, plan: Plan) -> None:
    """Every request of the opening is answered."""
    for action in made.opened(plan, NOW):
        assert isinstance(action, Send)
        for text in acknowledge(action.text):
            made.received(plan, text.encode(), NOW)


def test_everything_of_a_pair_is_on_one_connection_instruments_first():
    made, plan = session()
    assert made.plans() == [plan]
    assert plan.url == "wss://ws.kraken.com/v2"
    requests = asked(made.opened(plan, NOW))
    assert [request["params"]["channel"] for request in requests] == ["instrument", "trade", "book", "ticker", "ohlc"]
    assert requests[2]["params"] == {"channel": "book", "depth": 10, "snapshot": True, "symbol": ["BTC/USD", "ETH/USD"]}
    assert requests[3]["params"]["event_trigger"] == "bbo"
    assert len({request["req_id"] for request in requests}) == 5


def test_each_channel_is_acknowledged_for_itself():
    made, plan = session()
    acknowledged: list[str] = []
    for action in made.opened(plan, NOW):
        assert isinstance(action, Send)
        for text in acknowledge(action.text):
            assert payloads.channel_of(text.encode()) == "control"
            for answer in made.received(plan, text.encode(), NOW):
                assert isinstance(answer, Subscribed)
                acknowledged += answer.channels
            assert not made.received(plan, text.encode(), NOW), "an answer counts once"
    assert sorted(acknowledged) == sorted(plan.channels)


def test_answers_to_nobodys_request_mean_nothing():
    made, plan = session()
    made.opened(plan, NOW)
    result = {"channel": "book", "symbol": "BTC/USD"}
    for req_id in (None, 99, 1):
        frame = {"method": "subscribe", "req_id": req_id, "result": result, "success": True}
        assert not made.received(plan, json.dumps(frame).encode(), NOW)
    for frame in ({"channel": "heartbeat"}, {"method": "pong", "req_id": 1}):
        assert not made.received(plan, json.dumps(frame).encode(), NOW)
    with pytest.raises(PayloadError):
        made.received(plan, b"{", NOW)


def test_a_refused_pair_is_reported_and_the_others_go_on():
    made, plan = session("BTC/USD", "NO/SUCH")
    book = next(request for request in asked(made.opened(plan, NOW)) if request["params"]["channel"] == "book")
    refused = {
        "error": "Currency pair not supported NO/SUCH", "method": "subscribe", "req_id": book["req_id"], "success": False,
        "symbol": "NO/SUCH",
    }  # fmt: skip
    (action,) = made.received(plan, json.dumps(refused).encode(), NOW)
    assert isinstance(action, Rejected)
    assert action.terminal
    assert "NO/SUCH" in action.reason
    (text, _) = acknowledge(json.dumps(book))
    assert made.received(plan, text.encode(), NOW) == [Subscribed(("book.BTC/USD",))]


def test_too_many_requests_is_a_reason_to_connect_anew():
    made, plan = session()
    made.opened(plan, NOW)
    refused = {"error": "Exceeded msg rate", "method": "subscribe", "req_id": 1, "success": False}
    (action,) = made.received(plan, json.dumps(refused).encode(), NOW)
    assert isinstance(action, Reconnect)


def test_one_book_is_subscribed_anew():
    made, plan = session()
    assert not made.resync(plan, "book.BTC/USD"), "not open"
    opened(made, plan)
    (request,) = asked(made.resync(plan, "book.BTC/USD"))
    assert request["method"] == "unsubscribe"
    assert request["params"] == {"channel": "book", "depth": 10, "symbol": ["BTC/USD"]}
    assert not made.resync(plan, "book.BTC/USD"), "on its way"
    (text,) = acknowledge(json.dumps(request))
    (again,) = asked(made.received(plan, text.encode(), NOW))
    assert (again["method"], again["params"]["symbol"]) == ("subscribe", ["BTC/USD"])
    (text,) = acknowledge(json.dumps(again))
    assert made.received(plan, text.encode(), NOW) == [Subscribed(("book.BTC/USD",))]
    assert made.resync(plan, "book.BTC/USD"), "may be asked again"
    assert not made.resync(plan, "book.NO/SUCH")
    refused = {
        "error": "Subscription Not Found",
        "method": "unsubscribe",
        "req_id": again["req_id"] + 1,
        "success": False,
    }
    made.received(plan, json.dumps(refused).encode(), NOW)
    assert made.resync(plan, "book.BTC/USD"), "a refusal ends the waiting"


def test_a_ping_goes_out_now_and_then():
    made, plan = session()
    assert not made.tick(plan, NOW)
    opened(made, plan)
    assert not made.tick(plan, NOW + PING_NS - 1)
    (ping,) = asked(made.tick(plan, NOW + PING_NS))
    assert ping["method"] == "ping"
    assert not made.tick(plan, NOW + PING_NS + 1)
    assert json.loads(acknowledge(json.dumps(ping))[0])["method"] == "pong"


def test_the_newest_trade_proves_that_the_venue_moved():
    made, plan = session()
    request = made.probe(plan)
    assert request is not None
    assert request.channel == "rest/probe/trade.BTC/USD"
    assert request.url == "https://api.kraken.com/0/public/Trades?pair=XBTUSD&count=1"
    last = b'{"channel":"trade","type":"update","data":[{"trade_id":70},{"trade_id":71}]}'

    def body(number: int) -> bytes:
        row = ["1.0", "1.0", 1700000000.1, "b", "m", "", number]
        return json.dumps({"error": [], "result": {"XXBTZUSD": [row], "last": "1700000000"}}).encode()

    assert made.behind("trade.BTC/USD", last, body(72))
    assert not made.behind("trade.BTC/USD", last, body(71))
    assert made.behind("trade.BTC/USD", None, body(1))
    assert not made.behind("trade.BTC/USD", None, b'{"error":["EService:Busy"]}')
    assert not made.behind("book.BTC/USD", None, body(1))
    with pytest.raises(PayloadError):
        made.behind("trade.BTC/USD", last, b"<html>")


def test_a_token_adds_orders_on_connections_of_their_own():
    symbols = [f"A{i}/USD" for i in range(LEVEL3_SYMBOLS + 50)]
    made, _ = session(*symbols, credentials=TOKEN)
    level3 = [plan for plan in made.plans() if plan.channels[0].startswith("level3.")]
    assert [plan.url for plan in level3] == ["wss://ws-l3.kraken.com/v2"] * 2
    assert [len(plan.channels) for plan in level3] == [LEVEL3_SYMBOLS, 50]
    actions = made.opened(level3[0], NOW)
    assert all(isinstance(action, Send) and action.secret for action in actions)
    assert [request["params"]["symbol"] for request in asked(actions)] == [
        [symbol] for symbol in symbols[:LEVEL3_SYMBOLS]
    ]
    assert asked(actions)[0]["params"]["token"] == "hush"
    assert made.probe(level3[0]) is None
    local = Session(INFO, Endpoints("ws://127.0.0.1:9/kraken", "http://127.0.0.1:9/kraken"), ["BTC/USD"], TOKEN)
    assert {plan.url for plan in local.plans()} == {"ws://127.0.0.1:9/kraken/v2"}
    assert "hush" not in repr(TOKEN)


def test_plans_keep_to_half_of_the_limit():
    symbols = [f"A{i}/USD" for i in range(250)]
    made, _ = session(*symbols)
    most = INFO.limits.channels_per_connection // 2
    assert all(len(plan.channels) <= most for plan in made.plans())
    assert sorted(
        channel for plan in made.plans() for channel in plan.channels if channel.startswith("book.")
    ) == sorted(f"book.{symbol}" for symbol in symbols)
    for request in asked(made.opened(made.plans()[0], NOW)):
        assert len(request["params"].get("symbol", [])) <= SYMBOLS_PER_REQUEST
    assert not Session(INFO, INFO.endpoints, [], None).plans()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"channel": "nothing", "symbol": ["BTC/USD"]}, "Unsupported field"),
        ({"channel": "book", "symbol": "BTC/USD"}, "Invalid arguments"),
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": 11}, "depth not supported"),
        ({"channel": "level3", "symbol": ["BTC/USD"]}, "Invalid session"),
        ({"channel": "book", "symbol": ["BTC/USD"]}, ""),
    ],
)
def test_the_simulator_refuses_nonsense(params: dict[str, Any], reason: str):
    request = read(json.dumps({"method": "subscribe", "params": params, "req_id": 1}))
    assert request is not None
    assert reason in refusal(request)
    assert bool(reason) is bool(refusal(request))
    assert read("[]") is None
