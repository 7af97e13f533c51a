"""The merge as one relational plan: SQL in the dialect that DuckDB and Spark share, and the tables it works on.

Nothing here is of one engine. The keys (`identity`, `stamp`, `venue_sequence`) are computed by the provider's Python code
before (`lanes.keyed`), and what needs a running state comes after, row by row in the order that ORDER says. All integers
are signed 64-bit, the widest that both engines have: times until 2262, and counters below 2⁶³.

A message has as many copies as the one connection that saw it most often, never a set union and never the sum.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

ARRIVED: Final = pa.schema(
    [
        ("channel", pa.int64()), ("id", pa.int64()), ("lane", pa.int64()), ("epoch", pa.int64()),
        ("connection", pa.int64()), ("sequence", pa.int64()), ("ts_recv", pa.int64()), ("ts_event", pa.int64()),
        ("stamp", pa.int64()), ("venue_sequence", pa.int64()), ("identity", pa.binary()), ("payload", pa.binary()),
    ]
)  # fmt: skip
"""Table `arrived`: every row of every object. `channel` numbers the day's channels, `id` the rows; `stamp` is the row's
place in time (UNIX ns), `ts_event` the venue's own time, 0 where it gave none that can be believed."""

FRAMES: Final = pa.schema(
    [
        ("part", pa.int64()), ("stamp", pa.int64()), ("later", pa.int64()), ("schema", pa.string()),
        ("channel", pa.string()), ("n", pa.int64()), ("ts_recv", pa.int64()), ("connection", pa.int64()),
        ("sequence", pa.int64()), ("payload", pa.binary()),
    ]
)  # fmt: skip
"""Table `frames`: what is normalized. `part` says of which provider and day; `later` is 0 for definitions, which sort
before data of the same instant; `n` is the row's place within its channel."""

RUNS: Final = pa.schema([("run", pa.int64()), ("part", pa.int64()), ("run_up", pa.int64()), ("leads", pa.int64())])
"""Table `runs`: which parts a normalizer is fed with, its own day's and, with `run_up` 1, that of the day before. Where
there is none (`leads` 1), the first definition leads: what it says was true before it was asked for."""

# 1. A row that is in two objects is one row.  2. Number a message's copies within each connection.  3. Of the copies with
# one number, the first (`place` 1) is kept: PRIMARY's where it has one.
MATCHED: Final = """
WITH numbered AS (
    SELECT channel, id, lane, epoch, connection, sequence, ts_recv, ts_event, stamp, venue_sequence, identity,
        row_number() OVER (
            PARTITION BY channel, lane, epoch, sequence, identity ORDER BY ts_recv, connection, id) AS found
    FROM arrived
), counted AS (
    SELECT *, row_number() OVER (
        PARTITION BY channel, ts_event, identity, lane, epoch, connection ORDER BY sequence, ts_recv, id) AS copy
    FROM numbered WHERE found = 1
)
SELECT *,
    row_number() OVER (
        PARTITION BY channel, ts_event, identity, copy ORDER BY lane, epoch, connection, sequence, ts_recv) AS place,
    max(CASE WHEN lane = 0 THEN 1 ELSE 0 END) OVER (PARTITION BY channel, ts_event, identity, copy) AS in_primary,
    max(CASE WHEN lane = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY channel, ts_event, identity, copy) AS in_replica
FROM counted
"""

KEPT: Final = """
SELECT matched.channel, matched.stamp, matched.venue_sequence, matched.ts_recv, matched.lane, matched.epoch,
    matched.connection, matched.sequence, matched.identity, arrived.payload
FROM matched JOIN arrived ON matched.id = arrived.id WHERE matched.place = 1
"""

ORDER: Final = (
    "channel", "stamp", "venue_sequence", "ts_recv", "lane", "epoch", "connection", "sequence", "identity"
)  # fmt: skip
"""The order of KEPT, without ties: time, venue id, then where a row came from."""

HOURS: Final = """
SELECT channel, stamp - stamp % 3600000000000 AS starts,
    sum(CASE WHEN lane = 0 THEN 1 ELSE 0 END) AS of_primary,
    sum(CASE WHEN lane = 1 THEN 1 ELSE 0 END) AS of_replica,
    sum(CASE WHEN place = 1 THEN 1 ELSE 0 END) AS merged,
    sum(CASE WHEN place = 1 AND in_primary = 1 AND in_replica = 1 THEN 1 ELSE 0 END) AS in_both,
    sum(CASE WHEN place = 1 AND in_primary = 1 AND in_replica = 0 THEN 1 ELSE 0 END) AS primary_only,
    sum(CASE WHEN place = 1 AND in_primary = 0 AND in_replica = 1 THEN 1 ELSE 0 END) AS replica_only,
    sum(CASE WHEN place = 1 AND in_primary = 0 AND in_replica = 0 THEN 1 ELSE 0 END) AS filled
FROM matched GROUP BY channel, stamp - stamp % 3600000000000 ORDER BY 1, 2
"""

CONNECTIONS: Final = """
SELECT channel, lane, epoch, connection, min(ts_recv) AS earliest, max(ts_recv) AS latest
FROM arrived GROUP BY channel, lane, epoch, connection ORDER BY 1, 2, 3, 4
"""

FED: Final = """
SELECT runs.run, runs.run_up, CASE WHEN runs.leads = 1 AND later = 0 AND n = 0 THEN 0 ELSE stamp END AS due,
    later, schema, channel, n, ts_recv, connection, sequence, payload
FROM frames JOIN runs ON frames.part = runs.part
"""

SEQUENCE: Final = ("run", "run_up DESC", "due", "later", "schema", "channel", "n")
"""The order of FED, in which frames are normalized: the day before first, then by time, definitions first."""


def ordered(select: str, order: tuple[str, ...]) -> str:
    """A query with its order."""
    return f"{select} ORDER BY {', '.join(order)}"
