"""Peeks into frames that do not decode them: channel, venue time, and the key that both lanes' copies share.

A frame names its message (`type`) and its product in any order: older servers wrote `type` first, newer ones need not.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from typing import Final
from urllib.parse import urlsplit

from penstock.errors import PayloadError
from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import from_iso8601

_CHANNELS: Final = {
    b"snapshot": "level2.",
    b"l2update": "level2.",
    b"match": "matches.",
    b"last_match": "matches.",
    b"received": "full.",
    b"open": "full.",
    b"done": "full.",
    b"change": "full.",
    b"activate": "full.",
    b"ticker": "ticker.",
    b"heartbeat": "heartbeat.",
}
# Products, ids and times have no quotes and no backslashes in them; what has is no frame of a channel.
_TYPE: Final = re.compile(rb'"type":\s*"([a-z0-9_]{1,32})"')
_PRODUCT: Final = re.compile(rb'"product_id":\s*"([A-Za-z0-9-]{1,64})"')
_TIME: Final = re.compile(rb'"time":\s*"([0-9T:.Z-]{20,32})"')
_SEQUENCE: Final = re.compile(rb'"sequence":\s*(\d{1,18})\s*[,}]')
_TRADE_ID: Final = re.compile(rb'"trade_id":\s*(\d{1,18})\s*[,}]')

_PROBE: Final = f"{REST}probe/"
_BY_SEQUENCE: Final = (b"received", b"open", b"done", b"change", b"ticker")


def channel_of(frame: bytes) -> str:
    """`<channel>.<product>` by the frame's type; `status` alone; CONTROL for what belongs to no channel."""
    kind = _TYPE.search(frame)
    if kind is None:
        return CONTROL
    prefix = _CHANNELS.get(kind[1])
    if prefix is None:
        return "status" if kind[1] == b"status" else CONTROL
    product = _PRODUCT.search(frame)
    return CONTROL if product is None else prefix + product[1].decode()


def event_time(channel: str, payload: bytes) -> int:
    """The message's own `time` in UNIX ns; 0 where it has none: status, snapshots of before 2023, product lists."""
    if channel.startswith((_PROBE, f"{REST}trades/")):
        return 0  # a list of trades has the time of each, and none of its own
    # A snapshot's levels come first in some forms and last in others: look at the end before the whole.
    found = _TIME.search(payload, max(0, len(payload) - 512)) or _TIME.search(payload)
    if found is None:
        return 0
    try:
        return from_iso8601(found[1].decode())
    except PayloadError:
        return 0


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """Trades are known by their id, orders and tickers by the product's sequence, all else by its content."""
    at = event_time(channel, payload)
    kind = _TYPE.search(payload)
    if channel.startswith("matches."):
        trade = _TRADE_ID.search(payload)
        if trade is not None:
            # A last_match is no copy of the match it repeats: `full` counts only the match.
            return MergeKey(at, int(trade[1]), trade[1] if kind is None else kind[1] + b"-" + trade[1])
    elif kind is not None and kind[1] in _BY_SEQUENCE:
        sequence = _SEQUENCE.search(payload)
        if sequence is not None:
            return MergeKey(at, int(sequence[1]), kind[1] + b"-" + sequence[1])
    return MergeKey(at, 0, blake2s(payload).digest() if len(payload) > 4096 else payload)


def rest_channel(url: str) -> str:
    """The raw channel of a REST answer: `/products/BTC-USD/book?level=2` is `rest/book/BTC-USD`."""
    words = [word for word in urlsplit(url).path.split("/") if word]
    if len(words) >= 3 and words[-3] == "products":  # products, the product, what of it
        return f"{REST}{words[-1]}/{words[-2]}"
    return REST + (words[-1] if words else "")
