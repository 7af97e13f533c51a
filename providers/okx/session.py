"""OKX's session as data: what to connect to, subscribe to, answer and ask again. Does no I/O.

https://www.okx.com/docs-v5/en/#overview-websocket (read 2026-11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Final
from urllib.parse import quote

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S
from providers.okx.login import login
from providers.okx.names import BOOK_CHANNELS, arg_of, family_of, type_of
from providers.okx.payloads import Answer, Candle, Control, Push, Status, book_sequence, event_time
from providers.okx.plans import make_plans, wanted

PING_NS: Final = 15 * NS_PER_S
"""The venue closes connections that were silent for 30 s."""

REQUESTS_PER_HOUR: Final = 480
"""Subscribe, unsubscribe and login requests of a connection; we keep to half.
https://www.okx.com/docs-v5/en/#overview-websocket-connect"""

ARGS_PER_REQUEST: Final = 100
"""The arguments of a request may be 64 KB; so many are below a tenth of it."""

MENDING_NS: Final = 10 * NS_PER_S
"""An unsubscription that has no answer for so long is made again."""

RETRYABLE: Final = frozenset({"60004", "60006", "60014", "60023", "63999", "64007", "64008"})
"""Invalid or expired timestamp, too frequent, login or operation failed by an internal error, service upgrade.
https://www.okx.com/docs-v5/en/#error-code-websocket-public (read 2026-11)"""

_HOUR_NS: Final = 3600 * NS_PER_S
_MAINTENANCE: Final = frozenset({"ongoing", "completed"})
_CONTROL: Final = msgspec.json.Decoder(Control)
_STATUS: Final = msgspec.json.Decoder(Status)
_CANDLES: Final = msgspec.json.Decoder(Answer[Candle])
_CANDLE: Final = msgspec.json.Decoder(Push[Candle])


@dataclass(slots=True)
class _Connection:
    """What one open connection is waiting for, and when it asked for something (UNIX ns)."""

    now_ns: int
    pinged_ns: int
    next_id: int = 1
    asked: deque[int] = field(default_factory=deque)
    mending: dict[str, int] = field(default_factory=dict)
    knows_status: bool = False


class Session:
    """See penstock.session.Session. A symbol may name its book channel: `BTC-USDT-SWAP:books-l2-tbt`. With credentials
    it logs in, which the tick-by-tick book channels need and nothing else does."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        named = [wanted(symbol, authenticated=credentials is not None) for symbol in dict.fromkeys(symbols)]
        self._symbols = tuple(one.symbol for one in named)
        self._rest = f"{endpoints.rest}/api/v5"
        self._credentials = credentials
        self._plans = make_plans(endpoints.stream, named, info.limits.channels_per_connection // 2)
        self._connections: dict[Plan, _Connection] = {}
        self._probed: dict[Plan, int] = {}

    def definitions(self) -> Sequence[Request]:
        """One list per instType of the symbols; options are listed by family."""
        scopes = dict.fromkeys(
            (type_of(name), family_of(name) if type_of(name) == "OPTION" else "") for name in self._symbols
        )
        return [self._instruments(kind, family) for kind, family in scopes]

    def plans(self) -> Sequence[Plan]:
        """See plans.py."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Login, or subscriptions at once."""
        state = self._connections[plan] = _Connection(now_ns, now_ns)
        if self._credentials is not None:
            state.asked.append(now_ns)
            return [login(self._credentials, now_ns)]
        return self._request(state, "subscribe", plan.channels)

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Answers to requests, notices, and what the venue says of its own state."""
        if frame == b"pong":
            return ()
        control, state = decode(_CONTROL, frame), self._connections[plan]
        state.now_ns = max(state.now_ns, now_ns)
        if control.id and not (control.id.isdecimal() and int(control.id) < state.next_id):
            raise PayloadError("unknown_frame", "id", control.id, "the id of a request of this connection")
        match control.event:
            case "subscribe" if control.arg is not None:
                state.mending.pop(control.arg.word, None)
                return (Subscribed((control.arg.word,)),)
            case "unsubscribe" if control.arg is not None and control.arg.word in state.mending:
                return self._request(state, "subscribe", (control.arg.word,))
            case "login" if control.code == "0":
                return self._request(state, "subscribe", plan.channels)
            case "notice":
                return (Reconnect(f"notice {control.code}", overlap=True),)
            case "error" | "login":
                return (_refused(control),)
            case "channel-conn-count-error":
                return (Rejected(f"too many connections with channel {control.channel}"),)
            case "":
                return _maintained(state, control)
        return ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe, and subscribe again with the answer: the first message is then a snapshot."""
        state = self._connections.get(plan)
        if state is None or channel not in plan.channels:
            return ()
        if state.now_ns - state.mending.get(channel, -MENDING_NS) < MENDING_NS:
            return ()  # already on its way
        if self._spent(state) + 2 > REQUESTS_PER_HOUR // 2:
            return ()  # the normalizer asks again, and the hour passes
        state.mending[channel] = state.now_ns
        return self._request(state, "unsubscribe", (channel,))

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """The text `ping`, answered by `pong`: WebSocket pings do not keep the venue from closing."""
        state = self._connections.get(plan)
        if state is None:
            return ()
        state.now_ns = max(state.now_ns, now_ns)
        if now_ns - state.pinged_ns < PING_NS:
            return ()
        state.pinged_ns = now_ns
        return (Send("ping"),)

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """A book or candle over REST, each of the plan in turn: a `pong` proves the connection, and no channel."""
        probed = (*BOOK_CHANNELS, "candle1m")
        books = [name for name in plan.channels if name.startswith(probed) and channel in {"", name}]
        if not books:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = books[turn % len(books)]
        symbol = quote(channel.partition(".")[2])
        path = f"books?instId={symbol}&sz=1"
        if channel.startswith("candle1m"):
            path = f"candles?instId={symbol}&bar=1m&limit=3"
        return Request(f"{REST}probe/{channel}", f"{self._rest}/market/{path}")

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the book has a higher seqId at a later time than the last frame, or a later candle is finished."""
        if channel.startswith("candle1m."):
            return _candle_behind(last_frame, body)
        now = book_sequence(body)
        if now is None or not channel.startswith(BOOK_CHANNELS):
            return False
        if last_frame is None:
            return True  # every book subscription starts with a snapshot
        last = book_sequence(last_frame)
        return last is not None and now > last and event_time("books", body) > event_time(channel, last_frame)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _instruments(self, kind: str, family: str) -> Request:
        query = f"instType={kind}" + (f"&instFamily={quote(family)}" if family else "")
        return Request(f"{REST}instruments/{kind}", f"{self._rest}/public/instruments?{query}")

    @staticmethod
    def _spent(state: _Connection) -> int:
        """How many requests the connection made within the last hour."""
        while state.asked and state.now_ns - state.asked[0] >= _HOUR_NS:
            state.asked.popleft()
        return len(state.asked)

    @staticmethod
    def _request(state: _Connection, op: str, channels: Sequence[str]) -> list[Action]:
        sends: list[Action] = []
        for part in batched(channels, ARGS_PER_REQUEST):
            body = {"id": str(state.next_id), "op": op, "args": [arg_of(channel) for channel in part]}
            state.next_id += 1
            state.asked.append(state.now_ns)
            sends.append(Send(msgspec.json.encode(body).decode()))
        return sends


def _refused(control: Control) -> Action:
    """Errors that pass are a reason to connect anew; the others will not change by themselves."""
    what = f"{control.code} {control.msg}"
    return Reconnect(what) if control.code in RETRYABLE else Rejected(what, terminal=True)


def _maintained(state: _Connection, control: Control) -> Sequence[Action]:
    """A push of `status`. The first on a connection is the last there was; a later one, that the WebSocket service is being
    maintained or was, is reason to connect anew."""
    if control.arg is None or control.arg.channel != "status":
        raise PayloadError("unknown_frame", "event", control.event, "an event or a push of status")
    found = list(_statuses(control))
    if not state.knows_status:
        state.knows_status = True
        return ()
    for status in found:
        if status.serviceType == "0" and status.env != "2" and status.state in _MAINTENANCE:
            return (Reconnect(f"maintenance {status.state}"),)
    return ()


def _statuses(control: Control) -> Iterator[Status]:
    return (decode(_STATUS, raw) for raw in control.data)


def _candle_behind(last_frame: bytes | None, body: bytes) -> bool:
    """True where a candle that is finished and has volume began after the last one received."""
    answer = decode(_CANDLES, body)
    finished = [candle[0] for candle in answer.data if len(candle) >= 9 and candle[8] == "1" and candle[5].strip("0.")]
    if last_frame is None or not finished:
        return bool(finished)
    # Milliseconds as text compare like numbers from 2001 to 2286.
    seen = [candle[0] for candle in decode(_CANDLE, last_frame).data if candle]
    return bool(seen) and max(finished) > max(seen)
