"""Peeks into Bybit's frames that decode nothing. `payloads` offers them to the services."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final
from urllib.parse import parse_qs, urlsplit

from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import peeked_ms
from providers.bybit.names import CATEGORIES, topic_of

_PUBLIC: Final = "/v5/public/"
_MAX_TOPIC: Final = 200
_TOPIC: Final = re.compile(rb'"topic"\s*:\s*"([^"\\]*)"')
_PLAIN: Final = re.compile(r"[!-~]+")

_TS: Final = re.compile(rb'"ts"\s*:\s*"?([0-9]{1,16})')
_CTS: Final = re.compile(rb'"cts"\s*:\s*([0-9]{1,16})')
_FILLED: Final = re.compile(rb'"T"\s*:\s*([0-9]{1,16})')
_MATCHED: Final = re.compile(rb'"timestamp"\s*:\s*([0-9]{1,16})')
_TIME: Final = re.compile(rb'"time"\s*:\s*([0-9]{1,16})')
_SEQ: Final = re.compile(rb'"seq"\s*:\s*([0-9]{1,19})')
_CS: Final = re.compile(rb'"cs"\s*:\s*([0-9]{1,19})')
_OF_THE_PUSH: Final = re.compile(rb'"(?:ts"\s*:\s*[0-9]+|id"\s*:\s*"[^"]*")')
"""What may be of the push and not of the event: `ts`, and the message id of options, which ends in it."""

_TIMES: Final = {"orderbook": _CTS, "publicTrade": _FILLED, "allLiquidation": _FILLED, "kline": _MATCHED}


def channel_of(frame: bytes) -> str:
    """The topic of a data frame, CONTROL for all else. It lacks the category: `channel_on` has it. Never raises."""
    return _named("", frame)


@lru_cache(maxsize=1024)
def channel_on(url: str) -> Callable[[bytes], str]:
    """What names the channel of frames that come on a connection to `url`: see penstock.payloads.channels_on.

    Frames of a URL that is none of v5's keep their bare topic, which the normalizer refuses by name.
    """
    path = urlsplit(url).path
    word = path.rpartition(_PUBLIC)[2].strip("/") if _PUBLIC in path else ""
    if word == "misc/status":
        return partial(_named, "misc.")
    return partial(_named, f"{word}." if word in CATEGORIES else "")


def _named(prefix: str, frame: bytes) -> str:
    start = frame.find(b'"topic":"')
    if start >= 0:
        start += 9
        end = frame.find(b'"', start, start + _MAX_TOPIC + 1)
        name = frame[start:end] if end > start else b""
    else:
        match = _TOPIC.search(frame, 0, 4096)
        name = match[1] if match else b""
    return _channel(prefix, name)


@lru_cache(maxsize=16384)
def _channel(prefix: str, name: bytes) -> str:
    text = name.decode("ascii", "replace")
    if len(text) > _MAX_TOPIC or text in {CONTROL, "session"} or text.startswith(REST) or not _PLAIN.fullmatch(text):
        return CONTROL
    return prefix + text


def rest_channel(url: str) -> str:
    """`rest/<last path word>`, with category and symbol where the URL has them: `rest/instruments-info/spot/BTCUSDT`."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    words = [
        parts.path.rstrip("/").rpartition("/")[2],
        *(query[name][0] for name in ("category", "symbol") if name in query),
    ]
    return REST + "/".join(words)


def event_time(channel: str, payload: bytes) -> int:
    """Venue time in UNIX ns, 0 where there is none. Never raises.

    Books have the matching engine's (`cts`), trades and liquidations that of the first in the message, candles that of
    their last match, REST answers `time`, all else the time of the push.
    """
    if channel.startswith(REST):
        return _last(_TIME, payload)
    topic = topic_of(channel)
    pattern = _TIMES.get(topic.kind) if topic else None
    return (_first(pattern, payload) if pattern else 0) or _first(_TS, payload)


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """Venue time, cross sequence, and a hash of the message without what the push added. Never raises."""
    if channel.startswith(REST) or channel == CONTROL:
        return MergeKey(event_time(channel, payload), 0, blake2b(payload, digest_size=16).digest())
    match = _SEQ.search(payload) or _CS.search(payload)
    sequence = int(match[1]) if match else 0
    event = _OF_THE_PUSH.sub(b"", payload)
    return MergeKey(event_time(channel, payload), sequence, blake2b(event, digest_size=16).digest())


def seq_of(payload: bytes) -> int | None:
    """The first cross sequence of a message or answer; None where it has none."""
    match = _SEQ.search(payload)
    return int(match[1]) if match else None


def _first(pattern: re.Pattern[bytes], payload: bytes) -> int:
    match = pattern.search(payload)
    return peeked_ms(match[1]) if match else 0


def _last(pattern: re.Pattern[bytes], payload: bytes) -> int:
    """The last match within the last 200 bytes: lists of hundreds of instruments come before it."""
    matches = list(pattern.finditer(payload, max(len(payload) - 200, 0)))
    return peeked_ms(matches[-1][1]) if matches else 0
