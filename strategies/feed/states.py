"""MBP_1, STATISTICS, STATUS, DEFINITION: the newest state wins, whichever lane it came on, and time never goes back."""

from __future__ import annotations

import struct
from typing import Final

from penstock.dbn import (
    RTYPE_DEFINITION,
    RTYPE_MBP_1,
    RTYPE_MBP_10,
    RTYPE_OHLCV_1D,
    RTYPE_OHLCV_1H,
    RTYPE_OHLCV_1M,
    RTYPE_OHLCV_1S,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
)

_HALF: Final = 2**31
_SPAN: Final = 0xFFFFFFFF

# ts_event, ts_recv, sequence of each record type; a status, a definition and a bar have no sequence, and a bar has no
# ts_recv either: the price in its place is not looked at where there is no sequence.
_TIMES: Final = {
    RTYPE_MBP_1: struct.Struct("<8xQ16xQ4xI32x"),
    RTYPE_MBP_10: struct.Struct("<8xQ16xQ4xI320x"),
    **dict.fromkeys((RTYPE_OHLCV_1S, RTYPE_OHLCV_1M, RTYPE_OHLCV_1H, RTYPE_OHLCV_1D), struct.Struct("<8xQQ32x")),
    RTYPE_STATISTICS: struct.Struct("<8xQQ24xI28x"),
    RTYPE_STATUS: struct.Struct("<8xQQ16x"),
    RTYPE_DEFINITION: struct.Struct("<8xQQ496x"),
}
_STAT_TYPE_AT: Final = 56

_RESTART_NS: Final = 10_000_000_000
"""Lanes never lag each other by this much on one venue message: an older id after this is a venue that restarted."""


def newer(sequence: int, than: int) -> bool:
    """Serial-number order of 32-bit sequences: True across the wrap from 2**32-1 to 0 too (RFC 1982)."""
    return 0 < (sequence - than) & _SPAN < _HALF


class States:
    """The last state of one instrument, or of each of its statistics, by (ts_event, sequence)."""

    __slots__ = ("_last", "_size", "_times", "_typed", "duplicates")

    def __init__(self, rtype: int) -> None:
        self._times = _TIMES[rtype]
        self._size = self._times.size
        self._typed = rtype == RTYPE_STATISTICS
        self._last: dict[bytes, tuple[int, int, bool]] = {}
        self.duplicates = 0
        """Records not delivered because the state had them or something newer."""

    def accept(self, data: bytes) -> bytes:
        """The records of a framed message that are newer than the state: all, some or none (b"")."""
        size = self._size
        if len(data) == size:
            return data if self._take(data) else b""
        kept = [record for at in range(0, len(data), size) if self._take(record := data[at : at + size])]
        return b"".join(kept)

    def _take(self, record: bytes) -> bool:
        ts_event, ts_recv, *rest = self._times.unpack(record)
        sequence = rest[0] if rest else 0
        # Where a venue gives no time (Binance bookTicker), ts_event is the lane's own ts_recv and says nothing about
        # order between lanes: then the venue's id alone decides.
        timeless = bool(sequence) and ts_event == ts_recv
        key = record[4:8] + record[_STAT_TYPE_AT : _STAT_TYPE_AT + 2] if self._typed else record[4:8]
        last = self._last.get(key)
        if last is not None:
            last_event, last_sequence, last_timeless = last
            if ts_event == last_event or (timeless and last_timeless and ts_event - last_event < _RESTART_NS):
                fresh = newer(sequence, last_sequence)
            else:
                fresh = ts_event > last_event
            if not fresh:
                self.duplicates += 1
                return False
        self._last[key] = (ts_event, sequence, timeless)
        return True
