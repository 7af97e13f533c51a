"""Messages of the API v1 (arrays; recordings of 2021 hold them) as readings. All functions raise PayloadError.

https://docs.kraken.com/exchange/api-reference/spot-websocket-v1 (read 2026-11). All numbers and times are quoted text, at a
precision that is constant for a pair and finer than REST's pair_decimals. The pair is last, the channel's name before it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.numbers import number
from penstock.timestamps import MAX_NS
from providers.kraken import readings
from providers.kraken.events import check_symbol
from providers.kraken.names import modern

_DEPTHS: Final = {f"book-{depth}": depth for depth in (10, 25, 100, 500, 1000)}
_SIDES: Final = {"b": "buy", "s": "sell"}
_NS_PER_MINUTE: Final = 60_000_000_000
_MAX_CHECKSUM: Final = 2**32 - 1


class _BookPart(msgspec.Struct, gc=False):
    """`as` and `bs` are a snapshot; `a`, `b` and the checksum `c` an update, which two parts share where both sides change.

    [1360,{"a":[["0.000022930","0.00000000","1618678134.120394"]],"c":"974947235"},"book-1000","ADA/XBT"]
    """

    as_: list[list[str]] | None = msgspec.field(default=None, name="as")
    bs: list[list[str]] | None = None
    a: list[list[str]] = []
    b: list[list[str]] = []
    c: str | None = None


class _Ticker(msgspec.Struct, gc=False):
    """Arrays of best (price, whole lots, lots), last trade (price, lots), and of figures of today and of the last 24 hours.

    {"a":["29938.60000",12,"12.41074632"],"b":["29938.50000",0,"0.08410000"],"c":["29938.60000","0.10146338"],
     "v":["735.06931643","5243.60824494"],"p":["29812.62518","30272.79057"],"t":[6120,30832],
     "l":["29581.10000","29328.60000"],"h":["30085.80000","31869.30000"],"o":["29790.00000","31614.50000"]}
    """

    a: tuple[str, int, str]
    b: tuple[str, int, str]
    c: tuple[str, str]
    v: tuple[str, str]
    p: tuple[str, str]
    low: tuple[str, str] = msgspec.field(name="l")
    high: tuple[str, str] = msgspec.field(name="h")


_FRAME: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_PART: Final = msgspec.json.Decoder(_BookPart)
_TRADES: Final = msgspec.json.Decoder(list[list[str]])
_TICKER: Final = msgspec.json.Decoder(_Ticker)
_CANDLE: Final = msgspec.json.Decoder(tuple[str, str, str, str, str, str, str, str, int])


def book(channel: str, payload: bytes) -> readings.Book:
    """A `book-<depth>` message. Levels are [price, volume, time] and, in an update, "r" where a level is shown again."""
    bodies, name = _parts(channel, payload)
    if name not in _DEPTHS:
        raise PayloadError("unknown_frame", "channel", name, "book- and a depth")
    parts = [decode(_PART, body) for body in bodies]
    snapshots = [part for part in parts if part.as_ is not None or part.bs is not None]
    if snapshots and len(parts) > 1:
        raise PayloadError("shape", "parts", len(parts), "one part in a snapshot")
    asks = [level for part in parts for level in part.as_ or part.a]
    bids = [level for part in parts for level in part.bs or part.b]
    checksums = [part.c for part in parts if part.c is not None]
    if len(checksums) > 1 or (not snapshots and not checksums):
        raise PayloadError("shape", "c", len(checksums), "one checksum in an update, none in a snapshot")
    times = [_time(_text(level, 2)) for level in (*asks, *bids)]
    raw_bids, raw_asks = _levels(bids), _levels(asks)
    first = next(iter((*raw_asks, *raw_bids)), None)
    return readings.Book(
        snapshot=bool(snapshots),
        bids=raw_bids,
        asks=raw_asks,
        checksum=_checksum(checksums[0]) if checksums else None,
        ts_event=max(times, default=None),
        ordered=False,
        printed=None if first is None else (_decimals(first[0]), _decimals(first[1])),
        depth=_DEPTHS[name],
    )


def trades(channel: str, payload: bytes) -> tuple[bool, list[readings.Trade]]:
    """A `trade` message: [price, volume, time, b or s, m or l, misc] each, without ids and never a snapshot."""
    bodies, _ = _parts(channel, payload)
    symbol = channel.partition(".")[2]
    found = []
    for item in decode(_TRADES, _only(bodies)):
        side = _SIDES.get(_text(item, 3))
        if side is None:
            raise PayloadError("direction", "side", item[3], "b or s")
        found.append(
            readings.Trade(symbol, side, item[0].encode(), _text(item, 1).encode(), None, _time(_text(item, 2)))
        )
    return False, found


def ticker(channel: str, payload: bytes) -> readings.Ticker:
    """A `ticker` message; it has no time and no change."""
    bodies, _ = _parts(channel, payload)
    data = decode(_TICKER, _only(bodies))
    return readings.Ticker(
        bid=(data.b[0].encode(), data.b[2].encode()),
        ask=(data.a[0].encode(), data.a[2].encode()),
        last=data.c[0].encode(),
        volume=data.v[1].encode(),
        vwap=data.p[1].encode(),
        low=data.low[1].encode(),
        high=data.high[1].encode(),
        change=b"",
        ts_event=None,
    )


def candles(channel: str, payload: bytes) -> tuple[bool, list[readings.Candle]]:
    """An `ohlc-1` message: [time, end, open, high, low, close, vwap, volume, count], one candle."""
    bodies, name = _parts(channel, payload)
    if name != "ohlc-1":
        raise PayloadError("unknown_frame", "channel", name, "candles of one minute")
    _, end, *prices, _vwap, volume, count = decode(_CANDLE, _only(bodies))
    begin = _time(str(end)) - _NS_PER_MINUTE
    open_, high, low, close = (str(price).encode() for price in prices)
    return False, [readings.Candle(begin, open_, high, low, close, str(volume).encode(), int(count))]


def _parts(channel: str, payload: bytes) -> tuple[list[msgspec.Raw], str]:
    """The bodies between a frame's channel id and its name, and the name. Raises PayloadError for another pair's frame."""
    items = decode(_FRAME, payload)
    if len(items) < 4:
        raise PayloadError("shape", "items", len(items), "channel id, bodies, channel name, pair")
    check_symbol(channel, modern(decode(_TEXT, items[-1])))
    return items[1:-2], decode(_TEXT, items[-2])


def _only(bodies: list[msgspec.Raw]) -> msgspec.Raw:
    if len(bodies) != 1:
        raise PayloadError("shape", "bodies", len(bodies), "one body")
    return bodies[0]


def _levels(levels: list[list[str]]) -> list[readings.RawLevel]:
    return [(level[0].encode(), level[1].encode()) for level in levels]


def _text(item: list[str], index: int) -> str:
    if len(item) <= index:
        raise PayloadError("shape", "item", item, f"at least {index + 1} texts")
    return item[index]


def _checksum(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _MAX_CHECKSUM):
        raise PayloadError("number_format", "c", text, "a CRC32 as a decimal number")
    return int(text)


def _time(text: str) -> int:
    """UNIX ns of `1618678133.365913`. Raises PayloadError("time_format")."""
    seconds, dot, fraction = text.partition(".")
    digits = seconds + fraction
    plain = digits.isascii() and digits.isdecimal() and dot and 0 < len(fraction) <= 9 and 0 < len(seconds) <= 10
    if not plain or (instant := int(digits + "0" * (9 - len(fraction)))) > MAX_NS:
        raise PayloadError("time_format", "time", text, "UNIX seconds with a fraction, before the year 2262")
    return instant


def _decimals(raw: bytes) -> int:
    """How many decimals a number is printed with: 2 for `"354.10"`."""
    return len(number(raw).partition(".")[2])
