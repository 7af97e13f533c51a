"""The session as data: what is sent, what is understood, what proves the venue ahead; and the peeks into frames."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError, PayloadError
from penstock.payloads import CONTROL, MergeKey
from penstock.provider import Endpoints
from penstock.session import Credentials, Rejected, Request, Send, Subscribed
from providers.coinbase_advanced.payloads import channel_of, merge_key
from providers.coinbase_advanced.session import Session
from tests.unit.coinbase_advanced_frames import INFO, T0, level_event, numbered, stamp, trade

BAD_PEM = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"
ENDPOINTS = Endpoints("ws://venue/stream", "http://venue/rest")


def session(symbols=("BTC-USD", "ETH-USD"), credentials=None):
    return Session(INFO, ENDPOINTS, symbols, credentials)


def raw(frame):
    return json.dumps(frame).encode()


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def credentials(key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    name = "organizations/a/apiKeys/b"
    return Credentials({"COINBASE_API_KEY_NAME": name, "COINBASE_API_PRIVATE_KEY": pem.decode().replace("\n", "\\n")})


class TestPlans:
    """One connection for each few products, all channels of a product together."""

    def test_channels(self):
        """Heartbeats always; three channels per product."""
        (plan,) = session().plans()
        assert plan.url == "ws://venue/stream"
        assert set(plan.channels) == {
            "heartbeats", "status", "level2.BTC-USD", "level2.ETH-USD", "market_trades.BTC-USD", "market_trades.ETH-USD",
            "ticker.BTC-USD", "ticker.ETH-USD",
        }  # fmt: skip

    def test_limits(self):
        """No plan has more channels than the limit, every product is in exactly one."""
        symbols = [f"C{i}-USD" for i in range(50)]
        plans = session(symbols).plans()
        assert max(len(plan.channels) for plan in plans) <= INFO.limits.channels_per_connection // 2
        assert [("status" in plan.channels, "heartbeats" in plan.channels) for plan in plans] == [
            (True, True), *[(False, True)] * (len(plans) - 1),
        ]  # fmt: skip
        sent = [json.loads(action.text) for action in session(symbols).opened(plans[0], T0)]
        assert [one["product_ids"] for one in sent if one["channel"] == "status"] == [symbols]
        books = [name for plan in plans for name in plan.channels if name.startswith("level2.")]
        assert sorted(books) == sorted(f"level2.{symbol}" for symbol in symbols)

    def test_every_channel_has_a_schema(self):
        """All but heartbeats are stored as data."""
        (plan,) = session().plans()
        assert {name for name in plan.channels if INFO.schema_of(name) == "SYSTEM"} == {"heartbeats"}


class TestMessages:
    """One subscribe message per channel, as recorded."""

    def test_opened(self):
        """Heartbeats without products, everything else with them, nothing secret."""
        one = session()
        actions = one.opened(one.plans()[0], T0)
        assert not any(action.secret for action in actions)
        assert [json.loads(action.text) for action in actions] == [
            {"type": "subscribe", "channel": "heartbeats"},
            *(
                {"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD", "ETH-USD"]}
                for channel in ("status", "market_trades", "ticker", "level2")
            ),
        ]

    def test_tokens(self, credentials, key):
        """Each message has a token of its own, valid for 120 s from the time handed in, and is secret."""
        one = session(credentials=credentials)
        plan = one.plans()[0]
        actions = [*one.opened(plan, T0), *one.resync(plan, "level2.BTC-USD")]
        assert all(isinstance(action, Send) and action.secret for action in actions)
        tokens = [json.loads(action.text)["jwt"] for action in actions]
        assert len(set(tokens)) == len(tokens) == 7
        for token in tokens:
            options = {"verify_exp": False, "verify_nbf": False}
            claims = jwt.decode(token, key.public_key(), ["ES256"], options=options)
            second = T0 // 10**9
            assert claims == {"sub": "organizations/a/apiKeys/b", "iss": "cdp", "nbf": second, "exp": second + 120}
            assert jwt.get_unverified_header(token)["kid"] == "organizations/a/apiKeys/b"
        one.tick(plan, T0 + 60 * 10**9)
        (_, later) = one.resync(plan, "level2.BTC-USD")
        claims = jwt.decode(json.loads(later.text)["jwt"], options={"verify_signature": False})
        assert claims["nbf"] == T0 // 10**9 + 60

    @pytest.mark.parametrize(
        "secret", ["", "not a key", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"]
    )
    def test_bad_key_ends_at_start_without_being_shown(self, secret):
        """One readable line that names the variable and never the value."""
        values = {"COINBASE_API_KEY_NAME": "name", "COINBASE_API_PRIVATE_KEY": secret}
        with pytest.raises(ConfigError, match="COINBASE_API_PRIVATE_KEY is no EC private key") as found:
            session(credentials=Credentials(values))
        assert not secret or secret not in str(found.value)

    def test_resync_is_of_one_book(self):
        """Unsubscribe and subscribe of that product's level2; the product list for its channel; nothing for others."""
        one = session()
        plan = one.plans()[0]
        assert [json.loads(action.text) for action in one.resync(plan, "level2.ETH-USD")] == [
            {"type": "unsubscribe", "channel": "level2", "product_ids": ["ETH-USD"]},
            {"type": "subscribe", "channel": "level2", "product_ids": ["ETH-USD"]},
        ]
        products = Request("rest/products", "http://venue/rest/api/v3/brokerage/market/products")
        assert one.resync(plan, "rest/products") == one.definitions() == [products]
        assert one.resync(plan, "level2.SOL-USD") == one.resync(plan, "ticker.BTC-USD") == ()


class TestReceived:
    """Control frames."""

    def test_acknowledgements_are_cumulative(self):
        """What the venue lists is subscribed, in the plan's words; what it does not list is missing."""
        one = session()
        plan = one.plans()[0]
        listed = {
            "candles": ["ETH-USD"], "heartbeats": ["heartbeats"], "level2": ["BTC-USD"], "status": ["BTC-USD", "ETH-USD"],
            "market_trades": ["ETH-USD", "BTC-USD"], "ticker": ["SOL-USD"],
        }  # fmt: skip
        (found,) = one.received(plan, raw(numbered("subscriptions", 26, [{"subscriptions": listed}])), T0)
        assert found == Subscribed(
            ("heartbeats", "status", "market_trades.BTC-USD", "market_trades.ETH-USD", "level2.BTC-USD")
        )

    def test_errors(self):
        """Bad credentials are terminal, anything else is tried again."""
        one = session()
        plan = one.plans()[0]
        refused = one.received(plan, b'{"type":"error","message":"authentication failure"}', T0)
        assert refused == [Rejected("authentication failure", terminal=True)]
        assert one.received(plan, b'{"type":"error","message":"rate limit exceeded"}', T0) == [
            Rejected("rate limit exceeded", terminal=False)
        ]

    def test_unknown_messages_are_ignored_and_garbage_is_refused(self):
        """The venue may add messages; bytes that are no JSON object are an error."""
        one = session()
        plan = one.plans()[0]
        assert one.received(plan, b'{"channel":"news","events":[]}', T0) == ()
        for garbage in (b"", b"[]", b"\xff", b'{"channel":"subscriptions","events":[{"subscriptions":[]}]}'):
            with pytest.raises(PayloadError):
                one.received(plan, garbage, T0)


class TestProbe:
    """Heartbeats prove the socket; a trade the connection did not bring proves that its data stands still."""

    def test_probes_go_round(self):
        """Every book and trade channel has its turn."""
        one = session()
        plan = one.plans()[0]
        probes = [one.probe(plan) for _ in range(5)]
        assert [probe.channel for probe in probes] == [
            "rest/probe/market_trades.BTC-USD", "rest/probe/market_trades.ETH-USD", "rest/probe/level2.BTC-USD",
            "rest/probe/level2.ETH-USD", "rest/probe/market_trades.BTC-USD",
        ]  # fmt: skip
        assert probes[0].url == "http://venue/rest/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1"

    @pytest.mark.parametrize(
        ("channel", "last", "newest", "expected"),
        [
            ("market_trades.BTC-USD", trade(7), trade(7), False),
            ("market_trades.BTC-USD", trade(7), trade(8), True),
            ("market_trades.BTC-USD", None, trade(8), True),
            ("market_trades.BTC-USD", None, None, False),
            ("level2.BTC-USD", 0, trade(8, at=T0 + 500_000_000), False),
            ("level2.BTC-USD", 0, trade(8, at=T0 + 1_500_000_000), True),
            ("level2.BTC-USD", None, trade(8), True),
        ],
    )
    def test_behind(self, channel, last, newest, expected):
        """Trades by id; books by a trade that came well after their last change. A quiet market is never behind."""
        if last == 0:
            frame = raw(numbered("l2_data", 5, [level_event("update", [("bid", "1", "1")])], at=T0 + 10**10))
        else:
            frame = raw(numbered("market_trades", 5, [{"type": "update", "trades": [last]}])) if last else None
        body = raw({"trades": [newest] if newest else [], "best_bid": "1", "best_ask": "2"})
        assert session().behind(channel, frame, body) is expected

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b'{"trades":[{"trade_id":"x","time":"y"}]}', b'{"error":"NOT_FOUND"}']
    )
    def test_an_answer_that_says_nothing_proves_nothing(self, body):
        """Errors of the REST side do not end a connection."""
        assert session().behind("level2.BTC-USD", None, body) is False


class TestPeeks:
    """channel_of and merge_key look, they do not decode, and never raise."""

    @pytest.mark.parametrize(
        ("frame", "channel"),
        [
            (numbered("l2_data", 1, [level_event("update", [])]), "level2.BTC-USD"),
            (numbered("l2_data", 1, [level_event("update", []), level_event("update", [], "ETH-USD")]), "level2"),
            (numbered("l2_data", 1, []), "level2"),
            (
                numbered("market_trades", 1, [{"type": "update", "trades": [trade(1), trade(2)]}]),
                "market_trades.BTC-USD",
            ),
            (
                numbered("market_trades", 1, [{"type": "update", "trades": [trade(1), trade(2, "ETH-USD")]}]),
                "market_trades",
            ),
            (numbered("status", 1, [{"products": [{"id": "BTC-USD"}]}]), "status"),
            (numbered("heartbeats", 1, []), "heartbeats"),
            (numbered("subscriptions", 1, []), CONTROL),
            ({"type": "error", "message": "x"}, CONTROL),
        ],
    )
    def test_channel_of(self, frame, channel):
        """With spaces or without, and with the empty client_id of older frames."""
        assert channel_of(json.dumps(frame, separators=(",", ":")).encode()) == channel
        assert channel_of(json.dumps({"client_id": ""} | frame, indent=2).encode()) == channel

    @given(frame=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), name=st.text(max_size=80))
    def test_never_raise(self, frame, name):
        """Anything has a channel and a key."""
        assert channel_of(frame)
        assert isinstance(merge_key(name, frame), MergeKey)
        assert isinstance(merge_key(name, b'{"channel":"ticker","events":[' + frame), MergeKey)

    def test_merge_key_of_events(self):
        """The latest time and the highest trade id; other events are another message, another channel too."""
        event = {"type": "update", "trades": [trade(9, at=T0 + 5), trade(8, at=T0 + 70)]}
        one = merge_key("market_trades.BTC-USD", raw(numbered("market_trades", 1, [event])))
        assert one[:2] == (T0 + 70, 9)
        assert merge_key("market_trades.BTC-USD", raw(numbered("market_trades", 99, [event], at=T0 + 10**12))) == one
        event["trades"][0]["size"] = "2"
        assert merge_key("market_trades.BTC-USD", raw(numbered("market_trades", 1, [event]))) != one

    def test_merge_key_of_the_connections_own_frames(self):
        """Heartbeats and acknowledgements are each connection's own; REST answers have no time."""
        frame = numbered("heartbeats", 1, [{"heartbeat_counter": 1}])
        key = merge_key("heartbeats", raw(frame))
        assert stamp(key.ts_event) == frame["timestamp"]
        assert merge_key("heartbeats", raw(numbered("heartbeats", 2, [{"heartbeat_counter": 1}]))) != key
        assert merge_key("rest/products", b'{"products":[]}')[:2] == (0, 0)
