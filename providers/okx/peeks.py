"""Peeks into frames that decode nothing: which channel, what time, which id."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from penstock.payloads import CONTROL, REST, MergeKey
from penstock.timestamps import MAX_NS, NS_PER_MS, peeked_ms

STATUS: Final = "status"
"""Its pushes speak of the venue, not of an instrument: they are control frames."""

_HEAD: Final = 256
_PLAIN_HEAD: Final = b'{"arg":{'
_ARG: Final = re.compile(rb'"arg"\s*:\s*\{([^{}]{0,200})\}')
_CHANNEL: Final = re.compile(rb'"channel"\s*:\s*"([^"\\]*)"')
_SUBJECT: Final = re.compile(rb'"(?:instId|instType)"\s*:\s*"([^"\\]*)"')
_INSTRUMENT: Final = re.compile(rb'"instId"\s*:\s*"([^"\\]*)"')
_EVENT: Final = re.compile(rb'"event"\s*:')
_PLAIN: Final = re.compile(r"[!-~]{1,128}")
_TS: Final = re.compile(rb'"ts"\s*:\s*"([0-9]{1,16})"')
_CANDLE: Final = re.compile(rb'"data"\s*:\s*\[\s*\[\s*"([0-9]{1,16})"')
_SEQUENCE: Final = re.compile(rb'"seqId"\s*:\s*([0-9]{1,19})')
_TRADE_ID: Final = re.compile(rb'"tradeId"\s*:\s*"([0-9]{1,19})"')


def channel_of(frame: bytes) -> str:
    """`<channel>.<instId or instType>` of a data frame; CONTROL for events, `status`, `pong` and what is no JSON.

    A data frame is `{"arg":{"channel":"books","instId":"BTC-USDT"},…}` and an event `{"event":"subscribe","arg":…}`.
    """
    if frame.startswith(_PLAIN_HEAD):
        # How the venue writes data frames, in the fewest steps.
        end = frame.find(b"}", len(_PLAIN_HEAD), _HEAD)
        if end > 0 and frame.startswith((b',"data":', b',"action":'), end + 1):
            return _word(frame[len(_PLAIN_HEAD) : end])
    match = _ARG.search(frame, 0, _HEAD)
    if match is None or _EVENT.search(frame, 0, match.start()) or _EVENT.search(frame, match.end(), match.end() + 64):
        return CONTROL
    return _word(match[1])


@lru_cache(maxsize=16384)
def _word(arg: bytes) -> str:
    channel, subject = _CHANNEL.search(arg), _INSTRUMENT.search(arg) or _SUBJECT.search(arg)
    if channel is None or subject is None or not subject[1]:
        return CONTROL
    word = f"{channel[1].decode('ascii', 'replace')}.{subject[1].decode('ascii', 'replace')}"
    return CONTROL if word.startswith(REST) or not _PLAIN.fullmatch(word) else word


def event_time(channel: str, payload: bytes) -> int:
    """The last `ts` of a payload, milliseconds, or a candle's start. In UNIX ns, 0 where there is none."""
    if channel.startswith("candle"):
        return _digits(_CANDLE.search(payload), NS_PER_MS)
    start = payload.rfind(b'"ts"')
    # Thirteen digits, as from 2001 to 2286, need no regular expression.
    text = payload[start + 6 : start + 19]
    if (
        payload[start + 4 : start + 6] == b':"'
        and payload[start + 19 : start + 20] == b'"'
        and text.isdigit()
        and start >= 0
    ):
        return peeked_ms(text)
    return _digits(_TS.match(payload, start), NS_PER_MS) if start >= 0 else 0


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The venue's time, its id (seqId of books, the first tradeId of trades) and a hash of the bytes.

    Data frames hold nothing of the connection they came on, so copies of one are equal byte for byte; the venue sends
    every connection the same ones (https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel).
    """
    sequence = 0
    if channel.startswith(("books", "bbo-tbt")):
        sequence = book_sequence(payload) or 0
    elif channel.startswith("trades"):
        sequence = _digits(_TRADE_ID.search(payload), 1)
    return MergeKey(event_time(channel, payload), sequence, blake2b(payload, digest_size=16).digest())


def book_sequence(payload: bytes) -> int | None:
    """The seqId of a book's frame or of an answer of GET /api/v5/market/books; None where it has none."""
    match = _SEQUENCE.search(payload)
    return int(match[1]) if match else None


def _digits(match: re.Match[bytes] | None, scale: int) -> int:
    value = int(match[1]) * scale if match else 0
    return value if value <= MAX_NS else 0
