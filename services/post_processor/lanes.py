"""Two lanes of one channel become one, with the highest multiplicity any connection saw, never a set union.

The same message is known by (venue time, content), as the provider's `merge_key` says. Where one connection brought it
twice it happened twice; that four connections brought it once each is one message. So a message has as many copies as
the connection that saw it most often, and merging again, or in the other order, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import pyarrow as pa

from penstock.objectstore_raw import Row, payload_time
from penstock.payloads import MergeKey, Payloads
from services.post_processor.database import fill, read

_LAYOUT: Final = pa.schema(
    [
        ("lane", pa.uint8()), ("epoch", pa.uint64()), ("connection", pa.uint32()), ("sequence", pa.uint64()),
        ("ts_recv", pa.uint64()), ("ts_event", pa.uint64()), ("venue_sequence", pa.uint64()), ("identity", pa.binary()),
        ("payload", pa.binary()),
    ]
)  # fmt: skip

_CREATE: Final = """
CREATE OR REPLACE TABLE arrived (
    lane UTINYINT, epoch UBIGINT, connection UINTEGER, sequence UBIGINT, ts_recv UBIGINT, ts_event UBIGINT,
    venue_sequence UBIGINT, identity BLOB, payload BLOB)
"""

# 1. A row that is in two objects is one row.  2. Number a message's copies within each connection.  3. Of the copies with
# one number, keep PRIMARY's.
_MATCH: Final = """
CREATE OR REPLACE TABLE matched AS
WITH once AS (
    SELECT rowid AS id, * EXCLUDE (payload), CASE WHEN ts_event > 0 THEN ts_event ELSE ts_recv END AS stamp FROM arrived
    QUALIFY row_number() OVER (PARTITION BY lane, epoch, sequence, identity ORDER BY ts_recv, connection, rowid) = 1
), counted AS (
    SELECT *, row_number() OVER (
        PARTITION BY ts_event, identity, lane, epoch, connection ORDER BY sequence, ts_recv, id) AS copy
    FROM once
)
SELECT *, bool_or(lane = 0) OVER same AS in_primary, bool_or(lane = 1) OVER same AS in_replica,
    row_number() OVER (same ORDER BY lane, epoch, connection, sequence, ts_recv) = 1 AS kept
FROM counted WINDOW same AS (PARTITION BY ts_event, identity, copy)
"""

_KEPT: Final = """
SELECT m.stamp, m.venue_sequence, m.ts_recv, m.lane, m.epoch, m.connection, m.sequence, a.payload
FROM matched m JOIN arrived a ON m.id = a.rowid WHERE m.kept
ORDER BY m.stamp, m.venue_sequence, m.ts_recv, m.lane, m.epoch, m.connection, m.sequence, a.payload
"""

_HOURS: Final = """
SELECT (stamp // 3600000000000) % 24 AS hour,
    count(*) FILTER (lane = 0), count(*) FILTER (lane = 1), count(*) FILTER (kept),
    count(*) FILTER (kept AND in_primary AND in_replica), count(*) FILTER (kept AND NOT in_replica),
    count(*) FILTER (kept AND NOT in_primary)
FROM matched GROUP BY hour ORDER BY hour
"""

_CONNECTIONS: Final = """
SELECT lane, epoch, connection, min(ts_recv), max(ts_recv) FROM arrived GROUP BY ALL ORDER BY ALL
"""


class Kept(NamedTuple):
    """One row of the merged channel. `at` is venue time, or receive time where the venue gave none."""

    at: int
    venue_sequence: int
    ts_recv: int
    lane: int
    epoch: int
    connection: int
    sequence: int
    payload: bytes


class Hour(NamedTuple):
    """Messages of one hour: seen by each lane, in the merged channel, and there from both, from PRIMARY or from REPLICA
    alone."""

    hour: int
    primary: int
    replica: int
    merged: int
    both: int
    primary_only: int
    replica_only: int


class Connection(NamedTuple):
    """First and last receive time of this channel's rows on one connection."""

    lane: int
    epoch: int
    connection: int
    first: int
    last: int


class MergedChannel:
    """One channel of a day, merged in the database; the next one replaces it.

    Without `payloads` no row is a copy of another lane's: so it is with what a session manager observed of itself.
    """

    def __init__(self, database: Any, payloads: Payloads | None, channel: str, rows: Iterable[tuple[int, Row]]) -> None:
        self._database = database
        database.execute(_CREATE)
        fill(database, "arrived", _LAYOUT, _keyed(payloads, channel, rows))
        database.execute(_MATCH)

    def rows(self) -> Iterator[Kept]:
        """The merged rows, in an order that is a function of what was received alone."""
        yield from (Kept(*row) for row in read(self._database, _KEPT))

    def hours(self) -> list[Hour]:
        """What each hour's messages came from."""
        return [Hour(*(int(value) for value in row)) for row in read(self._database, _HOURS)]

    def connections(self) -> list[Connection]:
        """Where the rows came in."""
        return [Connection(*row) for row in read(self._database, _CONNECTIONS)]


def _keyed(
    payloads: Payloads | None, channel: str, rows: Iterable[tuple[int, Row]]
) -> Iterator[tuple[int, int, int, int, int, int, int, bytes, bytes]]:
    for lane, (ts_recv, epoch, connection, sequence, payload) in rows:
        if payloads is None:
            key = MergeKey(0, 0, b"%d %d %b" % (lane, epoch, payload))
        else:
            key = payloads.merge_key(channel, payload)
        ts_event, venue_sequence, identity = key
        if payload_time(ts_event, ts_recv) != ts_event:
            ts_event = 0
        if len(identity) > 32:
            identity = blake2b(identity, digest_size=32).digest()
        yield (
            lane, epoch, connection, sequence, ts_recv, ts_event,
            venue_sequence if venue_sequence < 2**63 else 0, identity, payload,
        )  # fmt: skip
