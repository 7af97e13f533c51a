"""Peeks into Kraken's frames that decode nothing: which channel, which time, which id."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from penstock.errors import PayloadError
from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import NS_PER_US, from_iso8601
from providers.kraken.names import modern

_HEAD: Final = re.compile(rb'\s*\{\s*"channel"\s*:\s*"([a-z0-9]{1,16})"')
_SYMBOL: Final = re.compile(rb'"symbol"\s*:\s*"([A-Za-z0-9._-]{1,24}/[A-Za-z0-9._-]{1,24})"')
_SYMBOL_WITHIN: Final = 4096
_TAIL: Final = re.compile(rb',\s*"([a-z]+)(-[0-9]+)?"\s*,\s*"([A-Z0-9.]{1,24}/[A-Z0-9.]{1,24})"\s*\]\s*$')
_TAIL_BYTES: Final = 96

_OF_A_PAIR: Final = frozenset({b"book", b"level3", b"trade", b"ticker", b"ohlc"})
_MINUTE: Final = b"-1"

_TIMESTAMP: Final = re.compile(rb'"timestamp"\s*:\s*"([^"]{20,30})"')
_BEGIN: Final = re.compile(rb'"interval_begin"\s*:\s*"([^"]{20,30})"')
_TIME_OUT: Final = re.compile(rb'"time_out"\s*:\s*"([^"]{20,30})"')
_EPOCH: Final = re.compile(rb'"([0-9]{10})\.([0-9]{6})"')
_TRADE_ID: Final = re.compile(rb'"trade_id"\s*:\s*([0-9]{1,19})')
_TRADES: Final = re.compile(rb'"trades"\s*:\s*([0-9]{1,19})')
_MAX_ID: Final = 2**63 - 1


def is_v1(frame: bytes) -> bool:
    """True for a data message of the API v1, which is an array; those of v2 are objects."""
    return frame[:1] == b"["


def channel_of(frame: bytes) -> str:
    """`<channel>.<symbol>` of a data message, `instrument`, and CONTROL for everything else.

    `{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",…}]}` and, of the API v1,
    `[320,{"a":[…],"c":"2479000840"},"book-25","XBT/USD"]` are both `book.BTC/USD`. Candles are those of one minute.
    """
    if is_v1(frame):
        match = _TAIL.search(frame, max(0, len(frame) - _TAIL_BYTES))
        return CONTROL if match is None else _v1_channel(match[1], match[2] or b"", match[3])
    match = _HEAD.match(frame)
    if match is None:
        return CONTROL
    name = match[1]
    if name in _OF_A_PAIR:
        symbol = _SYMBOL.search(frame, match.end(), _SYMBOL_WITHIN)
        return CONTROL if symbol is None else _v2_channel(name, symbol[1])
    return "instrument" if name == b"instrument" else CONTROL


@lru_cache(maxsize=16384)
def _v2_channel(name: bytes, symbol: bytes) -> str:
    return f"{name.decode()}.{symbol.decode()}"


@lru_cache(maxsize=16384)
def _v1_channel(name: bytes, detail: bytes, pair: bytes) -> str:
    if name not in _OF_A_PAIR or (name == b"ohlc" and detail != _MINUTE):
        return CONTROL
    return f"{name.decode()}.{modern(pair.decode())}"


def event_time(channel: str, payload: bytes) -> int:
    """The newest venue time in a message, of a candle its start; UNIX ns, 0 where there is none."""
    if channel.startswith(REST):
        return 0
    if is_v1(payload):
        return _epoch(channel, payload)
    pattern = _TIME_OUT if channel == CONTROL else _BEGIN if channel.startswith("ohlc.") else _TIMESTAMP
    # Within a message all times have the same number of decimals, so that texts compare as times do.
    newest = max(pattern.findall(payload), default=b"")
    try:
        return from_iso8601(newest.decode("ascii", "replace")) if newest else 0
    except PayloadError:
        return 0


def _epoch(channel: str, payload: bytes) -> int:
    found = _EPOCH.findall(payload)
    if not found:
        return 0
    # A v1 candle names its last trade's time, then its end; the start is not there.
    seconds, micros = found[0] if channel.startswith("ohlc.") else max(found)
    return (int(seconds) * 1_000_000 + int(micros)) * NS_PER_US


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The venue's time, its id (the last trade's, or how many trades a candle has) and a hash of the bytes.

    Messages hold nothing of the connection they came on, so copies of one are equal byte for byte.
    """
    identity = blake2b(payload, digest_size=16).digest()
    if channel.startswith("trade."):
        sequence = trade_id_of(payload) or 0
    else:
        sequence = _largest(_TRADES, payload) or 0 if channel.startswith("ohlc.") else 0
    return MergeKey(event_time(channel, payload), sequence, identity)


def trade_id_of(payload: bytes) -> int | None:
    """The highest trade_id of a `trade` message; None where it has none."""
    return _largest(_TRADE_ID, payload)


def _largest(pattern: re.Pattern[bytes], payload: bytes) -> int | None:
    return max((number for text in pattern.findall(payload) if (number := int(text)) <= _MAX_ID), default=None)
