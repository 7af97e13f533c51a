"""What a simulated OKX answers to a client's requests: subscriptions, login, nonsense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from penstock.timestamps import NS_PER_S
from providers.okx import wire
from providers.okx.payloads import Arg
from simulator.connection import Connection

SILENCE_NS: Final = 30 * NS_PER_S


class LoginArg(msgspec.Struct):
    """The argument of a login."""

    apiKey: str = ""  # noqa: N815 # the venue's words
    passphrase: str = ""
    timestamp: str = ""
    sign: str = ""


class Request(msgspec.Struct):
    """A client's frame: {"id":"1","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}."""

    op: str
    args: list[dict[str, str]]
    id: str = ""

    def channels(self) -> list[Arg]:
        """The arguments of a subscription. Raises msgspec.ValidationError."""
        return msgspec.convert(self.args, list[Arg])


_REQUEST: Final = msgspec.json.Decoder(Request)


def read(text: str) -> Request | None:
    """The request in a client's frame; None where it is none."""
    try:
        return _REQUEST.decode(text)
    except msgspec.DecodeError:
        return None


@dataclass(slots=True)
class Client:
    """What the venue knows of one connection. `heard_ns` is 0 since the client's last frame, until the next tick."""

    business: bool
    logged_in: bool = False
    heard_ns: int = 0

    def login(self, request: Request) -> str:
        """The answer to a login."""
        found = msgspec.convert(request.args[0], LoginArg) if request.args else LoginArg()
        if not (found.apiKey and found.passphrase and found.sign and found.timestamp.isdecimal()):
            return wire.error(request.id, "60013", "Invalid args")
        if found.apiKey == "bad":
            return wire.error(request.id, "60005", "Invalid apiKey")
        self.logged_in = True
        return wire.event("login", request.id, code="0", msg="")

    def tick(self, connection: Connection, now_ns: int) -> None:
        """Who says nothing for 30 s is disconnected."""
        self.heard_ns = self.heard_ns or now_ns
        if now_ns - self.heard_ns > SILENCE_NS:
            connection.close(4004, "No data received in 30s")


def acknowledge(text: str) -> list[str]:
    """What the venue answers to a client's frame, everything granted: for replaying a recording."""
    if text == "ping":
        return ["pong"]
    request = read(text)
    if request is None:
        return [wire.error("", "60012", "Invalid request")]
    if request.op == "login":
        return [wire.event("login", request.id, code="0", msg="")]
    return [wire.event(request.op, request.id, arg=arg) for arg in request.args]
