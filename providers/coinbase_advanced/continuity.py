"""What tells a lost frame from a quiet market: `sequence_num` per connection, `trade_id` per product."""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from typing import Final

LATE_FRAMES: Final = 256
"""How far a frame can be overtaken; one absurd number must not make everything after it look late."""

MAX_HOLES: Final = 1024
"""Holes remembered per product on the hot path; older ones count as lost for good."""


class Arrival(Enum):
    """How a frame stands to those before it on its connection."""

    NEXT = "next"
    JUMP = "jump"
    """Something before it is missing."""
    LATE = "late"
    """It is older than what was already seen: a copy, or one overtaken by the others."""


class Connection:
    """One connection's frames: `sequence_num` counts all of them, of every channel, +1 each.

    `channels` are the (schema, channel) pairs it was seen to carry and their product, in order of appearance.
    """

    __slots__ = ("channels", "expected", "timestamp")

    def __init__(self) -> None:
        self.expected = -1
        self.timestamp = 0
        self.channels: dict[tuple[str, str], str] = {}

    def arrive(self, sequence_num: int, timestamp: int) -> Arrival:
        """Take note of a frame. `timestamp` is the frame's own, UNIX ns; it never falls on a connection.

        A lower number that is not newer is late; a lower number that is newer means the venue began to count again,
        and what it sent between is unknown. The first frame seen may have any number: the normalizer can be younger
        than the connection.
        """
        if self.expected < 0 or sequence_num == self.expected:
            arrival = Arrival.NEXT
        elif self.expected - LATE_FRAMES <= sequence_num < self.expected and timestamp <= self.timestamp:
            return Arrival.LATE
        else:
            arrival = Arrival.JUMP
        self.expected = sequence_num + 1
        self.timestamp = timestamp
        return arrival


class TradeIds:
    """The trade ids of one product already published, as closed ranges in rising order.

    With `history` ids below the first are new as well; without, they are what the venue replays at each subscription.
    """

    __slots__ = ("_history", "_ranges")

    def __init__(self, *, history: bool) -> None:
        self._history = history
        self._ranges: list[list[int]] = []

    @property
    def next(self) -> int | None:
        """The id that would continue without a hole; None before the first."""
        return self._ranges[-1][1] + 1 if self._ranges else None

    def add(self, trade_id: int) -> bool:
        """Whether this trade is to be published; it then counts as published."""
        ranges = self._ranges
        if ranges and trade_id == ranges[-1][1] + 1:
            ranges[-1][1] = trade_id
            return True
        if not ranges or trade_id > ranges[-1][1]:
            ranges.append([trade_id, trade_id])
            if len(ranges) > MAX_HOLES and not self._history:
                ranges[0][1] = ranges.pop(1)[1]
            return True
        return self._fill(trade_id)

    def _fill(self, trade_id: int) -> bool:
        ranges = self._ranges
        above = bisect_right(ranges, trade_id, key=_first)
        if above == 0:
            if not self._history:
                return False
        elif trade_id <= ranges[above - 1][1]:
            return False
        ranges.insert(above, [trade_id, trade_id])
        for left in (above, above - 1):
            if 0 <= left < len(ranges) - 1 and ranges[left][1] + 1 == ranges[left + 1][0]:
                ranges[left][1] = ranges.pop(left + 1)[1]
        return True


def _first(ids: list[int]) -> int:
    return ids[0]
