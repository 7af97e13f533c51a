"""Kraken Futures' WebSocket session as data: what to connect to, subscribe to, answer and ask again. Does no I/O.

https://docs.kraken.com/api/docs/guides/futures-websockets and
https://docs.kraken.com/exchange/api-reference/futures-websocket (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Rejected, Request, Send, Subscribed, Warn
from penstock.timestamps import NS_PER_MS, NS_PER_S, from_iso8601
from providers.kraken_futures.payloads import Control, decode
from providers.kraken_futures.peeks import HEARTBEAT, INSTRUMENTS, newest_time

FEEDS: Final = ("trade", "book", "ticker")

PRODUCTS_PER_REQUEST: Final = 50
"""The venue names no limit of products in a request."""

PATIENCE_NS: Final = 10 * NS_PER_S
"""How long an answer is waited for: recorded ones came within a tenth of a second."""

_CONTROL: Final = msgspec.json.Decoder(Control)

_Wish = Literal["subscribe", "unsubscribe"]


class _Waiting(NamedTuple):
    """A request of one channel that is not answered yet; `since` is UNIX ns."""

    wish: _Wish
    since: int


@dataclass(slots=True)
class _Connection:
    """What one open connection waits for, by channel. `split`: an error made the products be asked for one by one."""

    now: int
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    split: bool = False


class Session:
    """See penstock.session.Session. Requests have no ids: an answer is matched by its feed and products."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        del credentials  # everything taken here is public
        self._endpoints = endpoints
        self._plans = self._make_plans(tuple(dict.fromkeys(symbols)), info.limits.channels_per_connection // 2)
        self._connections: dict[Plan, _Connection] = {}
        self._probed: dict[Plan, int] = {}

    def definitions(self) -> Sequence[Request]:
        """The whole list: there is no other."""
        return [Request(INSTRUMENTS, f"{self._endpoints.rest}/instruments")]

    def plans(self) -> Sequence[Plan]:
        """All feeds of a product share a connection, and each connection has a heartbeat."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Subscribe, the heartbeat first."""
        state = self._connections[plan] = _Connection(now_ns)
        actions: list[Action] = []
        for kind in dict.fromkeys(channel.partition(".")[0] for channel in plan.channels):
            mine = [channel for channel in plan.channels if channel.partition(".")[0] == kind]
            actions += [_ask(state, "subscribe", part) for part in batched(mine, PRODUCTS_PER_REQUEST)]
        return actions

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Answers to requests, one for each product in every recording. What was not asked for is not answered."""
        reply = decode(_CONTROL, frame)
        state = self._connections[plan]
        state.now = now_ns
        channels = _channels(reply)
        match reply.event:
            case "subscribed":
                done = tuple(channel for channel in channels if channel in plan.channels)
                for channel in done:
                    state.waiting.pop(channel, None)
                return [Subscribed(done)] if done else ()
            case "subscribed_failed":
                for channel in channels:
                    state.waiting.pop(channel, None)
                return [Rejected(f"subscribe {' '.join(channels)}: {reply.message}", terminal=True)]
            case "unsubscribed" | "unsubscribed_failed":
                # Also where it was not subscribed: the subscription that follows brings the snapshot that is wanted.
                again = [channel for channel in channels if _awaits(state, channel, "unsubscribe")]
                return [_ask(state, "subscribe", again)] if again else ()
            case "error":
                return self._refused(state, reply.message)
            case "alert":
                return [Warn(f"alert: {reply.message}")]
            case _:
                return ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe this product's feed, and subscribe again with the answer: the first message is then a snapshot."""
        state = self._connections.get(plan)
        if state is None or channel not in plan.channels or channel in state.waiting:
            return ()
        return [_ask(state, "unsubscribe", (channel,))]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """A request without an answer is given up, so that the next one can be made."""
        state = self._connections.get(plan)
        if state is None:
            return ()
        state.now = now_ns
        for channel in [name for name, waiting in state.waiting.items() if now_ns - waiting.since >= PATIENCE_NS]:
            del state.waiting[channel]
        return ()

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The last trades over REST: heartbeats prove the connection only."""
        trades = [name for name in plan.channels if name.startswith("trade.") and channel in {"", name}]
        if not trades:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = trades[turn % len(trades)]
        product = quote(channel.partition(".")[2])
        return Request(f"{REST}probe/{channel}", f"{self._endpoints.rest}/history?symbol={product}")

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the product traded later than the last trade received, by the milliseconds that feeds have."""
        if not channel.startswith("trade."):
            return False
        newest = _newest(body)
        if newest is None:
            return False
        # Every trade subscription starts with the last 100, so having none is being behind.
        return last_frame is None or newest > newest_time(last_frame)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _make_plans(self, symbols: tuple[str, ...], limit: int) -> list[Plan]:
        plans: list[tuple[str, ...]] = []
        for symbol in symbols:
            group = tuple(f"{kind}.{symbol}" for kind in FEEDS)
            if plans and len(plans[-1]) + len(group) <= limit:
                plans[-1] += group
            else:
                plans.append((HEARTBEAT, *group))
        return [Plan(self._endpoints.stream, channels) for channels in plans]

    @staticmethod
    def _refused(state: _Connection, message: str) -> Sequence[Action]:
        """An error names neither request nor product. While subscriptions wait it is taken to be an answer to one of them:
        those not granted yet are asked for one by one, so that a wrong name does not cost the others of its request.
        Else it changes nothing."""
        wanted = [channel for channel in state.waiting if _awaits(state, channel, "subscribe")]
        if not wanted:
            state.waiting.clear()
            return [Warn(f"error: {message}")]
        if state.split:
            return [Rejected(f"error while waiting for {', '.join(wanted[:5])}: {message}", terminal=True)]
        state.split = True
        return [Warn(f"error, asking one by one: {message}"), *(_ask(state, "subscribe", (name,)) for name in wanted)]


class _Trade(msgspec.Struct):
    """{"time":"2019-02-14T09:25:33.920Z","trade_id":100,"price":3574,"size":100,"side":"buy","type":"fill"}"""

    time: str


class _History(msgspec.Struct):
    """The body of REST /history: https://docs.kraken.com/api-reference/market-data/get-trade-history (read 2026-11)."""

    history: list[_Trade] = []


_HISTORY: Final = msgspec.json.Decoder(_History)


def _newest(body: bytes) -> int | None:
    """The newest trade's time in milliseconds; None where there is none. Raises PayloadError."""
    times = [from_iso8601(trade.time) // NS_PER_MS for trade in decode(_HISTORY, body).history]
    return max(times, default=None)


def _channels(reply: Control) -> tuple[str, ...]:
    if not reply.product_ids:
        return (reply.feed,) if reply.feed else ()
    return tuple(f"{reply.feed}.{product}" for product in reply.product_ids)


def _awaits(state: _Connection, channel: str, wish: _Wish) -> bool:
    waiting = state.waiting.get(channel)
    return waiting is not None and waiting.wish == wish


def _ask(state: _Connection, event: _Wish, channels: Iterable[str]) -> Send:
    """One request for channels of one feed."""
    channels = tuple(channels)
    state.waiting.update(dict.fromkeys(channels, _Waiting(event, state.now)))
    body: dict[str, object] = {"event": event, "feed": channels[0].partition(".")[0]}
    if channels[0] != HEARTBEAT:
        body["product_ids"] = [channel.partition(".")[2] for channel in channels]
    return Send(msgspec.json.encode(body).decode())
