"""Binance USD-M futures' session as data: routes, shards, answers, polls and probes."""

from __future__ import annotations

import json

import pytest

from penstock.errors import PayloadError
from penstock.provider import Endpoints
from penstock.session import Plan, Poll, Rejected, Request, Send, Subscribed
from providers.binance_usdm.session import BEHIND_NS, MARKET, OPEN_INTEREST_NS, PUBLIC, SPACING_NS, Session
from tests.unit.binance_usdm_frames import (
    CONTRACT,
    DEPTH,
    E0,
    EXCHANGE_INFO,
    INFO,
    MARK,
    MS,
    OPEN_INTEREST,
    compact,
    depth,
    mark,
)

ENDPOINTS = Endpoints("wss://venue", "https://venue")
MANY = [f"S{number}USDT" for number in range(250)]
S = 10**9


def session(*symbols: str) -> Session:
    return Session(INFO, ENDPOINTS, symbols or ("BTCUSDT", "ETHUSDT"), None)


def plans(*symbols: str) -> tuple[Session, Plan, Plan]:
    made = session(*symbols)
    public, market, _ = made.plans()
    return made, public, market


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_each_route_has_its_own_connections() -> None:
    """A stream asked for on the wrong route is acknowledged and never sent."""
    _, public, market = plans("btcusdt", "BTCUSDT")
    assert public == Plan("wss://venue/public/stream", (DEPTH, "btcusdt@bookTicker"))
    assert market.url == "wss://venue/market/stream"
    assert market.channels == (
        "btcusdt@aggTrade", MARK, "btcusdt@forceOrder", "btcusdt@kline_1m", "btcusdt@ticker", CONTRACT,
    )  # fmt: skip


def test_many_symbols_take_several_connections_of_at_most_200_streams() -> None:
    """A symbol's streams of a route stay together; contract states are subscribed once; routes are never mixed."""
    made = session(*MANY).plans()
    assert [len(plan.channels) for plan in made] == [200, 200, 100, 196, 195, 195, 195, 195, 195, 80, 200, 50]
    channels = [channel for plan in made for channel in plan.channels]
    assert len(set(channels)) == len(channels) == 250 * (len(PUBLIC) + len(MARKET) + 1) + 1
    for plan in made[:-2]:
        public = {("depth" in name or "bookTicker" in name) for name in plan.channels}
        assert public == {plan.url.endswith("/public/stream")}


def test_all_streams_of_a_plan_are_one_message() -> None:
    """200 names fit; the answer to it acknowledges them."""
    made = session(*MANY)
    plan = made.plans()[0]
    (send,) = made.opened(plan, 0)
    assert isinstance(send, Send)
    assert json.loads(send.text) == {"method": "SUBSCRIBE", "params": list(plan.channels), "id": 1}
    assert made.received(plan, b'{"result":null,"id":1}', 0) == (Subscribed(plan.channels),)


@pytest.mark.parametrize(
    "answer", ['{"result":null,"id":2}', '{"result":["x"],"id":1}', '{"result":null}', "{}", "nonsense"]
)
def test_answers_to_nothing_are_refused(answer: str) -> None:
    """An answer belongs to a request of this connection, once."""
    made, public, _ = plans()
    made.opened(public, 0)
    with pytest.raises(PayloadError):
        made.received(public, answer.encode(), 0)
    made.received(public, b'{"result":null,"id":1}', 0)
    with pytest.raises(PayloadError):
        made.received(public, b'{"result":null,"id":1}', 0)


@pytest.mark.parametrize(
    ("answer", "terminal"),
    [
        ('{"error":{"code":2,"msg":"Invalid request: x"},"id":1}', True),
        ('{"code":3,"msg":"Invalid JSON: x"}', True),
        ('{"error":{"code":4,"msg":"Too many subscriptions"}}', False),
    ],
)
def test_refusals_are_reported(answer: str, terminal: bool) -> None:
    """Sending a malformed request again cannot help."""
    made, public, _ = plans()
    made.opened(public, 0)
    (rejected,) = made.received(public, answer.encode(), 0)
    assert isinstance(rejected, Rejected)
    assert rejected.terminal is terminal


def test_books_get_their_snapshots_once_all_is_acknowledged() -> None:
    """One request each; the other route needs none."""
    made, public, market = plans()
    assert list(made.subscribed(public)) == [
        Request("rest/depth/BTCUSDT", "https://venue/fapi/v1/depth?symbol=BTCUSDT&limit=1000"),
        Request("rest/depth/ETHUSDT", "https://venue/fapi/v1/depth?symbol=ETHUSDT&limit=1000"),
    ]
    assert not made.subscribed(market)


def test_a_resync_is_of_one_channel() -> None:
    """A snapshot of the book, the list of contracts, and nothing for what has no snapshot."""
    made, public, market = plans()
    assert [action.channel for action in made.resync(public, DEPTH) if isinstance(action, Request)] == [
        "rest/depth/BTCUSDT"
    ]
    assert (
        made.resync(market, EXCHANGE_INFO)
        == made.definitions()
        == (Request(EXCHANGE_INFO, "https://venue/fapi/v1/exchangeInfo"),)
    )
    assert not made.resync(market, MARK)


# --- open interest ----------------------------------------------------------------------------------------------------


def asked(made: Session, plan: Plan, seconds: range) -> list[tuple[int, Request]]:
    return [(second, action) for second in seconds for action in made.tick(plan, second * S)]  # type: ignore[misc] # requests


def test_each_symbols_open_interest_is_asked_for_every_half_minute() -> None:
    """In turn, by a plan without a connection; vouched for while no more than two rounds went without an answer."""
    made, public, market = plans()
    plan = made.plans()[-1]
    assert plan == Plan("poll:openInterest", (OPEN_INTEREST, "rest/openInterest/ETHUSDT"))
    for each in (public, market):
        made.opened(each, 0)
    assert made.opened(plan, 0) == (Subscribed(plan.channels),)
    found = asked(made, plan, range(32))
    assert [(second, request.channel) for second, request in found] == [
        (0, OPEN_INTEREST), (15, "rest/openInterest/ETHUSDT"), (30, OPEN_INTEREST),
    ]  # fmt: skip
    assert found[0][1] == Request(
        OPEN_INTEREST, "https://venue/fapi/v1/openInterest?symbol=BTCUSDT", poll=Poll(OPEN_INTEREST, 70.0)
    )
    assert OPEN_INTEREST_NS == 30 * S
    assert not asked(made, public, range(100))
    assert not asked(made, market, range(100))
    assert not made.subscribed(plan)
    assert made.probe(plan) is None


def test_many_symbols_are_asked_about_within_the_budget() -> None:
    """All together once in five seconds: a fifth of what half of the limit allows."""
    polled = [plan for plan in session(*MANY).plans() if plan.url.startswith("poll:")]
    stamps, channels = 0, set()
    for plan in polled:
        made = session(*MANY)  # each plan has a Session of its own
        made.opened(plan, 0)
        found = asked(made, plan, range(3600))
        stamps += len(found)
        channels |= {request.channel for _, request in found}
    assert stamps <= 3600 * S // SPACING_NS
    assert len(channels) == 250


# --- probes -----------------------------------------------------------------------------------------------------------


def test_a_public_connection_is_probed_by_the_update_id() -> None:
    """Cheaply: five levels of the first book."""
    made, public, _ = plans()
    assert made.probe(public) == Request(f"rest/probe/{DEPTH}", "https://venue/fapi/v1/depth?symbol=BTCUSDT&limit=5")
    last = compact(depth(1, 2, 500))
    body = {"lastUpdateId": 500, "E": 1, "T": 1, "bids": [], "asks": []}
    assert not made.behind(DEPTH, last, compact(body))
    assert made.behind(DEPTH, last, compact(body | {"lastUpdateId": 501}))
    assert made.behind(DEPTH, None, compact(body))
    assert not made.behind(DEPTH, last, b'{"code":-1003,"msg":"x"}')


def test_a_market_connection_is_probed_by_the_time_of_the_mark_price() -> None:
    """It is sent every second: the venue is ahead where two more were made."""
    made, _, market = plans()
    assert made.probe(market) == Request(f"rest/probe/{MARK}", "https://venue/fapi/v1/premiumIndex?symbol=BTCUSDT")
    last = compact(mark())
    assert not made.behind(MARK, last, compact({"time": E0 + BEHIND_NS // MS}))
    assert made.behind(MARK, last, compact({"time": E0 + BEHIND_NS // MS + 1}))
    assert made.behind(MARK, None, compact({"time": E0}))
    assert not made.behind(MARK, last, b"<html>")


def test_symbols_of_any_script_are_quoted() -> None:
    """A few contracts have names in Chinese."""
    made, public, _ = plans("币安人生USDT")
    assert public.channels[0] == "币安人生usdt@depth@100ms"
    (request,) = made.subscribed(public)
    assert isinstance(request, Request)
    assert request.url.isascii()
