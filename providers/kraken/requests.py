"""What a client of the simulated Kraken asks for, and the answers that are the same for everybody."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from providers.kraken import wire

DEPTHS: Final = {"book": (10, 25, 100, 500, 1000), "level3": (10, 100, 1000)}
OF_A_SYMBOL: Final = frozenset({"book", "level3", "trade", "ticker", "ohlc"})


class Request(msgspec.Struct):
    """A client's frame."""

    method: str
    params: dict[str, Any] = {}
    req_id: int | None = None


_REQUEST: Final = msgspec.json.Decoder(Request)


def read(text: str) -> Request | None:
    """The request in a client's frame; None where it is none."""
    try:
        return _REQUEST.decode(text)
    except msgspec.DecodeError:
        return None


def refusal(request: Request) -> str:
    """Why the venue would not take a (un)subscription at all; empty where it does."""
    channel, symbols = request.params.get("channel"), request.params.get("symbol", [])
    if channel != "instrument" and channel not in OF_A_SYMBOL:
        return f"Unsupported field: '{channel}' for the given msg type: {request.method}"
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        return "EGeneral:Invalid arguments"
    if channel in DEPTHS and request.params.get("depth", 10) not in DEPTHS[channel]:
        return "Subscription depth not supported"
    if channel == "level3" and request.params.get("token") in {None, "", "bad"}:
        return "ESession:Invalid session"
    return ""


def result(params: dict[str, Any], symbol: str) -> dict[str, object]:
    """What an acknowledgement repeats of a request."""
    kept = {key: params[key] for key in ("channel", "depth", "event_trigger", "interval", "snapshot") if key in params}
    return kept | ({"symbol": symbol} if symbol else {})


def acknowledge(text: str) -> list[str]:
    """What the venue answers to a client's frame, everything granted: for replaying a recording."""
    request = read(text)
    if request is None:
        return [wire.error(None, None, "Malformed request")]
    if request.method == "ping":
        return [wire.pong(request.req_id)]
    symbols = request.params.get("symbol") or [""]
    return [wire.answer(request.method, request.req_id, result(request.params, symbol)) for symbol in symbols]
