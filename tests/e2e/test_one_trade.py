"""The journey of a trade through the whole running pipeline, from the venue's socket to the strategy and the dataset."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One short demonstration run with a session killed half-way: its folder and its summary."""
    directory = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "penstock", "demo", "--directory", str(directory), "--seconds", "8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    summary = json.loads((directory / "summary.json").read_text()) if (directory / "summary.json").exists() else {}
    assert done.returncode == 0, f"{json.dumps(summary)[:3000]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return directory, summary


def test_the_checker_finds_nothing_wrong(demo):
    """Both lanes, the dataset and the strategy agree with the market's ledger although one session was killed."""
    _, summary = demo
    parts = {verdict["part"]: verdict for verdict in summary["check"]["verdicts"]}
    assert set(parts) == {"stream PRIMARY", "stream REPLICA", "stream both lanes", "dataset", "strategy"}
    assert all(verdict["good"] for verdict in parts.values())
    assert all(sum(verdict["checked"].values()) > 100 for verdict in parts.values())


def test_every_frame_is_accounted_for(demo):
    """No lane quarantined anything, and every lane had frames and records."""
    _, summary = demo
    lanes = summary["lanes"]
    assert len(lanes) == 6
    assert all(facts["quarantined"] == 0 and facts["frames"] > 50 and facts["records"] > 50 for facts in lanes.values())


@pytest.mark.parametrize("provider", ["BINANCE_SPOT", "COINBASE_ADVANCED", "DERIBIT"])
def test_one_trade_can_be_followed_by_its_id(demo, provider):
    """A trade in the middle of the ledger stands in a raw object of each lane, in the dataset and before the strategy."""
    directory, _ = demo
    seen = [json.loads(line) for line in (directory / "trades.jsonl").read_text().splitlines()]
    mine = [row for row in seen if row["instrument"].endswith(f".{provider}")]
    symbol, word = mine[len(mine) // 2]["instrument"].rsplit(".", 1)[0], mine[len(mine) // 2]["trade_id"]
    assert sum(row["instrument"] == f"{symbol}.{provider}" and row["trade_id"] == word for row in mine) == 1
    entries = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    sent = [
        e for e in entries if (e.get("schema"), e.get("symbol")) == ("TRADES", symbol) and e["provider"] == provider
    ]
    (trade,) = [entry for entry in sent if str(entry["sequence"] % 2**32) == word]
    rows = [
        _raw_rows(directory / "intermediate" / f"instance={instance}" / f"provider={provider}" / "schema=TRADES")
        for instance in ("PRIMARY", "REPLICA")
    ]
    found = [any(str(trade["sequence"]) in row["payload"] for row in lane) for lane in rows]
    assert any(found)
    assert all(found) or trade["receivers"] < 2
    assert any(
        str(trade["sequence"]) in row["payload"]
        for row in _raw_rows(directory / "final" / "raw" / f"provider={provider}")
    )


def _raw_rows(folder: Path) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 28)
    rows: list[dict[str, str]] = []
    for path in sorted(folder.rglob("*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            rows.extend(csv.DictReader(lines))
    return rows
