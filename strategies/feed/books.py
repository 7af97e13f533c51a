"""MBO: one lane's book as its raw records, so that a subscriber can be moved to it at any instant.

A book is based on a snapshot (R, then A's) and kept by every increment of its lane. It is *doubtful* from the first sign
of loss until a snapshot that is known to be later than that loss.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from penstock.dbn import ADD, CANCEL, CLEAR, F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT, MODIFY, NONE, UNDEF_PRICE, mbo
from strategies.feed.states import newer

SIZE: Final = 56
_ORDER: Final = slice(16, 24)
_FLAGS_AT, _ACTION_AT = 36, 38
_CLEAR, _CANCEL, _ADD = CLEAR[0], CANCEL[0], ADD[0]
_KEPT: Final = frozenset(ADD + MODIFY)
_WHAT: Final = slice(24, 36)  # price and size
_HEAD: Final = struct.Struct("<2xHIQ")  # publisher_id, instrument_id, ts_event
_TAIL: Final = struct.Struct("<QiI")  # ts_recv, ts_in_delta, sequence
_TAIL_AT: Final = 40


def ts_recv(data: bytes) -> int:
    """ts_recv of the last record of an MBO message."""
    value: int = _TAIL.unpack_from(data, len(data) - 16)[0]
    return value


def sequence(data: bytes) -> int:
    """Venue sequence (low 32 bits) of the last record of an MBO message."""
    value: int = _TAIL.unpack_from(data, len(data) - 16)[2]
    return value


def is_snapshot(data: bytes) -> bool:
    """Whether an MBO message begins with a clear: what follows in it is the whole book."""
    return data[_ACTION_AT] == _CLEAR


def doubted(data: bytes) -> bytes:
    """The message with F_MAYBE_BAD_BOOK on every record."""
    flagged = bytearray(data)
    for at in range(_FLAGS_AT, len(flagged), SIZE):
        flagged[at] |= F_MAYBE_BAD_BOOK
    return bytes(flagged)


class LaneBook:
    """One lane's book. Messages are framed: whole 56-byte MBO records."""

    __slots__ = ("_first_heard", "_last", "_window", "based", "doubtful", "orders", "waiting")

    def __init__(self, window: int) -> None:
        self.orders: dict[bytes, bytes] = {}
        """Order id to its raw record."""
        self.based = False
        self.doubtful = True
        self.waiting: deque[bytes] = deque()
        """Increments heard since the doubt began, to be put on a snapshot that is later than the doubt."""
        self._window = window
        self._first_heard = 0
        self._last = b""

    def doubt(self) -> None:
        """Something of this lane was lost: only a snapshot taken after now restores trust."""
        self.doubtful = True
        self.waiting.clear()
        self._first_heard = 0

    def hear(self, ts: int) -> None:
        """The lane's own clock (ts_recv, UNIX ns) as just heard from it; dates the begin of what is known to be whole."""
        if self.doubtful and not self._first_heard:
            self._first_heard = ts

    def apply(self, data: bytes) -> bool:
        """Take one message in. True where the subscriber needs it: False for an image of what the book already is,
        and for increments that have no book to go on yet."""
        suspect = bool(data[len(data) - SIZE + _FLAGS_AT] & F_MAYBE_BAD_BOOK)
        if is_snapshot(data):
            return self._rebase(data, doubtful=suspect)
        self._last = data
        if suspect and not self.doubtful:
            self.doubt()
        if self.doubtful:
            self.hear(ts_recv(data))
            self._keep(data)
        if not self.based:
            return False
        self._increment(data)
        return True

    def offer(self, snapshot: bytes) -> bool:
        """A stored snapshot of this lane, perhaps from before this subscriber joined. True where the book changed.

        Trusted if it is at least as late as the first thing heard since the doubt began, as nothing after that is
        missing. An earlier one is used, doubtful, where there is no book at all.
        """
        if not self.doubtful or not is_snapshot(snapshot):
            return False
        first = self.waiting[0] if self.waiting else b""
        late = bool(first) and not newer(sequence(first), sequence(snapshot)) and sequence(first) != 0
        late = late or (self._first_heard > 0 and ts_recv(snapshot) >= self._first_heard)
        if self.based and not late:
            return False
        suspect = not late or bool(snapshot[-SIZE + _FLAGS_AT] & F_MAYBE_BAD_BOOK)
        increments = [data for data in self.waiting if _follows(data, snapshot)]
        changed = self._rebase(snapshot, doubtful=suspect, keep=True)
        for data in increments:
            self._increment(data)
            self._last = data
        if not suspect:
            self.waiting.clear()
        return changed or bool(increments)

    def image(self) -> bytes:
        """The book as one snapshot message: a clear and an add for each order, in the lane's last times and sequence.

        A lane that has told nothing of a book yet has no image: b"".
        """
        if not self._last:
            return b""
        tail = self._last[-16:]
        publisher_id, instrument_id, ts_event = _HEAD.unpack_from(self._last, len(self._last) - SIZE)
        received, _, last_sequence = _TAIL.unpack(tail)
        flags = F_SNAPSHOT | (F_MAYBE_BAD_BOOK if self.doubtful else 0)
        order = next(iter(self.orders.values()), None)
        flags |= F_MBP & (order[_FLAGS_AT] if order else F_MBP)
        clear_flags = flags if self.orders else flags | F_LAST
        clear = mbo(
            publisher_id, instrument_id, ts_event, 0, UNDEF_PRICE, 0, clear_flags, CLEAR, NONE, received, last_sequence
        )
        out = bytearray(clear + b"".join(self.orders.values()))
        head = out[8:16]
        tail = clear[_TAIL_AT:]
        for at in range(SIZE, len(out), SIZE):
            out[at + 8 : at + 16] = head
            out[at + _FLAGS_AT] = flags
            out[at + _ACTION_AT] = _ADD
            out[at + _TAIL_AT : at + SIZE] = tail
        if self.orders:
            out[len(out) - SIZE + _FLAGS_AT] |= F_LAST
        return bytes(out)

    def _rebase(self, data: bytes, *, doubtful: bool, keep: bool = False) -> bool:
        before, was_sound = self.orders, self.based and not self.doubtful
        self.orders = {}
        self._increment(data)
        self._last = data
        self.based, self.doubtful = True, doubtful
        if not keep:
            self.waiting.clear()
            self._first_heard = 0
        return not (was_sound and not doubtful and _same(before, self.orders))

    def _increment(self, data: bytes) -> None:
        orders = self.orders
        for at in range(0, len(data), SIZE):
            record = data[at : at + SIZE]
            action = record[_ACTION_AT]
            if action == _CANCEL:
                orders.pop(record[_ORDER], None)
            elif action == _CLEAR:
                orders.clear()
            elif action in _KEPT:
                # Trades and fills of books by order (T, F) change nothing: the cancels and modifies after them do.
                orders[record[_ORDER]] = record

    def _keep(self, data: bytes) -> None:
        if len(self.waiting) >= self._window:
            # Too long without a snapshot: what is heard from here on is whole again, the rest is not.
            self.waiting.clear()
            self._first_heard = ts_recv(data)
        self.waiting.append(data)


def _follows(data: bytes, snapshot: bytes) -> bool:
    mine, base = sequence(data), sequence(snapshot)
    return newer(mine, base) if mine != base else ts_recv(data) > ts_recv(snapshot)


def _same(one: dict[bytes, bytes], two: dict[bytes, bytes]) -> bool:
    return len(one) == len(two) and all(
        (other := two.get(key)) is not None and other[_WHAT] == record[_WHAT] for key, record in one.items()
    )
