"""Publishes per second of the normalizer's publisher, beside redis-benchmark on the same server in the same run."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from penstock import dbn
from penstock.cli.valkey import Valkey
from services.normalizer.counts import Counts
from services.normalizer.publisher import Publisher
from services.normalizer.resp import Node
from services.normalizer.routes import Routes

RECORD = dbn.trade(60001, 7, 1, 2, 3, b"A", dbn.F_LAST, 4, 5)
CHANNELS = 64
SECONDS = 2.0
BATCH = 64


def run(report: Report) -> None:
    """48-byte messages on 64 channels, nobody subscribed."""
    asyncio.run(_run(report))


async def _run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as directory:
        valkey = Valkey(Path(directory))
        await valkey.start()
        try:
            rate, cpu = await _publish(valkey.url)
            report.add(
                "publish",
                f"our publisher, one write per {BATCH} messages",
                rate,
                "publishes/s",
                "1,603,313/s (raw RESP)",
            )
            report.add("publish", "our publisher, CPU", cpu, "µs/publish", "0.56 (raw RESP)")
            for pipeline in (1, 64):
                if (rate := _redis_benchmark(valkey.port, pipeline)) is not None:
                    report.add("publish", f"redis-benchmark -P {pipeline}, one connection", rate, "publishes/s")
                else:
                    report.note("redis-benchmark is not installed (Debian: redis-tools): no figure to compare with")
                    break
        finally:
            await valkey.stop()


async def _publish(url: str) -> tuple[float, float]:
    publisher = Publisher([Node.parse(url)], Counts(), lambda _node, _cluster: None)
    task = asyncio.create_task(publisher.run())
    await publisher.ready.wait()
    routes = Routes("PRIMARY", "BINANCE_SPOT")
    targets = [routes.find("TRADES", f"symbol{i}@trade", RECORD) for i in range(CHANNELS)]
    count, began, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - began < SECONDS:
        for route in targets[:BATCH]:
            publisher.publish(route, RECORD)
        publisher.flush()
        count += BATCH
        await publisher.room()
        await asyncio.sleep(0)
    await publisher.drain()
    elapsed, used = time.monotonic() - began, time.process_time() - cpu
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return count / elapsed, used / count * 1e6


def _redis_benchmark(port: int, pipeline: int) -> float | None:
    binary = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if binary is None:
        return None
    count = 30_000 if pipeline == 1 else 1_000_000
    words = [
        binary,
        "-p",
        str(port),
        "-c",
        "1",
        "-P",
        str(pipeline),
        "-n",
        str(count),
        "-q",
        "PUBLISH",
        "channel",
        "x" * 48,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    found = re.findall(r"([0-9.]+) requests per second", done.stdout)
    return float(found[-1]) if found else None
