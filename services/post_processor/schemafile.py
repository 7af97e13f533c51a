"""One schema of a canonical day as two files: .dbn.zst for machines, .parquet for SQL."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import databento_dbn as dbn
import pyarrow.parquet as pq
import zstandard

from penstock.dbn import VERSION, schema_name
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S, day_start_ns
from services.post_processor.tables import Layout

_GROUP_RECORDS: Final = 65_536
_LEVEL: Final = 3


class _Interval(NamedTuple):
    start_date: dt.date
    end_date: dt.date
    symbol: str


@dataclass(frozen=True)
class _Mapping:
    raw_symbol: str
    intervals: list[_Interval]


class SchemaFile:
    """Collects the records of one schema in the order they come; `finish` makes the files.

    `symbols` is instrument id to raw symbol and may still grow while records come.
    """

    def __init__(
        self, schema: str, folder: Path, publisher: Publisher, day: dt.date, symbols: Mapping[int, str]
    ) -> None:
        self._layout = Layout(schema)
        self._schema, self._publisher, self._day, self._symbols = schema, publisher, day, symbols
        self._seen: set[int] = set()
        name = schema_name(schema)
        self.dbn = folder / f"{publisher.dataset}.{name}.dbn.zst"
        self.parquet = folder / f"{publisher.dataset}.{name}.parquet"
        self.records = 0
        self._body = folder / f"{name}.records.zst"
        self._body_file = self._body.open("wb")
        self._zstd: Any = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(self._body_file)
        self._table = pq.ParquetWriter(self.parquet, self._layout.schema, compression="zstd", compression_level=_LEVEL)
        self._parts: list[bytes] = []
        self._channels: list[str] = []

    def add(self, channel: str, data: bytes) -> None:
        """Append the records of one message, all of this schema."""
        count = len(data) // (data[0] * 4)
        self._seen.add(int.from_bytes(data[4:8], "little"))
        self._parts.append(data)
        self._channels.extend([channel] * count)
        self.records += count
        if len(self._channels) >= _GROUP_RECORDS:
            self._flush()

    def finish(self) -> None:
        """Complete both files. Metadata comes first in DBN and is known last: it is a Zstandard frame of its own."""
        if self._parts:
            self._flush()
        self._table.close()
        self._zstd.close()
        self._body_file.close()
        with self.dbn.open("wb") as file, self._body.open("rb") as body:
            file.write(zstandard.ZstdCompressor(level=_LEVEL).compress(self._metadata()))
            shutil.copyfileobj(body, file, 1 << 20)
        self._body.unlink()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._zstd.write(data)
        self._table.write_table(self._layout.table(data, self._channels, self._symbols))
        self._parts, self._channels = [], []

    def _metadata(self) -> bytes:
        until = self._day + dt.timedelta(days=1)
        known = sorted((self._symbols[number], number) for number in self._seen if number in self._symbols)
        start = day_start_ns(self._day)
        mappings: Any = [_Mapping(symbol, [_Interval(self._day, until, str(number))]) for symbol, number in known]
        return dbn.Metadata(
            dataset=self._publisher.dataset,
            start=start,
            end=start + 86_400 * NS_PER_S,
            stype_in=dbn.SType.from_str("raw_symbol"),
            stype_out=dbn.SType.from_str("instrument_id"),
            schema=dbn.Schema.from_str(schema_name(self._schema)),
            symbols=[symbol for symbol, _ in known],
            mappings=mappings,
            version=VERSION,
        ).encode()
