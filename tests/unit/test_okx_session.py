"""OKX's session as data: plans, subscriptions, login, repair, pings, probes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

import providers
from penstock.errors import ConfigError, PayloadError
from penstock.provider import Endpoints
from penstock.session import Credentials, Plan, Reconnect, Rejected, Send, Subscribed
from providers.okx.session import Session
from tests.unit.okx_frames import T0_MS, book, push

INFO = providers.info("okx")
ENDPOINTS = Endpoints("wss://stream", "https://rest")
SECRETS = Credentials({"OKX_API_KEY": "key", "OKX_SECRET_KEY": "secret", "OKX_PASSPHRASE": "phrase"})
SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND


def session(*symbols: str, credentials: Credentials | None = None) -> Session:
    return Session(INFO, ENDPOINTS, symbols or INFO.symbols, credentials)


def sent(actions: Any) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def opened(*symbols: str) -> tuple[Session, Plan]:
    made = session(*symbols)
    plan = made.plans()[0]
    made.opened(plan, NOW)
    return made, plan


def received(made: Session, plan: Plan, **words: Any) -> Any:
    return made.received(plan, json.dumps(words).encode(), NOW)


def test_the_default_symbols_need_two_connections():
    """The public path, and the business path for candles."""
    public, business = session().plans()
    assert public.url == "wss://stream/ws/v5/public"
    assert business == Plan("wss://stream/ws/v5/business", tuple(f"candle1m.{name}" for name in INFO.symbols))
    assert set(public.channels) >= {
        "status", "instruments.SPOT", "instruments.SWAP", "liquidation-orders.SWAP", "index-tickers.BTC-USDT",
        "books.BTC-USDT", "bbo-tbt.BTC-USDT", "trades.BTC-USDT", "tickers.BTC-USDT", "funding-rate.ETH-USDT-SWAP",
        "mark-price.ETH-USDT-SWAP", "open-interest.ETH-USDT-SWAP",
    }  # fmt: skip
    assert not {name for name in public.channels if name.startswith(("mark", "funding")) and name.endswith("-USDT")}


def test_depth_channels_are_spread_at_half_the_advice():
    """Fewer than 30 books a connection is the advice: 15 are taken, whatever else is on it."""
    plans = session(*(f"T{number}-USDT-SWAP" for number in range(100))).plans()
    counts = [sum(name.startswith("books.") for name in plan.channels) for plan in plans if "public" in plan.url]
    assert sum(counts) == 100
    assert max(counts) == 15
    assert max(len(plan.channels) for plan in plans) <= INFO.limits.channels_per_connection // 2


def test_a_symbol_may_name_its_book_channel_where_there_are_credentials():
    """It is configured, not guessed: the fee tier that it needs is the account's."""
    channels = session("BTC-USDT-SWAP:books-l2-tbt", credentials=SECRETS).plans()[0].channels
    assert "books-l2-tbt.BTC-USDT-SWAP" in channels
    assert "books.BTC-USDT-SWAP" not in channels
    with pytest.raises(ConfigError, match="OKX_API_KEY"):
        session("BTC-USDT-SWAP:books-l2-tbt")
    with pytest.raises(ConfigError, match="books50-l2-tbt"):
        session("BTC-USDT-SWAP:depth")


def test_definitions_are_asked_for_by_type_and_options_by_family():
    requests = session(
        "BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP", "BTC-USD-260327", "BTC-USD-260327-90000-C"
    ).definitions()
    url = "https://rest/api/v5/public/instruments?instType="
    assert [(request.channel, request.url) for request in requests] == [
        ("rest/instruments/SPOT", f"{url}SPOT"), ("rest/instruments/SWAP", f"{url}SWAP"),
        ("rest/instruments/FUTURES", f"{url}FUTURES"),
        ("rest/instruments/OPTION", f"{url}OPTION&instFamily=BTC-USD"),
    ]  # fmt: skip


def test_arguments_are_batched_and_each_is_acknowledged():
    """A hundred a request, far below 64 KB; the acknowledgement names one."""
    made, plan = opened(*(f"T{number}-USDT-SWAP" for number in range(15)))
    requests = sent(made.opened(plan, NOW))
    assert [len(request["args"]) for request in requests] == [100, len(plan.channels) - 100]
    assert [request["id"] for request in requests] == ["1", "2"]
    assert all(len(json.dumps(request)) < 32_768 for request in requests)
    arg = {"channel": "liquidation-orders", "instType": "SWAP"}
    assert arg in requests[0]["args"]
    assert received(made, plan, id="1", event="subscribe", arg=arg, connId="a") == (
        Subscribed(("liquidation-orders.SWAP",)),
    )
    with pytest.raises(PayloadError):
        received(made, plan, id="77", event="subscribe", arg=arg, connId="a")


def test_login_is_signed_as_documented_and_comes_first():
    """Base64 of the HMAC-SHA256 of timestamp, GET and /users/self/verify; it is never logged."""
    made = session(credentials=SECRETS)
    plan = made.plans()[0]
    (action,) = made.opened(plan, NOW)
    assert isinstance(action, Send)
    assert action.secret
    (arg,) = json.loads(action.text)["args"]
    digest = hmac.new(b"secret", b"1790000000GET/users/self/verify", hashlib.sha256).digest()
    assert arg == {
        "apiKey": "key", "passphrase": "phrase", "timestamp": "1790000000", "sign": base64.b64encode(digest).decode(),
    }  # fmt: skip
    subscribed = sent(received(made, plan, event="login", code="0", msg="", connId="a"))
    assert subscribed[0]["op"] == "subscribe"
    (refused,) = received(made, plan, event="error", code="60005", msg="Invalid apiKey", connId="a")
    assert refused == Rejected("60005 Invalid apiKey", terminal=True)


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ({"event": "error", "code": "60018", "msg": "doesn't exist"}, Rejected("60018 doesn't exist", terminal=True)),
        ({"event": "error", "code": "60014", "msg": "too frequent"}, Reconnect("60014 too frequent")),
        ({"event": "notice", "code": "64008", "msg": "closed soon"}, Reconnect("notice 64008", overlap=True)),
        (
            {"event": "channel-conn-count-error", "channel": "orders", "connCount": "31"},
            Rejected("too many connections with channel orders"),
        ),
    ],
)
def test_what_the_venue_refuses_or_announces(words: dict[str, str], action: object):
    made, plan = opened()
    assert received(made, plan, connId="a", **words) == (action,)


def test_maintenance_of_the_websocket_service_is_reason_to_connect_anew():
    """Not the first push, which is the last maintenance there was; not other services; not the demo environment."""
    made, plan = opened()

    def status(state: str, **words: str) -> Any:
        element = {"state": state, "serviceType": "0", "env": "1"} | words
        return received(made, plan, arg={"channel": "status"}, data=[element])

    assert status("completed") == ()
    assert status("scheduled") == ()
    assert status("ongoing", serviceType="5") == ()
    assert status("ongoing", env="2") == ()
    assert status("ongoing") == (Reconnect("maintenance ongoing"),)


def test_one_book_is_repaired_by_subscribing_it_again():
    """Unsubscribe; subscribe when that is answered; nothing twice, and again when no answer comes."""
    made, plan = opened()
    arg = {"channel": "books", "instId": "BTC-USDT"}
    (first,) = sent(made.resync(plan, "books.BTC-USDT"))
    assert (first["op"], first["args"]) == ("unsubscribe", [arg])
    assert made.resync(plan, "books.BTC-USDT") == ()
    assert made.resync(plan, "books.DOGE-USDT") == ()
    (second,) = sent(received(made, plan, id=first["id"], event="unsubscribe", arg=arg, connId="a"))
    assert (second["op"], second["args"]) == ("subscribe", [arg])
    made.tick(plan, NOW + 11 * SECOND)
    assert len(sent(made.resync(plan, "books.BTC-USDT"))) == 1


def test_repairs_stay_within_half_of_the_hourly_limit():
    """480 subscribe, unsubscribe and login requests an hour and connection; then the hour passes."""
    made, plan = opened()
    requests = 1
    for number in range(300):
        channel = plan.channels[number % len(plan.channels)]
        made.tick(plan, NOW + number * SECOND)
        for one in sent(made.resync(plan, channel)):
            (arg,) = one["args"]
            answered = made.received(plan, json.dumps({"event": "unsubscribe", "arg": arg}).encode(), NOW)
            requests += 1 + len(sent(answered))
            made.received(plan, json.dumps({"event": "subscribe", "arg": arg}).encode(), NOW)
    assert 230 <= requests <= 240
    made.tick(plan, NOW + 3700 * SECOND)
    assert sent(made.resync(plan, "books.BTC-USDT"))


def test_a_text_ping_every_fifteen_seconds():
    made, plan = opened()
    pings = [second for second in range(60) if made.tick(plan, NOW + second * SECOND) == (Send("ping"),)]
    assert pings == [15, 30, 45]
    assert made.received(plan, b"pong", NOW) == ()


def test_a_silent_connection_is_probed_where_rest_can_prove_something():
    """Books in turn by seqId; candles by a later minute that is over and had trades."""
    made = session()
    public, business = made.plans()
    requests = [made.probe(public) for _ in range(4)]
    assert [request and request.channel for request in requests] == [
        f"rest/probe/books.{name}" for name in (*INFO.symbols, INFO.symbols[0])
    ]
    assert requests[0] is not None
    assert requests[0].url == "https://rest/api/v5/market/books?instId=BTC-USDT&sz=1"
    candle = made.probe(business)
    assert candle is not None
    assert candle.url == "https://rest/api/v5/market/candles?instId=BTC-USDT&bar=1m&limit=3"

    channel, last = "books.BTC-USDT", book("books.BTC-USDT", "update", [], [], 100, prevSeqId=9, seqId=10)

    def answer(sequence: int, ms: int) -> bytes:
        element = {"asks": [], "bids": [], "ts": str(T0_MS + ms), "seqId": sequence}
        return json.dumps({"code": "0", "msg": "", "data": [element]}).encode()

    assert made.behind(channel, last, answer(11, 101))
    assert not made.behind(channel, last, answer(10, 101))
    assert not made.behind(channel, last, answer(11, 100))
    assert not made.behind(channel, last, b'{"code":"50011","data":[]}')
    assert made.behind(channel, None, answer(1, 1))


def test_a_candle_that_nobody_got_proves_that_the_feed_is_dead():
    """A minute without trades proves nothing, nor one that is not over."""
    made = session()
    channel = "candle1m.BTC-USDT"

    def candle(minute: int, volume: str, confirm: str) -> list[str]:
        return [str(T0_MS + minute * 60_000), "1", "1", "1", "1", volume, "0", "0", confirm]

    def body(*candles: list[str]) -> bytes:
        return json.dumps({"code": "0", "msg": "", "data": candles}).encode()

    last = push(channel, candle(3, "2", "0"))
    assert made.behind(channel, last, body(candle(5, "1", "0"), candle(4, "3", "1")))
    assert not made.behind(channel, last, body(candle(4, "1", "0"), candle(3, "3", "1")))
    assert not made.behind(channel, last, body(candle(5, "1", "0"), candle(4, "0.00", "1")))
    with pytest.raises(PayloadError):
        made.behind(channel, last, b"<html>")
