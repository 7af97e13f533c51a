"""A strategy sees the same on one lane, on both, with PRIMARY killed, and in a backtest: `penstock digests`, whole.

PENSTOCK_DIGEST_EVENTS and PENSTOCK_DIGEST_RATE set the simulated market's length and pace.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.config import environment

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

EVENTS = environment().get("PENSTOCK_DIGEST_EVENTS", "100000")
RATE = environment().get("PENSTOCK_DIGEST_RATE", "400")


def digests(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "penstock", "digests", "--directory", str(folder / "run"), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    assert verdict["good"]
    return verdict


def counts(verdict: dict[str, Any], kind: str) -> int:
    return sum(row["runs"]["backtest"]["count"] for row in verdict["streams"] if row["stream"].startswith(f"{kind} "))


def test_three_simulated_venues(tmp_path: Path) -> None:
    """Every trade, quote, increment, marker and order, although PRIMARY of all three venues dies at one third."""
    verdict = digests(tmp_path, "--events", EVENTS, "--rate", RATE)
    assert verdict["switches"] > 0
    assert counts(verdict, "trade") + counts(verdict, "quote") > int(EVENTS) / 2
    assert counts(verdict, "signal") > 0


def test_fills_of_small_orders_in_a_slow_market(tmp_path: Path) -> None:
    """A few milliseconds decide nothing where the next event is far away and an order is smaller than the top of book."""
    verdict = digests(tmp_path, "--events", "1500", "--rate", "15", "--every", "20", "--fills")
    assert counts(verdict, "fill") > 10


@pytest.mark.parametrize(
    ("provider", "files", "speed"),
    [
        ("binance_spot", "hftbacktest/btcusdt_20240808.gz,hftbacktest/btcusdt_20240809.gz", "5"),
        ("bybit", "cryptofeed-2026-08/BYBIT.jsonl.zst", "2"),
    ],
)
def test_recordings(fixtures: Path, tmp_path: Path, provider: str, files: str, speed: str) -> None:
    """The same of what real venues sent."""
    capture = ",".join(str(fixtures / provider / name) for name in files.split(","))
    verdict = digests(tmp_path, "--capture", capture, "--provider", provider, "--speed", speed)
    assert counts(verdict, "trade") > 100
