"""The calls a simulated Deribit answers alike for everybody: authentication, heartbeats, acknowledgements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from providers.deribit import wire
from simulator.connection import Connection
from simulator.market import ONE

_MIN_HEARTBEAT_S: Final = 10


class Request(msgspec.Struct):
    """A call of a client."""

    method: str
    id: int | str | None = None
    params: dict[str, Any] = {}


_REQUEST: Final = msgspec.json.Decoder(Request)


def read(text: str) -> Request | None:
    """The call in a client's frame; None where it is none."""
    try:
        return _REQUEST.decode(text)
    except msgspec.DecodeError:
        return None


@dataclass(slots=True)
class Client:
    """What the venue knows of one connection; times are UNIX ns, 0 for never."""

    authenticated: bool = False
    interval_ns: int = 0
    beat_at: int = 0
    tested: bool = False

    def answer(self, request: Request) -> str:
        """The reply to every call but subscriptions."""
        match request.method:
            case "public/test":
                return wire.reply(request.id, wire.VERSION)
            case "public/set_heartbeat":
                seconds = request.params.get("interval")
                if not isinstance(seconds, int) or seconds < _MIN_HEARTBEAT_S:
                    return wire.error(request.id, -32602, "Invalid params")
                self.interval_ns, self.beat_at = seconds * ONE, 0
                return wire.reply(request.id, "ok")
            case "public/auth":
                names = ("client_id", "client_secret")
                if any(request.params.get(name) in {None, "", "bad"} for name in names):
                    return wire.error(request.id, 13004, "invalid_credentials")
                self.authenticated = True
                return wire.reply(request.id, wire.TOKEN)
        return wire.error(request.id, -32601, "Method not found")

    def beat(self, connection: Connection, now_ns: int) -> None:
        """Each interval a heartbeat and a test request; who said nothing since the last one is disconnected."""
        if not self.interval_ns or now_ns < self.beat_at:
            return
        if self.tested:
            connection.close(1000, "heartbeat timeout")
            return
        if self.beat_at:
            connection.send(wire.heartbeat("heartbeat"))
            connection.send(wire.heartbeat("test_request"))
            self.tested = True
        self.beat_at = now_ns + self.interval_ns


def acknowledge(text: str) -> list[str]:
    """What the venue answers to a client's frame, everything granted: for replaying a recording."""
    request = read(text)
    if request is None:
        return [wire.error(None, -32700, "Parse error")]
    match request.method.partition("/")[2]:
        case "subscribe" | "unsubscribe":
            return [wire.reply(request.id, request.params.get("channels", []))]
        case "auth":
            return [wire.reply(request.id, wire.TOKEN)]
        case "test":
            return [wire.reply(request.id, wire.VERSION)]
    return [wire.reply(request.id, "ok")]
