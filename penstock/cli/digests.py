"""`penstock digests`: does a strategy see the same live on one lane, on both, with PRIMARY killed, and in a backtest?

Three whole pipelines are connected to one market that does not move yet; when every session is up and every strategy has
its books, it begins, and it has ended before anything is stopped. So all of them cover the same time, and every stream can
be compared whole. The fourth run is a backtest of the day that the second pipeline stored.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

import providers
from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.stack import FOLDERS, Endpoint, Stack
from penstock.errors import ConfigError, Terminal
from strategies.sameness import Row, rows

PRIMARY, REPLICA = INSTANCES
RUNS: Final = ("primary", "both", "killed")
"""Live runs: PRIMARY alone, both lanes, and both of which PRIMARY is killed at one third."""
BACKTEST: Final = "backtest"

STATES: Final = ("mark", "index", "funding")
"""A venue tells a session that comes back what holds now, which it tells nobody else: the killed run may have more."""

READY_S: Final = 600.0
DRAINED_S: Final = 300.0
_WIDTH: Final = 132
QUIET_S: Final = 3.0
"""Nothing new reached any strategy for this long: everything has."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose. `rate` and `events` are of a simulated market; with `captures`, a recording of the only
    provider, `speed` says how fast it is replayed. `every`: quotes from one order to the next. `fills`: the market is
    slow enough for fills to be compared too."""

    directory: Path
    providers: tuple[str, ...]
    events: int = 100_000
    rate: float = 400.0
    seed: int = 1
    captures: tuple[Path, ...] = ()
    speed: str = "4"
    every: int = 100
    fills: bool = False
    as_json: bool = False


@dataclass(slots=True)
class Verdict:
    """What came of it: `events` of the market (frames of a recording), the sizes of the killed run's drill, and a row for
    every stream. `good` where every compared stream is equal in all runs and there was something of each."""

    events: int = 0
    began_ns: int = 0
    seconds: float = 0.0
    killed_at: int = 0
    switches: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def good(self) -> bool:
        kinds = {row.key.split(" ")[0] for row in self.rows}
        return {"trade", "quote", "book"} <= kinds and all(row.equal for row in self.rows if row.compared)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        streams = [
            {
                "stream": row.key, "compared": row.compared, "equal": row.equal,
                "runs": {
                    name: {"count": seen.count, "imaged": seen.imaged, "digest": seen.digest}
                    for name, seen in zip((*RUNS, BACKTEST), row.runs, strict=True)
                },
            }
            for row in self.rows
        ]  # fmt: skip
        return {
            "good": self.good, "events": self.events, "killed_at": self.killed_at, "switches": self.switches,
            "seconds": round(self.seconds, 1), "streams": streams,
        }  # fmt: skip


def run(options: Options, console: Console) -> int:
    """Run all four and show the table; 0 only where everything compared is equal."""
    _clear(options.directory)
    verdict = asyncio.run(_runs(options, console))
    text = json.dumps(verdict.as_dict(), indent=1)
    (options.directory / "digests.json").write_text(text + "\n", "utf-8")
    if options.as_json:
        print(text)
    else:
        show(console, verdict)
    return 0 if verdict.good else 1


def show(console: Console, verdict: Verdict) -> None:
    """One row for each stream: how much of it, its hash in every run, and whether they are equal."""
    title = "what a strategy saw: lines and their hash, stream by stream"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stream", no_wrap=True)
    table.add_column("lines", justify="right", no_wrap=True)
    for name in (*RUNS, BACKTEST):
        table.add_column(name, no_wrap=True)
    table.add_column("equal", no_wrap=True)
    for row in verdict.rows:
        counts = dict.fromkeys(seen.count for seen in row.runs if seen.promised or not row.compared)
        cells = [f"{seen.digest[:8]}{f' +{seen.imaged}' if seen.imaged else ''}" for seen in row.runs]
        table.add_row(row.key, "/".join(f"{count:,}" for count in counts), *cells, *_word(row))
    # Hashes are to be compared by eye: never cut, however narrow the terminal is.
    Console(file=console.file, width=max(console.width, _WIDTH)).print(table)
    console.print(
        f"{verdict.events:,} market events in {verdict.seconds:.0f} s; PRIMARY killed after {verdict.killed_at:,}; "
        f"{verdict.switches} book switches in that run; +n: an image stood for n increments, and its book is theirs",
        highlight=False,
    )


def _word(row: Row) -> tuple[str]:
    if not row.compared:
        return ("[dim]not promised[/]",)
    if not row.equal:
        return ("[bold red]NO[/]",)
    apart = [name for name, seen in zip((*RUNS, BACKTEST), row.runs, strict=True) if not seen.promised]
    return (f"[green]yes[/]{f', {apart[0]} not promised' if apart else ''}",)


async def _runs(options: Options, console: Console) -> Verdict:
    verdict = Verdict()
    running: list[asyncio.Task[None]] = []
    market, endpoints = await _market(options, running)
    try:
        async with AsyncExitStack() as exits:
            stacks = {
                name: await exits.enter_async_context(Stack(options.directory / name, roll_s=10.0)) for name in RUNS
            }
            strategies = {name: _start(stack, name, options, endpoints) for name, stack in stacks.items()}
            console.print("waiting until every session is up and every strategy has its books", style="dim")
            # A recording has a book when its snapshot comes, a simulated venue has one at once.
            await _ready(stacks, strategies, 0 if options.captures else len(_instruments(options, endpoints)))
            console.print("the market moves", style="dim")
            verdict.began_ns, began = clock.time_ns(), clock.monotonic_s()
            await _moved(options, market, endpoints, stacks["killed"], verdict)
            verdict.seconds = clock.monotonic_s() - began
            await _drained(stacks, strategies)
            verdict.switches = _sum(strategies["killed"], "switches")
            # Before the pipelines: what their end looks like to a strategy is none of this.
            await asyncio.gather(*(strategy.stop() for strategy in strategies.values()))
            for stack in stacks.values():
                await stack.stop()
            console.print("coalescing the day and running the backtest", style="dim")
            await _backtest(stacks["both"], options, endpoints, verdict.began_ns)
    finally:
        await market.stop()
        await asyncio.gather(*running)
    logs = {name: options.directory / f"{name}.seen" for name in (*RUNS, BACKTEST)}
    always = () if options.fills else ("fill",)
    excepted = {name: (*always, *(STATES if name == "killed" else ())) for name in logs}
    verdict.rows = await asyncio.to_thread(rows, logs, BACKTEST, excepted)
    return verdict


async def _market(options: Options, tasks: list[asyncio.Task[None]]) -> tuple[Process, dict[str, Endpoint]]:
    if options.captures:
        module = [
            "simulator.replay", "--capture", ",".join(map(str, options.captures)), "--provider", options.providers[0],
            "--speed", options.speed, "--wait-connections", "0",
        ]  # fmt: skip
    else:
        module = [
            "simulator", "--providers", ",".join(options.providers), "--rate", f"{options.rate:g}", "--held", "true",
            "--events", str(options.events), "--seed", str(options.seed),
            "--ledger", str(options.directory / "ledger.jsonl"),
        ]  # fmt: skip
    market = Process("market", module, options.directory / "market.log", restart=False)
    tasks.append(asyncio.create_task(market.run()))
    try:
        listening = await market.wait_event("listening", 60)
    except TimeoutError:
        raise Terminal(f"the market did not start: {market.tail()}") from None
    return market, {
        name: Endpoint(urls["stream"], urls["rest"], tuple(urls.get("symbols", ())))
        for name, urls in listening["providers"].items()
    }


def _start(stack: Stack, name: str, options: Options, endpoints: dict[str, Endpoint]) -> Process:
    stack.start_batch_processors()
    for provider in options.providers:
        for instance in INSTANCES if name != "primary" else (PRIMARY,):
            stack.start_lane(provider, instance, endpoints[provider])
    module = [
        "strategies.run", "--strategy", "witness", "--redis", stack.redis, "--config", str(_settings(options, endpoints)),
        "--seen-log", str(options.directory / f"{name}.seen"), "--definitions-timeout-s", f"{READY_S:g}",
    ]  # fmt: skip
    return stack.start_observer("strategy", module, restart=False)


def _settings(options: Options, endpoints: dict[str, Endpoint]) -> Path:
    """The run's file: the same for the live runs and the backtest."""
    settings = {
        "instruments": _instruments(options, endpoints),
        "strategy": {"every": options.every},
        "risk": {"orders_per_s": 10_000, "max_notional": 1_000_000},
        "backtest": {"fills": "top", "order_latency_ms": 0, "maker_bps": 0, "taker_bps": 0},
    }
    path = options.directory / "run.yaml"
    path.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    return path


def _instruments(options: Options, endpoints: dict[str, Endpoint]) -> list[str]:
    return [
        f"{name.upper()}:{symbol}"
        for name in options.providers
        for symbol in endpoints[name].symbols or providers.info(name).symbols
    ]


async def _ready(stacks: dict[str, Stack], strategies: dict[str, Process], books: int) -> None:
    """Until every session is up and every strategy has `books` whole books (0 where the market has none yet)."""
    deadline = clock.monotonic_s() + READY_S
    since = 0.0
    while clock.monotonic_s() < deadline:
        waiting = [name for name, strategy in strategies.items() if not _has_all(stacks[name], strategy, books)]
        for strategy in strategies.values():
            if strategy.exits:
                raise Terminal(f"a strategy did not start: {strategy.tail()}")
        if waiting:
            since = 0.0
        elif not since:
            since = clock.monotonic_s()
        elif clock.monotonic_s() - since > QUIET_S:
            return
        await asyncio.sleep(0.1)
    raise Terminal(
        f"not ready within {READY_S:g} s: {', '.join(waiting)}; the logs are in {stacks['both'].directory}/logs"
    )


def _has_all(stack: Stack, strategy: Process, books: int) -> bool:
    up = all(lane.session_manager.metric("penstock_connections_up") > 0 for lane in stack.lanes)
    started = any(event.get("event") == "trading_started" for event in strategy.events)
    return up and started and bool(strategy.metrics) and _sum(strategy, "books") >= books


def _sum(strategy: Process, name: str) -> int:
    return sum(int(feed.get(name, 0)) for feed in strategy.metrics.values() if isinstance(feed, dict))


async def _moved(
    options: Options, market: Process, endpoints: dict[str, Endpoint], stack: Stack, verdict: Verdict
) -> None:
    """The market from its begin to its end, with PRIMARY of one pipeline killed at one third of it."""
    address = urlsplit(next(iter(endpoints.values())).rest)
    control = f"{address.scheme}://{address.netloc}/control"
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{control}/start") as response:
            response.raise_for_status()
        while True:
            async with client.get(f"{control}/state") as response:
                state = await response.json()
            verdict.events, total = int(state["events"]), int(state["of"])
            if not verdict.killed_at and verdict.events >= total / 3:
                verdict.killed_at = verdict.events
                _kill(stack)
            if verdict.events >= total:
                break
            if market.exits:
                raise Terminal(f"the market ended: {market.tail()}")
            await asyncio.sleep(0.1)
        if not options.captures:
            async with client.post(f"{control}/stop") as response:
                response.raise_for_status()


def _kill(stack: Stack) -> None:
    for lane in stack.lanes:
        if lane.instance == PRIMARY:
            lane.session_manager.kill()
            lane.normalizer.kill()


async def _drained(stacks: dict[str, Stack], strategies: dict[str, Process]) -> None:
    """Until nothing has reached any strategy for a while."""
    deadline = clock.monotonic_s() + DRAINED_S
    counts: list[int] = []
    since = clock.monotonic_s()
    while clock.monotonic_s() < deadline and clock.monotonic_s() - since < QUIET_S:
        now = [_sum(strategy, word) for strategy in strategies.values() for word in ("trades", "quotes", "deltas")]
        queued = any(
            lane.session_manager.metric("penstock_queue_bytes") > 65_536 for s in stacks.values() for lane in s.lanes
        )
        if now != counts or queued:
            counts, since = now, clock.monotonic_s()
        await asyncio.sleep(0.1)


async def _backtest(stack: Stack, options: Options, endpoints: dict[str, Endpoint], began_ns: int) -> None:
    days = sorted({_day_of(path) for path in (stack.directory / "intermediate").rglob("*.csv.gz")})
    for day in days:
        module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final, "--day", day]
        await stack.run_once(f"post_processor-{day}", module, timeout_s=1_800.0)
    # What the venues told before the market began, the strategies were not there to hear. A recording says nothing before,
    # and its days are its own.
    begin = days[0] if options.captures else dt.datetime.fromtimestamp(began_ns / 1e9, dt.UTC).isoformat()
    module = [
        "penstock", "backtest", "witness", "--config", str(_settings(options, endpoints)), "--from", begin,
        "--to", "2100-01-01", "--source", stack.final, "--seen-log", str(options.directory / f"{BACKTEST}.seen"), "--json",
    ]  # fmt: skip
    await stack.run_once(BACKTEST, module, timeout_s=1_800.0)


def _day_of(path: Path) -> str:
    parts = dict(part.split("=", 1) for part in path.parts if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}"


def _clear(directory: Path) -> None:
    """An empty folder. Raises ConfigError rather than deleting what no run has left there."""
    try:
        if directory.exists() and any(directory.iterdir()):
            if not all((directory / name / FOLDERS[0]).is_dir() for name in RUNS):
                raise ConfigError(
                    f"--directory is {str(directory)!r}, expected a new or empty folder or an earlier run's"
                )
            shutil.rmtree(directory)
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--directory is {str(directory)!r}: {error.strerror}") from None
