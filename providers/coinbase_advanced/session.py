"""Coinbase Advanced Trade's session as data: what to connect to, subscribe to and ask again. Does no I/O.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview (read 2026-08): one channel
in each subscribe message, the first within 5 s of connecting; answers list everything subscribed so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched
from secrets import token_hex
from typing import Final

import jwt
import msgspec

from penstock.decoding import decode
from penstock.errors import ConfigError, PayloadError
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S, from_iso8601
from providers.coinbase_advanced.channels import (
    HEARTBEATS,
    LEVEL2,
    MARKET_TRADES,
    PRODUCTS,
    STATUS,
    SUBSCRIPTIONS,
    TICKER,
)
from providers.coinbase_advanced.payloads import Control, SubscriptionsFrame, merge_key

KEY_NAME: Final = "COINBASE_API_KEY_NAME"
PRIVATE_KEY: Final = "COINBASE_API_PRIVATE_KEY"
TOKEN_S: Final = 120
"""Tokens end after two minutes, and each message needs one of its own:
https://docs.cloud.coinbase.com/advanced-trade-api/docs/ws-auth (read 2026-08)."""

_PER_PRODUCT: Final = (MARKET_TRADES, TICKER, LEVEL2)  # level2 last: its snapshots hold up what comes behind them
_SHARED: Final = (HEARTBEATS, STATUS)
_MARGIN_NS: Final = NS_PER_S  # a trade's time and that of its change of the book are taken in two places
_CONTROL: Final = msgspec.json.Decoder(Control)
_SUBSCRIPTIONS: Final = msgspec.json.Decoder(SubscriptionsFrame)


class RecentTrade(msgspec.Struct, gc=False):
    """A trade in the REST answer below, newest first."""

    trade_id: str
    time: str


class RecentTrades(msgspec.Struct):
    """GET /api/v3/brokerage/market/products/{product_id}/ticker?limit=1, newest trade first.

    {"trades":[{"trade_id":"995098663","product_id":"BTC-USD","price":"68923.67","size":"0.00064","time":
    "2026-04-07T00:28:58.544778Z","side":"SELL","bid":"","ask":"","exchange":"coinbase"}],"best_bid":"68923.66",
    "best_ask":"68923.67"}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/products/get-market-trades (read 2026-08)
    """

    trades: list[RecentTrade]


_RECENT: Final = msgspec.json.Decoder(RecentTrades)


class Session:
    """See penstock.session.Session. With credentials every message carries a token; market data needs none."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._symbols = tuple(dict.fromkeys(symbols))
        room = (info.limits.channels_per_connection // 2 - len(_SHARED)) // len(_PER_PRODUCT)
        # One connection has the status of all products.
        self._plans = tuple(
            Plan(
                endpoints.stream,
                (_SHARED if not number else (HEARTBEATS,))
                + tuple(f"{word}.{product}" for word in _PER_PRODUCT for product in products),
            )
            for number, products in enumerate(batched(self._symbols, room))
        )
        self._now_ns = 0
        self._probed: dict[Plan, int] = {}
        if credentials is not None:
            self._token(credentials)  # a key that cannot sign is found at start, not at midnight

    def definitions(self) -> Sequence[Request]:
        """The whole product list."""
        return [Request(PRODUCTS, f"{self._endpoints.rest}/api/v3/brokerage/market/products")]

    def plans(self) -> Sequence[Plan]:
        """All channels of a product share a connection, whose numbers then cover them all."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """One subscribe message per channel; heartbeats first, they keep quiet channels from being closed."""
        self._now_ns = now_ns
        asked = {HEARTBEATS: (), STATUS: self._symbols}
        return [
            self._send("subscribe", word, asked.get(word, _products(plan)))
            for word in _SHARED + _PER_PRODUCT
            if word in plan.channels or word in _PER_PRODUCT
        ]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Acknowledgements and errors; other messages are ignored, as the venue asks of its clients."""
        self._now_ns = now_ns
        control = decode(_CONTROL, frame)
        if control.type == "error":
            reason = control.message or "error without a message"
            return [Rejected(reason, terminal="authentication" in reason.lower())]
        if control.channel != SUBSCRIPTIONS:
            return ()
        names: set[str] = set()
        for event in decode(_SUBSCRIPTIONS, frame).events:
            for word, products in event.subscriptions.items():
                names.update((word,) if word in _SHARED else (f"{word}.{product}" for product in products))
        return [Subscribed(tuple(channel for channel in plan.channels if channel in names))]

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe and subscribe one product's book again, which begins with a snapshot."""
        if channel == PRODUCTS:
            return self.definitions()
        word, _, product = channel.partition(".")
        if word != LEVEL2 or channel not in plan.channels:
            return ()
        return [self._send("unsubscribe", LEVEL2, (product,)), self._send("subscribe", LEVEL2, (product,))]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Nothing to send: the venue's heartbeats need no answer."""
        del plan
        self._now_ns = now_ns
        return ()

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The last trade over REST, for one channel after the other: heartbeats prove the socket, not the data."""
        probed = (f"{LEVEL2}.", f"{MARKET_TRADES}.")
        channels = [name for name in plan.channels if name.startswith(probed) and channel in {"", name}]
        if not channels:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = channels[turn % len(channels)]
        product = channel.partition(".")[2]
        url = f"{self._endpoints.rest}/api/v3/brokerage/market/products/{product}/ticker?limit=1"
        return Request(f"{REST}probe/{channel}", url, (("cache-control", "no-cache"),))

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """Whether a trade happened that `market_trades` did not bring, or that the book cannot contain.

        Each trade takes from the book, so a book whose last change is well before the last trade misses a change.
        """
        try:
            trades = decode(_RECENT, body).trades
            newest = max(((int(trade.trade_id), from_iso8601(trade.time)) for trade in trades), default=None)
        except (PayloadError, ValueError):
            return False
        if newest is None:
            return False
        if last_frame is None:
            return True
        last = merge_key(channel, last_frame)
        if channel.startswith(MARKET_TRADES):
            return newest[0] > last.sequence
        return newest[1] > last.ts_event + _MARGIN_NS

    def _send(self, kind: str, word: str, products: Sequence[str]) -> Send:
        message: dict[str, object] = {"type": kind, "channel": word}
        if products:
            message["product_ids"] = products
        if self._credentials is not None:
            message["jwt"] = self._token(self._credentials)
        return Send(msgspec.json.encode(message).decode(), secret=self._credentials is not None)

    def _token(self, credentials: Credentials) -> str:
        now, name = self._now_ns // NS_PER_S, credentials[KEY_NAME]
        claims = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + TOKEN_S}
        # Keys travel in one line of an environment file with their line ends written out.
        key = credentials[PRIVATE_KEY].replace("\\n", "\n")
        try:
            return jwt.encode(claims, key, "ES256", {"kid": name, "nonce": token_hex(16)})
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ConfigError(f"{PRIVATE_KEY} is no EC private key in PEM") from None


def _products(plan: Plan) -> tuple[str, ...]:
    prefix = f"{LEVEL2}."
    return tuple(channel.removeprefix(prefix) for channel in plan.channels if channel.startswith(prefix))
