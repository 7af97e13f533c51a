"""Binance spot's session protocol: one combined connection per 512 streams, REST for definitions and book snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Final
from urllib.parse import quote

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from providers.binance_spot.payloads import DepthSnapshot, decode_control, merge_key

STREAMS: Final = ("trade", "depth@100ms", "bookTicker", "ticker", "kline_1m")
"""What is subscribed of every symbol. Not `aggTrade`: it has the trades of `trade` once more, added up."""

SNAPSHOT_LEVELS: Final = 1000
"""Levels a side of a book snapshot. 5,000 is possible at five times the weight, which would leave 12 snapshots a minute
for a restart of all symbols; what is beyond is learnt when it changes."""

_PER_MESSAGE: Final = 200  # streams in one SUBSCRIBE; the venue publishes no limit below its 1,024 a connection
_DEPTH: Final = "@depth"
_EXCHANGE_INFO: Final = "rest/exchangeInfo"
# Codes of malformed requests: sending them again cannot help. web-socket-streams.md#error-messages (2026-07-21)
_MALFORMED: Final = frozenset({0, 1, 2, 3})

_SNAPSHOT: Final = msgspec.json.Decoder(DepthSnapshot)


class Session:
    """See penstock.session.Session. All data is public, so credentials have no use."""

    def __init__(
        self,
        info: ProviderInfo,
        endpoints: Endpoints,
        symbols: Sequence[str],
        credentials: Credentials | None,  # noqa: ARG002 # the protocol's signature
    ) -> None:
        self._stream = f"{endpoints.stream}/stream"
        self._rest = f"{endpoints.rest}/api/v3"
        self._symbols = tuple(dict.fromkeys(symbol.upper() for symbol in symbols))
        self._capacity = info.limits.channels_per_connection // 2
        self._requested: dict[Plan, dict[int, tuple[str, ...]]] = {}

    def definitions(self) -> Sequence[Request]:
        """The whole list: asked for by name the answer is an error as soon as one of the symbols is not listed (yet, or any
        more), and what is missing says what was delisted. Without the sets of permissions it is a fraction of its size."""
        return (Request(_EXCHANGE_INFO, f"{self._rest}/exchangeInfo?showPermissionSets=false"),)

    def plans(self) -> Sequence[Plan]:
        """All streams of a symbol go on one connection."""
        per_connection = max(1, self._capacity // len(STREAMS))
        return [
            Plan(self._stream, tuple(f"{symbol.lower()}@{stream}" for symbol in symbols for stream in STREAMS))
            for symbols in batched(self._symbols, per_connection)
        ]

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:  # noqa: ARG002 # nothing here depends on the time
        requested = dict(enumerate(batched(plan.channels, _PER_MESSAGE), 1))
        self._requested[plan] = requested
        return [Send(_subscribe(number, channels)) for number, channels in requested.items()]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:  # noqa: ARG002
        control = decode_control(frame)
        if control.shutdown:
            return (Reconnect("server_shutdown", overlap=True),)
        refusal = control.refusal
        if refusal is not None:
            return (Rejected(f"{refusal.code} {refusal.msg}", terminal=refusal.code in _MALFORMED),)
        channels = self._requested.get(plan, {}).pop(control.id, None) if isinstance(control.id, int) else None
        if channels is None or control.result is not None:
            raise PayloadError("unknown_frame", "id", control.id, "an answer to a request of this connection")
        return (Subscribed(channels),)

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        return [self._snapshot(channel) for channel in _books(plan)]

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:  # noqa: ARG002 # the same whichever plan
        if channel == _EXCHANGE_INFO:
            return self.definitions()
        return (self._snapshot(channel),) if _DEPTH in channel else ()

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:  # noqa: ARG002
        """The venue's pings are WebSocket frames, which the socket itself answers."""
        return ()

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The book, or the first of the plan, one level deep (weight 5): its update id is that of the stream."""
        books = [name for name in _books(plan) if channel in {"", name}]
        if not books:
            return None
        channel = books[0]
        return Request(f"rest/probe/{channel}", self._depth_url(channel, 1))

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the book has updates after those of the last frame; any at all, where there was no frame.

        An error in place of a book proves nothing.
        """
        try:
            update = decode(_SNAPSHOT, body).lastUpdateId
        except PayloadError:
            return False
        return update > (0 if last_frame is None else merge_key(channel, last_frame).sequence)

    def _snapshot(self, channel: str) -> Request:
        return Request(f"rest/depth/{_symbol(channel)}", self._depth_url(channel, SNAPSHOT_LEVELS))

    def _depth_url(self, channel: str, levels: int) -> str:
        return f"{self._rest}/depth?symbol={quote(_symbol(channel))}&limit={levels}"


def _symbol(channel: str) -> str:
    return channel.partition("@")[0].upper()


def _books(plan: Plan) -> Iterator[str]:
    return (channel for channel in plan.channels if _DEPTH in channel)


def _subscribe(number: int, channels: Sequence[str]) -> str:
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": channels, "id": number}).decode()
