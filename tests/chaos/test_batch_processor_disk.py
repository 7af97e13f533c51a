"""A spool whose disk is full: a real pipeline on a small tmpfs that is filled, and given its room back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.cli.process import Process
from penstock.cli.stack import Stack
from penstock.objectstore_raw import rows
from tests.chaos.batch_drill import file_objects
from tests.conftest import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

FULL_S = float(os.environ.get("PENSTOCK_FULL_S", "12"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_a_full_disk_is_the_cold_paths_own_trouble(small: Path, tmp_path: Path) -> None:
    """The stream ends UNAVAILABLE and the hot path goes on; with room again the same process goes on; what the session
    manager had to drop meanwhile is declared, and everything else is stored once."""
    store = tmp_path / "store"
    async with Stack(tmp_path) as stack:
        market = stack.start_market(
            ["simulator", "--providers", "deribit", "--port", "0", "--rate", "600", "--ledger", str(tmp_path / "l")]
        )
        venue = (await market.wait_event("listening", 60))["providers"]["deribit"]
        cold, socket = free_port(), f"unix:{tmp_path.as_posix()[:60]}/n.sock"
        batch = stack.start(
            "batch",
            [
                "services.batch_processor", "--instance", "PRIMARY", "--listen", f"127.0.0.1:{cold}", "--store",
                store.as_uri(), "--spool", str(small / "spool"), "--roll-s", "5", "--segment-bytes", "1000000",
            ],
        )  # fmt: skip
        normalizer = stack.start(
            "normalizer",
            [
                "services.normalizer", "--provider", "deribit", "--instance", "PRIMARY", "--listen", socket,
                "--redis", stack.redis, "--quarantine-dir", str(tmp_path / "quarantine"),
            ],
        )  # fmt: skip
        manager = stack.start(
            "manager",
            [
                "services.session_manager", "--provider", "deribit", "--instance", "PRIMARY", "--normalizer", socket,
                "--batch-processor", f"127.0.0.1:{cold}", "--state-dir", str(tmp_path / "state"), "--stream-url",
                venue["stream"], "--rest-url", venue["rest"], "--cold-bytes", "1000000",
            ],
        )  # fmt: skip
        await _until(lambda: normalizer.metric("penstock_records_total") > 2000 and _up(manager), "it runs")
        await asyncio.sleep(8)
        hot_dropped = manager.metric("penstock_dropped_total", consumer="normalizer")
        ballast = (small / "ballast").open("wb", buffering=0)
        try:
            while ballast.write(bytes(65536)):
                pass
        except OSError:
            pass
        await _until(lambda: not _up(manager), "the stream has ended")
        await asyncio.sleep(2)  # what was on its way is acknowledged and reported
        began, records = time.monotonic(), normalizer.metric("penstock_records_total")
        taken = manager.metric("penstock_delivered_total", consumer="batch_processor")
        await asyncio.sleep(FULL_S)
        rate = (normalizer.metric("penstock_records_total") - records) / (time.monotonic() - began)
        hot_dropped = manager.metric("penstock_dropped_total", consumer="normalizer") - hot_dropped
        taken_full = manager.metric("penstock_delivered_total", consumer="batch_processor") - taken
        failures = batch.metric("penstock_spool_failures_total")
        (small / "ballast").unlink()
        ballast.close()
        began = time.monotonic()
        taken = manager.metric("penstock_delivered_total", consumer="batch_processor") + 100
        await _until(
            lambda: manager.metric("penstock_delivered_total", consumer="batch_processor") > taken, "it goes on"
        )
        back_s = time.monotonic() - began
        await asyncio.sleep(3)
        for process in (manager, normalizer, batch):
            await process.stop()
        dropped = manager.metric("penstock_dropped_total", consumer="batch_processor")
        starts, exits = batch.starts, batch.exits
        words = (tmp_path / "logs" / "manager.log").read_text() + (tmp_path / "logs" / "batch.log").read_text()
    stored, declared, twice = _account(file_objects(store))
    missing = set(range(1, max(stored) + 1)) - stored - declared
    print(
        f"\nfull for {FULL_S:.0f} s: {failures:.0f} refused commits, taken {taken_full:.0f}, hot path {rate:.0f} records/s, "
        f"dropped hot {hot_dropped:.0f}; back after {back_s:.1f} s; stored {len(stored)}, twice {twice}, dropped and "
        f"declared {dropped:.0f}, neither {len(missing)}"
    )
    assert (starts, exits) == (1, [0])
    assert "UNAVAILABLE" in words
    assert rate > 100
    assert hot_dropped == 0
    assert failures > 0
    assert taken_full == 0
    assert dropped > 0
    assert twice == 0
    assert len(declared - stored) >= dropped
    # Heartbeats are numbered and not stored: about one a second.
    assert len(missing) < 120, sorted(missing)[:20]


def _account(objects: dict[str, bytes]) -> tuple[set[int], set[int], int]:
    """Sequences stored, sequences declared lost, and how many were stored twice. Every object is read to its last byte."""
    stored: dict[int, int] = defaultdict(int)
    declared: set[int] = set()
    for key, data in objects.items():
        for row in rows(data):
            said = json.loads(row.payload) if "channel=session/" in key else {}
            if said.get("kind") in ("HOLE", "DROPPED"):
                declared.update(range(said["first"], said["last"] + 1))
            else:
                stored[row.sequence] += 1
    return set(stored), declared, sum(count - 1 for count in stored.values())


def _up(manager: Process) -> bool:
    return manager.metric("penstock_consumer_up", consumer="batch_processor") == 1


async def _until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(900):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within 90 s: {what}")
