"""Looks into frames that are not decoded: the channel, the venue's time, and what two lanes' copies have in common."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.payloads import CONTROL, MergeKey
from penstock.timestamps import peeked_ms

_PREFIX: Final = b'{"stream":"'
_REST_DEPTH: Final = "rest/depth/"
_OPEN_INTEREST: Final = "rest/openInterest/"
_MAX_STREAM: Final = 128


def channel_of(frame: bytes) -> str:
    """The stream's name, as it is subscribed by; CONTROL where the frame has none."""
    if frame.startswith(_PREFIX):
        end = frame.find(b'"', 11, _MAX_STREAM)
        if end > 11:
            try:
                return frame[11:end].decode()
            except UnicodeDecodeError:
                return CONTROL
    return CONTROL


_TRADE_ID: Final = re.compile(rb'"[ta]":(\d{1,18}),')
_DEPTH_IDS: Final = re.compile(rb'"U":(\d{1,18}),"u":(\d{1,18}),')
_UPDATE: Final = re.compile(rb'"(?:u|lastUpdateId)":(\d{1,18}),')
_TIMES: Final = {name: re.compile(rb"%b\s*(\d{1,13})[,}]" % name) for name in (b'"T":', b'"E":', b'"time":')}
_MATCHED: Final = frozenset({"trade", "aggTrade", "bookTicker", "forceOrder"})


@lru_cache(maxsize=16384)
def _time_name(channel: str) -> bytes:
    """The field with the venue's time: `T` where it is that of the matching engine, else `E`; empty where neither is."""
    kind = channel.partition("@")[2]
    if kind in _MATCHED or kind.startswith("depth") or channel.startswith(_REST_DEPTH):
        return b'"T":'
    if channel.startswith(_OPEN_INTEREST):
        return b'"time":'
    return b"" if channel == CONTROL else b'"E":'


def event_time(channel: str, payload: bytes) -> int:
    """When it happened in the matching engine (`T`) or, for all else, was sent (`E`), in UNIX ns; 0 where it is not said."""
    name = _time_name(channel)
    if not name:
        return 0
    start = payload.find(name) + len(name)
    # Thirteen digits, as from 2001 to 2286, need no regular expression.
    text = payload[start : start + 13]
    if start >= len(name) and text.isdigit() and payload[start + 13 : start + 14] in b",}":
        return peeked_ms(text)
    found = _TIMES[name].search(payload)
    return 0 if found is None else peeked_ms(found[1])


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The key that both lanes' copies of a stored payload share.

    Trades are known by their id, depth updates and quotes by their update ids: what the book is after an update does not
    depend on who asks. Everything else is known by its content.
    """
    kind, at = channel.partition("@")[2], event_time(channel, payload)
    if kind in {"trade", "aggTrade"}:
        if (found := _TRADE_ID.search(payload)) is not None:
            return MergeKey(at, int(found[1]), found[1])
    elif kind.startswith("depth"):
        if (found := _DEPTH_IDS.search(payload)) is not None:
            return MergeKey(at, int(found[2]), found[1] + b"-" + found[2])
    elif kind == "bookTicker":
        if (found := _UPDATE.search(payload)) is not None:
            return MergeKey(at, int(found[1]), found[1])
    elif channel.startswith(_REST_DEPTH):
        if (found := _UPDATE.search(payload)) is not None:
            return MergeKey(at, int(found[1]), payload)
    elif at:
        return MergeKey(at, 0, payload.partition(b'"data":')[2] or payload)
    return MergeKey(at, 0, payload)
