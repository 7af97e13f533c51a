"""Continuity of envelope sequences within an epoch."""

from __future__ import annotations

from typing import NamedTuple


class Missing(NamedTuple):
    """Sequences `first` to `last`, inclusive, of which some never came and were not declared as dropped."""

    first: int
    last: int


class Continuity:
    """What has been consumed of one epoch.

    `last` is the highest sequence consumed (0: none); for the very next one the caller sets it and asks nothing. A
    consumer that joins an epoch half-way (`joined`) misses nothing by its own account; one that saw the previous epoch
    expects the next to start at 1.
    """

    __slots__ = ("_declared", "_joined", "_markers", "last")

    def __init__(self, *, joined: bool) -> None:
        self.last = 0
        self._joined = joined
        self._declared: list[tuple[int, int, int]] = []
        self._markers: list[int] = []

    def repeated(self, sequence: int) -> bool:
        """True where `sequence` was consumed before."""
        return sequence <= self.last

    def dropped(self, sequence: int, first: int, last: int, count: int) -> bool:
        """Note a KIND_DROPPED envelope: `count` sequences within `first` to `last` will not come, others there may.

        Its own `sequence` may be one of those, or one of its own between envelopes that do come. False where all of them
        came: the session manager did not know yet that we have them.
        """
        if last <= self.last:
            return False
        self._declared.append((first, last, count))
        if not any(first <= sequence <= last for first, last, _ in self._declared):
            self._markers.append(sequence)
        return True

    def overtaken(self, sequence: int) -> None:
        """Note an envelope that came before the declarations of what was dropped before it (connection markers do)."""
        self._markers.append(sequence)

    def consume(self, sequence: int) -> Missing | None:
        """Consume a sequence above `last`. What is missing before it, beyond what was declared as dropped."""
        before, self.last = self.last, sequence
        joined, self._joined = self._joined, False
        if sequence - before == 1 or (joined and not before):
            return None
        uncovered = sequence - 1 - before - sum(before < marker < sequence for marker in self._markers)
        declared = []
        for first, last, count in self._declared:
            taken = max(0, min(count, uncovered, min(last, sequence - 1) - max(first, before + 1) + 1))
            uncovered -= taken
            if last > sequence and count > taken:
                declared.append((first, last, count - taken))
        self._declared = declared
        self._markers = [marker for marker in self._markers if marker > sequence]
        return Missing(before + 1, sequence - 1) if uncovered else None
