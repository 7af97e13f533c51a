"""S3 that fails as S3 does, before a real batch processor: nothing lost, one object per key, the hot path none the wiser.

The full drill: PENSTOCK_OUTAGE_S=360 (an hour of stream time at ten times its speed) and PENSTOCK_HOT_ROUNDS=10.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.cli.stack import Endpoint, Stack
from tests.chaos.batch_drill import (
    AWS,
    Day,
    Processor,
    Sender,
    judge,
    make_bucket,
    make_day,
    s3_objects,
    s3_server,
)
from tests.chaos.s3_proxy import KINDS, S3Proxy

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

OUTAGE_S = float(os.environ.get("PENSTOCK_OUTAGE_S", "20"))
FRAMES = int(os.environ.get("PENSTOCK_FAULT_FRAMES", "8000"))
HOT_ROUNDS = int(os.environ.get("PENSTOCK_HOT_ROUNDS", "1"))
ROUND_S = float(os.environ.get("PENSTOCK_HOT_ROUND_S", "10"))
SPEED = 10.0
OPTIONS = ("--roll-s", "900", "--segment-bytes", "500000", "--object-bytes", "200000", "--drain-s", "600")


async def test_thirty_percent_of_all_requests_fail(tmp_path: Path) -> None:
    """500, 503, resets, errors with status 200, answers that never come, commits that nobody is told of."""
    day, dice = make_day(6, FRAMES), random.Random(6)
    with s3_server(tmp_path) as upstream:
        make_bucket(upstream, "drill")
        async with S3Proxy(upstream, dice, share=0.3, timeouts=0.005) as proxy:
            processor = Processor(
                tmp_path, "s3://drill/raw", (*OPTIONS, "--uploads", "8"), {**AWS, "AWS_ENDPOINT_URL": proxy.url}
            )
            await _send_all(day, processor)
            failures = {
                name.partition('"')[2].rstrip('"}'): int(value)
                for name, value in processor.metrics().items()
                if name.startswith("penstock_upload_failures_total{")
            }
        verdict = judge(day, s3_objects(upstream, "drill"))
    print(f"\nrequests {dict(proxy.counts)}\nfailures seen {failures}\n{verdict}")
    assert verdict.good
    assert all(proxy.counts[kind] for kind in KINDS)
    assert proxy.counts["timeout"] == failures.get("timeout", 0)


async def test_one_kilobyte_a_second(tmp_path: Path) -> None:
    """Uploads that take minutes delay acknowledgements by nothing; SIGTERM does not wait for them; later all is there."""
    day = make_day(7, FRAMES // 4, hours=4)
    with s3_server(tmp_path) as upstream:
        make_bucket(upstream, "drill")
        async with S3Proxy(upstream, random.Random(7), bytes_per_s=1024) as proxy:
            environ = {**AWS, "AWS_ENDPOINT_URL": proxy.url}
            options = [*OPTIONS[:-1], "2"]
            processor = Processor(tmp_path, "s3://drill/raw", options, environ)
            processor.start()
            try:
                sender, began = Sender(processor.port), time.monotonic()
                for epoch, envelopes in day.epochs.items():
                    await sender.send(epoch, envelopes)
                acknowledged_s = time.monotonic() - began
                began = time.monotonic()
                await processor.stop()
                stopped_s = time.monotonic() - began
                slow = len(s3_objects(upstream, "drill"))
                proxy.bytes_per_s = 0
                processor.options = OPTIONS
                processor.start()
                await processor.stop()
            finally:
                processor.kill()
        verdict = judge(day, s3_objects(upstream, "drill"))
    print(f"\nall acknowledged in {acknowledged_s:.1f} s, stopped in {stopped_s:.1f} s with {slow} objects; {verdict}")
    assert verdict.good
    assert slow < verdict.objects
    assert stopped_s < 20


async def test_an_outage_is_drained_faster_than_it_grew(tmp_path: Path) -> None:
    """S3 away while the stream goes on at ten times its speed; the stream also goes on while the spool is drained."""
    hours = OUTAGE_S * SPEED / 3600
    day = make_day(8, round(hours * 3600 * 60), hours=hours * 1.5 + 0.1, heartbeat_s=1)
    with s3_server(tmp_path) as upstream:
        make_bucket(upstream, "drill")
        async with S3Proxy(upstream, random.Random(8), down=True) as proxy:
            processor = Processor(
                tmp_path, "s3://drill/raw", ("--roll-s", "60", "--drain-s", "600"),
                {**AWS, "AWS_ENDPOINT_URL": proxy.url},
            )  # fmt: skip
            processor.start()
            sender = Sender(processor.port)

            async def send() -> None:
                for epoch, envelopes in day.epochs.items():
                    await sender.send(epoch, envelopes, speed=SPEED)

            sending, began = asyncio.create_task(send()), time.monotonic()
            try:
                await asyncio.sleep(OUTAGE_S)
                outage_s, held = time.monotonic() - began, sender.queue.held
                at_end = processor.metrics()
                proxy.down = False
                began = time.monotonic()
                while (now := processor.metrics())["penstock_upload_lag_seconds"] > 2:  # noqa: ASYNC110 # of another process
                    await asyncio.sleep(0.2)
                drained_s = time.monotonic() - began
                await sending
                await processor.stop()
            finally:
                sending.cancel()
                processor.kill()
        verdict = judge(day, s3_objects(upstream, "drill"))
    factor = outage_s * SPEED / drained_s
    print(
        f"\nout for {outage_s:.0f} s at {SPEED:g}x ({outage_s * SPEED / 60:.0f} min of stream): "
        f"{at_end['penstock_uploads_waiting']:.0f} objects, "
        f"{at_end['penstock_spool_bytes{provider="deribit"}'] / 1e6:.1f} MB waited, {held} envelopes not acknowledged; "
        f"drained in {drained_s:.1f} s = {factor:.0f}x real time, spool then "
        f"{now['penstock_spool_bytes{provider="deribit"}'] / 1e6:.1f} MB; {verdict}"
    )
    assert verdict.good
    assert held < 5000, "acknowledgements waited for S3"
    assert factor > 5


class S3Stack(Stack):
    """A pipeline that stores in S3."""

    intermediate = "s3://drill/raw"


async def test_the_hot_path_does_not_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same processes, S3 away and back by turns: latencies from socket to subscriber are those of a quiet S3."""
    with s3_server(tmp_path) as upstream:
        make_bucket(upstream, "drill")
        async with S3Proxy(upstream, random.Random(9)) as proxy:
            for name, value in {**AWS, "AWS_ENDPOINT_URL": proxy.url}.items():
                monkeypatch.setenv(name, value)
            async with S3Stack(tmp_path, roll_s=5.0) as stack:
                rounds = await _by_turns(stack, proxy, tmp_path)
                (lane,) = stack.lanes
                dropped = lane.session_manager.metric("penstock_dropped_total", consumer="batch_processor")
    quiet, failing = (
        sorted(x for part in rounds[0::2] for x in part),
        sorted(x for part in rounds[1::2] for x in part),
    )
    figures = [
        f"{name} n={len(values)} p50 {_at(values, 0.5):.3f} ms p99 {_at(values, 0.99):.3f} ms"
        for name, values in (("S3 quiet", quiet), ("S3 failing", failing))
    ]
    medians = [statistics.median(_at(sorted(part), 0.99) for part in rounds[k::2]) for k in (0, 1)]
    shift = medians[1] / medians[0] - 1
    print(f"\n{figures[0]}; {figures[1]}; median of rounds' p99 {medians[0]:.3f} → {medians[1]:.3f} ms: {shift:+.1%}")
    assert dropped == 0
    assert shift < (0.1 if HOT_ROUNDS >= 5 else 10)


async def _by_turns(stack: Stack, proxy: S3Proxy, folder: Path) -> list[list[float]]:
    """Latencies in ms of rounds with S3 quiet, failing, quiet, failing…"""
    market = stack.start_market(
        ["simulator", "--providers", "deribit", "--port", "0", "--rate", "300", "--ledger", str(folder / "ledger")]
    )
    venue = (await market.wait_event("listening", 60))["providers"]["deribit"]
    stack.start_batch_processors()
    lane = stack.start_lane("deribit", "PRIMARY", Endpoint(venue["stream"], venue["rest"]))
    while lane.normalizer.metric("penstock_records_total") < 100:  # noqa: ASYNC110 # of another process
        await asyncio.sleep(0.2)
    listener = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.hot_latency", stack.redis, stdout=subprocess.PIPE
    )
    rounds: list[list[float]] = []
    try:
        for n in range(2 * HOT_ROUNDS + 2):
            proxy.down, proxy.share = n % 4 == 1, 0.5 if n % 4 == 3 else 0.0
            await asyncio.sleep(1.0)
            rounds.append([])
            ends = time.monotonic() + ROUND_S
            while time.monotonic() < ends:
                line = await asyncio.wait_for(listener.stdout.readexactly(8), 10)
                rounds[-1].append(struct.unpack("<d", line)[0])
    finally:
        listener.kill()
        await listener.wait()
    proxy.down, proxy.share = False, 0.0
    return rounds[2:]  # the first of both are for warming up


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


async def _send_all(day: Day, processor: Processor) -> None:
    processor.start()
    try:
        sender = Sender(processor.port)
        for epoch, envelopes in day.epochs.items():
            await sender.send(epoch, envelopes)
        await processor.stop(900)
    finally:
        processor.kill()
