"""`penstock query --athena` against Athena's protocol over HTTP (moto, which answers what it is told to)."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import urllib.request
from decimal import Decimal
from typing import Any

import boto3
import pytest

from penstock.errors import ConfigError, ConnectionLost
from penstock.lake.athena import Athena, Place, Progress
from tests.unit.test_objectstore import aws, endpoint

__all__ = ["aws", "endpoint"]

COLUMNS = {"symbol": "varchar", "at": "timestamp(3)", "n": "bigint", "price": "decimal(19,9)", "gone": "double"}


def _expect(endpoint: str, rows: list[list[str | None]]) -> None:
    told = {
        "results": [
            {
                "rows": [
                    {"Data": [{} if text is None else {"VarCharValue": text} for text in row]}
                    for row in [list(COLUMNS), *rows]
                ],
                "column_info": [{"Name": name, "Label": name, "Type": kind} for name, kind in COLUMNS.items()],
            }
        ]
    }
    request = urllib.request.Request(
        f"{endpoint}/moto-api/static/athena/query-results",
        json.dumps(told).encode(),
        {"Content-Type": "application/json"},
    )
    assert urllib.request.urlopen(request).status == 201


def test_pages_become_typed_rows(aws: None, endpoint: str) -> None:
    """More rows than a page has, in their order and types; the header is no row, an absent value is None."""
    _expect(endpoint, [["X", "2026-08-09 12:00:00.123", str(n), "1.500000000", None] for n in range(2500)])
    heard: list[Progress] = []
    answer, last = Athena(Place("penstock", output="s3://results/"), sleep=pytest.fail).query("SELECT 1", heard.append)
    assert answer.columns == tuple(COLUMNS)
    assert [row[2] for row in answer.rows] == list(range(2500))
    assert answer.rows[0] == ("X", dt.datetime.fromisoformat("2026-08-09T12:00:00.123"), 0, Decimal("1.5"), None)
    assert heard == [last]
    assert last.state == "SUCCEEDED"


def test_the_command_prints_rows_and_cost(aws: None, endpoint: str) -> None:
    """Rows as JSON on stdout; what it scanned and cost on stderr."""
    _expect(endpoint, [["X", "2026-08-09 12:00:00.000", "7", "0.000000001", "1.5"]])
    command = [sys.executable, "-m", "penstock", "query", "SELECT 1", "--athena", "--database", "lake", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0] == {
        "symbol": "X", "at": "2026-08-09 12:00:00", "n": 7, "price": "1E-9", "gone": 1.5,
    }  # fmt: skip
    assert "succeeded" in done.stderr
    assert "bytes scanned, $0.000000, 1 rows" in done.stderr
    started = boto3.client("athena").list_query_executions()["QueryExecutionIds"]
    found = [boto3.client("athena").get_query_execution(QueryExecutionId=n)["QueryExecution"] for n in started]
    assert "lake" in {one["QueryExecutionContext"]["Database"] for one in found}


class Scripted:
    """Athena's answers one after the other, as its API documents them: moto knows no failure and no waiting."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states, self.stopped = list(states), False

    def start_query_execution(self, **_: Any) -> dict[str, Any]:
        return {"QueryExecutionId": "q-1"}

    def get_query_execution(self, **_: Any) -> dict[str, Any]:
        status, scanned = self.states.pop(0), 3_000_000_000_000
        return {"QueryExecution": {"Status": status, "Statistics": {"DataScannedInBytes": scanned}}}

    def stop_query_execution(self, **_: Any) -> dict[str, Any]:
        self.stopped = True
        return {}


def _athena(script: Scripted, sleep: Any) -> Athena:
    athena = Athena(Place("penstock"), sleep=sleep)
    athena._client = script
    return athena


def test_a_failed_query_says_why(aws: None) -> None:
    """Polled until it ends, less and less often; Athena's reason in one line."""
    waited: list[float] = []
    failed = {"State": "FAILED", "StateChangeReason": "SYNTAX_ERROR: line 1:8:\n Column 'x' cannot be resolved"}
    script = Scripted({"State": "QUEUED"}, *({"State": "RUNNING"} for _ in range(5)), failed)
    heard: list[Progress] = []
    with pytest.raises(ConfigError, match=r"failed on Athena \(q-1\): SYNTAX_ERROR: line 1:8: Column 'x'"):
        _athena(script, waited.append).query("SELECT x", heard.append)
    assert waited == [0.2, 0.5, 1.0, 2.0, 2.0, 2.0]
    assert heard[0].cost == 15.0


def test_an_interrupted_query_is_cancelled(aws: None) -> None:
    """Ctrl-C stops what would go on to cost money."""
    script = Scripted({"State": "RUNNING"})

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _athena(script, interrupt).query("SELECT 1", lambda _: None)
    assert script.stopped


def test_errors_are_readable(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable Athena, and a query that it does not take."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConnectionLost, match="Athena: Could not connect"):
        Athena(Place("penstock"), sleep=pytest.fail).query("SELECT 1", lambda _: None)
