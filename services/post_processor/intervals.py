"""Sets of instants as sorted, disjoint, half-open [start, end) pairs of UNIX ns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Interval(NamedTuple):
    """From `start` up to, not including, `end`."""

    start: int
    end: int


def union(*sets: Iterable[Interval]) -> list[Interval]:
    """Instants in any of the sets (which need not be sorted or disjoint)."""
    merged: list[Interval] = []
    for start, end in sorted(interval for intervals in sets for interval in intervals if interval.end > interval.start):
        if merged and start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Interval(start, end))
    return merged


def minus(whole: Iterable[Interval], holes: Iterable[Interval]) -> list[Interval]:
    """Instants of `whole` that are in none of `holes`."""
    left = union(whole)
    for hole in union(holes):
        left = [
            part
            for interval in left
            for part in (
                Interval(interval.start, min(interval.end, hole.start)),
                Interval(max(interval.start, hole.end), interval.end),
            )
            if part.end > part.start
        ]
    return left


def length(intervals: Iterable[Interval], within: Interval) -> int:
    """Nanoseconds of the set inside `within`."""
    return sum(max(0, min(end, within.end) - max(start, within.start)) for start, end in union(intervals))
