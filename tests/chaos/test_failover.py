"""The drill of `penstock drill`, and the same in a Redis cluster whose nodes are killed and failed over, with every kind of
consumer there is. DRILL_ROUNDS in the environment says how often each fault comes (once, unless told otherwise)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.channels import INSTANCES
from penstock.cli.failover import Failover, Options, judge

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("DRILL_ROUNDS", "1"))
RATE = float(os.environ.get("DRILL_RATE", "1600"))
PLAIN = re.findall(r"```python\n(.*?)```", (ROOT / "docs/consuming.md").read_text(), re.DOTALL)[0]
IN_A_CLUSTER = PLAIN.replace(".TRADES.", ".*.").replace("client.hvals", "redis.RedisCluster.from_url(url).hvals")
"""With the pattern of the README, and the definitions from whichever node has them."""


async def test_every_part_of_a_lane_dies_and_freezes(tmp_path: Path) -> None:
    """No trade lost or doubled, the market's book after each switch, within 1.5 s; both lanes dead is said in that time."""
    await Failover(Options(tmp_path, rounds=ROUNDS, both=ROUNDS, rate=RATE), print).run()
    report = await judge(tmp_path)
    print(json.dumps({key: value for key, value in report.items() if key != "verdicts"}, indent=1))
    assert report["good"], report["wrong"]
    assert all(row["times"] == ROUNDS and row["books"] > 0 for row in report["faults"].values())
    assert report["messages_per_s"] > RATE * 2


class Plain:
    """The twenty lines of docs/consuming.md, one for each lane, subscribed to the pattern of the first page: each begins
    on a node of its lane's share, and on the next one of that whenever its node dies, as its user would."""

    def __init__(self, directory: Path, urls: tuple[str, ...]) -> None:
        self.program = directory / "plain.py"
        self.program.write_text(IN_A_CLUSTER)
        self.shares = [urls[lane::2] for lane in (0, 1)]
        self.trades: list[set[tuple[str, int]]] = [set(), set()]
        self.told: list[str] = []
        self.starts = [0, 0]

    async def run(self, lane: int) -> None:
        while True:
            url = self.shares[lane][self.starts[lane] % len(self.shares[lane])]
            self.starts[lane] += 1
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-u", str(self.program), url, INSTANCES[lane], "DERIBIT",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            try:
                async for line in process.stdout:
                    self.take(lane, line.decode().split())
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def take(self, lane: int, words: list[str]) -> None:
        if words[0] == "lost":
            self.told.append(" ".join(words))
        else:
            self.trades[lane].add((words[0], int(words[4])))


async def test_nodes_of_a_cluster_are_killed_and_failed_over(tmp_path: Path) -> None:
    """Three primaries and three replicas: a node with its lane's publisher and subscribers is killed, its replica takes
    over, it comes back as one. A strategy, the client and the plain consumers lose no trade over both lanes."""
    plain: list[Plain] = []

    @asynccontextmanager
    async def consumers(drill: Failover) -> AsyncIterator[None]:
        plain.append(Plain(tmp_path, drill.cluster.urls))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(plain[0].run(lane)) for lane in (0, 1)]
            await asyncio.sleep(3)
            yield
            for task in running:
                task.cancel()

    drill = Failover(
        Options(tmp_path, rounds=ROUNDS, both=0, rate=RATE / 4, kinds=("redis kill",), nautilus=True), print
    )
    await drill.run(consumers)
    report = await judge(tmp_path)
    print(json.dumps({key: value for key, value in report.items() if key != "verdicts"}, indent=1))
    print(f"replicas that took over: {drill.promotions}; starts of the plain consumers: {plain[0].starts}")
    for verdict in report["verdicts"]:
        print(verdict["part"], {key: verdict[key] for key in ("checked", "lost", "duplicated", "reordered", "altered")})
        assert verdict["good"], verdict
    assert {verdict["part"] for verdict in report["verdicts"]} == {"witness", "strategy"}
    assert report["good"], report["wrong"]
    assert drill.promotions == ROUNDS
    _judge_plain(plain[0], [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()])


def _judge_plain(plain: Plain, ledger: list[dict[str, Any]]) -> None:
    """Both plain consumers together have every trade between the first and last of either."""
    together = plain.trades[0] | plain.trades[1]
    sent: dict[str, list[int]] = {}
    for entry in ledger:
        if entry.get("schema") == "TRADES":
            sent.setdefault(entry["symbol"], []).append(entry["sequence"] % 2**32)
    lost = []
    for symbol, ids in sent.items():
        have = [number for number in ids if (symbol, number) in together]
        span = ids[ids.index(have[0]) : ids.index(have[-1]) + 1]
        lost += [(symbol, number) for number in span if (symbol, number) not in together]
    print(f"plain consumers: {len(together)} trades, lost over both lanes {len(lost)}, lines of loss {len(plain.told)}")
    assert not lost, lost[:10]
