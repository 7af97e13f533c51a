"""Which trades of a product have been seen: the venue counts them, +1 each."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from penstock.errors import PayloadError

MAX_STEP: Final = 1_000_000
"""An id this far ahead is believed only when a second one confirms it: a single absurd id must not pass for hours of
lost trades."""

MAX_RANGES: Final = 1024


class TradeIds:
    """The ids seen, as ranges: there are as many as holes. Beyond MAX_RANGES the oldest hole counts as seen."""

    __slots__ = ("_archive", "_ends", "_starts", "_suspect", "last")

    def __init__(self, *, archive: bool) -> None:
        self.last = -1
        """The highest id that is known to exist, -1 where none is."""
        self._archive = archive
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._suspect = 0

    def admit(self, trade_id: int) -> int:
        """Register a trade: -1 it is not new, 0 it is, n > 0 it is and n ids before it are missing.

        New behind the highest id is what fills a hole and, in an archive, what came before the first id seen. Raises
        PayloadError("id_jump").
        """
        if trade_id > self.last:
            missing = self._ahead(trade_id)
            self._insert(trade_id)
            self.last = trade_id
            return missing
        at = bisect_right(self._starts, trade_id)
        if (at and trade_id <= self._ends[at - 1]) or (not at and not self._archive):
            return -1
        self._insert(trade_id)
        return 0

    def fills(self, trade_id: int) -> bool:
        """Register a trade that is missing among those seen; False where it is not: what is before them is history."""
        at = bisect_right(self._starts, trade_id)
        if trade_id > self.last or not at or trade_id <= self._ends[at - 1]:
            return False
        self._insert(trade_id)
        return True

    def owe(self, trade_id: int) -> int:
        """The venue says that trades up to this one happened: how many of them are newly missing.

        Raises PayloadError("id_jump").
        """
        if trade_id <= self.last:
            return 0
        missing = self._ahead(trade_id + 1)
        self.last = trade_id
        if not self._starts:
            # Nothing was seen yet: what is before this id is history, this one included.
            self._insert(trade_id)
            return 0
        return missing

    def _ahead(self, trade_id: int) -> int:
        missing = trade_id - self.last - 1 if self.last >= 0 else 0
        if missing > MAX_STEP and not self._archive and not 0 < trade_id - self._suspect <= MAX_STEP:
            self._suspect = trade_id
            raise PayloadError("id_jump", "trade_id", trade_id, f"about {self.last + 1}, or a second one as far ahead")
        return missing

    def _insert(self, trade_id: int) -> None:
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, trade_id)
        joins_next = at < len(starts) and starts[at] == trade_id + 1
        if at and ends[at - 1] == trade_id - 1:
            ends[at - 1] = trade_id
            if joins_next:
                del starts[at]
                del ends[at - 1]
        elif joins_next:
            starts[at] = trade_id
        else:
            starts.insert(at, trade_id)
            ends.insert(at, trade_id)
            if len(starts) > MAX_RANGES:
                del starts[1]
                del ends[0]
