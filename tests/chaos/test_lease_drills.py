"""Drills on the lease with real processes: kill, freeze, two contenders, a lease store that is silent, a rolling deploy.

After each, the consumers are asked: at no time did a lane publish or store under more than one epoch, so never more than
two sessions of the provider were accepted; and the independent checker finds nothing lost in the coalesced day.

Each "host" is a state directory of its own, so that only the lease table stands between session managers. A short TTL makes
the drills short. The lanes have a table each, because one table's silence would stop both, which is a drill nobody needs.
`LEASE_ROUNDS=10 pytest -m chaos tests/chaos/test_lease_drills.py -s` repeats each drill and prints its figures.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from checker.recording import read
from penstock import clock
from penstock.cli.process import Process
from penstock.cli.rollout import roll
from penstock.cli.stack import Endpoint, Lane, Stack
from tests.chaos.test_kill_each_process import _check, _day
from tests.integration.moto_harness import TABLE, Moto, moto

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("LEASE_ROUNDS", "1"))
TTL_S = 24.0
PROVIDER, SYMBOL = "deribit", "BTC-PERPETUAL"
EPOCH = re.compile(rb"heartbeat epoch=(\d+)")


class Drills:
    """The pipeline of one provider with a lease per lane, and a contender for PRIMARY on another host."""

    def __init__(self, stack: Stack, stores: dict[str, Moto], venue: dict) -> None:
        self.stack = stack
        self.stores = stores
        self.figures: dict[str, list[float]] = defaultdict(list)
        self._venue = venue
        self._contenders = 0
        for instance in ("PRIMARY", "REPLICA"):
            options = ("--state-dir", str(stack.directory / "hosts" / instance), *self._lease)
            endpoint = Endpoint(venue["stream"], venue["rest"])
            stack.start_lane(PROVIDER, instance, endpoint, stores[instance].environ, options)

    @property
    def _lease(self) -> tuple[str, ...]:
        return ("--lease", f"dynamodb://{TABLE}", "--lease-ttl-s", f"{TTL_S:g}")

    @property
    def primary(self) -> Lane:
        return self.stack.lanes[0]

    def contend(self) -> Process:
        """Another PRIMARY, on a host of its own."""
        self._contenders += 1
        host = self.stack.directory / "hosts" / f"contender-{self._contenders}"
        arguments = [*self.primary.session_manager.argv[2:], "--state-dir", str(host)]
        return self.stack.start(f"contender-{self._contenders}", arguments, restart=False,
                                environ=self.stores["PRIMARY"].environ)  # fmt: skip

    async def held(self, process: Process, seconds: float = 240.0) -> None:
        """Until this session manager is connected and its frames arrive."""
        await _until(lambda: process.metric("penstock_connections_up") > 0, f"{process.name} up", seconds)
        before = process.metric("penstock_delivered_total")
        await _until(lambda: process.metric("penstock_delivered_total") > before + 10, f"{process.name} heard", seconds)

    async def kill(self) -> None:
        """The owner dies and starts again on its host while another host contends: it is back without waiting."""
        owner = self.primary.session_manager
        third = self.contend()
        await third.wait_event("lease_awaited", 240)
        owner.metrics, began = {}, clock.monotonic_s()
        owner.kill()
        await _until(
            lambda: bool(third.exits or third.metric("penstock_connections_up")), "one of the two to own the lane"
        )
        if not third.exits:  # the machine is so slow that a new process takes longer than the lease
            await third.stop()
        await self.held(owner)
        self.figures["killed owner back on its host, s"].append(clock.monotonic_s() - began)
        assert third.exits == [2] or third.metric("penstock_connections_up"), third.tail()

    async def freeze(self) -> None:
        """The owner stands still for longer than its lease: the contender takes over; awake, the old one steps down."""
        owner = self.primary.session_manager
        contender = self.contend()
        await contender.wait_event("lease_awaited", 240)
        owner.kill(signal.SIGSTOP)
        began, exits = clock.monotonic_s(), len(owner.exits)
        # It saw a renewal before the freeze, and may have given up for that.
        while contender.exits or contender.pid is None or not contender.metric("penstock_connections_up"):
            if contender.exits:
                contender = self.contend()
                await contender.wait_event("lease_awaited", 240)
            await asyncio.sleep(0.1)
            assert clock.monotonic_s() - began < 90, contender.tail()
        self.figures["frozen owner replaced, s"].append(clock.monotonic_s() - began)
        await self.held(contender)
        woken = clock.monotonic_s()
        owner.kill(signal.SIGCONT)
        await _until(lambda: len(owner.exits) > exits, "the old owner to step down")
        self.figures["woken owner stepped down, s"].append(clock.monotonic_s() - woken)
        assert owner.exits[exits] == 2, owner.tail()
        # Started again it is the third, and is refused as long as the other lives.
        await _until(lambda: len(owner.exits) > exits + 1, "a second refusal")
        assert "held by another" in owner.tail(20)
        owner.metrics = {}
        await contender.stop()
        await self.held(owner)

    async def contenders(self) -> None:
        """Two hosts want the lease that is released: one gets it, the other says why it ends."""
        owner = self.primary.session_manager
        owner.restart, exits = False, len(owner.exits)
        owner.kill(signal.SIGTERM)
        await _until(lambda: len(owner.exits) > exits, "the owner to end")
        pair = [self.contend(), self.contend()]
        await _until(lambda: any(one.exits for one in pair), "one to be refused")
        (loser,), (winner,) = [one for one in pair if one.exits], [one for one in pair if not one.exits]
        assert loser.exits == [2], loser.tail()
        await self.held(winner)
        await winner.stop()
        restarted = self.stack.start(owner.name, owner.argv[2:], environ=self.stores["PRIMARY"].environ)
        self.primary.session_manager = restarted
        await self.held(restarted)

    async def silence(self, seconds: float) -> None:
        """The lease store answers nothing for a while: shorter than the lease nothing happens, longer the owner ends."""
        owner, store = self.primary.session_manager, self.stores["PRIMARY"]
        exits, began = len(owner.exits), clock.monotonic_s()
        store.send_signal(signal.SIGSTOP)
        try:
            if seconds > TTL_S:
                await _until(lambda: len(owner.exits) > exits, "the owner to step down", seconds)
                self.figures["owner without a store stopped, s"].append(clock.monotonic_s() - began)
                assert "was not renewed within" in owner.tail(20)
            else:
                await asyncio.sleep(seconds)
        finally:
            store.send_signal(signal.SIGCONT)
        if seconds < TTL_S:
            await asyncio.sleep(TTL_S)
            assert len(owner.exits) == exits, owner.tail()
        else:
            owner.metrics = {}
        await self.held(owner)

    async def deploy(self) -> None:
        """Every process of both lanes is replaced as `penstock deploy` does it: REPLICA first, then PRIMARY."""
        began = clock.monotonic_s()
        await asyncio.to_thread(
            roll,
            Local(self.stack),
            [PROVIDER],
            lambda text: print(text, flush=True),
            wait_s=240,
            settle_s=3,
            poll_s=0.2,
        )
        self.figures["both lanes deployed, s"].append(clock.monotonic_s() - began)


class Local:
    """The processes of a stack as the target of a rolling deploy: a replaced process is one that starts again."""

    def __init__(self, stack: Stack) -> None:
        self._lanes = {(lane.provider, lane.instance): lane for lane in stack.lanes}

    def replace(self, provider: str, instance: str) -> None:
        lane = self._lanes[provider, instance]
        for process in (lane.session_manager, lane.normalizer):
            process.metrics = {}
            process.kill(signal.SIGTERM)
            process.metrics = {}

    def unhealthy(self, provider: str, instance: str) -> str:
        lane = self._lanes[provider, instance]
        if not lane.session_manager.metric("penstock_connections_up"):
            return "no connection"
        # A counter of a new process: something was published.
        return "" if lane.normalizer.metric("penstock_records_total", schema="TRADES") else "no trades yet"


async def test_never_three_accepted_sessions_and_nothing_lost(tmp_path: Path):
    with ExitStack() as exits:
        stores = {instance: exits.enter_context(moto()) for instance in ("PRIMARY", "REPLICA")}
        async with Stack(tmp_path, roll_s=5.0) as stack:
            market = stack.start_market(
                ["simulator", "--providers", PROVIDER, "--port", "0", "--rate", "60", "--ledger",
                 str(tmp_path / "ledger.jsonl")]
            )  # fmt: skip
            venue = (await market.wait_event("listening", 240))["providers"][PROVIDER]
            stack.start_batch_processors()
            drills = Drills(stack, stores, venue)
            stack.start_observer(
                "recorder", ["checker", "record", "--redis", stack.redis, "--out", str(tmp_path / "stream.bin")]
            )
            strategy = stack.start_observer("strategy", [
                "strategies.run", "--strategy", "imbalance", "--redis", stack.redis, "--instruments",
                f"{PROVIDER.upper()}:{SYMBOL}", "--trades-log", str(tmp_path / "trades.jsonl"),
            ])  # fmt: skip
            for lane in stack.lanes:
                await _until(lambda lane=lane: lane.normalizer.metric("penstock_records_total") > 0, "records")
                await drills.held(lane.session_manager)
            for number in range(ROUNDS):
                for drill in (drills.kill, drills.freeze, drills.contenders, drills.deploy):
                    await drill()
                for seconds in (TTL_S * 0.6, TTL_S * 3):
                    await drills.silence(seconds)
                print(f"round {number + 1}: { ({what: round(times[-1], 2) for what, times in drills.figures.items()}) }",
                      flush=True)  # fmt: skip
            await _close(venue)
            await asyncio.sleep(3)
            assert strategy.pid is not None
            await stack.stop()
            for day in sorted({_day(path) for path in (tmp_path / "intermediate").rglob("*.csv.gz")}):
                module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final]
                await stack.run_once(f"post_processor-{day}", [*module, "--day", day])
    _print(drills.figures)
    for instance, epochs in accepted(tmp_path / "stream.bin").items():
        print(f"{instance}: {len(set(epochs))} epochs accepted, one after the other")
        assert epochs == sorted(epochs), f"{instance}: an older session was accepted after a newer one"
        assert len(set(epochs)) >= 4 * ROUNDS if instance == "PRIMARY" else len(set(epochs)) >= ROUNDS
    _check_stored(tmp_path / "intermediate")
    for verdict in (await _check(tmp_path))["verdicts"]:
        print(verdict["part"], verdict["checked"], verdict["notes"])
        assert verdict["good"], verdict


def accepted(stream: Path) -> dict[str, list[int]]:
    """The epochs whose heartbeats were published, by lane, in the order of their publication, runs of one made one."""
    epochs: dict[str, list[int]] = defaultdict(list)
    for item in read(stream):
        if (found := EPOCH.search(item.data)) is not None:
            lane = epochs[item.channel.split(".")[1]]
            if not lane or lane[-1] != int(found[1]):
                lane.append(int(found[1]))
    return dict(epochs)


def _check_stored(folder: Path) -> None:
    """No row of an older epoch was received after the first row of a newer one, in either lane's objects."""
    import csv
    import gzip

    csv.field_size_limit(sys.maxsize)
    spans: dict[tuple[str, int], list[int]] = {}
    for path in folder.rglob("*.csv.gz"):
        instance = next(part for part in path.parts if part.startswith("instance="))
        with gzip.open(path, "rt", newline="") as rows:
            for row in csv.DictReader(rows):
                span = spans.setdefault((instance, int(row["epoch"])), [sys.maxsize, 0])
                received = int(row["ts_recv"])
                span[0], span[1] = min(span[0], received), max(span[1], received)
    for instance in {instance for instance, _ in spans}:
        own = [spans[key] for key in sorted(spans) if key[0] == instance]
        assert all(before[1] < after[0] for before, after in pairwise(own)), (instance, own)


def _print(figures: dict[str, list[float]]) -> None:
    for what, times in figures.items():
        print(f"{what}: {len(times)} times, max {max(times):.2f}")


async def _close(venue: dict) -> None:
    import aiohttp

    address = "/".join(venue["rest"].split("/")[:3])
    async with aiohttp.ClientSession() as client, client.post(f"{address}/control/stop") as response:
        response.raise_for_status()


async def _ended(process: Process, seconds: float = 240.0) -> None:
    await _until(lambda: bool(process.exits), f"{process.name} to end", seconds)


async def _until(condition, what: str, seconds: float = 240.0) -> None:
    deadline = clock.monotonic_s() + seconds
    while not condition():
        assert clock.monotonic_s() < deadline, f"no {what} within {seconds:g} s"
        await asyncio.sleep(0.05)
