"""Bybit's public v5 session as data: what to connect to, subscribe to, answer and ask again. Does no I/O.

https://bybit-exchange.github.io/docs/v5/ws/connect (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from penstock.decoding import decode
from penstock.errors import ConfigError
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S
from providers.bybit.names import CATEGORIES, INSTRUMENTS, split_symbol, topic_of
from providers.bybit.payloads import Reply, Topics
from providers.bybit.peeks import seq_of

DEPTH: Final = {"linear": "200", "inverse": "200", "spot": "200", "option": "100"}
"""Levels of the books subscribed to, by category; each category offers the one here and others."""

PING_S: Final = 20
"""The venue recommends a ping so often; it closes connections that had none, and no data, for ten minutes."""

ARGS_PER_REQUEST: Final = {"linear": 100, "inverse": 100, "option": 100, "spot": 5}
"""Spot takes 10 args in a request; this is half of it. The others have no limit; 100 keeps a request readable."""

ARGS_CHARACTERS: Final = 10_500
"""Half of the 21,000 characters of args that one connection may have."""

PATIENCE_S: Final = 10
"""A request to resubscribe that is not answered for this long stands in the way of no other."""

_REPLY: Final = msgspec.json.Decoder(Reply)
_ALREADY: Final = "already subscribed"


class _Call(NamedTuple):
    """A request that waits for its answer; `channels` are the plan's words, `asked` the ticks so far."""

    op: str
    channels: tuple[str, ...]
    asked: int


@dataclass(slots=True)
class _Connection:
    """What one open connection is waiting for, oldest first, when it must ping (UNIX ns), and its age in ticks."""

    next_id: int = 1
    calls: dict[str, _Call] = field(default_factory=dict)
    ping_at: int = 0
    ticks: int = 0


class Session:
    """See penstock.session.Session. One connection per category, more where its args are too long for one."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        """Raises ConfigError for a symbol that does not name its category."""
        del credentials  # public channels need none, and give no more with them
        self._endpoints = endpoints
        self._symbols = [_split(name) for name in dict.fromkeys(symbols)]
        self._plans = [
            Plan(f"{endpoints.stream}/v5/public/{category}", channels)
            for category in CATEGORIES
            for channels in _sharded(category, self._symbols, info.limits.channels_per_connection // 2)
        ]
        self._connections: dict[Plan, _Connection] = {}
        self._probed: dict[Plan, int] = {}

    def definitions(self) -> Sequence[Request]:
        """One instruments-info request per symbol, which needs no paging and shows when it is gone; and maintenance."""
        base = f"{self._endpoints.rest}/v5/market/instruments-info"
        return [
            *(
                Request(f"{INSTRUMENTS}{category}/{symbol}", f"{base}?category={category}&symbol={quote(symbol)}")
                for category, symbol in self._symbols
            ),
            Request(f"{REST}status", f"{self._endpoints.rest}/v5/system/status"),
        ]

    def plans(self) -> Sequence[Plan]:
        """All channels of a symbol share a connection."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Subscribe."""
        state = self._connections[plan] = _Connection(ping_at=now_ns + PING_S * NS_PER_S)
        return self._requests(state, "subscribe", plan.channels)

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Answers to requests."""
        del now_ns
        reply = decode(_REPLY, frame)
        state = self._connections[plan]
        if reply.type == "COMMAND_RESP":
            return self._listed(state, plan, reply.data or Topics())
        if reply.op not in {"subscribe", "unsubscribe"}:
            return ()
        call = _answered(state, reply)
        if call is None:
            return [] if reply.success else [Rejected(f"{reply.op}: {reply.ret_msg}", terminal=True)]
        if call.op == "unsubscribe":
            # Refused or not, what is wanted is a subscription.
            return self._requests(state, "subscribe", call.channels)
        if reply.success or _ALREADY in reply.ret_msg:
            return [Subscribed(call.channels)]
        if len(call.channels) > 1:
            # One wrong topic fails its whole request: each alone then shows which it is.
            return [action for channel in call.channels for action in self._requests(state, "subscribe", (channel,))]
        return [Rejected(f"{call.channels[0]}: {reply.ret_msg}", terminal=True)]

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe, and subscribe again with the answer: the first message is then a snapshot."""
        state = self._connections.get(plan)
        if state is None or channel not in plan.channels:
            return ()
        if any(channel in call.channels and state.ticks - call.asked < PATIENCE_S for call in state.calls.values()):
            return ()  # already on its way
        return self._requests(state, "unsubscribe", (channel,))

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """The venue's own ping."""
        state = self._connections.get(plan)
        if state is None:
            return ()
        state.ticks += 1
        if now_ns < state.ping_at:
            return ()
        state.ping_at = now_ns + PING_S * NS_PER_S
        return [Send('{"op":"ping"}')]

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The order book over REST, of one book of the plan after the other."""
        books = [
            topic
            for topic in map(topic_of, (channel,) if channel else plan.channels)
            if topic and topic.kind == "orderbook" and topic.variant != "1"
        ]
        if not books:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        _, _, depth, symbol = topic = books[turn % len(books)]
        query = f"category={topic.category}&symbol={quote(symbol)}&limit=1"
        channel = f"{topic.category}.orderbook.{depth}.{symbol}"
        return Request(f"{REST}probe/{channel}", f"{self._endpoints.rest}/v5/market/orderbook?{query}")

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the book's cross sequence went on without us: it is comparable among depths and connections."""
        topic, now = topic_of(channel), seq_of(body)
        if now is None or topic is None or topic.kind != "orderbook":
            return False
        # Every book subscription starts with a snapshot, so having none is being behind.
        last = seq_of(last_frame) if last_frame is not None else None
        return last is None or now > last

    def _listed(self, state: _Connection, plan: Plan, topics: Topics) -> Sequence[Action]:
        """Options answer with lists of topics, and without the request's id."""
        accepted, failed = _named(plan, topics.successTopics), _named(plan, topics.failTopics)
        answered = {*accepted, *failed}
        for number, call in state.calls.items():
            if answered & set(call.channels):
                del state.calls[number]
                if call.op == "unsubscribe":
                    return self._requests(state, "subscribe", call.channels)
                break
        actions: list[Action] = [Subscribed(accepted)] if accepted else []
        if failed:
            actions.append(Rejected(f"topics not accepted: {', '.join(failed[:5])}", terminal=True))
        return actions

    # --- parts --------------------------------------------------------------------------------------------------------

    def _requests(self, state: _Connection, op: str, channels: Sequence[str]) -> list[Action]:
        """`op` for these channels of one category, in requests of a size that it takes."""
        size = ARGS_PER_REQUEST[channels[0].partition(".")[0]]
        actions: list[Action] = []
        for start in range(0, len(channels), size):
            part = tuple(channels[start : start + size])
            number = str(state.next_id)
            state.next_id += 1
            state.calls[number] = _Call(op, part, state.ticks)
            body = {"req_id": number, "op": op, "args": [channel.partition(".")[2] for channel in part]}
            actions.append(Send(msgspec.json.encode(body).decode()))
        return actions


def _answered(state: _Connection, reply: Reply) -> _Call | None:
    """The request that an answer is to: by its id, or where the venue left that out, the oldest of its kind."""
    number = reply.req_id
    if not number:
        number = next((number for number, call in state.calls.items() if call.op == reply.op), "")
    return state.calls.pop(number, None)


def _named(plan: Plan, topics: Sequence[str]) -> tuple[str, ...]:
    """The plan's channels of these topics."""
    wanted = set(topics)
    return tuple(channel for channel in plan.channels if channel.partition(".")[2] in wanted)


def _split(name: str) -> tuple[str, str]:
    found = split_symbol(name)
    if found is None:
        words = ", ".join(category.upper() for category in CATEGORIES)
        raise ConfigError(f"symbols: {name!r} names no category, expected <symbol>-<one of {words}>")
    return found


def _sharded(category: str, symbols: Sequence[tuple[str, str]], most: int) -> Iterator[tuple[str, ...]]:
    """The channels of a category's symbols, by connection: at most `most`, and args within ARGS_CHARACTERS."""
    shard: dict[str, None] = {}
    characters = 0
    for symbol in [symbol for own, symbol in symbols if own == category]:
        channels = [channel for channel in _channels(category, symbol) if channel not in shard]
        length = sum(len(channel) + len('"",') for channel in channels)
        if shard and (len(shard) + len(channels) > most or characters + length > ARGS_CHARACTERS):
            yield tuple(shard)
            shard, characters = {}, 0
            channels = list(_channels(category, symbol))
            length = sum(len(channel) + len('"",') for channel in channels)
        shard.update(dict.fromkeys(channels))
        characters += length
    if shard:
        yield tuple(shard)


def _channels(category: str, symbol: str) -> list[str]:
    """What is subscribed to for a symbol. Options have their trades by base coin, and neither level 1 nor candles;
    liquidations are of derivatives on margin only."""
    topics = [f"orderbook.{DEPTH[category]}.{symbol}", f"tickers.{symbol}"]
    if category == "option":
        topics.append(f"publicTrade.{symbol.partition('-')[0]}")
    else:
        topics += [f"publicTrade.{symbol}", f"orderbook.1.{symbol}", f"kline.1.{symbol}"]
    if category in {"linear", "inverse"}:
        topics.append(f"allLiquidation.{symbol}")
    return [f"{category}.{topic}" for topic in topics]
