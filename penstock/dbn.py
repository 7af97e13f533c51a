"""DBN version 3 records as bytes: packed for publishing, walked and checked when received.

Packing uses precompiled `struct`s, byte-equal to databento_dbn's classes (the tests hold them to that). All prices are
i64 at 1e-9, sizes u32 lots, times u64 UNIX ns. Layouts: https://github.com/databento/dbn rust/dbn/src/record.rs, v0.54.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.lots import MAX_SIZE, split

VERSION: Final = 3

UNDEF_PRICE: Final = 2**63 - 1
UNDEF_ORDER_SIZE: Final = 2**32 - 1
UNDEF_STAT_QUANTITY: Final = 2**63 - 1
UNDEF_TIMESTAMP: Final = 2**64 - 1

F_LAST: Final = 128
F_TOB: Final = 64
F_SNAPSHOT: Final = 32
F_MBP: Final = 16
F_BAD_TS_RECV: Final = 8
F_MAYBE_BAD_BOOK: Final = 4
F_PUBLISHER_SPECIFIC: Final = 2

ADD, MODIFY, CANCEL, CLEAR, TRADE = b"A", b"M", b"C", b"R", b"T"
ASK, BID, NONE = b"A", b"B", b"N"

RTYPE_TRADE: Final = 0x00
RTYPE_MBP_1: Final = 0x01
RTYPE_MBP_10: Final = 0x0A
RTYPE_STATUS: Final = 0x12
RTYPE_DEFINITION: Final = 0x13
RTYPE_ERROR: Final = 0x15
RTYPE_SYSTEM: Final = 0x17
RTYPE_STATISTICS: Final = 0x18
RTYPE_OHLCV_1S, RTYPE_OHLCV_1M, RTYPE_OHLCV_1H, RTYPE_OHLCV_1D = 0x20, 0x21, 0x22, 0x23
RTYPE_MBO: Final = 0xA0

RECORD_BYTES: Final = {
    RTYPE_TRADE: 48, RTYPE_MBP_1: 80, RTYPE_MBP_10: 368, RTYPE_STATUS: 40, RTYPE_DEFINITION: 520, RTYPE_ERROR: 320,
    0x16: 176, RTYPE_SYSTEM: 320, RTYPE_STATISTICS: 80, RTYPE_OHLCV_1S: 56, RTYPE_OHLCV_1M: 56, RTYPE_OHLCV_1H: 56,
    RTYPE_OHLCV_1D: 56, RTYPE_MBO: 56, 0xC3: 80, 0xC4: 80,
}  # fmt: skip
"""Size in bytes of each record type this project publishes or accepts."""

# DBN's statistic types that have a standard meaning, and our private range for what DBN has no type for.
STAT_OPENING_PRICE, STAT_SETTLEMENT_PRICE, STAT_LOW, STAT_HIGH, STAT_CLEARED_VOLUME = 1, 3, 4, 5, 6
STAT_OPEN_INTEREST, STAT_FIXING_PRICE, STAT_CLOSE_PRICE = 9, 10, 11
STAT_VOLATILITY, STAT_DELTA = 14, 15
STAT_MARK_PRICE: Final = 20001
"""price: the venue's mark price at 1e-9."""
STAT_FUNDING_RATE: Final = 20002
"""price: rate at 1e-9 (a fraction, not percent); quantity: the same at 1e-18; ts_ref: end of its period or undefined."""
STAT_ESTIMATED_DELIVERY: Final = 20003
"""price: estimated delivery or settlement price at 1e-9."""
STAT_FUNDING_RATE_8H: Final = 20004
"""Like STAT_FUNDING_RATE, over eight hours."""
STAT_LAST_PRICE: Final = 20005
"""price: price of the last trade at 1e-9."""
STAT_LIQUIDATION: Final = 20006
"""price and quantity (lots) of a liquidation; its side is in stat_flags: 1 long closed, 2 short closed."""

SYSTEM_HEARTBEAT: Final = 0
ERROR_UNSET: Final = 255

_HEADER = struct.Struct("<BBHIQ")
_TRADE = struct.Struct("<BBHIQqIccBBQiI")
_MBP_1 = struct.Struct("<BBHIQqIccBBQiIqqIIII")
_MBO = struct.Struct("<BBHIQQqIBBccQiI")
# One message's MBO records differ only between what comes before and behind; flags take channel_id (0) with them.
_MBO_HEAD, _MBO_TAIL, _MBO_BETWEEN = struct.Struct("<BBHIQ"), struct.Struct("<QiI"), struct.Struct("<16sQqIHcc16s")
_STATUS = struct.Struct("<BBHIQQHHHccc7x")
_STAT = struct.Struct("<BBHIQQQqqIiHHBB18x")
_SYSTEM = struct.Struct("<BBHIQ303sB")
_ERROR = struct.Struct("<BBHIQ302sBB")
_OHLCV = struct.Struct("<BBHIQqqqqQ")

_pack_trade, _pack_mbp_1, _pack_mbo, _pack_stat = _TRADE.pack, _MBP_1.pack, _MBO.pack, _STAT.pack

_DELTA_MAX: Final = 2**31 - 1

MboPart = tuple[int, int, int, bytes, bytes]
"""What an MBO record has of its own in a message: (order_id, price, size, action, side)."""


def ts_in_delta(ts_event: int, ts_recv: int) -> int:
    """Venue time to receive time in ns as DBN's i32; 0 where it does not fit (beyond ±2.147 s)."""
    delta = ts_recv - ts_event
    return delta if -_DELTA_MAX <= delta <= _DELTA_MAX else 0


def trade(
    publisher_id: int, instrument_id: int, ts_event: int, price: int, size: int, side: bytes, flags: int,
    ts_recv: int, sequence: int,
) -> bytes:  # fmt: skip
    """One TradeMsg. `side` is the aggressor's: ASK sold, BID bought, NONE unknown. `sequence` is cut to 32 bits."""
    return _pack_trade(
        12, RTYPE_TRADE, publisher_id, instrument_id, ts_event, price, size, TRADE, side, flags, 0, ts_recv,
        ts_in_delta(ts_event, ts_recv), sequence & 0xFFFFFFFF,
    )  # fmt: skip


def trade_message(
    publisher_id: int, instrument_id: int, ts_event: int, price: int, size: int, side: bytes, flags: int,
    ts_recv: int, sequence: int,
) -> bytes:  # fmt: skip
    """`trade` for each part of `size` lots as one message: `flags` on every record, F_LAST on the last.

    Raises PayloadError("size_range") where there are too many parts.
    """
    if size <= MAX_SIZE:
        return trade(publisher_id, instrument_id, ts_event, price, size, side, flags | F_LAST, ts_recv, sequence)
    *before, last = split(size)
    records = [
        trade(publisher_id, instrument_id, ts_event, price, part, side, flags, ts_recv, sequence) for part in before
    ]
    records.append(trade(publisher_id, instrument_id, ts_event, price, last, side, flags | F_LAST, ts_recv, sequence))
    return b"".join(records)


def mbo(
    publisher_id: int, instrument_id: int, ts_event: int, order_id: int, price: int, size: int, flags: int,
    action: bytes, side: bytes, ts_recv: int, sequence: int,
) -> bytes:  # fmt: skip
    """One MBOMsg; channel_id is 0."""
    return _pack_mbo(
        14, RTYPE_MBO, publisher_id, instrument_id, ts_event, order_id, price, size, flags, 0, action, side, ts_recv,
        ts_in_delta(ts_event, ts_recv), sequence & 0xFFFFFFFF,
    )  # fmt: skip


def mbo_message(
    publisher_id: int, instrument_id: int, ts_event: int, parts: Sequence[MboPart], flags: int, ts_recv: int,
    sequence: int,
) -> bytes:  # fmt: skip
    """`mbo` for each of `parts`, which are not empty, as one message: `flags` on every record, F_LAST on the last."""
    head = _MBO_HEAD.pack(14, RTYPE_MBO, publisher_id, instrument_id, ts_event)
    tail = _MBO_TAIL.pack(ts_recv, ts_in_delta(ts_event, ts_recv), sequence & 0xFFFFFFFF)
    pack = _MBO_BETWEEN.pack
    records = [pack(head, key, price, size, flags, action, side, tail) for key, price, size, action, side in parts]
    key, price, size, action, side = parts[-1]
    records[-1] = pack(head, key, price, size, flags | F_LAST, action, side, tail)
    return b"".join(records)


def mbp_1(
    publisher_id: int, instrument_id: int, ts_event: int, flags: int, ts_recv: int, sequence: int,
    bid_px: int, ask_px: int, bid_sz: int, ask_sz: int,
) -> bytes:  # fmt: skip
    """One MBP1Msg for a top-of-book update: action M, side N, and the two levels (order counts unknown: 0).

    An empty side is UNDEF_PRICE with size 0. A size that does not fit u32 must come as UNDEF_ORDER_SIZE with
    F_PUBLISHER_SPECIFIC in `flags`. The record's own price and size stay undefined: the update is not of one order.
    """
    return _pack_mbp_1(
        20, RTYPE_MBP_1, publisher_id, instrument_id, ts_event, UNDEF_PRICE, UNDEF_ORDER_SIZE, MODIFY, NONE, flags, 0,
        ts_recv, ts_in_delta(ts_event, ts_recv), sequence & 0xFFFFFFFF, bid_px, ask_px, bid_sz, ask_sz, 0, 0,
    )  # fmt: skip


def quote(
    publisher_id: int, instrument_id: int, ts_event: int, ts_recv: int, sequence: int, bid: tuple[int, int],
    ask: tuple[int, int],
) -> bytes:  # fmt: skip
    """`mbp_1` of the best bid and ask as (price, lots), an empty side being (UNDEF_PRICE, 0): F_LAST and F_TOB.

    A quantity that does not fit u32 is UNDEF_ORDER_SIZE with F_PUBLISHER_SPECIFIC.
    """
    (bid_px, bid_sz), (ask_px, ask_sz) = bid, ask
    flags = F_LAST | F_TOB
    if bid_sz > MAX_SIZE or ask_sz > MAX_SIZE:
        flags |= F_PUBLISHER_SPECIFIC
        bid_sz, ask_sz = min(bid_sz, UNDEF_ORDER_SIZE), min(ask_sz, UNDEF_ORDER_SIZE)
    return mbp_1(publisher_id, instrument_id, ts_event, flags, ts_recv, sequence, bid_px, ask_px, bid_sz, ask_sz)


def statistic(
    publisher_id: int, instrument_id: int, ts_event: int, ts_recv: int, stat_type: int, sequence: int = 0,
    price: int = UNDEF_PRICE, quantity: int = UNDEF_STAT_QUANTITY, ts_ref: int = UNDEF_TIMESTAMP, stat_flags: int = 0,
) -> bytes:  # fmt: skip
    """One StatMsg (version 3). `quantity` is i64 in lots unless the statistic's own text says otherwise."""
    return _pack_stat(
        20, RTYPE_STATISTICS, publisher_id, instrument_id, ts_event, ts_recv, ts_ref, price, quantity,
        sequence & 0xFFFFFFFF, ts_in_delta(ts_event, ts_recv), stat_type, 0, 1, stat_flags,
    )  # fmt: skip


def status(
    publisher_id: int, instrument_id: int, ts_event: int, ts_recv: int, action: int, is_trading: bytes,
    is_quoting: bytes, reason: int = 0, trading_event: int = 0,
) -> bytes:  # fmt: skip
    """One StatusMsg. `action` is DBN's StatusAction (7 trading, 8 halt, 9 pause, ...); flags are b"Y", b"N" or b"~"."""
    return _STATUS.pack(
        10, RTYPE_STATUS, publisher_id, instrument_id, ts_event, ts_recv, action, reason, trading_event, is_trading,
        is_quoting, b"~",
    )  # fmt: skip


def ohlcv(
    rtype: int, publisher_id: int, instrument_id: int, ts_event: int, open_: int, high: int, low: int, close: int,
    volume: int,
) -> bytes:  # fmt: skip
    """One OHLCVMsg. `ts_event` is the start of the bar, `volume` u64 lots."""
    return _OHLCV.pack(14, rtype, publisher_id, instrument_id, ts_event, open_, high, low, close, volume)


def system(publisher_id: int, instrument_id: int, ts_event: int, text: str, code: int = SYSTEM_HEARTBEAT) -> bytes:
    """One SystemMsg; the text is cut to 302 bytes of ASCII."""
    return _SYSTEM.pack(80, RTYPE_SYSTEM, publisher_id, instrument_id, ts_event, _text(text, 302), code)


def error(publisher_id: int, instrument_id: int, ts_event: int, text: str, code: int = ERROR_UNSET) -> bytes:
    """One ErrorMsg (is_last set); the text is cut to 301 bytes of ASCII."""
    return _ERROR.pack(80, RTYPE_ERROR, publisher_id, instrument_id, ts_event, _text(text, 301), code, 1)


def _text(text: str, limit: int) -> bytes:
    return text.encode("ascii", "replace")[:limit]


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole records of one message as (rtype, bytes). Raises ValueError on bytes that are not whole known records.

    Check with this before handing bytes to databento_dbn: a wrong length byte panics its Rust decoder and truncated
    bytes stay in a shared decoder's buffer forever.
    """
    offset, end = 0, len(data)
    if not end:
        raise ValueError("message is empty, expected at least one DBN record")
    while offset < end:
        if end - offset < 16:
            raise ValueError(f"{end - offset} bytes remain at {offset}, expected a 16-byte DBN record header")
        rtype, size = data[offset + 1], data[offset] * 4
        if RECORD_BYTES.get(rtype) != size:
            raise ValueError(
                f"record at {offset} has rtype {rtype:#04x} and {size} bytes, expected a DBN version 3 record"
            )
        if offset + size > end:
            raise ValueError(f"record at {offset} needs {size} bytes, {end - offset} remain")
        yield rtype, data[offset : offset + size]
        offset += size


def schema_name(segment: str) -> str:
    """DBN's schema name of a channel's schema segment: `MBP_1` is `mbp-1`."""
    return segment.lower().replace("_", "-")
