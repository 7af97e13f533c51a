"""Every frame of a provider in the one order in which it is normalized.

Within a channel that is the venue's own: its time, and its ids where times are out of order by less than WINDOW_NS. Between
channels it is time, definitions first. Receive times decide only where the venue gave none (REST answers), because those
of two lanes come from two clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

import pyarrow as pa

from penstock.objectstore_raw import Row, payload_time
from penstock.payloads import Payloads
from penstock.timestamps import NS_PER_S
from services.post_processor.database import fill, read

WINDOW_NS: Final = 2 * NS_PER_S
"""How far the venue's times may contradict its ids before the times are believed (ids may start anew)."""

_NEVER: Final = 2**64

_LAYOUT: Final = pa.schema(
    [
        ("day", pa.uint8()), ("stamp", pa.uint64()), ("channel", pa.uint32()), ("n", pa.uint64()), ("ts_recv", pa.uint64()),
        ("connection", pa.uint32()), ("sequence", pa.uint64()), ("payload", pa.binary()),
    ]
)  # fmt: skip

_CREATE: Final = """
CREATE OR REPLACE TABLE frames (day UTINYINT, stamp UBIGINT, channel UINTEGER, n UBIGINT, ts_recv UBIGINT,
    connection UINTEGER, sequence UBIGINT, payload BLOB)
"""


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


class Frames:
    """The frames of a day and its run-up, gathered channel by channel, read back in order."""

    def __init__(self, database: Any, payloads: Payloads) -> None:
        self._database = database
        self._merge_key = payloads.merge_key
        self._numbers: dict[tuple[bool, str, str], int] = {}
        database.execute(_CREATE)

    def add(self, schema: str, channel: str, rows: Iterable[Row], *, run_up: bool, lead: bool = False) -> None:
        """Take a channel's rows, coalesced. `lead` puts its first row before everything else of the day: what a
        definition says was true before it was asked for."""
        # Definitions sort before data of the same instant.
        number = self._numbers.setdefault((schema != "DEFINITION", schema, channel), len(self._numbers))
        fill(self._database, "frames", _LAYOUT, self._ordered(channel, number, rows, run_up, lead))

    def __iter__(self) -> Iterator[Frame]:
        rank = {number: place for place, (_, number) in enumerate(sorted(self._numbers.items()))}
        names = {number: channel for (_, _, channel), number in self._numbers.items()}
        ranks = ", ".join(f"({number}, {place})" for number, place in rank.items()) or "(0, 0)"
        sql = (
            "SELECT day, channel, ts_recv, connection, sequence, payload FROM frames "  # noqa: S608 # numbers only
            f"JOIN (VALUES {ranks}) AS ranks(number, place) ON channel = number ORDER BY day, stamp, place, n"
        )
        for day, channel, ts_recv, connection, sequence, payload in read(self._database, sql):
            yield Frame(day == 0, names[channel], ts_recv, connection, sequence, payload)

    def _ordered(
        self, channel: str, number: int, rows: Iterable[Row], run_up: bool, lead: bool
    ) -> Iterator[tuple[object, ...]]:
        latest, day = 0, 0 if run_up else 1
        for n, (at, _, row) in enumerate(in_venue_order(self._timed(channel, rows))):
            latest = max(latest, at)
            where = 0 if lead and n == 0 else latest
            yield day, where, number, n, row.ts_recv, row.connection, row.sequence, row.payload

    def _timed(self, channel: str, rows: Iterable[Row]) -> Iterator[Timed]:
        for row in rows:
            ts_event, sequence, _ = self._merge_key(channel, row.payload)
            yield Timed(payload_time(ts_event, row.ts_recv), sequence, row)


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
