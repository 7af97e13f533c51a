"""Kraken's WebSocket API v2 as data: what to connect to, subscribe to, answer and ask again. Does no I/O.

https://docs.kraken.com/exchange/guides/websockets/introduction, https://docs.kraken.com/exchange/api-reference/spot-websocket-v2
(read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Final, NamedTuple

import msgspec

from penstock.decoding import decode
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S
from providers.kraken.names import altname
from providers.kraken.payloads import Control, trade_id_of

BOOK_DEPTH: Final = 10
"""The depth of the checksum: deeper levels would come unproved (see README)."""

OPTIONS: Final[dict[str, dict[str, object]]] = {
    "instrument": {"snapshot": True},
    "trade": {"snapshot": True},
    "book": {"depth": BOOK_DEPTH, "snapshot": True},
    "ticker": {"event_trigger": "bbo", "snapshot": True},
    "ohlc": {"interval": 1, "snapshot": True},
    "level3": {"depth": BOOK_DEPTH, "snapshot": True},
}
"""How each channel is subscribed to. A trade snapshot is the last 50, which fills what a reconnect missed."""

OF_A_SYMBOL: Final = ("trade", "book", "ticker", "ohlc")

SYMBOLS_PER_REQUEST: Final = 100
"""Of public channels, for which the venue names no limit; half of what a level3 connection takes."""

LEVEL3_SYMBOLS_PER_REQUEST: Final = 1
"""Each counts 5 of 200 a second: with the pace of messages in provider.yaml half of that is kept to."""

LEVEL3_SYMBOLS: Final = 100
"""Half of the 200 that a level3 connection takes (https://docs.kraken.com/…/spot-websocket-v2/level3, read 2026-11)."""

PING_NS: Final = 20 * NS_PER_S
"""A connection without any request or subscription is closed after about a minute."""

PUBLIC_HOST, LEVEL3_HOST = "://ws.kraken.com", "://ws-l3.kraken.com"

_TOKEN: Final = "KRAKEN_WS_TOKEN"  # noqa: S105 # the name of the variable
_TOO_FAST: Final = "Exceeded msg rate"
_CONTROL: Final = msgspec.json.Decoder(Control)


class _Call(NamedTuple):
    """A request that is answered once for each of its channels."""

    method: str
    channels: frozenset[str]


@dataclass(slots=True)
class _Connection:
    """What one open connection is waiting for; `ping_at` is UNIX ns."""

    next_id: int = 1
    calls: dict[int, _Call] = field(default_factory=dict)
    ping_at: int = 0


class Session:
    """See penstock.session.Session.

    With a token in KRAKEN_WS_TOKEN it also takes `level3`, on connections of its own. The token comes from the private
    REST call GetWebSocketsToken, a signed POST, which this contract cannot make; see README.
    """

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        self._endpoints = endpoints
        self._symbols = tuple(dict.fromkeys(symbols))
        self._credentials = credentials
        self._plans = self._make_plans(info.limits.channels_per_connection // 2)
        self._connections: dict[Plan, _Connection] = {}
        self._probed: dict[Plan, int] = {}

    def definitions(self) -> Sequence[Request]:
        """The whole list: a name that is not in it is delisted, where a list of names asked for would only be refused."""
        return [Request(f"{REST}AssetPairs", f"{self._endpoints.rest}/0/public/AssetPairs")]

    def plans(self) -> Sequence[Plan]:
        """All public channels of a symbol share a connection; `instrument` is on the first."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Subscribe, instruments first."""
        state = self._connections[plan] = _Connection(ping_at=now_ns + PING_NS)
        kinds = dict.fromkeys(channel.partition(".")[0] for channel in plan.channels)
        actions: list[Action] = []
        for kind in kinds:
            mine = [channel for channel in plan.channels if channel.partition(".")[0] == kind]
            size = LEVEL3_SYMBOLS_PER_REQUEST if kind == "level3" else SYMBOLS_PER_REQUEST
            actions += [self._ask(state, "subscribe", part) for part in batched(mine, size)]
        return actions

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Answers to requests, one for each channel asked for. Heartbeats, pongs and the system's state need nothing."""
        del now_ns
        reply = decode(_CONTROL, frame)
        state = self._connections[plan]
        call = state.calls.get(reply.req_id) if reply.req_id is not None else None
        if reply.method not in {"subscribe", "unsubscribe"} or reply.success is None:
            return () if not reply.error else [_rejected(reply.method, reply.error)]
        if call is None or call.method != reply.method:
            return () if reply.success else [_rejected(reply.method, reply.error)]
        assert reply.req_id is not None
        if not reply.success:
            # One symbol of the request, or where none is named all of it; the others are answered for themselves.
            answered = {
                channel for channel in call.channels if not reply.symbol or channel.endswith(f".{reply.symbol}")
            }
            _settle(state, reply.req_id, call, answered)
            return [_rejected(f"{reply.method} {reply.symbol}".rstrip(), reply.error)]
        result = reply.result
        channel = "" if result is None else f"{result.channel}.{result.symbol}" if result.symbol else result.channel
        if channel not in call.channels:
            return ()
        _settle(state, reply.req_id, call, {channel})
        if call.method == "unsubscribe":
            return [self._ask(state, "subscribe", (channel,))]
        return [Subscribed((channel,))]

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe this symbol's channel, and subscribe again with the answer: the first message is then a snapshot."""
        state = self._connections.get(plan)
        if state is None or channel not in plan.channels:
            return ()
        if any(channel in call.channels for call in state.calls.values()):
            return ()  # already on its way
        return [self._ask(state, "unsubscribe", (channel,))]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """A ping now and then."""
        state = self._connections.get(plan)
        if state is None or now_ns < state.ping_at:
            return ()
        state.ping_at = now_ns + PING_NS
        number = state.next_id
        state.next_id += 1
        return [_send({"method": "ping", "req_id": number})]

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The last trade over REST: heartbeats prove the connection only. None for level3, which the public plans cover."""
        trades = [name for name in plan.channels if name.startswith("trade.") and channel in {"", name}]
        if not trades:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = trades[turn % len(trades)]
        pair = altname(channel.partition(".")[2])
        return Request(f"{REST}probe/{channel}", f"{self._endpoints.rest}/0/public/Trades?pair={pair}&count=1")

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the pair's last trade_id is above the last one received; they only grow."""
        if not channel.startswith("trade."):
            return False
        newest = _newest(body)
        if newest is None:
            return False
        # Every trade subscription starts with the last 50, so having none is being behind.
        last = trade_id_of(last_frame) if last_frame is not None else None
        return last is None or newest > last

    # --- parts ----------------------------------------------------------------------------------------------------

    def _make_plans(self, limit: int) -> list[Plan]:
        plans: list[tuple[str, ...]] = [("instrument",)] if self._symbols else []
        for symbol in self._symbols:
            group = tuple(f"{kind}.{symbol}" for kind in OF_A_SYMBOL)
            if len(plans[-1]) + len(group) <= limit:
                plans[-1] += group
            else:
                plans.append(group)
        url = f"{self._endpoints.stream}/v2"
        found = [Plan(url, channels) for channels in plans]
        if self._credentials is not None:
            orders = [f"level3.{symbol}" for symbol in self._symbols]
            level3 = url.replace(PUBLIC_HOST, LEVEL3_HOST)
            found += [Plan(level3, part) for part in batched(orders, LEVEL3_SYMBOLS)]
        return found

    def _ask(self, state: _Connection, method: str, channels: Iterable[str]) -> Send:
        """One request for channels of one kind."""
        channels = tuple(channels)
        kind = channels[0].partition(".")[0]
        options = OPTIONS[kind] if method == "subscribe" else {k: v for k, v in OPTIONS[kind].items() if k in _NAMING}
        params: dict[str, object] = {"channel": kind, **options}
        if kind != "instrument":
            params["symbol"] = [channel.partition(".")[2] for channel in channels]
        secret = kind == "level3" and self._credentials is not None
        if secret:
            assert self._credentials is not None
            params["token"] = self._credentials[_TOKEN]
        number = state.next_id
        state.next_id += 1
        state.calls[number] = _Call(method, frozenset(channels))
        return _send({"method": method, "params": params, "req_id": number}, secret=secret)


_NAMING: Final = frozenset({"depth", "interval", "event_trigger"})
"""Options that an unsubscription must repeat: they are part of what was subscribed to."""


class _Trades(msgspec.Struct):
    """The body of REST Trades: by the pair's name rows of [price, volume, time, side, type, misc, trade_id], and `last`."""

    result: dict[str, msgspec.Raw] = {}


_TRADES: Final = msgspec.json.Decoder(_Trades)
_ROWS: Final = msgspec.json.Decoder(list[tuple[str, str, msgspec.Raw, str, str, str, int]])


def _newest(body: bytes) -> int | None:
    """The highest trade_id of a REST Trades answer; None where it has none. Raises PayloadError."""
    rows = [decode(_ROWS, raw) for key, raw in decode(_TRADES, body).result.items() if key != "last"]
    return max((row[6] for part in rows for row in part), default=None)


def _settle(state: _Connection, number: int, call: _Call, answered: set[str]) -> None:
    """What still waits for an answer to a request."""
    waiting = call.channels - answered
    if waiting:
        state.calls[number] = _Call(call.method, waiting)
    else:
        del state.calls[number]


def _send(body: dict[str, object], *, secret: bool = False) -> Send:
    return Send(msgspec.json.encode(body).decode(), secret)


def _rejected(what: str, error: str) -> Action:
    """Too many requests is a reason to connect anew, later; other errors will not change by themselves."""
    if _TOO_FAST in error:
        return Reconnect(f"{what}: {error}")
    return Rejected(f"{what}: {error}", terminal=True)
