"""The failover drill: one part of the PRIMARY lane after another dies or freezes, under load, many times.

The Redis is a cluster of three primaries and three replicas; each lane publishes and reads on nodes of its own share. The
subscriber is `penstock.client.witness`. `checker failover` judges what happened, against the market's ledger.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.cluster import Cluster
from penstock.cli.process import Process
from penstock.cli.stack import Endpoint, Lane, Stack
from penstock.errors import Terminal

PROVIDER: Final = "deribit"
SECRETS: Final = {"DERIBIT_CLIENT_ID": "drill", "DERIBIT_CLIENT_SECRET": "drill"}
"""The simulated venue takes any; without them it has no unconflated books."""
KINDS: Final = (
    "session_manager kill", "redis kill", "normalizer kill", "session_manager stop", "redis stop", "normalizer stop",
)  # fmt: skip
BOTH: Final = "both lanes stop"
READY_S: Final = 120.0
SWITCH_S: Final = 5.0
WHOLE_S: Final = 60.0
PAUSE_S: Final = 0.3
PUBLISHING_S: Final = 3.0
FROZEN_S: Final = 1.5
"""How much longer than until they are known to be stale both lanes stay frozen."""
DRAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds` of each kind of fault, `both` of both lanes at once; `rate` in market events per second."""

    directory: Path
    rounds: int = 2
    both: int = 1
    rate: float = 1_000.0
    seed: int = 1
    kinds: tuple[str, ...] = KINDS
    hysteresis_s: float = 1.0
    nautilus: bool = False


@dataclass(slots=True)
class Seen:
    """What the witness said since the last fault: books by the lane they are on, streams that are stale."""

    lanes: dict[str, str] = field(default_factory=dict)
    stale: set[tuple[str, str]] = field(default_factory=set)
    switched: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, process: Process, event: dict[str, Any]) -> None:
        if process.name != "witness":
            return
        name, stream = event.get("event"), (str(event.get("instrument")), str(event.get("schema")))
        if name == "lane_switched" and stream[1] == "MBO":
            self.lanes[stream[0]] = str(event["lane"])
            self.switched.add(stream[0])
        elif name == "feed_stale":
            self.stale.add(stream)
        elif name == "feed_live":
            self.stale.discard(stream)
        self.changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        return condition()


@asynccontextmanager
async def _alone(_: Failover) -> AsyncIterator[None]:
    yield


class Failover:
    """One run of the drill."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options = options
        self.say = say
        self.seen = Seen()
        self.books: tuple[str, ...] = ()
        self.promotions = 0
        """How often a replica took over from a killed primary."""
        self._witness: Process
        self.cluster = Cluster(options.directory / "redis")
        self._faults = options.directory / "faults.jsonl"

    async def run(self, beside: Callable[[Failover], AbstractAsyncContextManager[None]] = _alone) -> None:
        """Everything, until the market is closed and all of it is written down; `beside` is entered once the pipeline is
        whole and left at the end. Raises Terminal where a part stays down."""
        self._faults.write_text("")
        await self.cluster.start()
        try:
            async with Stack(self.options.directory, redis=",".join(self.cluster.urls)) as stack:
                stack.on_event = self.seen.heard
                endpoint = await self._start(stack)
                await self._whole("at the start", READY_S)
                async with beside(self):
                    for number in range(self.options.rounds):
                        await self._round(stack, number)
                    await _close(endpoint)
                    await asyncio.sleep(DRAIN_S)
                await stack.stop()
        finally:
            await self.cluster.stop()

    async def _round(self, stack: Stack, number: int) -> None:
        for kind in self.options.kinds:
            await self._fault(stack, number, kind)
        due, before = (n * self.options.both // self.options.rounds for n in (number + 1, number))
        if due > before:
            await self._both(stack, number)

    async def _start(self, stack: Stack) -> Endpoint:
        options = self.options
        market = stack.start_market(
            [
                "simulator", "--providers", PROVIDER, "--port", "0", "--rate", f"{options.rate:g}",
                "--seed", str(options.seed), "--ledger", str(options.directory / "ledger.jsonl"),
            ]
        )  # fmt: skip
        try:
            urls = (await market.wait_event("listening", 20))["providers"][PROVIDER]
        except TimeoutError:
            raise Terminal(f"the market did not start: {market.tail()}") from None
        endpoint = Endpoint(urls["stream"], urls["rest"], tuple(urls["symbols"]))
        self.books = tuple(f"{symbol}.{PROVIDER.upper()}" for symbol in endpoint.symbols)
        stack.start_batch_processors()
        for instance in INSTANCES:
            stack.start_lane(PROVIDER, instance, endpoint, SECRETS)
        await self._publishing(stack)
        self._witness = stack.start_observer(
            "witness",
            [
                "penstock.client.witness", "--redis", stack.redis, "--provider", PROVIDER,
                "--symbols", ",".join(endpoint.symbols), "--log", str(options.directory / "witness.jsonl"),
                "--hysteresis-s", f"{options.hysteresis_s:g}",
            ],
        )  # fmt: skip
        if options.nautilus:
            wanted = ",".join(f"{PROVIDER.upper()}:{symbol}" for symbol in endpoint.symbols)
            stack.start_observer(
                "strategy",
                [
                    "strategies.run", "--strategy", "imbalance", "--redis", stack.redis, "--instruments", wanted,
                    "--trades-log", str(options.directory / "trades.jsonl"),
                ],
            )  # fmt: skip
        return endpoint

    async def _publishing(self, stack: Stack) -> None:
        """Until both lanes publish: who joins a moment before one of them is told its old trades after newer ones."""
        deadline = clock.monotonic_s() + READY_S
        while not all(lane.normalizer.metric("penstock_records_total", schema="TRADES") for lane in stack.lanes):
            if clock.monotonic_s() > deadline:
                raise Terminal(
                    f"the lanes do not publish within {READY_S:g} s; their logs are in {stack.directory}/logs"
                )
            await asyncio.sleep(0.1)
        await asyncio.sleep(PUBLISHING_S)

    async def _whole(self, when: str, timeout_s: float = WHOLE_S) -> None:
        """Until every book is on PRIMARY, nothing is stale and both lanes are sound: then the next fault hits a whole
        pipeline."""
        deadline = clock.monotonic_s() + timeout_s
        while not (self._witness.metrics.get("whole") and not self.seen.stale and self._on_primary()):
            if clock.monotonic_s() > deadline:
                raise Terminal(f"{when}: the lanes are not whole within {timeout_s:g} s; books on {self.seen.lanes}")
            await asyncio.sleep(0.05)
        await asyncio.sleep(PAUSE_S)

    def _on_primary(self) -> bool:
        return all(self.seen.lanes.get(book) == "PRIMARY" for book in self.books)

    async def _fault(self, stack: Stack, number: int, kind: str) -> None:
        part, how = kind.split(" ")
        lane = _lane(stack, "PRIMARY")
        self.seen.switched.clear()
        if part == "redis":
            await self._redis(number, kind, how)
        else:
            victim: Process = getattr(lane, part)
            self._note(number, kind, victim.name)
            victim.kill(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
            # What it said before says nothing of the time after.
            self._witness.metrics = {}
            switched = await self._switched()
            if how == "stop":
                victim.kill(signal.SIGCONT)
            self._said(number, kind, switched)
        await self._whole(f"round {number + 1}, {kind}")

    async def _redis(self, number: int, kind: str, how: str) -> None:
        """The node on which PRIMARY's subscription is."""
        member = self.cluster.member(str(self._witness.metrics["nodes"][0]))
        if how == "kill":
            # It is to be a failover: somebody has to take over from it.
            await self.cluster.promote(member)
        self._note(number, kind, member.url)
        if how == "kill":
            assert member.process is not None
            member.process.kill()
        else:
            self.cluster.freeze(member)
        self._witness.metrics = {}
        switched = await self._switched()
        if how == "kill":
            await self.cluster.kill(member)
            await self.cluster.promoted(member)
            self.promotions += 1
            await self.cluster.launch(member)
        else:
            self.cluster.thaw(member)
        self._said(number, kind, switched)
        await self.cluster.settled()

    async def _both(self, stack: Stack, number: int) -> None:
        """Both session managers freeze; every other time they are killed after that, else they wake up."""
        managers = [_lane(stack, instance).session_manager for instance in INSTANCES]
        self._note(number, BOTH, "both session managers")
        for manager in managers:
            manager.kill(signal.SIGSTOP)
        self._witness.metrics = {}
        streams = len(self.books) * 3
        stale = await self.seen.until(lambda: len(self.seen.stale) >= streams, SWITCH_S)
        self._said(number, BOTH, stale)
        await asyncio.sleep(FROZEN_S)
        for manager in managers:
            manager.kill(signal.SIGKILL if number % 2 else signal.SIGCONT)
        await self._whole(f"round {number + 1}, {BOTH}")

    async def _switched(self) -> bool:
        return await self.seen.until(lambda: self.seen.switched >= set(self.books), SWITCH_S)

    def _note(self, number: int, kind: str, victim: str) -> None:
        line = {"fault": kind, "round": number + 1, "victim": victim}
        with self._faults.open("a") as file:
            # The time is taken last, as near to the fault as can be.
            file.write(json.dumps(line | {"ts": clock.time_ns(), "at": clock.monotonic_ns()}) + "\n")

    def _said(self, number: int, kind: str, done: bool) -> None:
        self.say(f"round {number + 1} of {self.options.rounds}: {kind}: {'seen' if done else 'NOT SEEN'}")


def run(options: Options, console: Console, *, as_json: bool = False) -> int:
    """Run the drill and print what the checker says; 0 only where it finds nothing wrong."""
    options.directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(Failover(options, lambda text: console.print(text, highlight=False)).run())
    report = asyncio.run(judge(options.directory))
    if as_json:
        print(json.dumps(report, indent=1))  # for a program to read
    else:
        show(console, report)
    return 0 if report.get("good") else 1


async def judge(directory: Path) -> dict[str, Any]:
    """What the checker says of a run's files."""
    checker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "checker", "failover", str(directory), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await checker.communicate()
    if not output.strip():
        raise Terminal(f"the checker said nothing about {directory}")
    report: dict[str, Any] = json.loads(output)
    return report


def show(console: Console, report: dict[str, Any]) -> None:
    """The report as tables."""
    table = Table(
        title="ms from the fault to the last book's change of lane",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in ("fault", "n", "p50", "p99", "max", "lost", "doubled", "books", "wrong", "flagged"):
        table.add_column(column, justify="left" if column == "fault" else "right", no_wrap=True)
    for kind, row in report["faults"].items():
        table.add_row(
            kind, *(str(row[name]) for name in ("times", "p50_ms", "p99_ms", "max_ms", "lost", "duplicated")),
            *(str(row[name]) for name in ("books", "books_wrong", "books_doubtful")),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{report['messages_per_s']} messages/s over both lanes ({report['events_per_s']} market events/s), "
        f"{report['trades']} trades, {report['old_quotes']} old quotes told as fresh", highlight=False,
    )  # fmt: skip
    for line in report["wrong"]:
        console.print(f"  {line}", highlight=False)


def _lane(stack: Stack, instance: str) -> Lane:
    return next(lane for lane in stack.lanes if lane.instance == instance)


async def _close(endpoint: Endpoint) -> None:
    """Tell the market to publish nothing more: its ledger is then final, while its heartbeats go on."""
    address = urlsplit(endpoint.rest)
    async with aiohttp.ClientSession() as client, client.post(f"http://{address.netloc}/control/stop") as response:
        response.raise_for_status()
