"""TRADES: the first arrival of each trade wins, whichever lane it came on, and arrives once.

A trade is one venue id: the records of a split trade share it and stay together.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from penstock.dbn import F_LAST

SIZE: Final = 48
_SEQUENCE: Final = struct.Struct("<I")
_SEQUENCE_AT: Final = 44
_FLAGS_AT: Final = 30


class Events:
    """Remembers the last `window` trades of one channel by (instrument, sequence); wrapping at 2**32 needs no care."""

    __slots__ = ("_order", "_seen", "duplicates")

    def __init__(self, window: int) -> None:
        self._seen: set[bytes] = set()
        self._order: deque[bytes] = deque(maxlen=window)
        self.duplicates = 0

    def accept(self, data: bytes) -> bytes:
        """The part of a framed message that is new: all of it, some of its trades, or b""."""
        if len(data) == SIZE:
            key = data[4:8] + data[_SEQUENCE_AT:]
            if key in self._seen:
                self.duplicates += 1
                return b""
            self._remember(key)
            return data
        return self._several(data)

    def _several(self, data: bytes) -> bytes:
        # Venues that batch trades (100 ms, 250 ms) cut their batches differently on each connection: judge by trade.
        fresh: set[bytes] = set()
        kept: list[bytes] = []
        refused: set[bytes] = set()
        for at in range(0, len(data), SIZE):
            key = data[at + 4 : at + 8] + data[at + _SEQUENCE_AT : at + SIZE]
            if key in fresh or key not in self._seen:
                if key not in fresh:
                    fresh.add(key)
                    self._remember(key)
                kept.append(data[at : at + SIZE])
            else:
                refused.add(key)
        self.duplicates += len(refused)
        if not refused or not kept:
            return data if kept else b""
        last = bytearray(kept[-1])
        last[_FLAGS_AT] |= F_LAST
        kept[-1] = bytes(last)
        return b"".join(kept)

    def _remember(self, key: bytes) -> None:
        order = self._order
        if len(order) == order.maxlen:
            self._seen.discard(order[0])
        order.append(key)
        self._seen.add(key)


def sequence(data: bytes, record: int = 0) -> int:
    """The venue's trade id (low 32 bits) of one record of a framed message."""
    value: int = _SEQUENCE.unpack_from(data, record * SIZE + _SEQUENCE_AT)[0]
    return value
