"""DuckDB in memory: tables, sorts and joins spill to the run's folder, so no day is too large for the memory.

Its rows hold places of payloads in place of payloads (see `payloadfile`), which the plan, that never looks at them, joins
and sorts all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from penstock.objectstore_raw import Row
from penstock.payloads import Payloads
from services.post_processor import plan
from services.post_processor.lanes import Connection, Hour, Kept, kept, keyed
from services.post_processor.payloadfile import PayloadReader, PayloadWriter

_BATCH_ROWS: Final = 8192
_BATCH_BYTES: Final = 8 << 20

_TYPES: Final = {pa.int64(): "BIGINT", pa.string(): "VARCHAR", pa.binary(): "BLOB"}


def connect(folder: Path, memory_mb: int) -> Any:
    """A database that keeps to `memory_mb` and spills into `folder`.

    It has no file of its own: that would be made durable at every step, for nobody.
    """
    database = duckdb.connect(":memory:")
    database.execute(f"SET memory_limit = '{int(memory_mb)}MB'")
    database.execute("SET temp_directory = ?", [str(folder / "spill")])
    database.execute("SET threads = 2")
    # Every result here is sorted by a key without ties: the order of insertion carries nothing.
    database.execute("SET preserve_insertion_order = false")
    return database


def create(database: Any, table: str, schema: pa.Schema) -> None:
    """An empty table of that layout, in place of one that is there."""
    columns = ", ".join(f"{field.name} {_TYPES[field.type]}" for field in schema)
    database.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")


def fill(database: Any, table: str, schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> None:
    """Append rows (tuples in the schema's order, the payload last) to a table of that layout."""
    for batch in tables(schema, rows):
        database.register("arriving", batch)
        database.execute(f"INSERT INTO {table} SELECT * FROM arriving")  # noqa: S608 # table is a word of this package
        database.unregister("arriving")


def read(database: Any, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a batch at a time."""
    cursor = database.cursor()
    cursor.execute(sql)
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield from rows
    cursor.close()


def tables(schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> Iterator[Any]:
    """Rows whose last column is a payload as Arrow tables, bounded in rows and in bytes."""
    for batch in _batches(rows):
        columns = [pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)]
        yield pa.table(columns, schema=schema)


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row[-1])
        if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def placed(payloads: PayloadWriter, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    """Rows whose last column is a payload with its place there."""
    return ((*row, payloads.add(payload)) for *row, payload in rows)


class MergedChannel:
    """One channel of a day, merged in the database; the next one replaces it. See `lanes.keyed` for `payloads`."""

    def __init__(
        self, database: Any, folder: Path, payloads: Payloads | None, channel: str, rows: Iterable[tuple[int, Row]]
    ) -> None:
        self._database, self._path = database, folder / "arrived.payloads"
        create(database, "arrived", plan.ARRIVED)
        with closing(PayloadWriter(self._path, 0)) as places:
            fill(database, "arrived", plan.ARRIVED, placed(places, keyed(payloads, 0, channel, rows)))
        database.execute(f"CREATE OR REPLACE TABLE matched AS {plan.MATCHED}")

    def rows(self) -> Iterator[Kept]:
        """The merged rows, in an order that is a function of what was received alone."""
        payloads = PayloadReader({0: self._path})
        # Joined first and sorted then: at once, both want the memory.
        self._database.execute(f"CREATE OR REPLACE TABLE merged AS {plan.KEPT}")
        for *row, place in read(self._database, plan.ordered("SELECT * FROM merged", plan.ORDER)):
            yield kept((*row, payloads.get(place)))

    def hours(self) -> list[Hour]:
        """What each hour's messages came from."""
        return [Hour.of(*row[1:]) for row in read(self._database, plan.HOURS)]

    def connections(self) -> list[Connection]:
        """Where the rows came in."""
        return [Connection(*row[1:]) for row in read(self._database, plan.CONNECTIONS)]


class FramesAt(NamedTuple):
    """Frames on their way from one step to the next, by a number of their own in the run's folder."""

    folder: Path
    number: int

    @property
    def table(self) -> Path:
        """plan.FRAMES as Parquet, with places of payloads."""
        return self.folder / f"frames-{self.number}.parquet"

    @property
    def payloads(self) -> Path:
        """What the places are in."""
        return self.folder / f"frames-{self.number}.payloads"


class FrameFile:
    """Writes frames."""

    def __init__(self, at: FramesAt) -> None:
        self._table = pq.ParquetWriter(at.table, plan.FRAMES, compression="lz4", write_statistics=False)
        self._payloads = PayloadWriter(at.payloads, at.number)

    def add(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Append rows of plan.FRAMES."""
        for table in tables(plan.FRAMES, placed(self._payloads, rows)):
            self._table.write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._payloads.close()
