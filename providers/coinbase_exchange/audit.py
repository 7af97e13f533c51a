"""Compares a book that has no sequence with the venue's REST book, so that only a real difference counts.

Stream and REST are not of the same instant, so one look proves nothing. A level is wrong where two looks at least
CONFIRM_NS apart show the same other size, no update touched it in between, and none does within SETTLE_NS after the
second: had the stream been complete, the level would have been what it is all that time, and REST would have said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.dbn import ASK, BID
from penstock.timestamps import NS_PER_S

CONFIRM_NS: Final = 5 * NS_PER_S
"""Far beyond what either may lag behind the other."""

SETTLE_NS: Final = 2 * NS_PER_S
"""How long an update may still come that REST showed first."""

Key = tuple[bytes, int]
"""(side BID or ASK, price at 1e-9)."""

Levels = Mapping[int, int]
"""Price at 1e-9 to size in lots."""


class Audit:
    """What was seen to differ, until it is explained or proved. Times are ts_recv, UNIX ns."""

    __slots__ = ("_at", "_confirmed", "_confirmed_at", "_suspects")

    def __init__(self) -> None:
        self._suspects: dict[Key, int] = {}
        self._at = 0
        self._confirmed: set[Key] = set()
        self._confirmed_at = 0

    def compare(self, bids: Levels, asks: Levels, other_bids: Levels, other_asks: Levels, ts_recv: int) -> None:
        """Look at the book beside the venue's answer."""
        differing = dict(_differing(BID, bids, other_bids)) | dict(_differing(ASK, asks, other_asks))
        if self._suspects and ts_recv - self._at < CONFIRM_NS:
            return
        self._confirmed = {key for key, size in differing.items() if self._suspects.get(key) == size}
        self._confirmed_at = self._at = ts_recv
        self._suspects = differing

    def touch(self, keys: Iterable[Key]) -> None:
        """Updates set these levels: whatever they were, they are right now."""
        if self._suspects:
            for key in keys:
                self._suspects.pop(key, None)
                self._confirmed.discard(key)

    def proved(self, ts_recv: int) -> int:
        """How many levels are wrong beyond doubt."""
        return len(self._confirmed) if self._confirmed and ts_recv >= self._confirmed_at + SETTLE_NS else 0

    def clear(self) -> None:
        """A snapshot replaced the book."""
        self._suspects, self._confirmed = {}, set()


def _differing(side: bytes, ours: Levels, theirs: Levels) -> Iterable[tuple[Key, int]]:
    """The levels whose sizes differ, with the venue's size."""
    for price, size in theirs.items():
        if ours.get(price) != size:
            yield (side, price), size
    for price in ours.keys() - theirs.keys():
        yield (side, price), 0
