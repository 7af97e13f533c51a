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
    left: list[Interval] = []
    cuts = union(holes)
    n = 0
    for start, end in union(whole):
        while n < len(cuts) and cuts[n].end <= start:
            n += 1
        at, k = start, n
        while k < len(cuts) and cuts[k].start < end:
            if cuts[k].start > at:
                left.append(Interval(at, cuts[k].start))
            at = max(at, cuts[k].end)
            k += 1
        if at < end:
            left.append(Interval(at, end))
    return left


def length(intervals: Iterable[Interval], within: Interval) -> int:
    """Nanoseconds of the set inside `within`."""
    return sum(max(0, min(end, within.end) - max(start, within.start)) for start, end in union(intervals))
