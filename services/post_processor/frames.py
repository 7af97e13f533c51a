"""Every frame of a provider in the one order in which it is normalized.

Within a channel that is the venue's own: its time, and its ids where times are out of order by less than WINDOW_NS. Between
channels it is time, definitions first (plan.SEQUENCE). Receive times decide only where the venue gave none (REST answers),
because those of two lanes come from two clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from penstock.objectstore_raw import Row, payload_time
from penstock.payloads import Payloads
from penstock.timestamps import NS_PER_S

WINDOW_NS: Final = 2 * NS_PER_S
"""How far the venue's times may contradict its ids before the times are believed (ids may start anew)."""

_NEVER: Final = 2**64


class Frame(NamedTuple):
    """One frame as it was received, on its venue channel. `run_up` frames are of the day before."""

    run_up: bool
    channel: str
    ts_recv: int
    connection: int
    sequence: int
    payload: bytes


class Timed(NamedTuple):
    """A row with the venue's time (or its receive time) and id."""

    at: int
    venue_sequence: int
    row: Row


def timed(payloads: Payloads, channel: str, rows: Iterable[Row]) -> Iterator[Timed]:
    """Rows of a coalesced channel with what the merge knew of them."""
    for row in rows:
        ts_event, sequence, _ = payloads.merge_key(channel, row.payload)
        yield Timed(payload_time(ts_event, row.ts_recv), sequence if sequence < 2**63 else 0, row)


def framed(part: int, schema: str, channel: str, rows: Iterable[Timed]) -> Iterator[tuple[object, ...]]:
    """A coalesced channel's rows as rows of plan.FRAMES."""
    latest, later = 0, int(schema != "DEFINITION")
    for n, (at, _, row) in enumerate(in_venue_order(rows)):
        latest = max(latest, at)
        yield part, latest, later, schema, channel, n, row.ts_recv, row.connection, row.sequence, row.payload


def in_venue_order(rows: Iterable[Timed]) -> Iterator[Timed]:
    """Rows that are in order of time, with the ids put in order within WINDOW_NS. Rows without an id (0) stay put."""
    waiting: list[tuple[int, int, Timed]] = []
    arrived: deque[tuple[int, int]] = deque()
    gone: set[int] = set()

    def release(older_than: int) -> Iterator[Timed]:
        while arrived and arrived[0][0] < older_than:
            _, oldest = arrived.popleft()
            # Up to and with the row that has waited long enough, however low the ids that came since.
            while oldest not in gone:
                _, n, row = heappop(waiting)
                gone.add(n)
                yield row
            gone.remove(oldest)

    for n, row in enumerate(rows):
        yield from release(row.at - WINDOW_NS if row.venue_sequence else _NEVER)
        if row.venue_sequence:
            heappush(waiting, (row.venue_sequence, n, row))
            arrived.append((row.at, n))
        else:
            yield row
    yield from release(_NEVER)
