"""Clocks that are set while everything runs: an hour forth and back, and ten years, by libfaketime.

The batch processor reads no clock, and what it makes of a stream must not depend on the session manager's: rows belong
to their venue's time.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

import providers
from penstock.cli.stack import Stack
from penstock.objectstore_raw import rows
from tests.chaos.batch_drill import Processor, Sender, file_objects, judge, make_day
from tests.conftest import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

STEPS = ("+3600", "-3600", "+315360000", "+0")
ROLL_S = 5


@pytest.fixture
def faketime() -> dict[str, str]:
    """The environment of a process whose wall clock a file sets."""
    if shutil.which("faketime") is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {
        "LD_PRELOAD": str(libraries[0]), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


async def test_the_batch_processors_clock_says_nothing(faketime: dict[str, str], tmp_path: Path) -> None:
    """Its clock is set while a day comes in: the same objects as with a right clock, one payload dated 2106 included."""
    day, verdicts = make_day(9, 4000), []
    for name, steps in (("right", ()), ("wrong", STEPS)):
        folder = tmp_path / name
        folder.mkdir()
        clock = folder / "clock"
        clock.write_text("+0\n")
        environ = {**faketime, "FAKETIME_TIMESTAMP_FILE": str(clock)} if steps else {}
        options = ("--roll-s", "900", "--segment-bytes", "200000", "--drain-s", "240")
        processor = Processor(folder, (folder / "store").as_uri(), options, environ)
        processor.start()
        try:
            sender, total = Sender(processor.port), sum(map(len, day.epochs.values()))

            async def send(sender: Sender = sender) -> None:
                for epoch, envelopes in day.epochs.items():
                    await sender.send(epoch, envelopes)

            sending = asyncio.create_task(send())
            for n, step in enumerate(steps):
                sender.limit = total * (n + 1) // (len(steps) + 1)
                while sender.sent < sender.limit:  # noqa: ASYNC110 # of another task
                    await asyncio.sleep(0.01)
                clock.write_text(f"{step}\n")
                await asyncio.sleep(0.5)
            sender.limit = 1 << 62
            await sending
            await processor.stop()
        finally:
            processor.kill()
        verdicts.append(judge(day, file_objects(folder / "store")))
        years = {line["time"][:4] for line in processor.lines() if "time" in line}
        print(f"\n{name}: years in its log {sorted(years)}, {verdicts[-1]}")
        assert len(years) == 1 + bool(steps)
    assert verdicts[0].good
    assert verdicts[0] == verdicts[1]


async def test_a_session_managers_clock_misfiles_nothing(faketime: dict[str, str], tmp_path: Path) -> None:
    """Its clock is set while a venue streams: every row with a venue's time is in that time's day and bucket, and no
    bucket is closed before it ends, so that each has as many objects as it would have had."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    store = tmp_path / "store"
    async with Stack(tmp_path) as stack:
        market = stack.start_market(
            ["simulator", "--providers", "deribit", "--port", "0", "--rate", "200", "--ledger", str(tmp_path / "l")]
        )
        venue = (await market.wait_event("listening", 60))["providers"]["deribit"]
        cold, hot = free_port(), free_port()
        batch = stack.start(
            "batch",
            [
                "services.batch_processor", "--instance", "PRIMARY", "--listen", f"127.0.0.1:{cold}", "--store",
                store.as_uri(), "--spool", str(tmp_path / "spool"), "--roll-s", str(ROLL_S),
            ],
        )  # fmt: skip
        manager = stack.start(
            "manager",
            [
                "services.session_manager", "--provider", "deribit", "--instance", "PRIMARY", "--normalizer",
                f"127.0.0.1:{hot}", "--batch-processor", f"127.0.0.1:{cold}", "--state-dir", str(tmp_path / "state"),
                "--stream-url", venue["stream"], "--rest-url", venue["rest"],
            ],
            environ={**faketime, "FAKETIME_TIMESTAMP_FILE": str(clock)},
        )  # fmt: skip
        while manager.metric("penstock_connections_up") < 1:  # noqa: ASYNC110 # of another process
            await asyncio.sleep(0.2)
        for step in (*STEPS, "-3600", "+0"):
            await asyncio.sleep(2.5 * ROLL_S)
            clock.write_text(f"{step}\n")
        await asyncio.sleep(2.5 * ROLL_S)
        await manager.stop()
        await batch.stop()
        assert batch.exits == [0]
    report = _filed(file_objects(store))
    print(f"\n{report}")
    assert report["clocks"] >= {"-3600", "3600", "315360000", "0"}
    assert report["misfiled"] == 0
    assert report["rows"] > 3000
    assert report["objects beyond one a bucket"] <= report["rows late for their bucket"]


def _filed(objects: dict[str, bytes]) -> dict[str, object]:
    event_time = providers.payloads("deribit").event_time
    misfiled = counted = late = 0
    offsets: set[str] = set()
    buckets: Counter[tuple[str, int]] = Counter()
    newest = 0
    ordered = []
    for key, data in objects.items():
        channel, day = key.split("/channel=")[1].split("/")[0], "/".join(key.split("/")[-4:-1])
        seen: set[int] = set()
        for row in rows(data):
            if "schema=SYSTEM" in key or not (event := event_time(channel.replace("%2F", "/"), row.payload)):
                continue
            counted += 1
            misfiled += time.strftime("year=%Y/month=%m/day=%d", time.gmtime(event // 10**9)) != day
            offsets.add(str(round((row.ts_recv - event) / 1e9 / 3600) * 3600))
            seen.add(event // (ROLL_S * 10**9))
            ordered.append((row.epoch, row.sequence, event))
        assert len(seen) <= 1, f"{key} holds rows of {len(seen)} buckets"
        for bucket in seen:
            buckets[channel, bucket] += 1
    for _, _, event in sorted(ordered):
        late += event // (ROLL_S * 10**9) < (newest - 2 * 10**9) // (ROLL_S * 10**9)
        newest = max(newest, event)
    return {
        "rows": counted, "misfiled": misfiled, "clocks": offsets, "buckets": len(buckets),
        "objects beyond one a bucket": sum(count - 1 for count in buckets.values()),
        "rows late for their bucket": late,
    }  # fmt: skip
