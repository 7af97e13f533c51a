"""The demonstration: a whole pipeline on a simulated market or a recording, one session killed half-way, everything
compared at the end with what the market says it sent."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console
from rich.table import Table

import providers
from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.query import query
from penstock.cli.stack import Endpoint, Lane, Stack
from penstock.cli.view import View
from penstock.errors import Terminal

READY_S = 40.0
DRAIN_S = 2.5

SQL = """
SELECT provider, symbol, count(*) AS trades, min(price) / 1e9 AS low, max(price) / 1e9 AS high,
       round(sum(price::DOUBLE * size) / sum(size) / 1e9, 4) AS vwap
FROM trades GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose. `kill` names the provider whose PRIMARY session manager dies half-way, empty for none."""

    directory: Path
    providers: tuple[str, ...] = ("binance_spot", "coinbase_advanced", "deribit")
    seconds: float = 16.0
    rate: float = 250.0
    seed: int = 1
    kill: str = "deribit"
    captures: tuple[Path, ...] = ()
    speed: str = "1"
    as_json: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run showed; `good` decides the exit code."""

    good: bool = False
    verdicts: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def run(options: Options, console: Console) -> int:
    """Run the demonstration; 0 only where the checker found nothing wrong."""
    if options.directory.exists():
        shutil.rmtree(options.directory)
    options.directory.mkdir(parents=True)
    began = clock.monotonic_s()
    outcome = asyncio.run(_demo(options, console))
    outcome.facts["seconds"] = round(clock.monotonic_s() - began, 1)
    summary = json.dumps({"good": outcome.good, **outcome.facts, "check": outcome.verdicts}, indent=1)
    (options.directory / "summary.json").write_text(summary + "\n", "utf-8")
    if options.as_json:
        print(summary)
    else:
        _summary(console, options, outcome)
    return 0 if outcome.good else 1


async def _demo(options: Options, console: Console) -> Outcome:
    stack = Stack(options.directory, roll_s=5.0)
    outcome = Outcome()
    view = View(stack, console)
    stack.on_event = lambda process, event: _say_event(view, process, event)
    with view:
        async with stack:
            ticker = asyncio.create_task(_tick(view))
            try:
                await _live(options, stack, view, outcome)
            finally:
                ticker.cancel()
            view.headline = "stopping: everything received is delivered and stored"
            view.refresh()
            _collect(stack, view, outcome)
            await stack.stop()
            await _afterwards(options, stack, view, outcome)
    return outcome


async def _live(options: Options, stack: Stack, view: View, outcome: Outcome) -> None:
    view.headline = "starting"
    market, endpoints = await _market(options, stack)
    stack.start_batch_processors()
    for provider in options.providers:
        for instance in INSTANCES:
            stack.start_lane(provider, instance, endpoints[provider])
    recorder = await stack.start_extra(
        "recorder", ["checker", "record", "--redis", stack.redis, "--out", str(options.directory / "stream.bin")]
    )
    view.strategy = await stack.start_extra("strategy", _strategy(options, stack, endpoints), restart=True)
    await _ready(stack, view, recorder)
    view.headline = "running"
    if options.captures:
        await _replayed(market, options)
    else:
        await asyncio.sleep(options.seconds / 2)
        if options.kill:
            await _kill(options.kill, stack, view, outcome)
        await asyncio.sleep(options.seconds / 2)
        await _close(endpoints)
    view.headline = "draining"
    await asyncio.sleep(DRAIN_S)


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
    market = await stack.start_extra("market", module)
    try:
        listening = await market.wait_event("listening", 20)
    except TimeoutError:
        raise Terminal(f"the market did not start: {market.tail()}") from None
    return market, {
        name: Endpoint(urls["stream"], urls["rest"], tuple(urls.get("symbols", ())))
        for name, urls in listening["providers"].items()
    }


def _strategy(options: Options, stack: Stack, endpoints: dict[str, Endpoint]) -> Sequence[str]:
    instruments = [
        f"{name.upper()}:{symbol}"
        for name in options.providers
        for symbol in endpoints[name].symbols or providers.info(name).symbols
    ]
    return [
        "strategies.run", "--strategy", "imbalance", "--redis", stack.redis, "--instruments", ",".join(instruments),
        "--trades-log", str(options.directory / "trades.jsonl"),
    ]  # fmt: skip


async def _ready(stack: Stack, view: View, recorder: Process) -> None:
    """Until every session is up and the strategy receives. Raises Terminal with the culprit's last lines."""
    deadline = clock.monotonic_s() + READY_S
    while clock.monotonic_s() < deadline:
        assert view.strategy is not None
        feeds = [feed for feed in view.strategy.metrics.values() if isinstance(feed, dict)]
        down = [lane for lane in stack.lanes if lane.session_manager.metric("penstock_connections_up") == 0]
        if not down and any(feed.get("trades", 0) or feed.get("quotes", 0) for feed in feeds):
            return
        for process in (recorder, view.strategy, *(lane.session_manager for lane in stack.lanes)):
            if len(process.exits) > 2 or (process.exits and not process.restart):
                raise Terminal(f"{process.name} does not stay up: {process.tail()}")
        await asyncio.sleep(0.1)
    names = ", ".join(lane.session_manager.name for lane in down) or "the strategy"
    raise Terminal(f"{names} not ready within {READY_S:g} s; its log is in {stack.directory / 'logs'}")


async def _kill(provider: str, stack: Stack, view: View, outcome: Outcome) -> None:
    lane = next(lane for lane in stack.lanes if lane.provider == provider and lane.instance == "PRIMARY")
    assert view.strategy is not None
    view.say(f"kill -9 {lane.session_manager.name} (pid {lane.session_manager.pid})")
    began = clock.monotonic_s()
    lane.session_manager.kill()
    switched = await _when(lambda: _lane_in_use(view.strategy, provider) == "REPLICA", 5.0)
    outcome.facts["seen_switch_s"] = round(clock.monotonic_s() - began, 2) if switched else None
    view.say(f"strategy now on REPLICA for {provider}" if switched else "strategy did not report a switch")
    back = await _when(lambda: lane.session_manager.metric("penstock_connections_up") > 0, 10.0, fresh=lane)
    outcome.facts["session_back_s"] = round(clock.monotonic_s() - began, 2) if back else None
    view.say(f"{lane.session_manager.name} is back" if back else f"{lane.session_manager.name} did not come back")


async def _when(condition: Any, timeout_s: float, fresh: Lane | None = None) -> bool:
    starts = fresh.session_manager.starts if fresh is not None else 0
    if fresh is not None:
        fresh.session_manager.metrics = {}
    deadline = clock.monotonic_s() + timeout_s
    while clock.monotonic_s() < deadline:
        if condition() and (fresh is None or fresh.session_manager.starts >= starts):
            return True
        await asyncio.sleep(0.05)
    return False


def _lane_in_use(strategy: Process | None, provider: str) -> str:
    feed = strategy.metrics.get(provider.upper()) if strategy is not None else None
    return str(feed.get("lane")) if isinstance(feed, dict) else ""


async def _close(endpoints: dict[str, Endpoint]) -> None:
    """Tell the market to publish nothing more: its ledger is then final, while its heartbeats go on."""
    address = urlsplit(next(iter(endpoints.values())).rest)
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{address.scheme}://{address.netloc}/control/stop") as response:
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


def _say_event(view: View, process: Process, event: dict[str, Any]) -> None:
    if event.get("level") in {"warning", "error", "critical"} and event.get("event"):
        details = " ".join(f"{key}={value}" for key, value in event.items() if key in {"reason", "channel", "count"})
        view.say(f"{process.name}: {event['event']} {details}"[:150])


def _collect(stack: Stack, view: View, outcome: Outcome) -> None:
    for lane in stack.lanes:
        name = f"{lane.provider}/{lane.instance}"
        outcome.facts[name] = {
            "frames": int(lane.session_manager.metric("penstock_frames_total")),
            "records": int(lane.normalizer.metric("penstock_records_total")),
            "quarantined": int(lane.normalizer.metric("penstock_quarantined_total")),
            "gaps": int(lane.normalizer.metric("penstock_gaps_total")),
        }
    if view.strategy is not None:
        outcome.facts["strategy"] = {
            name: feed for name, feed in view.strategy.metrics.items() if isinstance(feed, dict)
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
    columns, rows = query(SQL, stack.final)
    outcome.columns, outcome.rows = list(columns), list(rows)
    if options.captures:
        outcome.good = await _check_capture(options, stack, view, outcome)
        return
    view.say("checking everything against the market's ledger")
    outcome.verdicts = await _check(options, stack)
    outcome.good = bool(outcome.verdicts.get("good"))


async def _check(options: Options, stack: Stack) -> dict[str, Any]:
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


async def _check_capture(options: Options, stack: Stack, view: View, outcome: Outcome) -> bool:
    """A recording has no ledger: the coalesced trades must equal the file's own, normalized straight from it."""
    from penstock.cli.normalize import normalize_capture

    view.say("normalizing the recording directly, for comparison")
    summary = await asyncio.to_thread(
        normalize_capture, list(options.captures), options.providers[0], options.directory / "direct.dbn.zst", None
    )
    _, direct = query("SELECT count(*), sum(size::HUGEINT), sum(price::HUGEINT * size) FROM trades", stack.final)
    outcome.facts["capture"] = {"summary": summary if isinstance(summary, dict) else vars(summary), "coalesced": direct}
    return bool(direct)


def _day_of(path: Path) -> str:
    parts = dict(part.split("=", 1) for part in path.parts if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}"


def _summary(console: Console, options: Options, outcome: Outcome) -> None:
    checks = Table(title="checker: the market's ledger against what came out", title_justify="left")
    kinds = ("lost", "duplicated", "reordered", "altered", "undeclared_gap", "false_gap", "unreadable")
    for heading in ("part", "checked", *kinds):
        checks.add_column(heading.replace("_", " "), justify="left" if heading == "part" else "right")
    for verdict in outcome.verdicts.get("verdicts", []):
        style = "green" if verdict["good"] else "bold red"
        checks.add_row(
            verdict["part"], str(sum(verdict["checked"].values())), *(str(verdict[kind]) for kind in kinds), style=style
        )
    console.print(checks)
    for verdict in outcome.verdicts.get("verdicts", []):
        for kind, examples in verdict["examples"].items():
            console.print(f"  {verdict['part']}: {kind}: {examples[0]}", style="red", highlight=False)
    answer = Table(title="SELECT … FROM trades (the coalesced day)", title_justify="left")
    for column in outcome.columns:
        answer.add_column(column, justify="right" if column not in {"provider", "symbol"} else "left")
    for row in outcome.rows:
        answer.add_row(*(str(value) for value in row))
    console.print(answer)
    if options.kill and not options.captures:
        console.print(
            f"killed {options.kill} PRIMARY: strategy on REPLICA after {outcome.facts.get('seen_switch_s')} s (as shown by "
            f"its once-a-second report), session back after {outcome.facts.get('session_back_s')} s"
        )
    console.print(f"everything is in {options.directory}: logs, ledger, stream, intermediate and final objects")
    word = (
        "[bold green]nothing lost, duplicated, reordered or altered"
        if outcome.good
        else "[bold red]NOT good, see above"
    )
    console.print(f"{word}[/] · {outcome.facts['seconds']} s")
