"""Stored messages in the order in which they arrived.

A stored file is in the venue's order. A strategy gets messages when they arrive: live by the wire, in a backtest by
`ts_recv`. Within one instrument and schema the venue's order stands, as it does live after arbitration: a message that
was received before its predecessor (the two came on different lanes, with clocks of their own) arrives with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from penstock.dbn import (
    RECORD_BYTES,
    RTYPE_DEFINITION,
    RTYPE_MBO,
    RTYPE_MBP_1,
    RTYPE_OHLCV_1D,
    RTYPE_OHLCV_1H,
    RTYPE_OHLCV_1M,
    RTYPE_OHLCV_1S,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
    RTYPE_TRADE,
)

SLACK_NS: Final = 5_000_000_000
"""How far a receive time may lie before the venue times around it: clocks that are off, ids put before times."""

_EVENT: Final = slice(8, 16)
_RECEIVED_AT: Final = {
    RTYPE_TRADE: 32, RTYPE_MBP_1: 32, RTYPE_MBO: 40, RTYPE_STATISTICS: 16, RTYPE_STATUS: 16, RTYPE_DEFINITION: 16,
}  # fmt: skip

_LENGTHS_NS: Final = {
    RTYPE_OHLCV_1S: 10**9, RTYPE_OHLCV_1M: 60 * 10**9, RTYPE_OHLCV_1H: 3_600 * 10**9, RTYPE_OHLCV_1D: 86_400 * 10**9,
}  # fmt: skip
"""A bar has no time but its start: it arrives when it is over."""


class Arrival(NamedTuple):
    """A message and when it arrives (UNIX ns). Its records' ts_recv is that time."""

    at: int
    data: bytes


class Arrivals:
    """One file's messages by arrival. Holds back what the file tells early: seconds of data, and whatever a poll brought
    long after its event.

    `raised` counts messages that arrive with their predecessor instead of before it, `late` those of them that were
    further out of order than SLACK_NS allows for and arrive when they are found.
    """

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._messages = messages
        self.raised = self.late = 0

    def __iter__(self) -> Iterator[Arrival]:
        waiting: list[tuple[int, int, bytes]] = []
        latest: dict[bytes, int] = {}
        reached = released = 0
        for number, data in enumerate(self._messages):
            event = int.from_bytes(data[_EVENT], "little")
            came = received(data)
            at = max(came, latest.get(data[4:8], 0), released)
            self.late += came < released
            self.raised += came < at
            latest[data[4:8]] = at
            # The file goes by venue time where that is plausible and by receive time elsewhere: never by the later one.
            reached = max(reached, min(event, came))
            heappush(waiting, (at, number, data if came == at else arriving(data, at)))
            while waiting and waiting[0][0] < reached - SLACK_NS:
                released, _, oldest = heappop(waiting)
                yield Arrival(released, oldest)
        while waiting:
            at, _, oldest = heappop(waiting)
            yield Arrival(at, oldest)


def received(data: bytes) -> int:
    """When a message was received (UNIX ns): its ts_recv, and a bar's end."""
    at = _RECEIVED_AT.get(data[1])
    if at is None:
        return int.from_bytes(data[_EVENT], "little") + _LENGTHS_NS[data[1]]
    return int.from_bytes(data[at : at + 8], "little")


def arriving(data: bytes, at: int) -> bytes:
    """The message with ts_recv `at`; a ts_event that only repeats ts_recv (the venue gave no time) stays equal to it."""
    received_at = _RECEIVED_AT.get(data[1])
    if received_at is None:
        return data
    size = RECORD_BYTES[data[1]]
    changed, stamp = bytearray(data), at.to_bytes(8, "little")
    for start in range(0, len(changed), size):
        received = slice(start + received_at, start + received_at + 8)
        event = slice(start + _EVENT.start, start + _EVENT.stop)
        if changed[event] == changed[received]:
            changed[event] = stamp
        changed[received] = stamp
    return bytes(changed)
