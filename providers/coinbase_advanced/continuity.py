"""What tells a lost frame from a quiet market: `sequence_num` per connection, `trade_id` per product."""

from __future__ import annotations

from enum import Enum
from typing import Final

LATE_FRAMES: Final = 256
"""How far a frame can be overtaken; one absurd number must not make everything after it look late."""


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
