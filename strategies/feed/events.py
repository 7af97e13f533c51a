"""TRADES: the first arrival of each trade wins, whichever lane it came on, once and in the venue's order.

A trade is one venue id: the records of a split trade share it and stay together. Ids here count up by one, so a jump
says that this lane lost or has not yet had something the other lane may still bring: what follows the jump waits for
it, a few milliseconds. Order is best effort after that, completeness is not: a late trade is delivered late.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, NamedTuple

from penstock.dbn import F_LAST
from strategies.feed.states import newer

SIZE: Final = 48
_SEQUENCE_AT: Final = 44
_FLAGS_AT: Final = 30
_U32: Final = struct.Struct("<I")
_SPAN: Final = 0xFFFFFFFF

_RESTART: Final = 100_000
"""An id this far back is not a trade that came late but a venue that began to count anew."""

_MAX_HELD: Final = 1024
_SPARSE_AFTER: Final = 8
"""Jumps in a row that the other lane confirmed to hide nothing, after which ids are taken not to count by one."""


class _Held(NamedTuple):
    first: int
    last: int
    lane: int
    due_ns: int
    data: bytes


class Events:
    """One channel's trades, the last `window` of them remembered by (instrument, ts_event, sequence).

    The venue's time is part of it because 32 bits of an id come again: Bybit's within minutes.
    """

    __slots__ = ("_held", "_hold_ns", "_last", "_natural_jumps", "_order", "_seen", "duplicates")

    def __init__(self, window: int, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        self._seen: set[bytes] = set()
        self._order: deque[bytes] = deque(maxlen=window)
        self._held: list[_Held] = []
        self._last: int | None = None
        self._natural_jumps = 0
        self.duplicates = 0

    def accept(self, lane: int, data: bytes, now_ns: int, *, alone: bool) -> list[bytes]:
        """What to deliver now that this framed message arrived, in order. `alone`: the other lane is dead."""
        fresh = self._fresh(data)
        ready: list[bytes] = []
        if fresh:
            first = sequence(fresh, 0)
            last = sequence(fresh, len(fresh) - SIZE)
            # What waits already goes before what would not have to.
            if self._waits(first, alone) or (self._held and newer(first, self._held[0].first)):
                self._hold(_Held(first, last, lane, now_ns + self._hold_ns, fresh))
            else:
                self._deliver(last, fresh, ready)
        if self._held:
            self._passed(lane, sequence(data, len(data) - SIZE), alone, ready)
        return ready

    def expire(self, now_ns: int) -> list[bytes]:
        """What has waited long enough, in order."""
        ready: list[bytes] = []
        due = max((index + 1 for index, held in enumerate(self._held) if held.due_ns <= now_ns), default=0)
        while self._held and (due > 0 or self._follows(self._held[0].first)):
            held = self._held.pop(0)
            self._deliver(held.last, held.data, ready)
            due -= 1
        return ready

    def _waits(self, first: int, alone: bool) -> bool:
        if alone or self._natural_jumps >= _SPARSE_AFTER:
            return False
        return not self._follows(first)

    def _follows(self, first: int) -> bool:
        return self._last is not None and not newer(first, self._last + 1)

    def _hold(self, held: _Held) -> None:
        at = len(self._held)
        while at and newer(self._held[at - 1].first, held.first):
            at -= 1
        self._held.insert(at, held)

    def _passed(self, lane: int, reached: int, alone: bool, ready: list[bytes]) -> None:
        # Lanes keep their order: having reached this id, the lane has nothing more to bring from before it.
        while self._held:
            held = self._held[0]
            follows = self._follows(held.first)
            passed = held.lane != lane and not newer(held.first, reached)
            if not (follows or passed or len(self._held) > _MAX_HELD) and self._waits(held.first, alone):
                return
            if self._last is not None:
                self._natural_jumps = 0 if follows else self._natural_jumps + passed
            self._deliver(held.last, held.data, ready)
            del self._held[0]

    def _deliver(self, last: int, data: bytes, ready: list[bytes]) -> None:
        if self._last is None or newer(last, self._last) or (self._last - last) & _SPAN > _RESTART:
            self._last = last
        ready.append(data)

    def _fresh(self, data: bytes) -> bytes:
        if len(data) == SIZE:
            key = data[4:16] + data[_SEQUENCE_AT:]
            if key in self._seen:
                self.duplicates += 1
                return b""
            self._remember(key)
            return data
        # Venues that batch trades (100 ms, 250 ms) cut their batches differently on each connection: judge by trade.
        fresh: set[bytes] = set()
        kept: list[bytes] = []
        refused: set[bytes] = set()
        for at in range(0, len(data), SIZE):
            key = data[at + 4 : at + 16] + data[at + _SEQUENCE_AT : at + SIZE]
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
        end = bytearray(kept[-1])
        end[_FLAGS_AT] |= F_LAST
        kept[-1] = bytes(end)
        return b"".join(kept)

    def _remember(self, key: bytes) -> None:
        order = self._order
        if len(order) == order.maxlen:
            self._seen.discard(order[0])
        order.append(key)
        self._seen.add(key)


def sequence(data: bytes, at: int) -> int:
    """The venue's trade id (low 32 bits) of the record at byte `at` of a framed message."""
    value: int = _U32.unpack_from(data, at + _SEQUENCE_AT)[0]
    return value
