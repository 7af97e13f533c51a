"""Peeks into Coinbase Advanced Trade's frames that decode nothing."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from penstock.errors import PayloadError
from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import from_iso8601
from providers.coinbase_advanced.channels import CANDLES, HEARTBEATS, LEVEL2, MARKET_TRADES, STATUS, TICKER

_CHANNEL: Final = re.compile(rb'"channel"\s*:\s*"([a-z0-9_]{1,32})"')
_PRODUCT: Final = re.compile(rb'"product_id"\s*:\s*"([A-Z0-9-]{1,40})"')
_TIMES: Final = re.compile(rb'"(?:event_time|time)"\s*:\s*"([0-9:.TZ-]{20,30})"')
_TIMESTAMP: Final = re.compile(rb'"timestamp"\s*:\s*"([0-9:.TZ-]{20,30})"')
_TRADE_ID: Final = re.compile(rb'"trade_id"\s*:\s*"([0-9]{1,20})"')
_EVENTS: Final = re.compile(rb'"events"\s*:')

_SUBSCRIBED_AS: Final = {
    b"l2_data": LEVEL2, b"market_trades": MARKET_TRADES, b"ticker": TICKER, b"candles": CANDLES, b"status": STATUS,
    b"heartbeats": HEARTBEATS,
}  # fmt: skip
_WHOLE: Final = frozenset({STATUS, HEARTBEATS})
_CONNECTION: Final = frozenset({CONTROL, HEARTBEATS})


def channel_of(frame: bytes) -> str:
    """`level2.BTC-USD` and the like; `status` and `heartbeats`; the channel alone where a frame mixes products."""
    match = _CHANNEL.search(frame)
    word = _SUBSCRIBED_AS.get(match[1]) if match else None
    if word is None:
        return CONTROL
    if word in _WHOLE:
        return word
    product = _PRODUCT.search(frame)
    # Two counts run at memory speed, also over a snapshot of 5 MB.
    if product is None or frame.count(b'"product_id"') != frame.count(product[0]):
        return word
    return f"{word}.{product[1].decode('ascii')}"


@lru_cache(maxsize=16384)
def _time_field(channel: str) -> bytes:
    """How a time begins in the events of a channel; empty where nothing is known of it."""
    word = channel.partition(".")[0]
    return b'"event_time":"' if word == LEVEL2 else b'"time":"' if word == MARKET_TRADES else b""


def event_time(channel: str, payload: bytes) -> int:
    """The latest event_time or time within the events, UNIX ns; tickers have none (0), as do REST answers.

    Frames of the connection itself (control, heartbeats) have only its timestamp.
    """
    if field := _time_field(channel):
        start = payload.find(field, payload.find(b'"events":'))
        text = payload[start : payload.find(b'"', start + len(field)) + 1]
        # Most frames have one time, if often: where it is written as often as any time is, there is no other.
        if start > 0 and payload.count(text) == payload.count(b'time"'):
            return _instant(text[len(field) : -1])
    elif channel in _CONNECTION:
        return _latest(_TIMESTAMP, payload) if _EVENTS.search(payload) else 0
    if channel.startswith(REST) or b'time"' not in payload:
        return 0
    return _latest(_TIMES, _events(payload))


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The lane-independent key: `sequence_num` and `timestamp` are the connection's, so only the events count.

    Frames of the connection itself (control, heartbeats) are no copies of each other on two lanes.
    """
    at = event_time(channel, payload)
    events = b"" if channel.startswith(REST) or channel in _CONNECTION else _events(payload)
    if not events:
        return MergeKey(at, 0, _digest(channel, payload))
    trade_id = max(map(int, _TRADE_ID.findall(events)), default=0) if channel.startswith(MARKET_TRADES) else 0
    return MergeKey(at, trade_id, _digest(channel, events))


def _digest(channel: str, content: bytes) -> bytes:
    return blake2b(content, digest_size=16, key=channel.encode("utf-8", "surrogatepass")[:64]).digest()


def _events(payload: bytes) -> bytes:
    """Up to the last bracket: what could stand behind the events is the connection's."""
    start = _EVENTS.search(payload)
    return payload[start.start() : payload.rfind(b"]") + 1] if start else b""


def _latest(pattern: re.Pattern[bytes], content: bytes) -> int:
    return max(map(_instant, set(pattern.findall(content))), default=0)


def _instant(text: bytes) -> int:
    try:
        return from_iso8601(text.decode("ascii"))
    except (PayloadError, UnicodeDecodeError):
        return 0
