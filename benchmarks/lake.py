"""Seconds and bytes read by queries of docs/queries.md on one day of many canonical trades, in DuckDB on local files."""

from __future__ import annotations

import datetime as dt
import random
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import providers
from benchmarks.report import Report
from penstock import dbn
from penstock.instruments import SPOT, Instrument
from penstock.lake.local import LocalLake
from penstock.lake.tables import tables
from penstock.objectstore import open_store
from penstock.timestamps import NS_PER_S, day_start_ns
from services.post_processor.publication import Shelf, Source, publish
from services.post_processor.schemafile import SchemaFile

ROWS = 20_000_000
DAY = dt.date(2026, 8, 9)
QUERIES = (1, 3, 7, 9, 10)
GROUP = 65_536
BASE = 4 * GROUP
SYMBOLS = [f"{base}USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LINK", "AVAX")]
INFO = providers.info("binance_spot")
PAGE = Path(__file__).resolve().parents[1] / "docs/queries.md"


def run(report: Report) -> None:
    """BASE trades through the post-processor's writer, repeated along the day until there are ROWS."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-lake-"))
    try:
        path = make(folder, ROWS)
        whole = path.stat().st_size
        report.add("lake", f"{ROWS:,} trades as Parquet", whole / 1e6, "MB", f"{whole / ROWS:.1f} B/row")
        noon = day_start_ns(DAY) + 12 * 3600 * NS_PER_S
        for number in QUERIES:
            title, sql = query(number)
            measured(report, folder, title, sql, whole)
            hour = f"AND ts_recv >= {noon} AND ts_recv < {noon + 3600 * NS_PER_S}\n"
            measured(report, folder, f"{title}, one hour", sql.replace("day = 9", f"day = 9 {hour}"), whole)
        kept, groups = pruned(path, noon, noon + 3600 * NS_PER_S)
        report.add("lake", "row groups left by their statistics, one hour", kept, "groups", f"of {groups}")
    finally:
        shutil.rmtree(folder)


def query(number: int) -> tuple[str, str]:
    """Title and text of a query of the page."""
    found = re.search(rf"^## {number}\. (.*?)\n.*?```sql\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1], found[2]


def measured(report: Report, folder: Path, title: str, sql: str, whole: int) -> None:
    """A fresh connection, so that nothing of the query before is still held."""
    began, read = time.perf_counter(), _read()
    with LocalLake(tables(providers.names()), (folder / "lake").as_uri()) as lake:
        rows = len(lake.query(sql).rows)
    seconds, read = time.perf_counter() - began, _read() - read
    report.add(
        "lake", f"{title}: {rows} rows", seconds, "s", f"{read / 1e6:.1f} MB read, {read / whole:.1%} of the object"
    )


def pruned(path: Path, start: int, end: int) -> tuple[int, int]:
    """How many row groups may hold a ts_recv of the span, and how many there are."""
    metadata = pq.ParquetFile(path).metadata
    column = metadata.schema.names.index("ts_recv")
    found = [metadata.row_group(n).column(column).statistics for n in range(metadata.num_row_groups)]
    return sum(one.max >= start and one.min < end for one in found), len(found)


def make(folder: Path, rows: int) -> Path:
    """A published day of `rows` trades; the path of its Parquet object."""
    shelf = Shelf((folder / "lake").as_uri(), DAY, "0" * 64)
    coins = [
        Instrument(INFO.publisher, symbol, 10**4, symbol[:-4], 10**7, SPOT, "SPOT", symbol[:-4], "USDT")
        for symbol in SYMBOLS
    ]
    start = day_start_ns(DAY)
    defined = _file(folder, coins, "DEFINITION", [coin.record(start, start) for coin in coins])
    base = _file(folder, coins, "TRADES", _trades(coins, start, 86_400 * NS_PER_S // rows))
    big = folder / "big" / base.parquet.name
    big.parent.mkdir()
    _repeat(base.parquet, big, rows)
    objects = [
        shelf.put("parquet/provider=BINANCE_SPOT/schema=DEFINITION", defined.parquet, defined.records, "DEFINITION"),
        shelf.put("parquet/provider=BINANCE_SPOT/schema=TRADES", big, rows, "TRADES"),
    ]
    publish(open_store(shelf.url, writable=True), "BINANCE_SPOT", DAY, Source(1, "0" * 64), "", objects)
    big.unlink()
    return next((folder / "lake").rglob("*.trades.parquet"))


def _trades(coins: Sequence[Instrument], start: int, step: int) -> list[bytes]:
    dice, prices = random.Random(1), [6_000_000 // (n + 1) for n in range(len(coins))]
    made = []
    for n in range(BASE):
        which = min(int(dice.expovariate(0.7)), len(coins) - 1)
        prices[which] += dice.randrange(-50, 51)
        at = start + n * step
        made.append(
            dbn.trade(
                INFO.publisher_id, coins[which].instrument_id, at - dice.randrange(1, 40_000_000), prices[which] * 10**7,
                int(dice.paretovariate(0.8) * 10), dice.choice((dbn.BID, dbn.ASK)), dbn.F_LAST, at, n,
            )
        )  # fmt: skip
    return made


def _file(folder: Path, coins: Sequence[Instrument], schema: str, records: Sequence[bytes]) -> SchemaFile:
    file = SchemaFile(schema, folder, INFO.publisher, DAY, {coin.instrument_id: coin.raw_symbol for coin in coins})
    for record in records:
        file.add("trades", record)
    file.finish()
    return file


def _repeat(source: Path, target: Path, rows: int) -> None:
    """The writer's own table again and again, each time later by its span; written as SchemaFile writes it."""
    table: Any = pq.read_table(source)
    span = rows and 86_400 * NS_PER_S // rows * table.num_rows
    writer = pq.ParquetWriter(target, table.schema, compression="zstd", compression_level=3)
    done = 0
    while done < rows:
        count = min(table.num_rows, rows - done)
        part, turn = table.slice(0, count), done // table.num_rows
        for name, shift in (("ts_recv", span * turn), ("ts_event", span * turn), ("sequence", done)):
            index = part.schema.get_field_index(name)
            part = part.set_column(index, name, pc.add(part.column(name), pa.scalar(shift, pa.int64())))
        writer.write_table(part, row_group_size=GROUP)
        done += count
    writer.close()


def _read() -> int:
    """Bytes that this process read so far, whatever was cached (Linux)."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]
