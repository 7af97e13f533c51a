"""Peeks into Kraken Futures' frames that decode nothing: which channel, which time, which id."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from penstock.errors import PayloadError
from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import MAX_NS, NS_PER_MS, from_iso8601

HEARTBEAT: Final = "heartbeat"
INSTRUMENTS: Final = REST + "instruments"
"""Channel of the answer to REST /instruments."""

_HEAD: Final = re.compile(rb'\{"feed":"([a-z_]{1,20})","product_id":"([A-Za-z0-9_.]{1,48})"')
_FEED: Final = re.compile(rb'"feed"\s*:\s*"([a-z_]{1,20})"')
_PRODUCT: Final = re.compile(rb'"product_id"\s*:\s*"([A-Za-z0-9_.]{1,48})"')
_EVENT: Final = re.compile(rb'"event"\s*:')
_WITHIN: Final = 4096

_TIME: Final = re.compile(rb'"time(?:stamp)?"\s*:\s*([0-9]{1,16})')
_SERVER_TIME: Final = re.compile(rb'"serverTime"\s*:\s*"([^"]{20,30})"')
_SEQ: Final = re.compile(rb'"seq"\s*:\s*([0-9]{1,19})')
_MAX_ID: Final = 2**63 - 1

_FEEDS: Final = {
    b"book": "book", b"book_snapshot": "book", b"trade": "trade", b"trade_snapshot": "trade", b"ticker": "ticker",
    b"ticker_lite": "ticker_lite",
}  # fmt: skip
"""Snapshots name a feed of their own; the channel is what is subscribed to."""


def channel_of(frame: bytes) -> str:
    """`<feed>.<product>` of data, `heartbeat`, and CONTROL for everything else, above all frames with an `event`.

    `{"feed":"book_snapshot","product_id":"PI_XBTUSD",…}` is `book.PI_XBTUSD`, as is the delta with `"feed":"book"`.
    """
    match = _HEAD.match(frame)
    if match is not None:
        return _channel(match[1], match[2])
    feed = _FEED.search(frame, 0, _WITHIN)
    if feed is None or _EVENT.search(frame, 0, _WITHIN):
        return CONTROL
    if feed[1] == b"heartbeat":
        return HEARTBEAT
    product = _PRODUCT.search(frame, 0, _WITHIN)
    return CONTROL if product is None else _channel(feed[1], product[1])


@lru_cache(maxsize=16384)
def _channel(feed: bytes, product: bytes) -> str:
    kind = _FEEDS.get(feed)
    return CONTROL if kind is None else f"{kind}.{product.decode()}"


def event_time(channel: str, payload: bytes) -> int:
    """The first `timestamp` or `time` of a message, milliseconds, which of a trade snapshot is the newest trade's;
    `serverTime` of REST answers. In UNIX ns, 0 where there is none."""
    if channel.startswith(REST):
        match = _SERVER_TIME.search(payload)
        try:
            return 0 if match is None else from_iso8601(match[1].decode("ascii", "replace"))
        except PayloadError:
            return 0
    match = _TIME.search(payload)
    value = int(match[1]) * NS_PER_MS if match else 0
    return value if value <= MAX_NS else 0


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The venue's time, its `seq` (of a trade snapshot the newest) and a hash of the bytes.

    `seq` counts a product's messages venue-wide and frames hold nothing of the connection they came on, so copies of one
    are equal byte for byte.
    """
    identity = blake2b(payload, digest_size=16).digest()
    sequence = 0
    if channel.startswith(("book.", "trade.")) and (match := _SEQ.search(payload)) is not None:
        sequence = min(int(match[1]), _MAX_ID)
    return MergeKey(event_time(channel, payload), sequence, identity)


def newest_time(frame: bytes) -> int:
    """The newest time in a trade message or trade snapshot, milliseconds; 0 where it has none."""
    return max((int(text) for text in _TIME.findall(frame)), default=0)
