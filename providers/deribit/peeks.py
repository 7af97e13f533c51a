"""Peeks into Deribit's frames that decode nothing, and the one change ever made to a frame's bytes."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_US, peeked_ms

_MAX_CHANNEL: Final = 256
_PLAIN_CHANNEL: Final = re.compile(r"[!-~]+")
_CHANNEL: Final = re.compile(rb'"channel"\s*:\s*"([^"\\]*)"')
_TICK: Final = re.compile(rb'"tick"\s*:\s*([0-9]{1,16})')
_TIMESTAMP: Final = re.compile(rb'"timestamp"\s*:\s*([0-9]{1,16})')
_US_OUT: Final = re.compile(rb'"usOut"\s*:\s*([0-9]{1,19})')
_SEQUENCES: Final = {
    "book": re.compile(rb'"change_id"\s*:\s*([0-9]{1,19})'),
    "trades": re.compile(rb'"trade_seq"\s*:\s*([0-9]{1,19})'),
}


def channel_of(frame: bytes) -> str:
    """The channel of a subscription notification; CONTROL for everything else.

    A notification is `{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.X.raw","data":…}}`
    (https://docs.deribit.com/articles/notifications), so the first "channel" is the one.
    """
    start = frame.find(b'"channel":"')
    if start >= 0:
        start += 11
        end = frame.find(b'"', start, start + _MAX_CHANNEL + 1)
        name = frame[start:end] if end > start else b""
    else:
        match = _CHANNEL.search(frame, 0, 4096)
        name = match[1] if match else b""
    return _channel(name)


@lru_cache(maxsize=16384)
def _channel(name: bytes) -> str:
    text = name.decode("ascii", "replace")
    if len(text) > _MAX_CHANNEL or text.startswith(REST) or not _PLAIN_CHANNEL.fullmatch(text):
        return CONTROL
    return text


def event_time(channel: str, payload: bytes) -> int:
    """The first `timestamp` of a notification, milliseconds (of candles their start); `usOut` of all else. In UNIX ns, 0
    where there is none."""
    if channel.startswith(REST) or channel == CONTROL:
        return _digits(_US_OUT, payload, NS_PER_US)
    if channel.startswith("chart."):
        return _digits(_TICK, payload, NS_PER_MS)
    start = payload.find(b'"timestamp"')
    if start < 0:
        return 0
    # Thirteen digits, as from 2001 to 2286, need no regular expression.
    text = payload[start + 11 : start + 25]
    if text[:1] == b":" and text[1:].isdigit() and not payload[start + 25 : start + 26].isdigit():
        return peeked_ms(text[1:])
    return _digits(_TIMESTAMP, payload, NS_PER_MS)


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The venue's time, its id (change_id of books, the first trade_seq of trades) and a hash of the bytes.

    Notifications hold nothing of the connection they came on, so copies of one are equal byte for byte.
    """
    identity = blake2b(payload, digest_size=16).digest()
    if channel.startswith(REST) or channel == CONTROL:
        return MergeKey(event_time(channel, payload), 0, identity)
    pattern = _SEQUENCES.get(channel.partition(".")[0])
    sequence = _digits(pattern, payload, 1) if pattern else 0
    return MergeKey(event_time(channel, payload), sequence, identity)


def change_id_of(payload: bytes) -> int | None:
    """The change_id of a book message or of a public/get_order_book answer; None where it has none."""
    match = _SEQUENCES["book"].search(payload)
    return int(match[1]) if match else None


_SECRET: Final = re.compile(rb'("(?:access_token|refresh_token)"\s*:\s*")(?:[^"\\]|\\.)*')


def redact(frame: bytes) -> bytes:
    """A control frame with the tokens in the reply to public/auth replaced; all others as they are. Never raises.

    {"jsonrpc":"2.0","id":2,"result":{"access_token":"1582628593469.1MbQ-J_4.CBP…","expires_in":900,
     "refresh_token":"1582628593469.1GP4rQd0.A9W…","scope":"connection mainaccount","token_type":"bearer"}}
    https://docs.deribit.com/api-reference/authentication/public-auth (read 2026-11)
    """
    return _SECRET.sub(rb"\1redacted", frame) if b"_token" in frame else frame


def _digits(pattern: re.Pattern[bytes], payload: bytes, scale: int) -> int:
    match = pattern.search(payload)
    value = int(match[1]) * scale if match else 0
    return value if value <= MAX_NS else 0
