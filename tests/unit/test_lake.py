"""The lake's tables: they agree with what the services write, their projection is sound, and each dialect says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot

import providers
from penstock.cli.tables import ROOTS, document
from penstock.errors import ConfigError
from penstock.lake.ddl import statements
from penstock.lake.dialect import prepare, to_duckdb
from penstock.lake.glue import described
from penstock.lake.projection import check
from penstock.lake.tables import RECORDS, tables
from penstock.lake.views import views
from penstock.objectstore_raw import COALESCED_HEADER, HEADER, Partition
from services.post_processor.reporttables import COMPLETENESS, MISSING
from services.post_processor.tables import Layout

TABLES = tables(providers.names())
KNOWN = {table.name: table for table in TABLES}
URLS = {"intermediate": "s3://one", "final": "s3://two/lake"}
HIVE = {
    pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint", pa.string(): "string",
}  # fmt: skip


@pytest.mark.parametrize("schema", sorted(RECORDS))
def test_canonical_tables_are_what_the_post_processor_writes(schema: str) -> None:
    """Names, order and types of the columns are those of the Parquet objects."""
    written = [(field.name, HIVE[field.type]) for field in Layout(schema).schema]
    assert [(column.name, column.type) for column in KNOWN[schema.lower()].columns] == written


@pytest.mark.parametrize(("name", "schema"), [("completeness", COMPLETENESS), ("missing", MISSING)])
def test_report_tables_are_what_the_post_processor_writes(name: str, schema: pa.Schema) -> None:
    """As above, for the tables made of completeness.json."""
    assert [(column.name, column.type) for column in KNOWN[name].columns] == [(f.name, HIVE[f.type]) for f in schema]


def test_raw_tables_are_what_is_written() -> None:
    """The CSV headers of both raw tables, and every column text: the SerDe knows nothing else."""
    for name, header in {"raw_intermediate": HEADER, "raw": COALESCED_HEADER}.items():
        assert [column.name for column in KNOWN[name].columns] == header.decode().strip().split(",")
        assert {column.type for column in KNOWN[name].columns} == {"string"}


def test_a_template_filled_in_is_the_key_of_the_object() -> None:
    """Athena's location of a partition is the prefix under which the batch processor stores it."""
    import datetime as dt

    partition = Partition("PRIMARY", "DERIBIT", "TRADES", "trades.BTC-PERPETUAL.raw", dt.date(2026, 8, 9))
    values = {
        "instance": "PRIMARY", "provider": "DERIBIT", "schema": "TRADES", "channel": "trades.BTC-PERPETUAL.raw",
        "year": "2026", "month": "08", "day": "09",
    }  # fmt: skip
    assert (
        re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], KNOWN["raw_intermediate"].template) == partition.prefix
    )


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_projection_is_sound(name: str) -> None:
    """Nothing is wrong with what we state, and the statement is one that Athena's grammar has."""
    table = described(TABLES, URLS)[name]
    assert check([key["name"] for key in table["partition_keys"]], table["parameters"]) == []
    statement = statements(TABLES, URLS)[name]
    parsed = sqlglot.parse_one(statement, read="athena")
    assert [column.name for column in parsed.this.expressions] == [column["name"] for column in table["columns"]]
    assert [f"'{key}' = '{value}'" in statement for key, value in table["parameters"].items()].count(False) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"projection.enabled": "false"}, "projection.enabled"),
        ({"projection.year.type": None}, "projection.year.type is None"),
        ({"projection.year.type": "integers"}, "projection.year.type is 'integers'"),
        ({"projection.month.range": "12,1"}, "projection.month.range"),
        ({"projection.month.range": "1-12"}, "projection.month.range"),
        ({"projection.month.digits": "1"}, "projection.month.digits"),
        ({"projection.provider.values": "A, B"}, "projection.provider.values"),
        ({"projection.provider.values": ""}, "projection.provider.values"),
        ({"projection.years.type": "integer"}, "years is no partition key"),
        ({"storage.location.template": "s3://x/year=${year}/month=${month}/"}, "storage.location.template has"),
        (
            {"storage.location.template": "s3://x/${provider}/${year}/${month}/${day}"},
            "storage.location.template does not end",
        ),
    ],
)
def test_a_wrong_projection_is_found(change: dict[str, str | None], said: str) -> None:
    """Each mistake that Athena would answer with no rows is named."""
    table = described(TABLES, URLS)["trades"]
    stated = {key: value for key, value in {**table["parameters"], **change}.items() if value is not None}
    wrong = check([key["name"] for key in table["partition_keys"]], stated)
    assert [message for message in wrong if message.startswith(said) or said in message], wrong


def test_the_published_description_is_current() -> None:
    """`tables.json`, which Terraform reads, is what the code says now."""
    stored = Path(__file__).resolve().parents[2] / "penstock/lake/tables.json"
    assert json.loads(stored.read_text()) == document(ROOTS), "penstock tables --json > penstock/lake/tables.json"
    assert set(ROOTS) == {table["store"] for table in document(ROOTS)["tables"].values()}


def test_views_have_the_types_they_state() -> None:
    """Over empty tables of the stated types DuckDB gives each view's columns, names and types as stated."""
    with duckdb.connect() as database:
        prepare(database)
        for table in TABLES:
            columns = ", ".join(f'"{part.name}" {part.type}' for part in (*table.columns, *table.keys))
            database.execute(f"CREATE TABLE {table.name} ({columns})")
        for view in views(TABLES):
            database.execute(f"CREATE VIEW {view.name} AS {to_duckdb(view.sql)}")
            found = database.execute(f"DESCRIBE {view.name}").fetchall()
            assert [(name, _athena(kind)) for name, kind, *_ in found] == list(view.columns), view.name


def _athena(kind: str) -> str:
    return {"TIMESTAMP_MS": "timestamp(3)"}.get(kind, kind.lower())


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 7 / 2, -7 / 2, 7 / 2.0, 7 % 4", (3, -3, 3.5, 3)),
        ("SELECT date_diff('hour', TIMESTAMP '2026-01-01 00:59:00', TIMESTAMP '2026-01-01 01:01:00')", (0,)),
        ("SELECT date_format(from_unixtime_nanos(1786276800123456789), '%Y-%m-%d %H')", ("2026-08-09 12",)),
        ("SELECT json_extract_scalar('{\"a\":[{\"b\":\"1\"}]}', '$.a[0].b')", ("1",)),
        ("SELECT max_by(a, b), min_by(a, b), count_if(a > 1) FROM (VALUES (1, 9), (2, 3)) AS t (a, b)", (1, 2, 1)),
        ("SELECT url_decode('rest%2Fx%20y'), from_utf8(from_base64('AP8='))", ("rest/x y", "\0?")),
        ("SELECT try_cast('x' AS bigint), try_cast('7' AS bigint)", (None, 7)),
        ("SELECT DECIMAL '0.000000001', CAST('1.5' AS decimal(3,2))", (1e-9, 1.5)),
        ("SELECT bitwise_and(130, 128), greatest(1, NULL), cardinality(ARRAY[1, 2])", (128, None, 2)),
    ],
)  # fmt: skip
def test_athenas_sql_means_the_same_on_duckdb(sql: str, expected: tuple[object, ...]) -> None:
    """Integer division, whole units of time, JSON paths and the functions that DuckDB lacks."""
    with duckdb.connect() as database:
        prepare(database)
        assert tuple(map(_plain, database.execute(to_duckdb(sql)).fetchone())) == tuple(map(_plain, expected))


def _plain(value: object) -> object:
    return float(value) if isinstance(value, (int, float)) or type(value).__name__ == "Decimal" else value


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT 1; SELECT 2", "", "SELECT (1", "SELECT 'x"])
def test_bad_sql_is_one_readable_line(sql: str) -> None:
    """What is no statement of Athena's is refused with its place, not with a traceback."""
    with pytest.raises(ConfigError, match="the SQL") as refused:
        _run(sql)
    assert len(str(refused.value)) < 400


def _run(sql: str) -> None:
    with duckdb.connect() as database:
        prepare(database)
        try:
            database.execute(to_duckdb(sql))
        except duckdb.Error as error:
            raise ConfigError(f"the SQL: {error}") from None
