"""Stored days of a real recording, read in Python from a folder and from S3, and the notebook that says how."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import re
from pathlib import Path

import boto3
import pytest

from penstock.data import Selection, completeness, load
from penstock.errors import Terminal
from penstock.objectstore import open_store
from tests.integration.test_post_processor import (
    DAY,
    PROVIDER,
    canonical,
    capture,
    coalesce,
    contents,
    opening,
    record,
    without,
)
from tests.unit.test_objectstore import aws, endpoint

__all__ = ["aws", "capture", "endpoint"]

NEXT = DAY + dt.timedelta(days=1)
PAGE = (Path(__file__).resolve().parents[2] / "docs/research.md").read_text()
CELL = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)


@pytest.fixture(scope="module")
def days(capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days as published: one lane of the first lost every twentieth frame, the second has one lane."""
    folder = tmp_path_factory.mktemp("days")
    source, target = (folder / "raw").as_uri(), (folder / "lake").as_uri()
    first, second = ([*opening(capture[day][0]), *capture[day]] for day in (DAY, NEXT))
    record(source, first, "PRIMARY")
    record(source, without(first, slice(30, None, 20)), "REPLICA")
    record(source, second, "PRIMARY", epoch=2)
    coalesce(source, target)
    coalesce(source, target, NEXT)
    return folder


def select(source: str, schema: str = "trades") -> Selection:
    return load(PROVIDER, schema, None, DAY, "2024-08-10", source=source)


@pytest.mark.parametrize("schema", ["TRADES", "MBO", "MBP_1", "DEFINITION"])
def test_every_form_has_every_stored_record(days: Path, schema: str) -> None:
    """Records and DBNStore have the bytes of the stored objects; Arrow, pandas and numpy the same integers."""
    target = (days / "lake").as_uri()
    selection = select(target, schema)
    stored = canonical(target, schema) + canonical(target, schema, NEXT)
    assert b"".join(map(bytes, selection.records())) == stored
    array = selection.dbn().to_ndarray()
    assert array.tobytes() == stored
    table, frame, columns = selection.arrow(), selection.pandas(), selection.numpy()
    assert table.num_rows == len(frame) == len(array) > 0
    for name in {"ts_recv", "ts_event", "price", "size", "sequence", "order_id", "bid_px_00"} & set(table.column_names):
        assert table[name].to_pylist() == frame[name].tolist() == columns[name].tolist() == array[name].tolist(), name
    assert selection.dbn().symbols == ["BTCUSDT"]
    assert selection.dbn().to_df(map_symbols=True)["symbol"].tolist() == table["symbol"].to_pylist()


def test_readable_trades_are_the_venues_own_numbers(days: Path, capture) -> None:
    """Price and quantity of every trade are those in the payload, digit for digit in value."""
    sent = re.compile(rb'"t":(\d+),"p":"([0-9.]+)","q":"([0-9.]+)"')
    payloads = [
        envelope.payload for day in (DAY, NEXT) for envelope in capture[day] if envelope.channel.endswith("@trade")
    ]
    expected = {int(found[1]) & 0xFFFFFFFF: found.groups()[1:] for found in map(sent.search, payloads)}
    table = select((days / "lake").as_uri()).readable(["sequence", "price", "size"])
    assert table.num_rows == len(expected)
    for row in table.to_pylist():
        price, quantity = expected[row["sequence"]]
        assert (row["price"], row["size"]) == (type(row["price"])(price.decode()), type(row["size"])(quantity.decode()))


def test_s3_gives_what_a_folder_gives(days: Path, aws: None, endpoint: str) -> None:
    """The same tables, records, plans and reports through S3; a manifest whose object is gone is one line."""
    bucket = f"bucket-{os.urandom(6).hex()}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    local, remote = (days / "lake").as_uri(), f"s3://{bucket}/a/lake"
    store = open_store(remote)
    for key, data in contents(local).items():
        store.put_if_absent(key, data)
    for schema in ("trades", "mbo"):
        here, there = select(local, schema), select(remote, schema)
        assert there.arrow() == here.arrow()
        assert there.plan() == here.plan()
        assert there.readable() == here.readable()
        assert list(there.records()) == list(here.records())
    span = (PROVIDER, DAY, "2024-08-10")
    assert completeness(*span, source=remote) == completeness(*span, source=local)
    there = select(remote)
    (key,) = (item.key for item in there.days[0].canonical("TRADES", "parquet"))
    client.delete_object(Bucket=bucket, Key=f"a/lake/{key}")
    with pytest.raises(Terminal, match=r"trades\.parquet is not there"):
        there.arrow()


def test_the_report_adds_up(days: Path) -> None:
    """Tables over days: counts by hour are the recording's, coverage and holes are the report's."""
    found = completeness(PROVIDER, DAY, "2024-08-10", source=days / "lake")
    hours = found.hours().to_pandas()
    trades = hours[hours.schema == "TRADES"].set_index("day")
    records = {(row["day"], row["schema"]): row["records"] for row in found.records().to_pylist()}
    for day in (DAY, NEXT):
        assert trades.loc[day, "merged"] == records[day, "TRADES"] == trades.loc[day, "primary"]
    assert 0 < trades.loc[DAY, "replica"] < trades.loc[DAY, "primary"]
    assert trades.loc[NEXT, "replica"] == trades.loc[NEXT, "covered_replica_ns"] == 0
    assert 0 < trades.loc[NEXT, "covered_primary_ns"] == trades.loc[NEXT, "covered_either_ns"]
    assert {hole["lane"] for hole in found.holes() if hole["day"] == DAY} >= {"REPLICA"}
    assert (found.uncovered().to_pandas().eval("end - start") > 0).all()
    assert found.quarantined().num_rows == 0


def test_the_notebook_prints_what_it_says(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of docs/research.md, in order, as they stand."""
    monkeypatch.chdir(days)
    cells, names = CELL.findall(PAGE), {}
    assert len(cells) >= 10
    for code, expected in cells:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/research.md", "exec"), names)
        assert printed.getvalue().splitlines() == expected.splitlines(), code
