"""The demonstration: a whole pipeline on a simulated market or a recording, one session killed half-way, everything
compared at the end with what the market says it sent."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console

import providers
from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.drill import Drill
from penstock.cli.process import Process
from penstock.cli.query import query
from penstock.cli.recordings import compare
from penstock.cli.stack import FOLDERS, Endpoint, Stack
from penstock.cli.summary import Outcome, show
from penstock.cli.view import View
from penstock.errors import ConfigError, Terminal

READY_S = 40.0
DRAIN_S = 2.5
DRAINED_S = 120.0
IDLE_BYTES = 64 * 1024
"""What heartbeats on the way to two consumers may take: a queue is never quite empty."""


SQL = """
SELECT provider, symbol, count(*) AS trades,
       CAST(min(price) AS decimal(18, 2)) AS low, CAST(max(price) AS decimal(18, 2)) AS high,
       round(sum(CAST(price AS double) * CAST(size AS double)) / sum(CAST(size AS double)), 2) AS vwap
FROM trades_readable GROUP BY provider, symbol ORDER BY provider, symbol
"""


SQL_RAW = "SELECT provider, schema, count(*) AS messages FROM raw GROUP BY 1, 2 ORDER BY 1, 2"


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose. `kill` names the provider whose PRIMARY session manager dies half-way, empty for none."""

    directory: Path
    providers: tuple[str, ...] = ("binance_spot", "coinbase_advanced", "deribit")
    seconds: float = 12.0
    rate: float = 250.0
    seed: int = 1
    kill: str = "deribit"
    captures: tuple[Path, ...] = ()
    speed: str = "1"
    as_json: bool = False


def run(options: Options, console: Console) -> int:
    """Run the demonstration; 0 only where the checker found nothing wrong."""
    _clear(options.directory)
    began = clock.monotonic_s()
    outcome = asyncio.run(_demo(options, console))
    outcome.seconds = round(clock.monotonic_s() - began, 1)
    text = json.dumps(outcome.as_dict(), indent=1)
    (options.directory / "summary.json").write_text(text + "\n", "utf-8")
    if options.as_json:
        print(text)
    else:
        show(console, outcome, options.directory)
    return 0 if outcome.good else 1


def _clear(directory: Path) -> None:
    """An empty folder for the run. Raises ConfigError rather than deleting what no run has left there."""
    try:
        if directory.exists() and any(directory.iterdir()):
            if not all((directory / name).is_dir() for name in FOLDERS):
                raise ConfigError(
                    f"--directory is {str(directory)!r}, expected a new or empty folder or that of an earlier run"
                )
            shutil.rmtree(directory)
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--directory is {str(directory)!r}: {error.strerror}") from None


async def _demo(options: Options, console: Console) -> Outcome:
    stack = Stack(options.directory, roll_s=5.0)
    outcome = Outcome()
    view = View(stack, console)
    with view:
        async with stack:
            ticker = asyncio.create_task(_tick(view))
            try:
                await _live(options, stack, view, outcome)
                _collect(stack, view, outcome)
                view.headline = "stopping: everything received is delivered and stored"
                await stack.stop()
                _stored(stack, outcome)
                await _afterwards(options, stack, view, outcome)
            finally:
                ticker.cancel()
    return outcome


async def _live(options: Options, stack: Stack, view: View, outcome: Outcome) -> None:
    view.headline = "starting"
    outcome.drill = Drill(options.kill) if options.kill and not options.captures else None
    stack.on_event = lambda process, event: _event(view, outcome, process, event)
    market, endpoints = await _market(options, stack)
    stack.start_batch_processors()
    for provider in options.providers:
        for instance in INSTANCES:
            stack.start_lane(provider, instance, endpoints[provider])
    recorder = stack.start_observer(
        "recorder", ["checker", "record", "--redis", stack.redis, "--out", str(options.directory / "stream.bin")]
    )
    view.strategy = stack.start_observer("strategy", _strategy(options, stack, endpoints), restart=True)
    await _ready(stack, view, recorder, replay=bool(options.captures))
    view.headline = "running"
    if options.captures:
        await _replayed(market, options)
    else:
        await asyncio.sleep(options.seconds / 2)
        if options.kill:
            await _drill(outcome, stack, view, endpoints)
        await asyncio.sleep(options.seconds / 2)
        await _close(endpoints)
    view.headline = "draining"
    await asyncio.sleep(DRAIN_S)
    await _drained(stack)


async def _market(options: Options, stack: Stack) -> tuple[Process, dict[str, Endpoint]]:
    if options.captures:
        module = [
            "simulator.replay", "--capture", ",".join(str(path) for path in options.captures),
            "--provider", options.providers[0], "--port", "0", "--speed", options.speed, "--wait-connections", "2",
        ]  # fmt: skip
    else:
        module = [
            "simulator", "--providers", ",".join(options.providers), "--port", "0", "--rate", f"{options.rate:g}",
            "--seed", str(options.seed), "--ledger", str(options.directory / "ledger.jsonl"),
        ]  # fmt: skip
    market = stack.start_market(module)
    try:
        listening = await market.wait_event("listening", 20)
    except TimeoutError:
        raise Terminal(f"the market did not start: {market.tail()}") from None
    return market, {
        name: Endpoint(urls["stream"], urls["rest"], tuple(urls.get("symbols", ())))
        for name, urls in listening["providers"].items()
    }


def _strategy(options: Options, stack: Stack, endpoints: dict[str, Endpoint]) -> Sequence[str]:
    instruments = [f"{name.upper()}:{symbol}" for name in options.providers for symbol in _symbols(name, endpoints)]
    return [
        "strategies.run", "--strategy", "imbalance", "--redis", stack.redis, "--instruments", ",".join(instruments),
        "--trades-log", str(options.directory / "trades.jsonl"),
    ]  # fmt: skip


async def _drained(stack: Stack) -> None:
    """Until every session manager has handed over what it holds, at most DRAINED_S: a replay can outrun two cores."""
    deadline = clock.monotonic_s() + DRAINED_S
    while clock.monotonic_s() < deadline:
        if all(lane.session_manager.metric("penstock_queue_bytes") < IDLE_BYTES for lane in stack.lanes):
            return
        await asyncio.sleep(0.25)


def _symbols(provider: str, endpoints: dict[str, Endpoint]) -> tuple[str, ...]:
    return endpoints[provider].symbols or providers.info(provider).symbols


async def _ready(stack: Stack, view: View, recorder: Process, *, replay: bool) -> None:
    """Until every session is up and the strategy receives. Raises Terminal with the culprit's last lines."""
    deadline = clock.monotonic_s() + READY_S
    while clock.monotonic_s() < deadline:
        assert view.strategy is not None
        feeds = [feed for feed in view.strategy.metrics.values() if isinstance(feed, dict)]
        down = [lane for lane in stack.lanes if lane.session_manager.metric("penstock_connections_up") == 0]
        # A replay starts with its sessions and waits for nobody else.
        if not down and (replay or any(feed.get("trades", 0) or feed.get("quotes", 0) for feed in feeds)):
            return
        for process in (recorder, view.strategy, *(lane.session_manager for lane in stack.lanes)):
            if len(process.exits) > 2 or (process.exits and not process.restart):
                raise Terminal(f"{process.name} does not stay up: {process.tail()}")
        await asyncio.sleep(0.1)
    names = ", ".join(lane.session_manager.name for lane in down) or "the strategy"
    raise Terminal(f"{names} not ready within {READY_S:g} s; its log is in {stack.directory / 'logs'}")


async def _drill(outcome: Outcome, stack: Stack, view: View, endpoints: dict[str, Endpoint]) -> None:
    assert outcome.drill is not None
    name = f"{outcome.drill.provider} PRIMARY"
    view.say(f"kill -9 of the {name} session manager")
    await outcome.drill.run(stack, books=len(_symbols(outcome.drill.provider, endpoints)))
    view.say(
        f"{name}: strategy on REPLICA after {outcome.drill.switch_s} s, session back after {outcome.drill.back_s} s"
    )


async def _close(endpoints: dict[str, Endpoint]) -> None:
    """Tell the market to publish nothing more: its ledger is then final, while its heartbeats go on."""
    address = urlsplit(next(iter(endpoints.values())).rest)
    stop = f"{address.scheme}://{address.netloc}/control/stop"
    async with aiohttp.ClientSession() as client, client.post(stop) as response:
        response.raise_for_status()


async def _replayed(market: Process, options: Options) -> None:
    try:
        await market.wait_event("finished", 36_000)
    except TimeoutError:
        raise Terminal(f"the replay of {options.captures} did not finish: {market.tail()}") from None


async def _tick(view: View) -> None:
    while True:
        view.refresh()
        await asyncio.sleep(0.25)


def _event(view: View, outcome: Outcome, process: Process, event: dict[str, Any]) -> None:
    if outcome.drill is not None:
        outcome.drill.saw(process, event)
    view.heard(process, event)


def _collect(stack: Stack, view: View, outcome: Outcome) -> None:
    for lane in stack.lanes:
        outcome.lanes[f"{lane.provider}/{lane.instance}"] = {
            "frames": int(lane.session_manager.metric("penstock_frames_total")),
            "records": int(lane.normalizer.metric("penstock_records_total")),
            "quarantined": int(lane.normalizer.metric("penstock_quarantined_total")),
            "gaps": int(lane.normalizer.metric("penstock_gaps_total")),
        }
    if view.strategy is not None:
        outcome.strategy = {name: feed for name, feed in view.strategy.metrics.items() if isinstance(feed, dict)}


def _stored(stack: Stack, outcome: Outcome) -> None:
    for instance, process in stack.batch_processors.items():
        outcome.stored[instance] = {
            "bytes": int(process.metric("penstock_stored_bytes_total")),
            "objects": int(process.metric("penstock_stored_objects_total")),
        }


async def _afterwards(options: Options, stack: Stack, view: View, outcome: Outcome) -> None:
    view.headline = "coalescing the day"
    view.say("coalescing PRIMARY and REPLICA")
    days = sorted({_day_of(path) for path in (options.directory / "intermediate").rglob("*.csv.gz")})
    for day in days:
        await stack.run_once(
            f"post_processor-{day}",
            ["services.post_processor", "--source", stack.intermediate, "--target", stack.final, "--day", day],
        )
    # A short recording may hold no trade, and then there is no such table.
    traded = any((options.directory / "final").glob("canonical/provider=*/schema=TRADES"))
    columns, rows = query(SQL if traded else SQL_RAW, stack.final)
    outcome.columns, outcome.rows = columns, rows
    if options.captures:
        view.say("normalizing the recording straight from its file, for comparison")
        outcome.good, outcome.capture = await asyncio.to_thread(
            compare, options.captures, options.providers[0], stack.final if traded else "", options.directory
        )
        return
    view.say("checking everything against the market's ledger")
    outcome.check = await _check(options)
    outcome.good = bool(outcome.check.get("good"))


async def _check(options: Options) -> dict[str, Any]:
    directory = options.directory
    arguments = [
        "-m", "checker", "check", "--ledger", str(directory / "ledger.jsonl"), "--stream", str(directory / "stream.bin"),
        "--dataset", str(directory / "final"), "--trades-log", str(directory / "trades.jsonl"), "--json",
    ]  # fmt: skip
    checker = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await checker.communicate()
    (directory / "check.json").write_bytes(output)
    verdicts: dict[str, Any] = json.loads(output) if output.strip() else {"good": False}
    return verdicts


def _day_of(path: Path) -> str:
    parts = dict(part.split("=", 1) for part in path.parts if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}"
