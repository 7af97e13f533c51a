"""Reading stored days: exact spans, only what manifests name, pruned, exact decimals. On real files."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import dbn
from penstock.data import Definitions, Span, Unpublished, completeness, load, price
from penstock.data.definitions import COLUMNS, decimals
from penstock.errors import ConfigError, Terminal
from penstock.instruments import SPOT, Instrument
from penstock.lots import SCALE
from penstock.objectstore import open_store
from penstock.publishers import Publisher
from penstock.timestamps import day_start_ns
from services.post_processor.publication import Shelf, Source
from services.post_processor.publication import publish as publish_manifest
from services.post_processor.schemafile import SchemaFile

PUBLISHER = Publisher(60999, "nowhere", "NOWHERE", "NOWH")
FIRST = dt.date(2026, 8, 9)
SECOND = FIRST + dt.timedelta(days=1)
MIDNIGHT = day_start_ns(FIRST)
DAY_NS = 86_400 * 10**9
PER_DAY = 200_000
"""Three row groups and a bit."""

SYMBOLS = {"BTC-EUR": 10**4, "ETH-EUR": 10**6, "QUIET": 10**9}


def instrument(symbol: str, lot: int) -> Instrument:
    return Instrument(PUBLISHER, symbol, lot, symbol[:3], 10**7, SPOT, "SPOT", symbol[:3], "EUR")


IDS = {symbol: instrument(symbol, lot).instrument_id for symbol, lot in SYMBOLS.items()}


def trades(day: dt.date, count: int = PER_DAY) -> list[bytes]:
    """A trade every 0.4 s: BTC-EUR in the morning, ETH-EUR afterwards."""
    start, step = day_start_ns(day), DAY_NS // count
    return [
        dbn.trade(
            60999, IDS["BTC-EUR" if n < count // 2 else "ETH-EUR"], start + n * step - 1000, n * SCALE, n % 7 + 1,
            dbn.BID, dbn.F_LAST, start + n * step, n,
        )
        for n in range(count)
    ]  # fmt: skip


def publish(folder: Path, day: dt.date, schemas: dict[str, list[Iterable[bytes]]], *, manifest: bool = True) -> None:
    """Store a day as the post-processor does; a schema may have several objects."""
    shelf, stored = Shelf(folder.as_uri(), day, "0" * 64), []
    names = {number: symbol for symbol, number in IDS.items()}
    for schema, files in schemas.items():
        for n, messages in enumerate(files):
            work = folder.parent / f"{folder.name}-{day}-{schema}-{n}"
            work.mkdir()
            file = SchemaFile(schema, work, PUBLISHER, day, names)
            for message in messages:
                file.add("trades", message)
            file.finish()
            for kind, path in (("canonical", file.dbn), ("parquet", file.parquet)):
                named = path.rename(path.with_name(f"{n}-{path.name}"))
                stored.append(shelf.put(f"{kind}/provider=NOWHERE/schema={schema}", named, file.records, schema))
    if manifest:
        publish_manifest(open_store(folder.as_uri()), "NOWHERE", day, Source(1, "0" * 64), "", stored)


def definitions(day: dt.date) -> list[bytes]:
    start = day_start_ns(day)
    return [instrument(symbol, lot).record(start, start) for symbol, lot in SYMBOLS.items()]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two published days, of 200,000 and 1,000 trades."""
    folder = tmp_path_factory.mktemp("data") / "a lake"
    for day, count in ((FIRST, PER_DAY), (SECOND, 1000)):
        publish(folder, day, {"TRADES": [trades(day, count)], "DEFINITION": [definitions(day)]})
    return folder


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-08-09", None, (MIDNIGHT, MIDNIGHT + DAY_NS)),
        (FIRST, SECOND, (MIDNIGHT, MIDNIGHT + DAY_NS)),
        ("2026-08-09T12:00:00.000000001Z", None, (MIDNIGHT + DAY_NS // 2 + 1, MIDNIGHT + DAY_NS)),
        (MIDNIGHT + 5, MIDNIGHT + 6, (MIDNIGHT + 5, MIDNIGHT + 6)),
        (dt.datetime.fromisoformat("2026-08-09T02:00:00.000001+02:00"), None, (MIDNIGHT + 1000, MIDNIGHT + DAY_NS)),
        (pd.Timestamp(MIDNIGHT + 123_456_789, tz="Asia/Tokyo"), None, (MIDNIGHT + 123_456_789, MIDNIGHT + DAY_NS)),
    ],
)  # fmt: skip
def test_spans_are_exact(start, end, expected) -> None:
    """Every way to write a moment is its UNIX nanosecond; without an end it is the rest of the UTC day."""
    assert Span.of(start, end) == expected


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-8-9", None), ("2026-08-09T12:00", None), (dt.datetime(2026, 8, 9), None),  # noqa: DTZ001
        (1.5, None), (True, None),
        (-1, None), (FIRST, FIRST), (SECOND, FIRST), ("yesterday", None), ("2026-08-09T02:00:00+02:00", None),
    ],
)  # fmt: skip
def test_what_is_no_span_is_said(start, end) -> None:
    """A time without a zone is never guessed, an empty span never an empty answer."""
    with pytest.raises(ConfigError, match=r"(start|end) is "):
        Span.of(start, end)


def test_spans_that_touch_share_nothing_and_miss_nothing(lake: Path) -> None:
    """Any cut of two days, inside one or at midnight, gives every record once, by Arrow and by DBN."""
    cuts = [
        MIDNIGHT,
        MIDNIGHT + 7,
        MIDNIGHT + DAY_NS // 3,
        MIDNIGHT + DAY_NS,
        MIDNIGHT + DAY_NS + 5,
        MIDNIGHT + 2 * DAY_NS,
    ]
    parts = [load("nowhere", "trades", None, *cut, source=lake) for cut in itertools.pairwise(cuts)]
    whole = load("NOWHERE", "TRADES", None, FIRST, "2026-08-11", source=lake).arrow()
    assert whole.num_rows == PER_DAY + 1000
    assert pa.concat_tables(part.arrow() for part in parts) == whole
    # The DBN side of the smaller parts.
    for part in (parts[0], parts[3], parts[4]):
        assert [record.sequence for record in part.records()] == part.arrow()["sequence"].to_pylist()


def test_the_order_is_the_stored_one_and_batches_are_bounded(lake: Path) -> None:
    """Row groups and days are read ahead in parallel and still come in order."""
    selection = load("NOWHERE", "trades", None, FIRST, "2026-08-11", source=lake)
    sizes, sequence = [], []
    for batch in selection.reader(["sequence"]):
        sizes.append(batch.num_rows)
        sequence += batch.column(0).to_pylist()
    assert sequence == [*range(PER_DAY), *range(1000)]
    assert max(sizes) <= 65_536


def test_days_row_groups_and_columns_that_are_not_needed_are_not_read(lake: Path) -> None:
    """Days go by path, row groups by their statistics of time and symbol, columns by name."""
    both = load("NOWHERE", "trades", None, FIRST, "2026-08-11", source=lake).plan()
    assert (both.objects, both.row_groups, both.of_row_groups, both.rows) == (2, 5, 5, PER_DAY + 1000)
    first = load("NOWHERE", "trades", None, FIRST, source=lake)
    assert (first.plan().objects, first.plan().row_groups) == (1, 4)
    assert first.plan(["price"]).bytes < first.plan().bytes / 2 <= first.plan().of_bytes
    late = load("NOWHERE", "trades", None, "2026-08-09T23:45:00Z", source=lake).plan()
    assert (late.row_groups, late.of_row_groups) == (1, 4)
    afternoon = load("NOWHERE", "trades", "ETH-EUR", FIRST, source=lake)
    assert (afternoon.plan().row_groups, afternoon.plan().of_row_groups) == (3, 4)
    assert afternoon.plan(["price"]).bytes > first.plan(["price"]).bytes / 2  # the symbols are read too
    assert set(afternoon.arrow()["symbol"].to_pylist()) == {"ETH-EUR"}
    assert afternoon.arrow(["size"]).column_names == ["size"]


def test_symbols_are_selected_by_arrow_and_dbn_alike(lake: Path) -> None:
    """The records of one symbol, and none for an instrument that is defined and did not trade."""
    selection = load("NOWHERE", "trades", ["ETH-EUR"], SECOND, source=lake)
    assert [record.sequence for record in selection.records()] == selection.arrow()["sequence"].to_pylist()
    assert len(list(selection.records())) == 500
    store = selection.dbn()
    assert store.symbols == ["ETH-EUR"]
    assert (store.to_ndarray()["sequence"] == selection.numpy()["sequence"]).all()
    quiet = load("NOWHERE", "trades", "QUIET", SECOND, source=lake)
    assert quiet.arrow().num_rows == len(list(quiet.records())) == len(quiet.dbn().to_ndarray()) == 0
    assert quiet.readable().num_rows == 0


def test_integers_stay_integers(lake: Path) -> None:
    """Neither pandas nor numpy makes a float of anything, and other libraries read the selection as a stream."""
    selection = load("NOWHERE", "trades", None, SECOND, source=lake)
    frame, arrays = selection.pandas(), selection.numpy()
    for name, kind in {"ts_recv": "int64", "price": "int64", "size": "int64", "flags": "int16"}.items():
        assert frame[name].dtype == arrays[name].dtype == np.dtype(kind)
    assert duckdb.sql("SELECT count(*), max(price) FROM selection").fetchall() == [(1000, 999 * SCALE)]


def test_readable_is_exact(lake: Path) -> None:
    """Quantities are lots times the instrument's lot, prices at nine decimals, times of a clock, undefined is null."""
    table = load("NOWHERE", "trades", None, SECOND, source=lake).readable(["ts_event", "symbol", "price", "size"])
    assert table.column_names == ["ts_event", "symbol", "price", "size"]
    for n in (6, 999):
        row = table.slice(n, 1).to_pylist()[0]
        lot = Decimal("0.00001") if n < 500 else Decimal("0.001")
        assert (row["price"], row["size"]) == (Decimal(n), (n % 7 + 1) * lot)
        assert row["ts_event"].value == day_start_ns(SECOND) + n * (DAY_NS // 1000) - 1000


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_decimals_are_exact(values: list[int]) -> None:
    """Every 64-bit integer is its decimal at 1e-9; the undefined one is null."""
    with localcontext(prec=60):
        expected = [None if value == dbn.UNDEF_PRICE else Decimal(value) / SCALE for value in values]
        assert decimals(pa.array(values, pa.int64())).to_pylist() == expected
        assert [price(value) for value in values] == expected


def test_a_changed_lot_counts_from_its_definition_on() -> None:
    """Each record's size is read by the definition that was the newest at its time; the largest sizes still fit."""
    rows = [(100, 7, "X", 10**9), (200, 7, "X", 2 * 10**9), (100, 8, "CONTRACT", dbn.UNDEF_PRICE)]
    table = pa.table(
        {
            "ts_recv": pa.array([row[0] for row in rows], pa.int64()),
            "instrument_id": pa.array([row[1] for row in rows], pa.int64()),
            "raw_symbol": [row[2] for row in rows],
            "group": ["X/Y"] * 3, "instrument_class": ["X"] * 3, "min_price_increment": [1] * 3,
            "unit_of_measure_qty": [row[3] for row in rows], "unit_of_measure": ["X", "X", ""],
        }
    ).select(COLUMNS)  # fmt: skip
    found = Definitions(table)
    assert (found.symbols, found.lot("X"), found.lot("CONTRACT"), found.unit("X")) == (["CONTRACT", "X"], 2, 1, "X")
    assert found.quantity("X", 3, 4) == 14
    assert found.quantity("X", dbn.UNDEF_ORDER_SIZE) is None
    data = pa.table(
        {
            "ts_recv": pa.array([50, 199, 200, 201, 1], pa.int64()),
            "instrument_id": pa.array([7, 7, 7, 7, 8], pa.int64()),
            "size": pa.array([1, 2, 3, 2**32 - 1, 5], pa.int64()),
            "volume": pa.array([1, 2, 3, 2**63 - 1, -1], pa.int64()),
        }
    )  # fmt: skip
    read = found.readable(data)
    assert read["size"].to_pylist() == [1, 2, 6, None, 5]
    assert read["volume"].to_pylist() == [1, 2, 6, 2 * (2**63 - 1), None]
    with pytest.raises(ConfigError, match="instrument 9 has no definition"):
        found.readable(data.set_column(1, "instrument_id", pa.array([9] * 5, pa.int64())))


def test_several_objects_of_a_day_are_merged_by_time(tmp_path: Path) -> None:
    """A day may be stored as several objects of one schema: DBN records come in the order of their times."""
    all_of_it = trades(FIRST, 100)
    publish(tmp_path / "lake", FIRST, {"TRADES": [all_of_it[::2], all_of_it[1::2]]})
    selection = load("NOWHERE", "trades", ["BTC-EUR"], FIRST, source=tmp_path / "lake")
    assert [record.sequence for record in selection.records()] == list(range(50))
    assert selection.arrow().num_rows == 50
    with pytest.raises(ConfigError, match="no definitions"):
        selection.readable()


def test_a_day_without_a_manifest_is_never_left_out_silently(lake: Path, tmp_path: Path) -> None:
    """An unfinished day, with all its objects there, is an error that names it; on request a warning."""
    folder = tmp_path / "lake"
    publish(folder, FIRST, {"TRADES": [trades(FIRST, 10)]})
    publish(folder, SECOND, {"TRADES": [trades(SECOND, 10)]}, manifest=False)
    with pytest.raises(Unpublished, match="no manifest of NOWHERE for 2026-08-10") as caught:
        load("NOWHERE", "trades", None, FIRST, "2026-08-11", source=folder)
    assert caught.value.days == (SECOND,)
    with pytest.warns(UserWarning, match="2026-08-10") as warned:
        found = load("NOWHERE", "trades", None, FIRST, "2026-08-11", source=folder, unpublished="warn")
    assert found.arrow().num_rows == 10
    assert warned[0].filename == __file__
    with pytest.raises(Unpublished, match="2026-08-10"):
        load("NOWHERE", "trades", None, SECOND, source=folder, unpublished="warn")
    with pytest.raises(Unpublished, match=r"2026-08-11, .* and 14 more days"):
        completeness("NOWHERE", "2026-08-10", "2026-08-30", source=lake)


def test_an_object_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path) -> None:
    """Cut short, gone, or no DBN at all: one line that names the object."""
    folder = tmp_path / "lake"
    publish(folder, FIRST, {"TRADES": [trades(FIRST, 1000)]})
    selection = load("NOWHERE", "trades", None, FIRST, source=folder)
    (parquet,), (zst,) = folder.rglob("*.parquet"), folder.rglob("*.dbn.zst")
    size = zst.stat().st_size
    zst.write_bytes(b"\0" * size)
    with pytest.raises(Terminal, match=r"dbn\.zst"):
        list(selection.records())
    parquet.write_bytes(parquet.read_bytes()[:-1])
    with pytest.raises(Terminal, match=r"trades\.parquet has \d+ bytes, its manifest says \d+"):
        selection.arrow()
    parquet.unlink()
    with pytest.raises(Terminal, match="is not there"):
        selection.pandas()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("DERIBIT", "trades", None, FIRST), "provider is 'DERIBIT', and .* has NOWHERE"),
        (("NOWHERE", "mbo", None, FIRST), "schema is 'mbo', and NOWHERE has DEFINITION, TRADES for 2026-08-09"),
        (("NOWHERE", "trades", ["BTC-EUR", "eth-eur"], FIRST), "symbol is 'eth-eur', .* such as ETH-EUR"),
    ],
)
def test_what_is_not_there_is_said(lake: Path, arguments, said: str) -> None:
    """A mistyped name is an error that tells what there is, never an empty table."""
    with pytest.raises(ConfigError, match=said):
        load(*arguments, source=lake)


def test_wrong_options_are_said(lake: Path) -> None:
    """So are a column, a source and a mode that do not exist."""
    with pytest.raises(ConfigError, match="column is 'px', expected some of ts_recv"):
        load("NOWHERE", "trades", None, FIRST, source=lake).arrow(["px"])
    with pytest.raises(ConfigError, match="ftp"):
        load("NOWHERE", "trades", None, FIRST, source="ftp://lake")
    with pytest.raises(ConfigError, match="has nothing"):
        load("NOWHERE", "trades", None, FIRST, source=lake / "nothing")
    with pytest.raises(ConfigError, match="'refuse' or 'warn'"):
        load("NOWHERE", "trades", None, FIRST, source=lake, unpublished="skip")
