"""Which trades of an instrument were seen, where the venue counts them: +1 each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from penstock.errors import PayloadError

MAX_STEP: Final = 1_000_000
"""See TradeIds.check."""

MAX_RANGES: Final = 4096


class TradeIds:
    """The ids seen, as ranges: there are as many as holes.

    Live, what is before the first id seen is history, and beyond MAX_RANGES the oldest hole counts as seen. In an archive
    every id is new once, in whatever order they come.
    """

    __slots__ = ("_archive", "_ends", "_starts", "_suspect", "last")

    def __init__(self, *, archive: bool) -> None:
        self.last = -1
        """The highest id that is known to exist, -1 where none is."""
        self._archive = archive
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._suspect = 0

    def check(self, trade_id: int) -> None:
        """Raises PayloadError("id_jump") for an id more than MAX_STEP ahead, until a second one confirms it.

        A single absurd id must not pass for hours of lost trades. In an archive all ids are believed.
        """
        missing = trade_id - self.last - 1
        if missing > MAX_STEP and self.last >= 0 and not self._archive:
            if 0 < trade_id - self._suspect <= MAX_STEP:
                return
            self._suspect = trade_id
            raise PayloadError("id_jump", "trade_id", trade_id, f"about {self.last + 1}, or a second one as far ahead")

    def admit(self, trade_id: int, count: int = 1) -> int:
        """Register a trade: -1 it is not new, 0 it is, n > 0 it is and n ids before it are missing.

        `count`: of how many matches the trade is the sum; `trade_id` is the last of them. New behind the highest id is
        what fills a hole and, in an archive, what came before the first id seen.
        """
        starts, ends = self._starts, self._ends
        if ends and trade_id - count == self.last == ends[-1]:
            ends[-1] = self.last = trade_id
            return 0
        if trade_id > self.last:
            missing = max(0, trade_id - count - self.last) if self.last >= 0 else 0
            self._insert(trade_id - count + 1, trade_id)
            self.last = trade_id
            return missing
        at = bisect_right(starts, trade_id)
        if (at and trade_id <= ends[at - 1]) or (not at and not self._archive):
            return -1
        self._insert(trade_id - count + 1, trade_id)
        return 0

    def fills(self, trade_id: int) -> bool:
        """Register a trade that is missing among those seen; False where it is not: what is before them is history."""
        at = bisect_right(self._starts, trade_id)
        if trade_id > self.last or not at or trade_id <= self._ends[at - 1]:
            return False
        self._insert(trade_id, trade_id)
        return True

    def missing(self) -> Iterator[tuple[int, int]]:
        """(first, last) of every hole between the ids seen, in order."""
        for end, start in zip(self._ends, self._starts[1:], strict=False):
            yield end + 1, start - 1

    def owe(self, trade_id: int) -> int:
        """The venue says that trades up to this one happened: how many of them are newly missing.

        Raises PayloadError as `check` does.
        """
        if trade_id <= self.last:
            return 0
        if self.last < 0:
            # Nothing was seen yet: what is before this id is history, this one included.
            self._insert(trade_id, trade_id)
            self.last = trade_id
            return 0
        self.check(trade_id + 1)
        missing, self.last = trade_id - self.last, trade_id
        return missing

    def _insert(self, first: int, last: int) -> None:
        """Add a range whose `last` was not seen."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, last)
        joins_before, joins_next = bool(at) and first <= ends[at - 1] + 1, at < len(starts) and starts[at] == last + 1
        if joins_before and joins_next:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_before:
            ends[at - 1] = last
        elif joins_next:
            starts[at] = first
        else:
            starts.insert(at, first)
            ends.insert(at, last)
            if len(starts) > MAX_RANGES and not self._archive:
                del starts[1], ends[0]
