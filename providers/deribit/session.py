"""Deribit's JSON-RPC session as data: what to connect to, subscribe to, answer and ask again. Does no I/O.

https://docs.deribit.com/articles/notifications, https://docs.deribit.com/articles/authentication (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from penstock.decoding import decode
from penstock.payloads import REST
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed
from penstock.timestamps import NS_PER_S
from providers.deribit.names import currency_of, kind_of
from providers.deribit.payloads import Reply, RpcError
from providers.deribit.peeks import change_id_of

CHANNELS_PER_CALL: Final = 500
"""Channels in one subscribe call: the venue charges by the call, and names no limit; 500 is what others use."""

NOTICES: Final = ("platform_state", "platform_state.public_methods_state")
"""Maintenance of the platform, and whether it serves the unauthenticated. They are stored and nothing is done about them:
the venue itself refuses calls with codes that pass (RETRYABLE) or ends the connection, and a probe that it answers
with an error proves nothing, so that silence during maintenance is no alarm."""

HEARTBEAT_S: Final = 10
"""The shortest interval public/set_heartbeat takes."""

RETRYABLE: Final = {10028, 10040, 10041, 10047, 10066, 11051, 11094, 13028, 13888}
"""too_many_requests, retry, settlement_in_progress, queue full, too_many_concurrent_requests, system_maintenance,
internal_server_error, temporarily_unavailable, timed_out: RPC error codes of the API 2.1.1 (https://docs.deribit.com)."""

_REPLY: Final = msgspec.json.Decoder(Reply)
_AUTH_RENEWAL: Final = 0.8  # of a token's life: before it ends, with time to try again


class _Call(NamedTuple):
    """A request that waits for its reply."""

    method: str
    channels: tuple[str, ...] = ()


@dataclass(slots=True)
class _Connection:
    """What one open connection is waiting for."""

    next_id: int = 1
    calls: dict[int, _Call] = field(default_factory=dict)
    authenticated: bool = False
    renew_at: int = 0


class Session:
    """See penstock.session.Session.

    With credentials it authenticates and takes `.raw` channels, without it takes `.100ms` ones: raw ones are refused to
    the unauthenticated (https://docs.deribit.com/subscriptions/market-data/tickerinstrument_nameinterval, read 2026-11).
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
        """One public/get_instruments per currency of the symbols."""
        return [self._instruments(currency) for currency in dict.fromkeys(map(currency_of, self._symbols))]

    def plans(self) -> Sequence[Plan]:
        """All channels of a symbol share a connection."""
        return self._plans

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Heartbeats, then authentication or subscriptions."""
        del now_ns
        state = self._connections[plan] = _Connection()
        heartbeat = self._send(state, _Call("public/set_heartbeat"), {"interval": HEARTBEAT_S})
        if self._credentials is not None:
            return [heartbeat, self._authenticate(state)]
        return [heartbeat, *self._subscribe(state, plan.channels)]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Replies to calls, and the venue's test requests."""
        reply = decode(_REPLY, frame)
        state = self._connections[plan]
        if reply.method == "heartbeat":
            wants_answer = reply.params is not None and reply.params.type == "test_request"
            return [self._send(state, _Call("public/test"), {})] if wants_answer else ()
        call = state.calls.pop(reply.id, None) if reply.id is not None else None
        if reply.error is not None:
            return [_rejected(call, reply.error)]
        if call is None:
            return ()
        if call.method == "public/auth":
            return self._authenticated(state, plan, reply.result, now_ns)
        if call.method.endswith("/unsubscribe"):
            return self._subscribe(state, call.channels)
        return self._subscribed(call, reply.result) if call.method.endswith("/subscribe") else ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: snapshots come with the subscription."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """Unsubscribe, and subscribe again with the reply: the first message is then a snapshot."""
        state = self._connections.get(plan)
        if state is None or channel not in plan.channels:
            return ()
        if any(channel in call.channels for call in state.calls.values()):
            return ()  # already on its way
        return [self._send(state, _Call(self._scope("unsubscribe"), (channel,)), {"channels": [channel]})]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Renews the token in time: a connection whose token ended is no longer authenticated."""
        state = self._connections.get(plan)
        if state is None or not state.renew_at or now_ns < state.renew_at:
            return ()
        state.renew_at = 0
        return [self._authenticate(state)]

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """The order book over REST: the venue's heartbeats, ten seconds apart, prove nothing about data."""
        books = [name for name in plan.channels if name.startswith("book.") and channel in {"", name}]
        if not books:
            return None
        turn = self._probed[plan] = self._probed.get(plan, -1) + 1
        channel = books[turn % len(books)]
        url = f"{self._endpoints.rest}/api/v2/public/get_order_book?instrument_name={_symbol(channel)}&depth=1"
        return Request(f"{REST}probe/{channel}", url)

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the book's change_id went on without us; ids only grow."""
        now = change_id_of(body)
        if now is None or not channel.startswith("book."):
            return False
        # Every book subscription starts with a snapshot, so having none is being behind.
        last = change_id_of(last_frame) if last_frame is not None else None
        return last is None or now > last

    # --- parts ----------------------------------------------------------------------------------------------------

    def _make_plans(self, limit: int) -> list[Plan]:
        interval = "raw" if self._credentials is not None else "100ms"
        states = dict.fromkeys(f"instrument.state.{kind_of(name)}.{currency_of(name)}" for name in self._symbols)
        groups: list[tuple[str, ...]] = [NOTICES, *batched(states, 1)] if self._symbols else []
        groups += [
            (
                f"trades.{name}.{interval}",
                f"book.{name}.{interval}",
                f"ticker.{name}.{interval}",
                f"quote.{name}",
                f"chart.trades.{name}.1",
            )
            for name in self._symbols
        ]
        plans: list[tuple[str, ...]] = []
        for group in groups:
            if plans and len(plans[-1]) + len(group) <= limit:
                plans[-1] += group
            else:
                plans.append(group)
        return [Plan(self._endpoints.stream, channels) for channels in plans]

    def _instruments(self, currency: str) -> Request:
        query = f"currency={quote(currency)}&expired=false"
        return Request(
            f"{REST}get_instruments/{currency}", f"{self._endpoints.rest}/api/v2/public/get_instruments?{query}"
        )

    def _scope(self, method: str) -> str:
        return f"private/{method}" if self._credentials is not None else f"public/{method}"

    def _send(self, state: _Connection, call: _Call, params: dict[str, object], *, secret: bool = False) -> Send:
        number = state.next_id
        state.next_id += 1
        state.calls[number] = call
        body = {"jsonrpc": "2.0", "id": number, "method": call.method, "params": params}
        return Send(msgspec.json.encode(body).decode(), secret)

    def _authenticate(self, state: _Connection) -> Send:
        assert self._credentials is not None
        params: dict[str, object] = {
            "grant_type": "client_credentials",
            "client_id": self._credentials["DERIBIT_CLIENT_ID"],
            "client_secret": self._credentials["DERIBIT_CLIENT_SECRET"],
        }
        return self._send(state, _Call("public/auth"), params, secret=True)

    def _authenticated(self, state: _Connection, plan: Plan, result: msgspec.Raw, now_ns: int) -> Sequence[Action]:
        seconds = decode(_TOKEN, result).expires_in
        state.renew_at = now_ns + int(seconds * _AUTH_RENEWAL) * NS_PER_S
        if state.authenticated:
            return ()
        state.authenticated = True
        return self._subscribe(state, plan.channels)

    def _subscribe(self, state: _Connection, channels: Sequence[str]) -> list[Action]:
        method = self._scope("subscribe")
        return [
            self._send(state, _Call(method, part), {"channels": list(part)})
            for part in batched(channels, CHANNELS_PER_CALL)
        ]

    @staticmethod
    def _subscribed(call: _Call, result: msgspec.Raw) -> Sequence[Action]:
        """The result lists what was accepted: a wrong name is simply missing."""
        listed: list[str] = decode(_NAMES, result)
        accepted = tuple(name for name in call.channels if name in listed)
        missing = [name for name in call.channels if name not in listed]
        actions: list[Action] = [Subscribed(accepted)] if accepted else []
        if missing:
            actions.append(Rejected(f"channels not accepted: {', '.join(missing[:5])}", terminal=True))
        return actions


class _Token(msgspec.Struct):
    expires_in: int


_TOKEN: Final = msgspec.json.Decoder(_Token)
_NAMES: Final = msgspec.json.Decoder(list[str])


def _symbol(channel: str) -> str:
    return quote(channel.split(".")[1])


def _rejected(call: _Call | None, error: RpcError) -> Action:
    """Errors that pass are a reason to connect anew; the others will not change by themselves."""
    what = f"{call.method if call else 'request'}: {error.code} {error.message}"
    if error.code in RETRYABLE:
        return Reconnect(what)
    return Rejected(what, terminal=call is None or call.method != "public/test")
