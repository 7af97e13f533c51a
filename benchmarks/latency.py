"""p50 and p99 from the venue's socket (ts_recv) to the strategy feed's callback, through the real processes."""

from __future__ import annotations

import asyncio
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from penstock.cli.process import Process
from penstock.cli.stack import Endpoint, Stack
from penstock.instruments import instrument_id
from strategies.feed.codec import Codec
from strategies.feed.feed import Feed
from strategies.feed.instruments import Definitions

RATES = (1_000, 10_000, 40_000)
SECONDS = 6.0
WARM_S = 2.0
REFERENCE = {1_000: "0.72 / 4.0 ms (prototype)", 10_000: "0.58 / 1.9 ms", 40_000: "0.97 / 2.9 ms"}
_TS_RECV = struct.Struct("<Q")


def run(report: Report) -> None:
    """Binance trades, one lane: venue → session manager → normalizer → Valkey → feed, arbitrated and converted."""
    for rate in RATES:
        p50, p99, got, sent = asyncio.run(_run(rate))
        report.add("latency", f"{rate:,} msgs/s offered, p50", p50, "ms", REFERENCE[rate])
        report.add("latency", f"{rate:,} msgs/s offered, p99", p99, "ms")
        report.add("latency", f"{rate:,} msgs/s offered, delivered", got, "messages", f"of {sent:,}")


async def _run(rate: int) -> tuple[float, float, int, int]:
    with tempfile.TemporaryDirectory() as directory:
        async with Stack(Path(directory)) as stack:
            venue = stack.start_market(["benchmarks.venue", str(rate)])
            urls = (await venue.wait_event("listening", 10))["providers"]["binance_spot"]
            stack.start_batch_processors()
            latencies = _Latencies()
            async with asyncio.TaskGroup() as tasks:
                lane = stack.start_lane("binance_spot", "PRIMARY", Endpoint(urls["stream"], urls["rest"], ("BTCUSDT",)))
                feed = Feed([stack.redis], latencies.take)
                running = tasks.create_task(feed.run())
                await _until(lane.session_manager, "penstock_connections_up")
                (definition,) = await feed.directory.await_definitions({"BINANCE_SPOT": ["BTCUSDT"]}, 10)
                latencies.codec.learn(Definitions().listing("BINANCE_SPOT", definition))
                feed.want("TRADES", "BINANCE_SPOT", "btcusdt@trade", instrument_id("binance_spot", "BTCUSDT"))
                await asyncio.sleep(WARM_S)
                latencies.samples.clear()
                await asyncio.sleep(SECONDS)
                samples = sorted(latencies.samples)
                running.cancel()
            return (
                samples[len(samples) // 2] / 1e6,
                samples[len(samples) * 99 // 100] / 1e6,
                len(samples),
                int(rate * SECONDS),
            )


class _Latencies:
    def __init__(self) -> None:
        self.codec = Codec()
        self.samples: list[int] = []

    def take(self, _stream: Any, outputs: Sequence[Any]) -> None:
        for data in outputs:
            if isinstance(data, bytes):
                self.codec.objects(data)
                self.samples.append(time.time_ns() - _TS_RECV.unpack_from(data, 32)[0])


async def _until(process: Process, metric: str) -> None:
    for _ in range(400):
        if process.metric(metric) > 0:
            return
        await asyncio.sleep(0.05)
    sys.exit(f"benchmarks: {process.name} did not come up: {process.tail()}")
