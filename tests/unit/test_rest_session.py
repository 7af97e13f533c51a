"""What is asked, when, and how it is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

import providers
from penstock.errors import ConfigError
from penstock.provider import Endpoints
from penstock.session import Credentials, Plan, Polling, Rejected, Request, Subscribed
from providers.rest.session import Session
from providers.rest.signing import headers
from providers.rest.source import Hmac, RestInfo
from tests.unit.rest_sources import SECOND, T0, TRADES, info, source, trade

QUOTE: dict[str, Any] = {
    "name": "top", "schema": "MBP_1", "path": "/top", "parameters": {"pair": "{symbol}"}, "period_s": 5, "conditional": True,
    "fields": {"bid": "b", "ask": "a"},
}  # fmt: skip
PRODUCTS: dict[str, Any] = {
    "name": "products", "schema": "DEFINITION", "path": "/products", "parameters": {"type": "spot pairs"}, "items": "[*]",
    "fields": {"symbol": "s", "lot": "l", "tick": "t"},
}  # fmt: skip
PAGED = TRADES | {"page": {"parameter": "since", "limit": 3}}


def session(facts: RestInfo, *, rest: str = "", secrets: dict[str, str] | None = None) -> Session:
    endpoints = Endpoints("", rest or facts.endpoints.rest)
    return Session(facts, endpoints, facts.symbols, Credentials(secrets) if secrets else None)


def opened(*endpoints: dict[str, Any], **changes: Any) -> tuple[Session, Plan]:
    polled = session(info(source(*endpoints, **changes)))
    (plan,) = polled.plans()
    assert polled.opened(plan, T0) == (Subscribed(plan.channels),)
    return polled, plan


def asked(polled: Session, plan: Plan, at_s: float) -> list[Request]:
    return [action for action in polled.tick(plan, T0 + int(at_s * SECOND)) if isinstance(action, Request)]


def test_one_plan_for_each_source_with_its_own_limit():
    """A source that bans or fails holds up no other."""
    facts = info(source(TRADES, QUOTE, PRODUCTS), source(TRADES, name="bank", limits={"count": 7, "per_s": 2}))
    plans = session(facts).plans()
    assert [plan.url for plan in plans] == ["poll:desk", "poll:bank"]
    assert plans[0].channels == ("desk.trades.BTC-USD", "desk.top.BTC-USD")
    assert plans[1].requests is not None
    assert (plans[1].requests.count, plans[1].requests.per_s) == (7, 2)
    assert isinstance(session(facts), Polling)


def test_definitions_are_asked_once_for_a_source():
    """With their parameters; the channel is without a symbol."""
    polled, _ = opened(TRADES, PRODUCTS)
    assert polled.definitions() == [Request("rest/desk/products", "https://desk.example/v1/products?type=spot+pairs")]


def test_each_endpoint_is_asked_in_its_period():
    """Ticks come a bit later than each second; a pause is followed by one poll, not by those that were missed."""
    polled, plan = opened(TRADES, QUOTE)
    first = asked(polled, plan, 0)
    assert [request.channel for request in first] == ["rest/desk/trades/BTC-USD", "rest/desk/top/BTC-USD"]
    assert [request.url for request in first] == [
        "https://desk.example/v1/trades/BTC-USD",
        "https://desk.example/v1/top?pair=BTC-USD",
    ]
    assert [(r.poll.channel, r.poll.within_s, r.poll.conditional) for r in first if r.poll] == [
        ("desk.trades.BTC-USD", 4.0, False),
        ("desk.top.BTC-USD", 16.0, True),
    ]
    counts = [len(asked(polled, plan, 1.02 * n)) for n in range(1, 21)]
    assert sum(counts) == 20 + 4
    assert len(asked(polled, plan, 100)) == 2
    assert len(asked(polled, plan, 100.3)) == 0


def test_symbols_stand_in_paths_quoted():
    """A slash or a colon of a symbol is no part of the path."""
    polled, plan = opened(TRADES, instruments=[{"symbol": "A/B:C", "base": "A", "quote": "B", "lot": "1", "tick": "1"}])
    (request,) = asked(polled, plan, 0)
    assert request.url == "https://desk.example/v1/trades/A%2FB%3AC"
    assert request.channel == "rest/desk/trades/A/B:C"


def test_only_the_chosen_symbols_are_polled_and_unknown_ones_refused():
    """By name, with what there is."""
    facts = info(source(TRADES), source(TRADES, name="bank"))
    chosen = Session(facts, facts.endpoints, ("bank/BTC-USD",), None)
    assert [plan.url for plan in chosen.plans()] == ["poll:bank"]
    with pytest.raises(ConfigError, match="'bank/X' is of no source, expected some of desk/BTC-USD, bank/BTC-USD"):
        Session(facts, facts.endpoints, ("bank/X",), None)


def test_a_wish_is_a_whole_body_with_the_next_tick():
    """Although it is not due, and without a condition; afterwards as before."""
    polled, plan = opened(QUOTE)
    asked(polled, plan, 0)
    assert polled.resync(plan, "desk.top.BTC-USD") == ()
    assert polled.resync(plan, "desk.unknown") == ()
    (request,) = asked(polled, plan, 1)
    assert request.poll is not None
    assert not request.poll.conditional
    (request,) = asked(polled, plan, 6)
    assert request.poll is not None
    assert request.poll.conditional


def body(*ids: int) -> bytes:
    return json.dumps([trade(number) for number in ids]).encode()


def test_pages_overlap_by_one_item_and_follow_at_once_while_they_are_full():
    """From the last item but one, so that each answer begins with one that is known."""
    polled, plan = opened(PAGED)
    (request,) = asked(polled, plan, 0)
    assert "since" not in request.url
    assert polled.answered(plan, request, body(1, 2, 3), T0) == (), "the first list is full for want of a start"
    (request,) = asked(polled, plan, 1)
    assert request.url.endswith("?since=2")
    (more,) = polled.answered(plan, request, body(3, 4, 5), T0)
    assert isinstance(more, Request)
    assert (more.url.rpartition("?")[2], more.channel, more.poll and more.poll.channel) == (
        "since=4", request.channel, "desk.trades.BTC-USD",
    )  # fmt: skip
    assert polled.answered(plan, more, body(5, 6), T0) == ()
    (request,) = asked(polled, plan, 2)
    assert request.url.endswith("?since=5")
    assert polled.answered(plan, request, body(6), T0) == ()
    for junk in (None, b"{", b"[1]", b"[]", body()):
        assert polled.answered(plan, request, junk, T0) == ()
    assert polled.answered(plan, request, body(4, 5, 6), T0) == (), "full, and nothing new in it"


def test_a_page_with_nothing_new_changes_nothing():
    """The next poll asks from the same item; from the end it might miss what comes in a burst."""
    polled, plan = opened(PAGED)
    for second, ids in enumerate(((1, 2), (2,), (2,), ())):
        (request,) = asked(polled, plan, second)
        polled.answered(plan, request, body(*ids), T0)
    assert asked(polled, plan, 4)[0].url.endswith("?since=1")


def test_an_id_that_is_refused_is_given_up_and_one_of_an_outage_is_not():
    """A source that forgot it is asked for the end of its list; one that was away is asked from where it was left."""
    polled, plan = opened(PAGED)
    (request,) = asked(polled, plan, 0)
    polled.answered(plan, request, body(1, 2), T0)
    requests = [asked(polled, plan, second)[0] for second in range(1, 20)]
    assert all(request.url.endswith("?since=1") for request in requests)
    polled.refused(plan, requests[-1])
    assert "since" not in asked(polled, plan, 20)[0].url


def test_after_a_new_connection_a_list_is_asked_from_its_end():
    """What a restarted source would not know is not asked for."""
    polled, plan = opened(PAGED)
    (request,) = asked(polled, plan, 0)
    polled.answered(plan, request, body(1, 2), T0)
    polled.opened(plan, T0)
    assert "since" not in asked(polled, plan, 1)[0].url


def test_a_source_without_its_secrets_is_refused_and_named():
    """Nothing is asked of it; the others go on."""
    facts = providers.info("rest")
    assert isinstance(facts, RestInfo)
    polled = session(facts)
    coinbase, otc = polled.plans()
    assert polled.opened(otc, T0) == (
        Rejected("source otc needs OTC_KEY, OTC_SECRET in the environment", terminal=True),
    )
    assert polled.tick(otc, T0) == ()
    polled.opened(coinbase, T0)
    assert len(polled.tick(coinbase, T0)) == 2


def test_requests_are_signed_as_they_are_sent():
    """The path with the base URL's own, the query as it stands in the URL, the time of now."""
    facts = providers.info("rest")
    assert isinstance(facts, RestInfo)
    polled = session(facts, secrets={"OTC_KEY": "me", "OTC_SECRET": "hush"})
    otc = polled.plans()[1]
    polled.opened(otc, T0)
    for request in polled.tick(otc, T0 + 5):
        assert isinstance(request, Request)
        sent = dict(request.headers)
        parts = urlsplit(request.url)
        message = f"{T0 // 10**6}GET{parts.path}?{parts.query}"
        digest = base64.b64encode(hmac.new(b"hush", message.encode(), hashlib.sha256).digest()).decode()
        assert sent == {"X-OTC-KEY": "me", "X-OTC-TIMESTAMP": str(T0 // 10**6), "X-OTC-SIGN": digest}
        assert parts.path.startswith("/v1/")


def test_a_known_signature():
    """RFC 4231 section 4.3 (test case 2), in each encoding."""
    auth = Hmac(
        algorithm="sha256", encoding="hex", secret="S", timestamp="s", message="what do ya want for nothing?",
        headers={"X": "{signature}"},
    )  # fmt: skip
    hexadecimal = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert headers(auth, {"S": "Jefe"}, "/", "", T0) == (("X", hexadecimal),)
    for key, secret in (("base64", base64.b64encode(b"Jefe").decode()), ("hex", b"Jefe".hex())):
        other = Hmac(**{name: getattr(auth, name) for name in auth.__struct_fields__} | {"key": key})
        assert headers(other, {"S": secret}, "/", "", T0) == (("X", hexadecimal),)
        with pytest.raises(ConfigError, match=f"S is not {key}"):
            headers(other, {"S": "not in it!"}, "/", "", T0)


def test_a_simulator_stands_for_all_sources():
    """Below its base URL by their names, with their simulated secrets unless the environment has some."""
    polled = session(providers.info("rest"), rest="http://127.0.0.1:9/rest")  # type: ignore[arg-type]
    urls = []
    for plan in polled.plans():
        assert polled.opened(plan, T0) == (Subscribed(plan.channels),)
        urls += [request.url for request in polled.tick(plan, T0) if isinstance(request, Request)]
    assert urls[0].startswith("http://127.0.0.1:9/rest/coinbase/api/v3/brokerage/market/products/BTC-USD/ticker?")
    assert urls[2] == "http://127.0.0.1:9/rest/otc/deals?pair=BTC-USD"
