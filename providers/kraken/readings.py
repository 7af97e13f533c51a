"""What a message says, whichever API wrote it: v1.py and v2.py make these of frames. Numbers are the venue's text still."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

RawLevel = tuple[bytes, bytes]
"""(price, new absolute quantity) as printed."""


class Book(NamedTuple):
    """A `book` message. `checksum` is missing in snapshots of the API v1.

    `ordered`: `ts_event` is the message's own time, which does not go back (v1 has times of levels only); it is None where
    there is none. `printed` are the decimals of price and quantity by which the checksum is made where the message says so
    itself (v1 prints them all); None where they are the instrument's precision (v2). `depth` is None where the message does
    not say it.
    """

    snapshot: bool
    bids: list[RawLevel]
    asks: list[RawLevel]
    checksum: int | None
    ts_event: int | None
    ordered: bool
    printed: tuple[int, int] | None = None
    depth: int | None = None


class Trade(NamedTuple):
    """One trade. `side` is buy or sell, the taker's; `trade_id` is None in the API v1."""

    symbol: str
    side: str
    price: bytes
    qty: bytes
    trade_id: int | None
    ts_event: int


class Ticker(NamedTuple):
    """A `ticker` message; statistics are of the last 24 hours. `ts_event` is None where the message has no time."""

    bid: RawLevel
    ask: RawLevel
    last: bytes
    volume: bytes
    vwap: bytes
    low: bytes
    high: bytes
    change: bytes
    ts_event: int | None


class Candle(NamedTuple):
    """A candle of one minute, so far. `begin` is UNIX ns, `trades` how many it is made of."""

    begin: int
    open: bytes
    high: bytes
    low: bytes
    close: bytes
    volume: bytes
    trades: int


def plain(raw: msgspec.Raw) -> bytes:
    """A number as it was printed: in the stream as a JSON number, in REST's answers and the venue's guides as a text."""
    text = bytes(raw)
    return text[1:-1] if text[:1] == text[-1:] == b'"' and len(text) > 1 else text
