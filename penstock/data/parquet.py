"""Parquet objects read through pyarrow: only the row groups and columns that are asked for, in their stored order."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from penstock.data.lake import Lake, Stored
from penstock.errors import ConfigError, Terminal

_BATCH_ROWS: Final = 65_536
_READAHEAD: Final = 4
"""Batches and files that are read ahead: enough to keep S3 busy, and 16 batches of MBP-10 are 400 MB."""


class Part(NamedTuple):
    """Objects that are cut alike: from `start` until just before `end` (UNIX ns; None: not cut)."""

    objects: tuple[Stored, ...]
    start: int | None
    end: int | None


class Plan(NamedTuple):
    """What a scan reads: `objects`, `row_groups` out of `of_row_groups` and `rows` in them, and the stored (compressed)
    `bytes` of the columns it needs there, out of `of_bytes` that the objects have."""

    objects: int
    row_groups: int
    of_row_groups: int
    rows: int
    bytes: int
    of_bytes: int


class Scan:
    """Rows of `parts`, one after the other, of `symbols` (None: all). All objects have the same columns."""

    def __init__(self, lake: Lake, parts: Sequence[Part], symbols: Sequence[str] | None) -> None:
        self._lake, self._symbols = lake, symbols
        self._parts = [part for part in parts if part.objects]

    @property
    def time(self) -> str:
        """The column that cuts: `ts_recv`, or `ts_event` where there is no other."""
        return "ts_recv" if "ts_recv" in self._schema.names else "ts_event"

    def reader(self, columns: Sequence[str] | None) -> Any:
        """A pyarrow.RecordBatchReader. Raises ConfigError for a column that is not there."""
        names = self._names(columns)
        return pa.RecordBatchReader.from_batches(
            pa.schema([self._schema.field(name) for name in names]), self._batches(names)
        )

    def plan(self, columns: Sequence[str] | None) -> Plan:
        """What `reader(columns)` would read."""
        names = set(self._names(columns))
        groups = of_row_groups = rows = read = 0
        for dataset, predicate, tested in self._datasets:
            for fragment in dataset.get_fragments(filter=predicate):
                kept = fragment if predicate is None else fragment.subset(predicate, schema=self._schema)
                of_row_groups += fragment.metadata.num_row_groups
                for group in kept.row_groups:
                    found = fragment.metadata.row_group(group.id)
                    groups += 1
                    rows += found.num_rows
                    read += _bytes(found, names | tested)
        items = [item for part in self._parts for item in part.objects]
        return Plan(len(items), groups, of_row_groups, rows, read, sum(item.bytes for item in items))

    def _batches(self, names: list[str]) -> Iterator[Any]:
        for dataset, predicate, _ in self._datasets:
            scanner = dataset.scanner(
                columns=names, filter=predicate, batch_size=_BATCH_ROWS, batch_readahead=_READAHEAD,
                fragment_readahead=_READAHEAD,
            )  # fmt: skip
            try:
                yield from scanner.to_reader()
            except (pa.ArrowException, OSError) as error:
                raise Terminal(f"{self._lake.url}: {str(error).splitlines()[0]}") from None

    @cached_property
    def _datasets(self) -> list[tuple[Any, Any, set[str]]]:
        """What is cut alike as one dataset, so that the next day is read ahead; its filter, and the columns that tests."""
        merged: list[Part] = []
        for part in self._parts:
            if merged and merged[-1][1:] == part[1:]:
                part = part._replace(objects=merged.pop().objects + part.objects)
            merged.append(part)
        return [(self._dataset(part.objects), *self._predicate(part)) for part in merged]

    def _dataset(self, objects: tuple[Stored, ...]) -> Any:
        filesystem, paths = self._lake.files(objects)
        return ds.dataset(paths, schema=self._schema, format="parquet", filesystem=filesystem)

    def _predicate(self, part: Part) -> tuple[Any, set[str]]:
        tests = []
        if self._symbols is not None:
            tests.append(("symbol", ds.field("symbol").isin(list(self._symbols))))
        time, kind = ds.field(self.time), self._schema.field(self.time).type
        if part.start is not None:
            tests.append((self.time, time >= pa.scalar(part.start, kind)))
        if part.end is not None:
            tests.append((self.time, time < pa.scalar(part.end, kind)))
        predicate = functools.reduce(operator.and_, (test for _, test in tests)) if tests else None
        return predicate, {name for name, _ in tests}

    @cached_property
    def _schema(self) -> Any:
        filesystem, (path,) = self._lake.files(self._parts[0].objects[:1])
        try:
            return ds.ParquetFileFormat().inspect(path, filesystem)
        except (pa.ArrowException, OSError) as error:
            raise Terminal(f"{self._lake.url}: {path}: {str(error).splitlines()[0]}") from None

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        names = list(self._schema.names if columns is None else columns)
        for name in names:
            if name not in self._schema.names:
                raise ConfigError(f"column is {name!r}, expected some of {', '.join(self._schema.names)}")
        return names


def _bytes(group: Any, names: set[str]) -> int:
    columns = (group.column(n) for n in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema in names)
