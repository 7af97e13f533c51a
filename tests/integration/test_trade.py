"""`penstock trade` as a service: records published into a real Valkey, orders filled in the sandbox, held on stale data,
stopped by SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio

import providers
from penstock import dbn
from penstock.channels import INSTANCES, Channel, encode
from penstock.instruments import FUTURE, Instrument
from penstock.lots import SCALE
from penstock.markers import Heartbeat

ROOT = Path(__file__).resolve().parents[2]
LISTING = Instrument(
    providers.info("binance_usdm").publisher, "BTCUSDT", SCALE // 1000, "BTC", SCALE // 10, FUTURE, "PERP", "BTC", "USDT",
    "USDT", "LIN",
)  # fmt: skip
PROVIDER = "BINANCE_USDM"
CHANNELS = {"TRADES": "btcusdt@aggTrade", "MBP_1": "btcusdt@bookTicker"}
CONFIG = """
instruments: [BINANCE_USDM:BTCUSDT]
strategy: {bar_s: 1, fast: 1, slow: 2}
execution: {BINANCE_USDM: {balances: ["100000 USDT"]}}
risk: {max_notional: %d}
"""


class Venue:
    """Prices that rise by a dollar at each step, on both lanes."""

    def __init__(self, url: str) -> None:
        self.redis = redis.asyncio.Redis.from_url(url)
        self.ids = LISTING.publisher.publisher_id, LISTING.instrument_id
        self.counts = dict.fromkeys(CHANNELS, 0)
        self.born = time.time_ns()
        self.price = 60_000
        self.steps = 0

    async def define(self) -> None:
        now = time.time_ns()
        await self.redis.hset(f"DEFINITION.{PROVIDER}", LISTING.raw_symbol, LISTING.record(now, now))
        fields = {f"{schema} {LISTING.instrument_id}": encode(channel) for schema, channel in CHANNELS.items()}
        await self.redis.hset(f"CHANNELS.{PROVIDER}", mapping=fields)

    async def step(self) -> None:
        now = time.time_ns()
        self.steps += 1
        self.price += 1
        at = self.price * SCALE
        await self._send("MBP_1", dbn.mbp_1(*self.ids, now, 128, now, self.steps, at - SCALE, at + SCALE, 9000, 9000))
        await self._send("TRADES", dbn.trade(*self.ids, now, at, 9000, b"B", 128, now, self.steps))

    async def _send(self, schema: str, data: bytes) -> None:
        self.counts[schema] += 1
        for instance in INSTANCES:
            await self.redis.publish(Channel(instance, schema, PROVIDER, CHANNELS[schema]).name, data)

    async def beat(self) -> None:
        for schema, channel in CHANNELS.items():
            mark = Heartbeat(1, self.born, self.counts[schema]).record(*self.ids, time.time_ns())
            for instance in INSTANCES:
                await self.redis.publish(Channel(instance, schema, PROVIDER, channel).name, mark)

    async def run(self) -> None:
        """Ten steps a second with heartbeats, until cancelled."""
        while True:
            await self.beat()
            for _ in range(10):
                await self.step()
                await asyncio.sleep(0.1)


class Service:
    """`penstock trade` in its own process, its JSON lines read as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(json.loads(line))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    async def wait(self, name: str, timeout_s: float = 30.0) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            while not self.named(name):  # lines arrive when they do
                assert self.process.returncode is None, (self.process.returncode, self.events)
                await asyncio.sleep(0.05)
        return self.named(name)[0]

    async def stop(self) -> tuple[int, float, str]:
        """SIGTERM: exit code, seconds it took, stderr."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 10)
        await self.reading
        assert self.process.stderr is not None
        return code, time.monotonic() - began, (await self.process.stderr.read()).decode()


@contextlib.asynccontextmanager
async def trading(url: str, config: Path) -> AsyncIterator[Service]:
    command = [sys.executable, "-m", "penstock", "trade", "ema_cross", "--config", str(config), "--redis", url]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    service = Service(process)
    try:
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await service.reading


@contextlib.asynccontextmanager
async def venue(url: str) -> AsyncIterator[tuple[Venue, asyncio.Task[None]]]:
    made = Venue(url)
    await made.define()
    running = asyncio.create_task(made.run())
    try:
        yield made, running
    finally:
        running.cancel()
        await asyncio.wait((running,))
        await made.redis.aclose()


def file(tmp_path: Path, limit: int) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG % limit)
    return path


async def test_an_order_is_filled_and_sigterm_stops_within_seconds(valkey: str, tmp_path: Path) -> None:
    """Bars from published trades, an order, its fill in the sandbox; silence of both lanes is told; exit code 0."""
    async with venue(valkey) as (_, running), trading(valkey, file(tmp_path, 10_000)) as service:
        started = await service.wait("trading_started")
        assert started["instruments"] == ["BTCUSDT.BINANCE_USDM"]
        assert (started["service"], started["strategy"]) == ("strategies", "ema_cross")
        filled = await service.wait("order_filled")
        assert (filled["side"], filled["quantity"], filled["instrument"]) == ("BUY", "0.001", "BTCUSDT.BINANCE_USDM")
        running.cancel()
        died = time.monotonic()
        await service.wait("orders_held", 5)
        assert time.monotonic() - died < 3.0
        code, seconds, errors = await service.stop()
        print(f"stopped in {seconds:.1f} s")
        assert (code, errors) == (0, "")
        assert seconds < 5.0
        assert service.events[-1]["event"] == "trading_stopped"


async def test_the_risk_engine_denies_what_is_too_large(valkey: str, tmp_path: Path) -> None:
    """A limit of one dollar an order: every order denied, none filled."""
    async with venue(valkey), trading(valkey, file(tmp_path, 1)) as service:
        denied = await service.wait("order_denied")
        assert "is more than max_notional 1" in denied["reason"]
        assert not service.named("order_filled")
        assert (await service.stop())[0] == 0


REFUSED = (
    ("nothing --config {0}/run.yaml", "STRATEGY is 'nothing', expected one of carry, ema_cross"),
    ("carry --config {0}/no.yaml", "no such file"),
    ("carry --config {0}/other.yaml --definitions-timeout-s 0", "no definition of DERIBIT:BTC-PERPETUAL has appeared"),
    ("spread --config {0}/one.yaml", "1 instruments are configured, expected two"),
)


async def test_what_cannot_start_is_one_readable_line(valkey: str, tmp_path: Path) -> None:
    """Exit code 2 and one line on stderr that names what is wrong."""
    file(tmp_path, 1)
    (tmp_path / "one.yaml").write_text("instruments: [BINANCE_USDM:BTCUSDT]")
    (tmp_path / "other.yaml").write_text("instruments: [DERIBIT:BTC-PERPETUAL]")
    made = Venue(valkey)
    await made.define()
    await made.redis.aclose()
    lines = await asyncio.gather(*(_refusal(valkey, arguments.format(tmp_path)) for arguments, _ in REFUSED))
    for (_, wanted), line in zip(REFUSED, lines, strict=True):
        assert wanted in line


async def _refusal(url: str, arguments: str) -> str:
    command = [sys.executable, "-m", "penstock", "trade", *arguments.split()]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ) | {"PENSTOCK_REDIS": url},
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    lines = errors.decode().splitlines()
    assert (process.returncode, len(lines)) == (2, 1), errors.decode()
    return lines[0]
