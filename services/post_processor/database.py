"""A DuckDB file in the run's folder: sorts and joins there spill to disk, so no day is too large for the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import batched
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

_BATCH_ROWS: Final = 16384


def connect(folder: Path, memory_mb: int) -> Any:
    """A database that keeps to `memory_mb` and spills into `folder`."""
    database = duckdb.connect(str(folder / "work.duckdb"))
    database.execute(f"SET memory_limit = '{int(memory_mb)}MB'")
    database.execute("SET temp_directory = ?", [str(folder / "spill")])
    database.execute("SET threads = 2")
    # Every result here is sorted by a key without ties: the order of insertion carries nothing.
    database.execute("SET preserve_insertion_order = false")
    return database


def fill(database: Any, table: str, schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> None:
    """Append rows (tuples in the schema's order) to a table of that layout."""
    for batch in batched(rows, _BATCH_ROWS):
        columns = [pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)]
        database.register("arriving", pa.table(columns, schema=schema))
        database.execute(f"INSERT INTO {table} SELECT * FROM arriving")  # noqa: S608 # table is a word of this package
        database.unregister("arriving")


def read(database: Any, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a batch at a time."""
    cursor = database.cursor()
    cursor.execute(sql)
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield from rows
    cursor.close()
