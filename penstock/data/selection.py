"""`load`: records of one provider and schema over a span of time, read when they are asked for."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from penstock.data.definitions import COLUMNS, Definitions, needed
from penstock.data.lake import Day, Lake, WhenUnpublished
from penstock.data.parquet import Part, Plan, Scan
from penstock.data.records import DbnObject, Wanted, in_order
from penstock.data.span import Moment, Span
from penstock.errors import ConfigError

_REQUEST_BYTES: Final = 4 << 20


def load(
    provider: str,
    schema: str,
    symbols: str | Iterable[str] | None,
    start: Moment,
    end: Moment | None = None,
    *,
    source: str | Path,
    unpublished: WhenUnpublished = "refuse",
) -> Selection:
    """Records of one provider and schema, from `start` until just before `end` (without it: until `start`'s UTC day is
    over). Only manifests and the list of symbols are read here; records when a method of the selection asks for them.

    `provider` as in `penstock providers`; `schema` DBN's name ("trades", "mbp-1") or the channel's ("MBP_1"); `symbols`
    the venue's own names, None for all; `source` `file:///folder`, `s3://bucket/prefix` or a local path.

    A record belongs to the UTC day that it is stored under (its venue's time, see docs/lake.md); a start or end inside a
    day cuts by `ts_recv`, by `ts_event` where the schema has no other. So spans that touch share no record and miss none.

    Raises Unpublished where a day has no manifest (`unpublished="warn"`: warns and leaves it out), ConfigError where the
    provider, schema or symbol is unknown on these days.
    """
    lake, span, name = Lake(source), Span.of(start, end), _segment(provider)
    days = lake.days(name, span, unpublished)
    wanted = _segment(schema)
    stored = sorted({item.schema for day in days for item in day.objects if item.key.startswith("canonical/")})
    if wanted not in stored:
        raise ConfigError(f"schema is {schema!r}, and {name} has {', '.join(stored) or 'nothing'} for {span}")
    if symbols is not None:
        symbols = (symbols,) if isinstance(symbols, str) else tuple(dict.fromkeys(symbols))
    selection = Selection(name, wanted, symbols, span, lake, tuple(days))
    selection.check_symbols()
    return selection


@dataclass(frozen=True)
class Selection:
    """What `load` found. Nothing is read before a method asks, and nothing is kept: each call reads again.

    Columns are DBN's own, with native integers (prices at 1e-9, sizes in lots, times in UNIX ns; DBN's undefined values
    as they are), then `symbol` and the venue's `channel`. Rows are in their stored order: the order in which the
    normalizer gave them, day by day.

    It is an Arrow stream itself: `polars.DataFrame(selection)` and `SELECT … FROM selection` in DuckDB read it.
    """

    provider: str
    schema: str
    symbols: tuple[str, ...] | None
    span: Span
    lake: Lake = field(repr=False)
    days: tuple[Day, ...] = field(repr=False)

    def __repr__(self) -> str:
        return f"{self.schema} of {', '.join(self.symbols or ('all',))} on {self.provider}, {self.span}"

    def arrow(self, columns: Sequence[str] | None = None) -> Any:
        """All of it as a pyarrow.Table, or these columns of it."""
        return self.reader(columns).read_all()

    def reader(self, columns: Sequence[str] | None = None) -> Any:
        """A pyarrow.RecordBatchReader: the same in batches of at most 65,536 rows, in bounded memory."""
        return self._scan.reader(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def pandas(self, columns: Sequence[str] | None = None) -> Any:
        """A pandas.DataFrame with a RangeIndex and native integers."""
        return self.arrow(columns).to_pandas()

    def numpy(self, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One numpy array per column, shape (rows,); text columns have dtype object."""
        table = self.arrow(columns)
        return {name: table.column(name).to_numpy() for name in table.column_names}

    def readable(self, columns: Sequence[str] | None = None) -> Any:
        """A pyarrow.Table with UTC timestamps, exact decimal prices, and quantities in the instrument's unit in the place
        of sizes in lots; undefined values are null. See `Definitions.readable`."""
        if columns is None:
            return self.definitions().readable(self.arrow())
        read = self.arrow(needed(columns, self._scan.time))
        return self.definitions().readable(read).select(list(columns))

    def definitions(self) -> Definitions:
        """The definitions of these days, of the selected symbols. Raises ConfigError where none are stored."""
        parts = [Part(tuple(day.canonical("DEFINITION", "parquet")), None, None) for day in self.days]
        if not any(part.objects for part in parts):
            raise ConfigError(f"{self.provider} has no definitions stored for {self.span}")
        return Definitions(Scan(self.lake, parts, self.symbols).reader(COLUMNS).read_all())

    def records(self) -> Iterator[Any]:
        """databento_dbn's records one by one (TradeMsg, MBOMsg, …), in bounded memory."""
        return itertools.chain.from_iterable(in_order(self._pieces(day)) for day in self.days)

    def dbn(self) -> Any:
        """A databento.DBNStore of all of it, with symbol mappings; it is held in memory. Raises ConfigError where the
        package `databento` is not installed."""
        from penstock.data.dbnstore import dbn_store

        parts = []
        for item in (item for day in self.days for item in self._opened(day)):
            parts.append(item.metadata)
            item.close()
        return dbn_store(parts, self.symbols, self.span, self.records())

    def plan(self, columns: Sequence[str] | None = None) -> Plan:
        """What `arrow(columns)` would read, after pruning by path and by the row groups' statistics."""
        return self._scan.plan(columns)

    def check_symbols(self) -> None:
        """Raise ConfigError for a selected symbol that no definition of these days has: a typo is not an empty result."""
        items = [item for day in self.days for item in day.canonical("DEFINITION", "parquet")]
        if self.symbols is None or not items:
            return
        parts = [Part(tuple(items), None, None)]
        known = Scan(self.lake, parts, None).reader(["raw_symbol"]).read_all().column(0).unique().to_pylist()
        for symbol in self.symbols:
            if symbol not in known:
                close = difflib.get_close_matches(symbol.upper(), known, n=3) or sorted(known)[:3]
                raise ConfigError(
                    f"symbol is {symbol!r}, {self.provider} defines {len(known)}, such as {', '.join(close)}"
                )

    @cached_property
    def _scan(self) -> Scan:
        parts = []
        for day in self.days:
            items = tuple(day.canonical(self.schema, "parquet"))
            parts.append(Part(items, *self.span.within(day.day)))
        return Scan(self.lake, parts, self.symbols)

    def _opened(self, day: Day) -> Iterator[DbnObject]:
        filesystem, paths = self.lake.files(day.canonical(self.schema, "canonical"))
        for path in paths:
            # Over S3 each read is a request: large ones.
            yield DbnObject(path, filesystem.open_input_stream(path, compression="zstd", buffer_size=_REQUEST_BYTES))

    def _pieces(self, day: Day) -> Iterator[Iterator[bytes]]:
        symbols = None if self.symbols is None else frozenset(self.symbols)
        wanted = Wanted(symbols, *self.span.within(day.day))
        return (item.records(wanted) for item in self._opened(day))


def _segment(name: str) -> str:
    return name.upper().replace("-", "_")
