"""Coinbase Exchange's session as data: what to connect to, subscribe to, compare and ask again. Does no I/O.

https://docs.cdp.coinbase.com/exchange/websocket-feed/overview (read 2026-11): the first subscribe message within 5 s;
each answer lists everything that is subscribed to by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import batched
from typing import Final

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S, from_iso8601
from providers.coinbase_exchange import auth
from providers.coinbase_exchange.payloads import (
    BOOK,
    FULL,
    HEARTBEAT,
    LEVEL2,
    MATCHES,
    PRODUCTS,
    STATUS,
    TICKER,
    TRADES,
    Error,
    RestTrade,
    decode_control,
    merge_key,
)

AUDIT_NS: Final = 30 * NS_PER_S
"""One book of a connection is compared with REST this often, one after the other: some 2 MB for BTC-USD."""

AUDIT_SHARE_NS: Final = 2 * NS_PER_S
"""Between two such comparisons of all connections: a quarter of what one lane may ask of REST."""

RESUBSCRIBE_NS: Final = 3 * NS_PER_S
"""How long the answer to an unsubscribe message may take before the book is subscribed to again all the same."""

HOPELESS: Final = 5
HOPELESS_NS: Final = 60 * NS_PER_S
"""A channel that REST had to help out so often within this time is not served, though acknowledged: subscribe anew."""

_BATCHED: Final = "level2_batch"
_WORDS: Final = {_BATCHED: LEVEL2, "level2_50": LEVEL2}  # the older name of level2_batch; answers have had either
_RECENT_TRADES: Final = 1000  # the most that one page has
_MARGIN_NS: Final = NS_PER_S  # a trade's time and that of its change of the book are taken in two places

# What the venue says before it closes a connection that cannot keep up:
# https://docs.cdp.coinbase.com/exchange/websocket-feed/errors (read 2026-11)
_CLOSING: Final = ("ErrSlowConsume", "ErrSlowRead", "Message too big")
_TERMINAL: Final = ("authentic", "signature", "passphrase", "api key", "not a valid", "permission", "required")

_TRADES: Final = msgspec.json.Decoder(list[RestTrade])


class Session:
    """See penstock.session.Session. With credentials books come by order (`full`), without by level, each 50 ms."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._book = LEVEL2 if credentials is None else FULL
        # Books last: their snapshots hold up what comes behind them.
        self._words = (HEARTBEAT, MATCHES, TICKER, self._book)
        room = max(1, (info.limits.channels_per_connection // 2 - 1) // len(self._words))
        self._plans = tuple(
            Plan(
                endpoints.stream,
                (*(() if number else (STATUS,)), *(f"{word}.{name}" for word in self._words for name in products)),
            )
            for number, products in enumerate(batched(dict.fromkeys(symbols), room))
        )
        self._probed: dict[Plan, int] = {}
        self._audited: dict[Plan, tuple[int, int]] = {}
        self._audit_ns = max(AUDIT_NS, AUDIT_SHARE_NS * len(self._plans))
        self._again: dict[Plan, dict[str, int]] = {}
        self._helped: dict[str, deque[int]] = {}
        self._now_ns = 0
        if credentials is not None:
            auth.fields(credentials, 0)  # a secret that cannot sign is found at start, not at midnight

    def definitions(self) -> Sequence[Request]:
        """The whole product list."""
        return [Request(PRODUCTS, f"{self._endpoints.rest}/products")]

    def plans(self) -> Sequence[Plan]:
        """All channels of a product share a connection: its heartbeats then vouch for all of them."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """One subscribe message per channel, so that a refusal is of one channel; `status` is for all products."""
        self._now_ns = now_ns
        self._again[plan] = {}
        self._audited[plan] = (now_ns, 0)
        products = _products(plan)
        subscribing = [self._send("subscribe", word, products) for word in self._words]
        return [self._send("subscribe", STATUS, ()), *subscribing] if STATUS in plan.channels else subscribing

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Answers and errors. Raises PayloadError for what is neither."""
        self._now_ns = now_ns
        control = decode_control(frame)
        if isinstance(control, Error):
            reason = f"{control.message}: {control.reason}" if control.reason else control.message
            if any(word in reason for word in _CLOSING):
                return [Reconnect(reason)]
            return [Rejected(reason, terminal=any(word in reason.lower() for word in _TERMINAL))]
        names: set[str] = set()
        for channel in control.channels:
            word = _WORDS.get(channel.name, channel.name)
            names.update((word,) if word == STATUS else (f"{word}.{product}" for product in channel.product_ids or ()))
        again = self._again.setdefault(plan, {})
        gone = [channel for channel in again if channel not in names]
        return [Subscribed(tuple(c for c in plan.channels if c in names)), *self._resubscribe(plan, gone)]

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """A book by orders begins with the venue's; a book by levels brings its own."""
        return [self._snapshot(product) for product in _products(plan)] if self._book == FULL else ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """A new start of one channel of one product: by REST, or for books by level by subscribing again."""
        if channel == PRODUCTS:
            return self.definitions()
        word, _, product = channel.partition(".")
        if channel not in plan.channels or word not in (FULL, MATCHES, LEVEL2):
            return ()
        if word == LEVEL2:
            return self._leave(plan, channel)
        url = f"{self._endpoints.rest}/products/{product}/trades?limit={_RECENT_TRADES}"
        request = self._snapshot(product) if word == FULL else Request(f"{TRADES}{product}", url)
        return [request, *self._leave(plan, channel)] if self._hopeless(channel) else [request]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Subscribe again what was never answered to be off, and have a book compared with REST now and then."""
        self._now_ns = now_ns
        late = [name for name, at in self._again.get(plan, {}).items() if now_ns >= at + RESUBSCRIBE_NS]
        actions: list[Action] = [*self._resubscribe(plan, late)]
        at, turn = self._audited.setdefault(plan, (now_ns, 0))
        if self._book == LEVEL2 and now_ns >= at + self._audit_ns:
            products = _products(plan)
            self._audited[plan] = (now_ns, turn + 1)
            # Each product twice in a row: only what two looks agree on is believed.
            product = products[turn // 2 % len(products)]
            actions.append(Request(f"{BOOK}{product}", f"{self._endpoints.rest}/products/{product}/book?level=2"))
        return actions

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The last trade over REST, for one channel after the other: heartbeats prove the socket, not the data."""
        probed = (f"{MATCHES}.", f"{self._book}.")
        channels = [name for name in plan.channels if name.startswith(probed) and channel in {"", name}]
        if not channels:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = channels[turn % len(channels)]
        product = channel.partition(".")[2]
        url = f"{self._endpoints.rest}/products/{product}/trades?limit=1"
        return Request(f"{REST}probe/{channel}", url, (("cache-control", "no-cache"),))

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """Whether a trade happened that `matches` did not bring, or that the book cannot contain.

        Each trade takes from the book, so a book whose last change is well before the last trade misses a change.
        """
        try:
            newest = max(
                ((trade.trade_id, from_iso8601(trade.time)) for trade in decode(_TRADES, body)), default=None
            )  # fmt: skip
        except PayloadError:
            return False
        if newest is None:
            return False
        if last_frame is None:
            return True
        last = merge_key(channel, last_frame)
        if channel.startswith(f"{MATCHES}."):
            return newest[0] > last.sequence
        return newest[1] > last.ts_event + _MARGIN_NS

    def _snapshot(self, product: str) -> Request:
        return Request(f"{BOOK}{product}", f"{self._endpoints.rest}/products/{product}/book?level=3")

    def _hopeless(self, channel: str) -> bool:
        helped = self._helped.setdefault(channel, deque(maxlen=HOPELESS))
        helped.append(self._now_ns)
        if len(helped) < HOPELESS or helped[0] <= self._now_ns - HOPELESS_NS:
            return False
        helped.clear()
        return True

    def _leave(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Subscribing twice does nothing at the venue: first the answer that the channel is off, then on again."""
        self._again.setdefault(plan, {})[channel] = self._now_ns
        return [self._send("unsubscribe", *_split(channel))]

    def _resubscribe(self, plan: Plan, channels: Sequence[str]) -> Sequence[Action]:
        for channel in channels:
            del self._again[plan][channel]
        return [self._send("subscribe", *_split(channel)) for channel in channels]

    def _send(self, kind: str, word: str, products: Sequence[str]) -> Send:
        name = _BATCHED if word == LEVEL2 and self._credentials is None else word
        channel: dict[str, object] = {"name": name}
        if products:
            channel["product_ids"] = products
        message: dict[str, object] = {"type": kind, "channels": [channel]}
        if self._credentials is not None:
            message |= auth.fields(self._credentials, self._now_ns)
        return Send(msgspec.json.encode(message).decode(), secret=self._credentials is not None)


def _split(channel: str) -> tuple[str, tuple[str]]:
    word, _, product = channel.partition(".")
    return word, (product,)


def _products(plan: Plan) -> tuple[str, ...]:
    prefix = f"{HEARTBEAT}."
    return tuple(channel.removeprefix(prefix) for channel in plan.channels if channel.startswith(prefix))
