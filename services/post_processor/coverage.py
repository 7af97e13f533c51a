"""When each lane could have received a channel: what completeness is measured against.

A lane covers a channel from the moment its connection was acknowledged until the last frame on it (of polled channels, the
last answer to any poll), but not while
envelopes of the channel were dropped or never arrived. Silence is no proof of anything: only connections are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from penstock.objectstore_raw import Row
from penstock.payloads import REST
from services.post_processor.intervals import Interval, minus, union
from services.post_processor.lanes import Connection


class Observation(msgspec.Struct):
    """The payload of a row of SYSTEM/session, whatever its kind."""

    kind: str
    channel: str = ""
    channels: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    after: int = 0


class Hole(NamedTuple):
    """Envelopes `first` to `last` that never came, received between `start` and `end`. `declared` says whether the
    session manager said that it dropped them all; what it did not say is a fault of the path."""

    lane: int
    epoch: int
    first: int
    last: int
    start: int
    end: int
    declared: bool


_OBSERVATION: Final = msgspec.json.Decoder(Observation)


class Coverage:
    """Built from one day's session rows and from where frames came in, of both lanes."""

    def __init__(self, session: Iterable[tuple[int, Row]]) -> None:
        self._connected: dict[tuple[int, int, int], tuple[int, frozenset[str]]] = {}
        self._dropped: list[tuple[int, int, str, int, int]] = []
        self._holes: list[tuple[int, int, int, int, int, int]] = []
        self._first: dict[tuple[int, int, int], int] = {}
        self._last: dict[tuple[int, int, int], int] = {}
        self._channels: dict[str, list[Connection]] = {}
        for lane, row in session:
            self._observe(lane, row)

    @property
    def channels(self) -> set[str]:
        """Every venue channel that some connection was to carry."""
        return {channel for _, names in self._connected.values() for channel in names}

    def add(self, channel: str, connections: Iterable[Connection]) -> None:
        """Learn where a channel's rows came in. Call for every channel before asking."""
        seen = self._channels.setdefault(channel, [])
        for connection in connections:
            key = connection[:3]
            self._first[key] = min(self._first.get(key, connection.first), connection.first)
            self._last[key] = max(self._last.get(key, 0), connection.last)
            seen.append(connection)

    @cached_property
    def holes(self) -> list[Hole]:
        """Envelopes that the batch processors never received."""
        found = []
        for lane, epoch, first, last, start, end in sorted(set(self._holes)):
            said = sum(
                max(0, min(last, to) - max(first, since) + 1)
                for dropped_lane, dropped_epoch, _, since, to in set(self._dropped)
                if (dropped_lane, dropped_epoch) == (lane, epoch)
            )
            found.append(Hole(lane, epoch, first, last, start, end, said >= last - first + 1))
        return found

    def covered(self, lane: int, channel: str) -> list[Interval]:
        """When this lane could have received this channel."""
        return minus(self._up(lane, channel), self._missed(lane, channel))

    def gaps(self, channel: str) -> list[Interval]:
        """When neither lane covered the channel, between the first and the last time that one did."""
        both = union(self.covered(0, channel), self.covered(1, channel))
        return minus([Interval(both[0].start, both[-1].end)], both) if both else []

    def _observe(self, lane: int, row: Row) -> None:
        try:
            seen = _OBSERVATION.decode(row.payload)
        except (msgspec.ValidationError, msgspec.DecodeError):
            return
        if seen.kind == "CONNECTED":
            self._connected[lane, row.epoch, row.connection] = (row.ts_recv, frozenset(seen.channels))
        elif seen.kind == "DROPPED":
            self._dropped.append((lane, row.epoch, seen.channel, seen.first, seen.last))
        elif seen.kind == "HOLE":
            self._holes.append((lane, row.epoch, seen.first, seen.last, seen.after or row.ts_recv, row.ts_recv + 1))

    def _up(self, lane: int, channel: str) -> list[Interval]:
        told = [
            Interval(start, max(start, self._last.get(_carrier(key, channel), start)) + 1)
            for key, (start, names) in self._connected.items()
            if key[0] == lane and channel in names
        ]
        # Connected before this day began, or its beginning never came: covered from its first frame on.
        shown = [
            Interval(self._first[seen[:3]], self._last[seen[:3]] + 1)
            for seen in self._channels.get(channel, ())
            if seen.lane == lane and seen.connection and seen[:3] not in self._connected
        ]
        return union(told, shown)

    def _missed(self, lane: int, channel: str) -> list[Interval]:
        missed = []
        for hole in self.holes:
            dropped_here = any(
                (lane, hole.epoch, channel) == dropped[:3] and dropped[3] <= hole.last and hole.first <= dropped[4]
                for dropped in self._dropped
            )
            if hole.lane == lane and (dropped_here or not hole.declared):
                missed.append(Interval(hole.start, hole.end))
        return missed


def _carrier(key: tuple[int, int, int], channel: str) -> tuple[int, int, int]:
    """The connection (lane, epoch, number) on which a channel's frames come: answers to polls come on 0."""
    return (*key[:2], 0) if channel.startswith(REST) else key
