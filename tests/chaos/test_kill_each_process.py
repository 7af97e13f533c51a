"""kill -9 of every kind of process in turn, ten times each, under load: nothing lost, nothing doubled, back within 5 s."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.stack import Endpoint, Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

PROVIDERS = ("binance_spot", "coinbase_advanced", "deribit")
KILLS = 10
BACK_S = 5.0
RATE = 200


async def test_kill_each_process_ten_times(tmp_path: Path):
    """While one process at a time is killed, the other lane carries everything; the coalesced day has it all."""
    dice = random.Random(7)
    back: dict[str, list[float]] = defaultdict(list)
    async with Stack(tmp_path, roll_s=5.0) as stack:
        market = stack.start_market(
            [
                "simulator",
                "--providers",
                ",".join(PROVIDERS),
                "--port",
                "0",
                "--rate",
                str(RATE),
                "--ledger",
                str(tmp_path / "ledger.jsonl"),
            ],
        )
        venues = (await market.wait_event("listening", 20))["providers"]
        stack.start_batch_processors()
        for provider in PROVIDERS:
            for instance in INSTANCES:
                stack.start_lane(provider, instance, Endpoint(venues[provider]["stream"], venues[provider]["rest"]))
        stack.start_observer(
            "recorder", ["checker", "record", "--redis", stack.redis, "--out", str(tmp_path / "stream.bin")]
        )
        strategy = stack.start_observer(
            "strategy",
            [
                "strategies.run", "--strategy", "imbalance", "--redis", stack.redis,
                "--instruments", "BINANCE_SPOT:BTCUSDT,COINBASE_ADVANCED:BTC-USD,DERIBIT:BTC-PERPETUAL",
                "--trades-log", str(tmp_path / "trades.jsonl"),
            ],
        )  # fmt: skip
        await _settled(stack)
        victims = _victims(stack)
        for round_number in range(KILLS):
            for kind, processes in victims.items():
                process = dice.choice(processes)
                back[kind].append(await _kill(process, stack))
                await _whole(process, stack)
                await asyncio.sleep(dice.uniform(0.5, 1.5))
            print(
                f"round {round_number + 1}: { ({kind: round(times[-1], 2) for kind, times in back.items()}) }",
                flush=True,
            )
        await asyncio.sleep(2)
        await _close_market(venues)
        await asyncio.sleep(3)
        assert strategy.pid is not None
        await stack.stop()
        for day in sorted({_day(path) for path in (tmp_path / "intermediate").rglob("*.csv.gz")}):
            await _coalesce_through_kills(stack, day, dice)
    verdicts = await _check(tmp_path)
    print({kind: f"max {max(times):.2f} s" for kind, times in back.items()})
    for verdict in verdicts["verdicts"]:
        print(verdict["part"], verdict["checked"], verdict["notes"])
        assert verdict["good"], verdict
    assert all(max(times) <= BACK_S for times in back.values()), dict(back)


async def _close_market(venues: dict) -> None:
    address = urlsplit(venues[PROVIDERS[0]]["rest"])
    async with aiohttp.ClientSession() as client, client.post(f"http://{address.netloc}/control/stop") as response:
        response.raise_for_status()


def _victims(stack: Stack) -> dict[str, list[Process]]:
    return {
        "session_manager": [lane.session_manager for lane in stack.lanes],
        "normalizer": [lane.normalizer for lane in stack.lanes],
        "batch_processor": list(stack.batch_processors.values()),
    }


async def _settled(stack: Stack) -> None:
    deadline = clock.monotonic_s() + 60
    while clock.monotonic_s() < deadline:
        if all(
            lane.session_manager.metric("penstock_connections_up") > 0
            and lane.normalizer.metric("penstock_records_total") > 0
            for lane in stack.lanes
        ):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the pipeline did not come up within 60 s")


async def _kill(process: Process, stack: Stack) -> float:
    """Kill, and wait until the process does its work again; the seconds that took."""
    work = {"session_manager": "penstock_frames_total", "normalizer": "penstock_records_total"}
    metric = work.get(process.name.split("-")[0], "penstock_spool_bytes")
    starts, began = process.starts, clock.monotonic_s()
    process.kill()
    process.metrics = {}
    while clock.monotonic_s() - began < 30:
        if process.starts > starts and process.metrics and process.metric(metric) >= (0 if "spool" in metric else 1):
            return clock.monotonic_s() - began
        await asyncio.sleep(0.02)
    raise AssertionError(f"{process.name} did not come back: {process.tail()}")


async def _whole(process: Process, stack: Stack) -> None:
    """Wait until the lane that was hit publishes trades again, so that one lane lives at any time."""
    lane = next((lane for lane in stack.lanes if process in (lane.session_manager, lane.normalizer)), None)
    if lane is None:
        return

    def trades() -> float:
        return lane.normalizer.metric("penstock_records_total", schema="TRADES")

    before, began = trades(), clock.monotonic_s()
    while trades() < before + 10:
        before = min(before, trades())
        assert clock.monotonic_s() - began < 30, f"{process.name}: its lane publishes no trades"
        await asyncio.sleep(0.05)


async def _coalesce_through_kills(stack: Stack, day: str, dice: random.Random) -> None:
    """The post-processor is killed ten times at random moments, then runs to its end."""
    module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final, "--day", day]
    for _ in range(KILLS):
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(dice.uniform(0.3, 4.0)):
                await victim.wait()
        except TimeoutError:
            victim.kill()
            await victim.wait()
    await stack.run_once(f"post_processor-{day}", module)


async def _check(directory: Path) -> dict:
    arguments = [
        "--ledger", "ledger.jsonl", "--stream", "stream.bin", "--dataset", "final", "--trades-log", "trades.jsonl",
    ]  # fmt: skip
    paths = [str(directory / word) if i % 2 else word for i, word in enumerate(arguments)]
    checker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "checker", "check", *paths, "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await checker.communicate()
    return json.loads(output)


def _day(path: Path) -> str:
    parts = dict(part.split("=", 1) for part in path.parts if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}"
