"""Every fault switch of the simulated venues, on one lane and on both, while the whole pipeline runs.

One run for all of them: the three venues go through their faults side by side, each fault when the one before is over.
"""

from __future__ import annotations

import ast
import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from checker import dataset, recording, strategy, verdict
from checker.ledger import read
from checker.stream import StreamCheck
from checker.verdict import Verdict
from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.stack import Endpoint, Lane, Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

TRADES = {"binance_spot": "*@trade", "coinbase_advanced": "market_trades.*", "deribit": "trades.*"}
BOOKS = {"binance_spot": "*@depth*", "coinbase_advanced": "level2.*", "deribit": "book.*"}
SYMBOLS = {
    "binance_spot": ("BTCUSDT", "ETHUSDT"),
    "coinbase_advanced": ("BTC-USD", "ETH-USD"),
    "deribit": ("BTC-PERPETUAL", "ETH-PERPETUAL"),
}
PRIMARY, REPLICA = INSTANCES
CUT_OFF = {"close", "reset", "stall"}
"""Faults that cost a connection its life."""

RATE = 150
SETTLED_S = 5.0
GARBAGE = 4
"""As many as there are kinds of garbage."""


@dataclass(slots=True)
class Venue:
    """One venue's control, and which of its connections is whose."""

    name: str
    control: str
    client: aiohttp.ClientSession
    lanes: dict[str, Lane] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)

    async def connections(self) -> set[int]:
        async with self.client.get(f"{self.control}/state") as answer:
            state = await answer.json()
        return {int(number) for number in state["providers"][self.name]["connections"]}

    async def inject(self, kind: str, connection: int | str = "all", **more: Any) -> int:
        """Inject a fault; how many connections it concerns."""
        fault = {"provider": self.name, "kind": kind, "connection": connection, **more}
        async with self.client.post(f"{self.control}/fault", json=fault) as answer:
            body = await answer.json()
            assert answer.status == 200, (fault, body)
        return int(body["connections"])

    async def on(self, instance: str, kind: str, **more: Any) -> None:
        """Inject a fault on one lane's connection, and wait until that lane has one again."""
        print(f"{self.name} {instance}: {kind} {more}", flush=True)
        before = self.numbers[instance]
        assert await self.inject(kind, before, **more) == 1
        if kind in CUT_OFF:
            del self.numbers[instance]
            await self.joined(instance, before)

    async def on_both(self, kind: str, **more: Any) -> None:
        """Inject a fault on every connection, and wait until both lanes have one again."""
        print(f"{self.name} both: {kind} {more}", flush=True)
        before = set(self.numbers.values())
        assert await self.inject(kind, "all", **more) == 2
        if kind in CUT_OFF:
            self.numbers.clear()  # who of the two came back first is not known from here
            await self._until(lambda now: len(now) == 2 and not now & before, f"both lanes after {kind}")

    async def joined(self, instance: str, old: int = 0) -> None:
        """Wait until a lane without a connection has one, which is not its `old` one: the venue's only new one."""
        known = {*self.numbers.values(), old}
        manager = self.lanes[instance].session_manager
        now = await self._until(
            lambda now: len(now - known) == 1 and manager.metric("penstock_connections_up") == 1,
            f"{instance} has a new connection",
        )
        (self.numbers[instance],) = now - known
        self.owners[self.numbers[instance]] = instance

    async def _until(self, condition: Any, what: str) -> set[int]:
        deadline = clock.monotonic_s() + 60
        while clock.monotonic_s() < deadline:
            if condition(now := await self.connections()):
                await asyncio.sleep(2)  # its snapshots are asked for and answered
                return now
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.name}: {what}: not within 60 s")


async def _faults(venue: Venue) -> None:
    """Every switch. What only one lane suffers, the other one has; nothing else may be missing."""
    trades, books = TRADES[venue.name], BOOKS[venue.name]
    await venue.on(PRIMARY, "garbage", count=GARBAGE, channel=trades)
    await venue.on(REPLICA, "garbage", count=GARBAGE, channel=books)
    await asyncio.sleep(1.5)
    for kind in ("drop", "duplicate", "reorder"):
        # A lane's books may be in doubt until it has new snapshots; only then is it the other one's turn.
        await venue.on(PRIMARY, kind, channel=trades, count=3)
        await asyncio.sleep(SETTLED_S)
        await venue.on(REPLICA, kind, channel=books, count=3)
        await asyncio.sleep(SETTLED_S)
    await venue.on(PRIMARY, "close")
    await venue.on(REPLICA, "stall", seconds=9)
    await venue.inject("lose_snapshot", channel=books, count=2)
    await venue.on(PRIMARY, "close")
    await asyncio.sleep(6)
    await venue.inject("ack_without_data", channel=trades, count=1)
    await venue.inject("ack_without_data", channel=books, count=1)
    await venue.on(REPLICA, "close")
    await asyncio.sleep(6)
    await venue.on(REPLICA, "close")
    await venue.inject("refuse_connect", seconds=3)
    await venue.on(PRIMARY, "close")
    await venue.on_both("garbage", count=GARBAGE, channel=trades)
    await venue.on_both("drop", channel=trades, count=2)
    await asyncio.sleep(3)
    await venue.on_both("close")
    await venue.inject("refuse_connect", seconds=2, retry_after_s=2)
    await venue.on_both("reset")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run left behind."""

    ledger: list[dict[str, Any]]
    verdicts: dict[str, Verdict]
    processes: list[Process]
    lanes: list[Lane]
    owners: dict[tuple[str, int], tuple[str, str]]
    """(provider segment, connection number) to (provider, instance)."""


async def _run(directory: Path) -> Run:
    async with Stack(directory, roll_s=5.0) as stack, _market(stack, directory) as venues:
        stack.start_batch_processors()
        recorder = stack.start_observer(
            "recorder", ["checker", "record", "--redis", stack.redis, "--out", str(directory / "stream.bin")]
        )
        # PRIMARY first: so its connection is known from REPLICA's.
        for instance in INSTANCES:
            for venue, endpoint in venues:
                venue.lanes[instance] = stack.start_lane(venue.name, instance, endpoint)
            await asyncio.gather(*(venue.joined(instance) for venue, _ in venues))
        instruments = ",".join(f"{name.upper()}:{symbol}" for name, symbols in SYMBOLS.items() for symbol in symbols)
        trader = stack.start_observer(
            "strategy",
            [
                "strategies.run", "--redis", stack.redis, "--instruments", instruments,
                "--trades-log", str(directory / "trades.jsonl"),
            ],
        )  # fmt: skip
        await _receiving(trader)
        await asyncio.gather(*(_faults(venue) for venue, _ in venues))
        await asyncio.sleep(2)
        async with venues[0][0].client.post(f"{venues[0][0].control}/stop") as stopped:
            stopped.raise_for_status()
        await asyncio.sleep(3)
        running = [recorder, trader, *stack.batch_processors.values()]
        running += [process for lane in stack.lanes for process in (lane.session_manager, lane.normalizer)]
        await stack.stop()
        for day in sorted({_day(path) for path in (directory / "intermediate").rglob("*.csv.gz")}):
            module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final, "--day", day]
            await stack.run_once(f"post_processor-{day}", module)
    path = directory / "ledger.jsonl"
    ledger = [json.loads(line) for line in path.read_text().splitlines()]
    owners = {(v.name.upper(), number): (v.name, lane) for v, _ in venues for number, lane in v.owners.items()}
    return Run(ledger, _check(directory, path), running, stack.lanes, owners)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The one run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "EXAMPLES", 1 << 30)
        yield asyncio.run(_run(tmp_path_factory.mktemp("faults")))


def test_no_process_ended_before_it_was_told_to(run: Run):
    """No input of a venue ends or restarts a process; all of them stop with exit code 0."""
    assert {process.name: (process.starts, process.exits) for process in run.processes} == {
        process.name: (1, [0]) for process in run.processes
    }


def test_every_switch_was_used(run: Run):
    """The ledger has each kind of fault for each venue; a fault that was armed and never hit proves nothing."""
    hit = defaultdict(set)
    for line in run.ledger:
        if "fault" in line:
            hit[line["provider"].lower()].add(line["fault"])
    kinds = {
        "drop", "duplicate", "reorder", "stall", "close", "garbage", "ack_without_data", "refuse_connect",
        "lose_snapshot", "reset",
    }  # fmt: skip
    assert {name: kinds - hit[name] for name in TRADES} == {name: set() for name in TRADES}


@pytest.mark.parametrize("part", ["dataset", "strategy", "stream both lanes"])
def test_what_one_lane_had_is_not_lost(run: Run, part: str):
    """Only trades that were dropped on both lanes at once are missing, or late where the venue showed them once more.

    On the hot path books are in doubt while both lanes wait for a snapshot after a fault of both."""
    found = run.verdicts[part]
    assert found.checked["TRADES"] > 500
    dropped = {_name(entry) for entry in _dropped_everywhere(run.ledger)}
    assert {provider for (provider, _), _ in dropped} == {name.upper() for name in TRADES}
    lost = found.examples["lost"]
    trades = [text for text in lost if " trade " in text]
    assert {_named(text) for text in [*trades, *found.examples["reordered"]]} <= dropped
    if part != "stream both lanes":
        assert {_named(text) for text in [*trades, *found.examples["reordered"]]} == dropped
        assert lost == trades
    for text in set(lost) - set(trades):
        assert int(text.rpartition(" ")[2]) > _first_of_both(run, ast.literal_eval(text.partition(" book ")[0])[0]), (
            text
        )


@pytest.mark.parametrize("part", ["dataset", "strategy", "stream PRIMARY", "stream REPLICA", "stream both lanes"])
def test_nothing_wrong_is_published(run: Run, part: str):
    """No fault makes a trade or book update twice, different or out of order, or a gap that is hidden or made up."""
    found = run.verdicts[part]
    wrong = {"duplicated", "altered", "undeclared_gap", "false_gap", "unreadable"}
    wrong |= {"reordered"} if "stream" in part else set()
    assert {kind: texts for kind, texts in found.examples.items() if kind in wrong and texts} == {}
    assert found.checked


def test_every_frame_is_accounted_for(run: Run):
    """In each lane, frames read = data + control + quarantined, and the frames quarantined are the garbage that was sent."""
    garbage = defaultdict(int)
    for line in run.ledger:
        if line.get("fault") == "garbage":
            garbage[run.owners[line["provider"], line["connection"]]] += 1
    for lane in run.lanes:
        metric = lane.normalizer.metric
        kinds = {kind: metric("penstock_frames_total", kind=kind) for kind in ("data", "control", "quarantined")}
        assert sum(kinds.values()) == lane.session_manager.metric("penstock_frames_total"), (lane.provider, kinds)
        assert kinds["quarantined"] == garbage[lane.provider, lane.instance] >= GARBAGE, (lane.provider, kinds)
        reasons = {name: count for name, count in lane.normalizer.metrics.items() if "_quarantined_total" in name}
        assert sum(reasons.values()) == kinds["quarantined"], reasons
        assert not any("bug" in name for name in reasons), reasons


def _name(entry: dict[str, Any]) -> tuple[tuple[str, str], int]:
    return (entry["provider"], entry["symbol"]), entry["sequence"]


def _named(text: str) -> tuple[tuple[str, str], int]:
    """The trade that a finding names."""
    key, _, rest = text.partition(" trade ")
    return ast.literal_eval(key), int(rest.split(",")[0])


def _first_of_both(run: Run, provider: str) -> int:
    """The ledger line of the first fault that took something from both lanes of a provider."""
    hit: dict[int, set[int]] = defaultdict(set)
    for line in run.ledger:
        if line.get("provider") == provider and line.get("fault") == "drop":
            hit[line["n_entry"]].add(line["connection"])
    return min(entry for entry, connections in hit.items() if len(connections) > 1)


def _dropped_everywhere(ledger: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The trades of frames that were dropped on every connection they were meant for."""
    drops = defaultdict(set)
    for line in ledger:
        if line.get("fault") == "drop":
            drops[line["n_entry"]].add(line["connection"])
    entries = {line["n"]: line for line in ledger if "n" in line}
    for last, connections in drops.items():
        frame = entries[last]
        if frame["schema"] != "TRADES" or len(connections) < frame["receivers"]:
            continue
        # A frame may hold several trades: their lines stand together.
        number, entry = last, frame
        while entry and (entry.get("channel"), entry.get("schema")) == (frame["channel"], frame["schema"]):
            yield entry
            number -= 1
            entry = entries.get(number)


@asynccontextmanager
async def _market(stack: Stack, directory: Path) -> AsyncIterator[list[tuple[Venue, Endpoint]]]:
    ledger = str(directory / "ledger.jsonl")
    market = stack.start_market(
        ["simulator", "--providers", ",".join(TRADES), "--rate", str(RATE), "--ledger", ledger, "--seed", "11"]
    )
    urls = (await market.wait_event("listening", 20))["providers"]
    async with aiohttp.ClientSession() as client:
        yield [
            (
                Venue(name, urls[name]["rest"].removesuffix(f"/{name}") + "/control", client),
                Endpoint(urls[name]["stream"], urls[name]["rest"], tuple(urls[name]["symbols"])),
            )
            for name in TRADES
        ]


async def _receiving(strategy: Process) -> None:
    deadline = clock.monotonic_s() + 60
    while clock.monotonic_s() < deadline:
        feeds = [feed for feed in strategy.metrics.values() if isinstance(feed, dict)]
        if sum(bool(feed.get("trades")) for feed in feeds) == len(TRADES):
            return
        assert not strategy.exits, strategy.tail()
        await asyncio.sleep(0.1)
    raise AssertionError(f"the strategy does not receive from every provider: {strategy.metrics}")


def _check(directory: Path, ledger_file: Path) -> dict[str, Verdict]:
    """Every verdict, with every finding instead of the first few."""
    ledger = read(ledger_file)
    stream = StreamCheck(ledger)
    stream.add(recording.read(directory / "stream.bin"))
    lanes = list(stream.verdicts.values())
    rest = [stream.together(), dataset.check(ledger, directory / "final")]
    return {v.part: v for v in [*lanes, *rest, strategy.check(ledger, directory / "trades.jsonl")]}


def _day(path: Path) -> str:
    parts = dict(part.split("=", 1) for part in path.parts if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}"
