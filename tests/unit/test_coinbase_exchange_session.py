"""Coinbase Exchange's session: what it asks for, how it signs, what it makes of the answers."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from penstock.errors import ConfigError, PayloadError
from penstock.session import Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from providers.coinbase_exchange import auth
from providers.coinbase_exchange.session import AUDIT_NS, HOPELESS, RESUBSCRIBE_NS, Session
from tests.unit.coinbase_exchange_frames import CREDENTIALS, INFO, SECOND, T0, at

SYMBOLS = ("BTC-USD", "ETH-USD")
LIVE = INFO.endpoints


def session(credentials: Credentials | None = None, symbols: tuple[str, ...] = SYMBOLS) -> tuple[Session, Plan]:
    made = Session(INFO, LIVE, symbols, credentials)
    plan = made.plans()[0]
    return made, plan


def sent(actions: Any) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def acknowledged(**channels: list[str]) -> bytes:
    rows = [{"name": name, "product_ids": products, "account_ids": None} for name, products in channels.items()]
    return json.dumps({"type": "subscriptions", "channels": rows}).encode()


def test_without_keys_books_come_by_level_in_batches():
    made, plan = session()
    assert plan.url == "wss://ws-feed.exchange.coinbase.com"
    assert set(plan.channels) == {
        "status", *(f"{word}.{product}" for word in ("heartbeat", "matches", "ticker", "level2") for product in SYMBOLS)
    }  # fmt: skip
    messages = sent(made.opened(plan, T0))
    names = [message["channels"][0]["name"] for message in messages]
    assert names == ["status", "heartbeat", "matches", "ticker", "level2_batch"]
    assert all("signature" not in message for message in messages)
    assert made.subscribed(plan) == ()


def test_with_keys_books_come_by_order_and_every_message_is_signed():
    made, plan = session(CREDENTIALS)
    assert "full.BTC-USD" in plan.channels
    assert "level2.BTC-USD" not in plan.channels
    actions = made.opened(plan, T0)
    assert all(action.secret for action in actions if isinstance(action, Send))
    for message in sent(actions):
        text = f"{message['timestamp']}GET/users/self/verify"
        expected = base64.b64encode(hmac.digest(b"secret", text.encode(), "sha256")).decode()
        assert (message["signature"], message["key"], message["passphrase"]) == (expected, "key", "phrase")
        assert message["timestamp"] == str(T0 // SECOND)
    assert [action.url for action in made.subscribed(plan) if isinstance(action, Request)] == [
        f"https://api.exchange.coinbase.com/products/{product}/book?level=3" for product in SYMBOLS
    ]
    assert "c2VjcmV0" not in repr(CREDENTIALS)


def test_a_secret_that_cannot_sign_is_found_at_start_and_not_shown():
    broken = Credentials({auth.KEY: "key", auth.SECRET: "no base64!", auth.PASSPHRASE: "phrase"})
    with pytest.raises(ConfigError) as refused:
        session(broken)
    assert "no base64!" not in str(refused.value)


@pytest.mark.parametrize("name", ["level2", "level2_batch", "level2_50"])
def test_acknowledgements_are_compared_channel_by_channel(name: str):
    """What an answer does not list is not acknowledged."""
    made, plan = session()
    made.opened(plan, T0)
    (action,) = made.received(plan, acknowledged(**{name: ["BTC-USD"], "matches": ["ETH-USD"], "status": []}), T0)
    assert isinstance(action, Subscribed)
    assert set(action.channels) == {"status", "level2.BTC-USD", "matches.ETH-USD"}


@pytest.mark.parametrize(
    ("message", "reason", "kind", "terminal"),
    [
        ("Failed to subscribe", "level2, level3, and full channels now require authentication.", Rejected, True),
        ("Failed to subscribe", "FOO-USD is not a valid product", Rejected, True),
        ("Authentication Failed", "", Rejected, True),
        ("Failed to subscribe", "rate limit exceeded", Rejected, False),
        ("ErrSlowConsume", "", Reconnect, None),
    ],
)
def test_errors(message: str, reason: str, kind: type[object], terminal: bool | None):
    made, plan = session()
    (action,) = made.received(plan, json.dumps({"type": "error", "message": message, "reason": reason}).encode(), T0)
    assert isinstance(action, kind)
    if isinstance(action, Rejected):
        assert action.terminal == terminal
        assert message in action.reason


def test_what_is_no_answer_is_refused():
    made, plan = session()
    for frame in (b"", b"{}", b'{"type":"auction","product_id":"LTC-USD"}', b'{"type":"rfq_match"}', b"\xff"):
        with pytest.raises(PayloadError):
            made.received(plan, frame, T0)


def test_a_book_is_resynced_by_leaving_waiting_and_coming_back():
    made, plan = session()
    made.opened(plan, T0)
    (off,) = sent(made.resync(plan, "level2.ETH-USD"))
    assert off == {"type": "unsubscribe", "channels": [{"name": "level2_batch", "product_ids": ["ETH-USD"]}]}
    assert not sent(made.received(plan, acknowledged(level2_batch=["BTC-USD", "ETH-USD"]), T0)), "of before"
    (on,) = sent(made.received(plan, acknowledged(level2_batch=["BTC-USD"]), T0))
    assert on == {"type": "subscribe", "channels": [{"name": "level2_batch", "product_ids": ["ETH-USD"]}]}
    assert not sent(made.received(plan, acknowledged(level2_batch=["BTC-USD"]), T0)), "once"


def test_an_unsubscription_that_is_never_answered_ends_all_the_same():
    made, plan = session()
    made.opened(plan, T0)
    made.tick(plan, T0)
    made.resync(plan, "level2.ETH-USD")
    assert not sent(made.tick(plan, T0 + RESUBSCRIBE_NS - 1))
    (on,) = sent(made.tick(plan, T0 + RESUBSCRIBE_NS))
    assert on["type"] == "subscribe"
    assert not sent(made.tick(plan, T0 + 2 * RESUBSCRIBE_NS))


def test_other_resyncs_go_by_rest_and_are_of_their_channel_only():
    made, plan = session(CREDENTIALS)
    (book,) = made.resync(plan, "full.BTC-USD")
    assert (book.channel, book.url) == (
        "rest/book/BTC-USD", "https://api.exchange.coinbase.com/products/BTC-USD/book?level=3"
    )  # fmt: skip
    (trades,) = made.resync(plan, "matches.BTC-USD")
    assert trades.channel == "rest/trades/BTC-USD"
    assert made.resync(plan, "rest/products") == made.definitions()
    assert made.resync(plan, "ticker.BTC-USD") == ()
    assert made.resync(plan, "full.NONE-USD") == ()


@pytest.mark.parametrize("channel", ["full.BTC-USD", "matches.BTC-USD"])
def test_a_channel_that_rest_must_help_out_again_and_again_is_subscribed_anew(channel: str):
    """Acknowledged and not served: asking REST for ever would be polling."""
    made, plan = session(CREDENTIALS)
    made.opened(plan, T0)
    asked = []
    for second in range(HOPELESS):
        made.tick(plan, T0 + second * SECOND)
        asked.append([message["type"] for message in sent(made.resync(plan, channel))])
    assert asked == [[]] * (HOPELESS - 1) + [["unsubscribe"]]
    (on,) = sent(made.received(plan, acknowledged(heartbeat=["BTC-USD"]), T0))
    assert on["channels"] == [{"name": channel.partition(".")[0], "product_ids": ["BTC-USD"]}]
    for minute in range(1, 10):
        made.tick(plan, T0 + minute * 60 * SECOND)
        assert not sent(made.resync(plan, channel)), "now and then is no reason"


def test_books_by_level_are_compared_with_rest_each_twice_in_a_row():
    made, plan = session()
    made.opened(plan, T0)
    asked = []
    for second in range(200):
        asked += [action.channel for action in made.tick(plan, T0 + second * SECOND) if isinstance(action, Request)]
    assert asked == ["rest/book/BTC-USD"] * 2 + ["rest/book/ETH-USD"] * 2 + ["rest/book/BTC-USD"] * 2
    assert AUDIT_NS == 30 * SECOND
    signed, other = session(CREDENTIALS)
    signed.opened(other, T0)
    assert not signed.tick(other, T0 + 10 * AUDIT_NS)


def test_probes_take_turns_and_compare_ids_and_times():
    made, plan = session()
    channels = [made.probe(plan).channel for _ in range(4)]  # type: ignore[union-attr]
    assert channels == [
        f"rest/probe/{word}.{product}" for word in ("matches", "level2") for product in SYMBOLS
    ]  # fmt: skip
    body = json.dumps([{"trade_id": 8, "side": "buy", "size": "1", "price": "1", "time": at(5)}]).encode()
    match = '{"type":"match","trade_id":%d,"product_id":"BTC-USD","time":"2026-09-21T14:13:20Z"}'
    assert made.behind("matches.BTC-USD", (match % 7).encode(), body)
    assert not made.behind("matches.BTC-USD", (match % 8).encode(), body)
    update = '{"type":"l2update","product_id":"BTC-USD","changes":[],"time":"%s"}'
    assert made.behind("level2.BTC-USD", (update % at(3.9)).encode(), body)
    assert not made.behind("level2.BTC-USD", (update % at(4.1)).encode(), body)
    assert made.behind("level2.BTC-USD", None, body)
    assert not made.behind("level2.BTC-USD", None, b"[]")
    assert not made.behind("level2.BTC-USD", None, b'{"message":"NotFound"}')


def test_status_is_on_one_connection_and_each_product_on_one():
    made = Session(INFO, LIVE, [f"P{number}-USD" for number in range(100)], None)
    plans = made.plans()
    assert [("status" in plan.channels) for plan in plans] == [True] + [False] * (len(plans) - 1)
    assert max(len(plan.channels) for plan in plans) <= INFO.limits.channels_per_connection // 2
    assert sent(made.opened(plans[1], T0))[0]["channels"][0]["name"] == "heartbeat"
