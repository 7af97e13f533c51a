"""What a client of the simulated Kraken Futures asks for, and the answers that are the same for everybody."""

from __future__ import annotations

from typing import Final

import msgspec

from providers.kraken_futures import wire

FEEDS: Final = frozenset({"book", "trade", "ticker", "ticker_lite"})
HEARTBEAT: Final = "heartbeat"
ASKING: Final = frozenset({"subscribe", "unsubscribe"})


class Request(msgspec.Struct):
    """A client's frame."""

    event: str
    feed: str = ""
    product_ids: list[str] = []


_REQUEST: Final = msgspec.json.Decoder(Request)


def read(text: str) -> Request | None:
    """The request in a client's frame; None where it is none."""
    try:
        return _REQUEST.decode(text)
    except msgspec.DecodeError:
        return None


def refusal(request: Request | None) -> str:
    """What the venue says to a frame that asks for nothing it knows; empty where it does."""
    if request is None or request.event not in ASKING:
        return "Json Error"
    if request.feed not in FEEDS and request.feed != HEARTBEAT:
        return "Invalid feed"
    return "Invalid product id" if request.feed in FEEDS and not request.product_ids else ""


def acknowledge(text: str) -> list[str]:
    """What the venue answers to a client's frame, everything granted: for replaying a recording."""
    request = read(text)
    if request is None or (reason := refusal(request)):
        return [wire.error(reason if request is not None else "Json Error")]
    products = request.product_ids if request.feed != HEARTBEAT else [""]
    return [wire.answer(f"{request.event}d", request.feed, product) for product in products]
