"""The judge of failover drills: good where all is right, and every single wrong thing is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checker.failover import report

S, MS = 10**9, 10**6
WALL = 1_700_000_000 * S
WHERE = {"provider": "DERIBIT", "symbol": "BTC"}
Lines = dict[str, list[dict[str, Any]]]


def run() -> Lines:
    """One session killed 2 s after the start, both lanes frozen at 10 s; a trade and a book update each 100 ms."""
    ledger: list[dict[str, Any]] = [
        {"n": 1, "definition": "BTC", "provider": "DERIBIT", "lot": "1", "tick": "1", "book": [["B", "9", "5"]]}
    ]
    witness: list[dict[str, Any]] = []
    for number in range(1, 131):
        at = number * 100 * MS
        entry = WHERE | {"sequence": number, "ts_event": WALL + at, "ts": WALL + at, "receivers": 2, "channel": "c"}
        ledger.append(entry | {"schema": "TRADES", "price": "9.5", "quantity": "2", "side": "B"})
        ledger.append(entry | {"schema": "MBO", "changes": [["B", "9", "5"], ["A", "11", str(number)]]})
        if at <= 10 * S:
            row = {"instrument": "BTC.DERIBIT", "trade_id": str(number), "ts_event": WALL + at, "price": "9.5"}
            witness.append(row | {"size": "2", "side": "B", "at": at})
    faults = [
        {"fault": "normalizer kill", "round": 1, "victim": "n", "at": 2 * S, "ts": WALL + 2 * S},
        {"fault": "both lanes stop", "round": 1, "victim": "b", "at": 10 * S, "ts": WALL + 10 * S},
    ]
    stream = {"instrument": "BTC.DERIBIT", "schema": "MBO"}
    witness += [
        stream | {"notice": "LaneSwitch", "at": 3 * S, "lane": "REPLICA", "previous": "PRIMARY", "reason": "silent"},
        {"book": 1, "instrument": "BTC.DERIBIT", "at": 3 * S, "sequence": 30, "ts_event": WALL + 3 * S, "flags": 128,
         "levels": [["B", "9", "5"], ["A", "11", "30"]]},
        stream | {"notice": "Stale", "at": 11 * S, "silent_ns": S},
    ]  # fmt: skip
    return {"ledger": ledger, "witness": witness, "faults": faults}


def judged(directory: Path, lines: Lines) -> dict[str, Any]:
    for name, rows in lines.items():
        (directory / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return report(directory)


def test_a_clean_drill_is_good_and_says_what_it_measured(tmp_path: Path) -> None:
    """What both lanes could not bring while both were dead is no failure."""
    found = judged(tmp_path, run())
    assert found["good"], found["wrong"]
    killed = found["faults"]["normalizer kill"]
    assert killed == {
        "times": 1, "p50_ms": 1000, "p99_ms": 1000, "max_ms": 1000, "lost": 0, "duplicated": 0, "books": 1,
        "books_wrong": 0, "books_doubtful": 0,
    }  # fmt: skip
    assert found["faults"]["both lanes stop"]["max_ms"] == 1000


def _drop(lines: Lines, number: int) -> None:
    lines["witness"] = [row for row in lines["witness"] if row.get("trade_id") != str(number)]


def _double(lines: Lines) -> None:
    at = next(i for i, row in enumerate(lines["witness"]) if row.get("trade_id") == "30")
    lines["witness"].insert(at + 1, lines["witness"][at])


def _swap(lines: Lines) -> None:
    lines["witness"][30], lines["witness"][31] = lines["witness"][31], lines["witness"][30]


def _find(lines: Lines, key: str, value: object) -> dict[str, Any]:
    return next(row for row in lines["witness"] if row.get(key) == value)


@pytest.mark.parametrize(
    ("plant", "text"),
    [
        (lambda lines: _drop(lines, 25), "lost"),
        (_double, "duplicated"),
        (_swap, "reordered"),
        (lambda lines: _find(lines, "trade_id", "30").update(size="3"), "altered"),
        (lambda lines: _find(lines, "book", 1)["levels"].pop(), "1 levels differ"),
        (lambda lines: _find(lines, "book", 1)["levels"].append(["A", "12", "1"]), "1 levels differ"),
        (lambda lines: _find(lines, "book", 1).update(sequence=31), "1 levels differ"),
        (lambda lines: _find(lines, "book", 1).update(sequence=999), "the ledger does not have"),
        (lambda lines: _find(lines, "notice", "LaneSwitch").update(at=3 * S + 600 * MS), "1600 ms"),
        (lambda lines: _find(lines, "notice", "Stale").update(at=12 * S), "2000 ms"),
        (lambda lines: _find(lines, "notice", "LaneSwitch").update(at=1), "no change of"),
        (lambda lines: lines["witness"].remove(_find(lines, "notice", "LaneSwitch")), "no change of anything"),
        (
            lambda lines: lines["witness"].append({"old_quote": 2 * S, "instrument": "BTC.DERIBIT", "at": 5 * S}),
            "told as",
        ),
    ],
)
def test_each_wrong_thing_is_seen(tmp_path: Path, plant: Callable[[Lines], object], text: str) -> None:
    """One planted error makes the drill bad and is named."""
    lines = run()
    plant(lines)
    found = judged(tmp_path, lines)
    assert not found["good"]
    assert any(text in line for line in found["wrong"]), found["wrong"]
