"""Databento over real TCP while both lanes' sessions break in every way a byte stream can: nothing is lost and nothing
declared, as each next session replays."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from checker import dataset, recording
from checker.ledger import read
from checker.stream import StreamCheck
from checker.verdict import Verdict
from penstock.channels import INSTANCES
from penstock.cli.stack import Endpoint, Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

BREAKS = (
    ("close", "oldest"), ("garbage", "newest"), ("close", "newest"), ("reset", "all"), ("garbage", "oldest"),
    ("close", "all"), ("stall", "oldest"),
)  # fmt: skip
STALL_S = 20.0
"""Longer than a session may be without a heartbeat: what is swallowed meanwhile is replayed."""


async def connections(client: aiohttp.ClientSession, control: str, least: int) -> None:
    """Wait until so many are subscribed."""
    async with asyncio.timeout(60):
        while True:
            async with client.get(f"{control}/state") as answer:
                state = await answer.json()
            if sum(len(found) > 4 for found in state["providers"]["databento"]["connections"].values()) >= least:
                return
            await asyncio.sleep(0.2)


async def broken(directory: Path) -> tuple[list[Verdict], Counter[str], list[str]]:
    """Run everything; the verdicts, the faults of the ledger, and why the session managers lost their sessions."""
    async with Stack(directory, roll_s=5.0) as stack, aiohttp.ClientSession() as client:
        ledger_path = directory / "ledger.jsonl"
        market = stack.start_market(
            ["simulator", "--providers", "databento", "--rate", "150", "--seed", "3", "--ledger", str(ledger_path)]
        )
        urls = (await market.wait_event("listening", 20))["providers"]["databento"]
        control = urls["rest"].rsplit("/", 1)[0] + "/control"
        stack.start_batch_processors()
        recorder = ["checker", "record", "--redis", stack.redis, "--out", str(directory / "stream.bin")]
        stack.start_observer("recorder", recorder)
        await asyncio.sleep(1)
        for instance in INSTANCES:
            stack.start_lane("databento", instance, Endpoint(urls["stream"], urls["rest"], tuple(urls["symbols"])))
        await connections(client, control, 2)
        for kind, which in BREAKS:
            await asyncio.sleep(3)
            fault: dict[str, Any] = {"provider": "databento", "kind": kind, "connection": which, "seconds": STALL_S}
            async with client.post(f"{control}/fault", json=fault) as answer:
                assert answer.status == 200, await answer.text()
            await asyncio.sleep(STALL_S + 3 if kind == "stall" else 1)
            await connections(client, control, 2)
        await asyncio.sleep(3)
        async with client.post(f"{control}/stop") as stopped:
            stopped.raise_for_status()
        await asyncio.sleep(3)
        await stack.stop()
        paths = (directory / "intermediate").rglob("*.csv.gz")
        days = {"-".join(part.partition("=")[2] for part in path.parts[-4:-1]) for path in paths}
        for day in sorted(days):
            module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final, "--day", day]
            await stack.run_once(f"post_processor-{day}", module)
    ledger = read(ledger_path)
    check = StreamCheck(ledger)
    check.add(recording.read(directory / "stream.bin"))
    verdicts = [*check.verdicts.values(), check.together(), dataset.check(ledger, directory / "final")]
    lines = [
        json.loads(line)
        for path in (directory / "logs").glob("session_manager-*.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]
    return verdicts, Counter(ledger.faults), [line["reason"] for line in lines if line["event"] == "session_lost"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Verdict], Counter[str], list[str]]:
    return asyncio.run(broken(tmp_path_factory.mktemp("breaks")))


def test_nothing_is_lost_repeated_or_declared(run: tuple[list[Verdict], Counter[str], list[str]]):
    """On each lane, on both together and in the coalesced day; the one gap there may be is of nothing."""
    verdicts, _, _ = run
    for verdict in verdicts:
        assert verdict.good, verdict.as_dict()
        assert verdict.checked["TRADES"] > 300
        assert not [note for note in verdict.notes if note.startswith("gap")], verdict.notes


def test_every_break_happened(run: tuple[list[Verdict], Counter[str], list[str]]):
    """And each kind was noticed for what it is."""
    _, faults, reasons = run
    assert {kind for kind, _ in BREAKS} <= set(faults)
    words = Counter(reason.split(":")[0] for reason in reasons)
    assert words["framing"] >= 2, reasons
    assert words["closed"] >= 5, reasons
    assert words["stale"] + words["silent"] >= 1, reasons
