"""Binance USD-M futures' session protocol: two routes, never mixed on a connection, and REST for what has no stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import batched, cycle
from typing import Final
from urllib.parse import quote

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import POLL, Action, Credentials, Plan, Poll, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_MS, NS_PER_S
from providers.binance_usdm.channels import CONTRACT_INFO, DEPTH, EXCHANGE_INFO, OPEN_INTEREST, PROBE
from providers.binance_usdm.payloads import decode_control, event_time, merge_key
from providers.binance_usdm.rest import DepthSnapshot, Premium

PUBLIC: Final = ("depth@100ms", "bookTicker")
"""What is subscribed of every symbol at /public/stream."""

MARKET: Final = ("aggTrade", "markPrice@1s", "forceOrder", "kline_1m", "ticker")
"""What is subscribed of every symbol at /market/stream."""

STREAMS_PER_CONNECTION: Final = 200
"""As NautilusTrader keeps to (crates/adapters/binance, 2026), far below the documented 1,024: the streams of one
connection share its fate."""

SNAPSHOT_LEVELS: Final = 1000

OPEN_INTEREST_NS: Final = 30 * NS_PER_S
"""How often the open interest of a symbol is asked for, where the budget allows it."""

SPACING_NS: Final = 5 * NS_PER_S
"""Between two such requests: a fifth of the requests allowed."""

BEHIND_NS: Final = 2 * NS_PER_S
"""The mark price is sent every second. Two more at the venue mean that one was not sent here."""

_PER_MESSAGE: Final = 200  # streams in one SUBSCRIBE; the venue publishes no limit below its 1,024 a connection
_PROBE_LEVELS: Final = 5  # the fewest there are
_POLLS: Final = f"{POLL}openInterest"
_MISSED: Final = 2  # rounds without an answer, until open interest is no longer vouched for
_ANSWER_S: Final = 10.0
_BOOK: Final = "@depth"
_MARK: Final = "@markPrice"
# Codes of malformed requests: sending them again cannot help. /Live-Subscribing-Unsubscribing-to-streams (2025-11)
_MALFORMED: Final = frozenset({0, 1, 2, 3})

_SNAPSHOT: Final = msgspec.json.Decoder(DepthSnapshot)
_PREMIUM: Final = msgspec.json.Decoder(Premium)


class Session:
    """See penstock.session.Session. All data is public, so credentials have no use."""

    def __init__(
        self,
        info: ProviderInfo,
        endpoints: Endpoints,
        symbols: Sequence[str],
        credentials: Credentials | None,  # noqa: ARG002 # the protocol's signature
    ) -> None:
        self._stream = endpoints.stream
        self._rest = f"{endpoints.rest}/fapi/v1"
        self._symbols = tuple(dict.fromkeys(symbol.upper() for symbol in symbols))
        self._capacity = min(STREAMS_PER_CONNECTION, info.limits.channels_per_connection // 2)
        self._requested: dict[Plan, dict[int, tuple[str, ...]]] = {}
        self._turns: dict[Plan, _Turns] = {}

    def definitions(self) -> Sequence[Request]:
        """The list has no parameters: it is always that of all contracts."""
        return (Request(EXCHANGE_INFO, f"{self._rest}/exchangeInfo"),)

    def plans(self) -> Sequence[Plan]:
        """All streams of a symbol and route go on one connection. Open interest has no stream and is polled."""
        public, market = self._capacity // len(PUBLIC), (self._capacity - 1) // len(MARKET)
        return [
            *(Plan(f"{self._stream}/public/stream", _names(part, PUBLIC)) for part in batched(self._symbols, public)),
            *(
                Plan(f"{self._stream}/market/stream", _names(part, MARKET) + (() if number else (CONTRACT_INFO,)))
                for number, part in enumerate(batched(self._symbols, market))
            ),
            *(Plan(_POLLS, tuple(OPEN_INTEREST + name for name in part)) for part in self._polled()),
        ]

    def _polled(self) -> list[tuple[str, ...]]:
        return list(batched(self._symbols, self._capacity))

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        if plan.url == _POLLS:
            spacing_ns = max(SPACING_NS * len(self._polled()), OPEN_INTEREST_NS // len(plan.channels))
            self._turns[plan] = _Turns(plan.channels, spacing_ns, now_ns)
            return (Subscribed(plan.channels),)  # there is nobody to subscribe with
        requested = dict(enumerate(batched(plan.channels, _PER_MESSAGE), 1))
        self._requested[plan] = requested
        return [Send(_subscribe(number, channels)) for number, channels in requested.items()]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:  # noqa: ARG002
        control = decode_control(frame)
        refusal = control.refusal
        if refusal is not None:
            return (Rejected(f"{refusal.code} {refusal.msg}", terminal=refusal.code in _MALFORMED),)
        requested = self._requested.get(plan, {})
        if not isinstance(control.id, int) or control.id not in requested or control.result is not None:
            raise PayloadError("unknown_frame", "id", control.id, "an answer to a request of this connection")
        return (Subscribed(requested.pop(control.id)),)

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        return [self._snapshot(channel) for channel in _books(plan)]

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:  # noqa: ARG002 # the same whichever plan
        if channel == EXCHANGE_INFO:
            return self.definitions()
        return (self._snapshot(channel),) if _BOOK in channel else ()

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Whose turn it is to be polled. The venue's pings are WebSocket frames, which the socket itself answers."""
        turns = self._turns.get(plan)
        if turns is None or now_ns < turns.due_ns:
            return ()
        channel = turns.take(now_ns)
        url = f"{self._rest}/openInterest?symbol={quote(channel.removeprefix(OPEN_INTEREST))}"
        return (Request(channel, url, poll=Poll(channel, _MISSED * turns.round_s + _ANSWER_S)),)

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The first book of the plan, five levels deep (weight 2), whose update id is that of the stream; where the plan
        has none, the first mark price (weight 1), whose time is."""
        for name in plan.channels if not channel else (channel,):
            if _BOOK in name:
                return Request(PROBE + name, self._depth_url(name, _PROBE_LEVELS))
            if _MARK in name:
                url = f"{self._rest}/premiumIndex?symbol={quote(_symbol(name))}"
                return Request(PROBE + name, url)
        return None

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the venue has updates after the last frame; any at all, where there was no frame.

        An error in place of a book or a price proves nothing.
        """
        try:
            if _MARK in channel:
                time_ns = decode(_PREMIUM, body).time * NS_PER_MS
                return time_ns > (0 if last_frame is None else event_time(channel, last_frame) + BEHIND_NS)
            update = decode(_SNAPSHOT, body).lastUpdateId
        except PayloadError:
            return False
        return update > (0 if last_frame is None else merge_key(channel, last_frame).sequence)

    def _snapshot(self, channel: str) -> Request:
        return Request(DEPTH + _symbol(channel), self._depth_url(channel, SNAPSHOT_LEVELS))

    def _depth_url(self, channel: str, levels: int) -> str:
        return f"{self._rest}/depth?symbol={quote(_symbol(channel))}&limit={levels}"


class _Turns:
    """Which of the channels of a poll plan is asked for next, and when."""

    def __init__(self, channels: Sequence[str], spacing_ns: int, due_ns: int) -> None:
        self.due_ns = due_ns
        self.round_s = len(channels) * spacing_ns / NS_PER_S
        self._channels = cycle(channels)
        self._spacing_ns = spacing_ns

    def take(self, now_ns: int) -> str:
        """The channel whose turn it is."""
        self.due_ns = now_ns + self._spacing_ns
        return next(self._channels)


def _names(symbols: Iterable[str], streams: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{symbol.lower()}@{stream}" for symbol in symbols for stream in streams)


def _symbol(channel: str) -> str:
    return channel.partition("@")[0].upper()


def _books(plan: Plan) -> Iterator[str]:
    return (channel for channel in plan.channels if _BOOK in channel)


def _subscribe(number: int, channels: Sequence[str]) -> str:
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": channels, "id": number}).decode()
