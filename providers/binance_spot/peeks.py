"""Peeks into Binance spot's frames that decode nothing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.payloads import CONTROL, MergeKey
from penstock.timestamps import peeked_ms

_PREFIX: Final = b'{"stream":"'
_REST_DEPTH: Final = "rest/depth/"
_MAX_STREAM: Final = 128


def channel_of(frame: bytes) -> str:
    """The stream's name, as it is subscribed by; CONTROL where the frame has none."""
    if frame.startswith(_PREFIX):
        end = frame.find(b'"', 11, _MAX_STREAM)
        if end > 11 and frame[11] != 33:  # "!" begins the names of streams that belong to no symbol
            try:
                return frame[11:end].decode()
            except UnicodeDecodeError:
                return CONTROL
    return CONTROL


_TRADE_ID: Final = re.compile(rb'"[ta]":(\d{1,18}),')
_DEPTH_IDS: Final = re.compile(rb'"U":(\d{1,18}),"u":(\d{1,18}),')
_UPDATE: Final = re.compile(rb'"(?:u|lastUpdateId)":(\d{1,18}),')
_TIMES: Final = {name: re.compile(rb"%b(\d{1,13})[,}]" % name) for name in (b'"T":', b'"E":')}


@lru_cache(maxsize=16384)
def _time_name(channel: str) -> bytes:
    """The field with the venue's time; empty where there is none: book tickers and REST snapshots."""
    kind = channel.partition("@")[2]
    if kind in {"trade", "aggTrade"}:
        return b'"T":'
    return b"" if kind == "bookTicker" or channel.startswith(_REST_DEPTH) else b'"E":'


def event_time(channel: str, payload: bytes) -> int:
    """When trades were matched (`T`) and all else was sent (`E`), in UNIX ns; 0 where the payload does not say."""
    name = _time_name(channel)
    start = payload.find(name) + 4
    if not name or start < 4:
        return 0
    # Thirteen digits, as from 2001 to 2286, need no regular expression.
    text = payload[start : start + 13]
    if text.isdigit() and payload[start + 13 : start + 14] == b",":
        return peeked_ms(text)
    found = _TIMES[name].search(payload)
    return 0 if found is None else peeked_ms(found[1])


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The key that both lanes' copies of a stored payload share.

    Trades are known by their id and depth updates by their ids. Everything else is known by its content.
    """
    kind, at = channel.partition("@")[2], event_time(channel, payload)
    if kind in {"trade", "aggTrade"}:
        if (found := _TRADE_ID.search(payload)) is not None:
            return MergeKey(at, int(found[1]), found[1])
    elif kind.startswith("depth"):
        if (found := _DEPTH_IDS.search(payload)) is not None:
            return MergeKey(at, int(found[2]), found[1] + b"-" + found[2])
    elif kind == "bookTicker" or channel.startswith(_REST_DEPTH):
        if (found := _UPDATE.search(payload)) is not None:
            return MergeKey(at, int(found[1]), _content(payload))
    elif at:
        return MergeKey(at, 0, _content(payload))
    return MergeKey(at, 0, payload)


def _content(payload: bytes) -> bytes:
    return payload.partition(b'"data":')[2] or payload
