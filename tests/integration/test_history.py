"""A strategy in a real node asks for past trades and subscribes to those of now: a stored day, a real Valkey, and a market
that goes on while history is read."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from penstock import dbn
from penstock.channels import INSTANCES, Channel
from penstock.cli.normalize import metadata
from tests.integration.test_feed_live import CHANNELS, LISTING, PROVIDER, ROOT, Lanes

FIRST = 2**32 - 30_000
"""Trade ids wrap in what is stored."""
STORED = 60_000


class Market(Lanes):
    """Trades of one instrument, numbered from FIRST, a millisecond apart."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.born = time.time_ns() - 600 * 10**9

    def message(self, number: int) -> bytes:
        at = self.born + number * 10**6
        return dbn.trade(*self.ids, at, self.mid, 1, dbn.BID, dbn.F_LAST, at + 10**5, (FIRST + number) % 2**32)

    def store(self, folder: Path, count: int) -> Path:
        """The first `count` trades as a day of DBN files."""
        folder.mkdir()
        names = {LISTING.instrument_id: LISTING.raw_symbol}
        for schema, data in (
            ("definition", LISTING.record(self.born, self.born)),
            ("trades", b"".join(map(self.message, range(count)))),
        ):
            head = metadata(LISTING.publisher.dataset, schema, self.born, time.time_ns(), names)
            (folder / f"day.{schema}.dbn.zst").write_bytes(zstandard.ZstdCompressor().compress(head + data))
        return folder

    async def publish(self, number: int) -> None:
        await self.send({"TRADES": self.message(number)})

    async def heard(self) -> None:
        """Until somebody listens to both lanes."""
        names = [Channel(instance, "TRADES", PROVIDER, CHANNELS["TRADES"]).name for instance in INSTANCES]
        async with asyncio.timeout(120):
            while not all(count for _, count in await self.redis.pubsub_numsub(*names)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("stored", [STORED + 20, STORED - 15], ids=["overlapping", "hole"])
async def test_history_then_live_without_a_hole_or_a_double(valkey: str, tmp_path: Path, stored: int) -> None:
    """Live trades come before, while and after history is read, some of them stored as well: the strategy has each id
    once and in order, history first. What the store lacks before the first live trade is declared."""
    market, log = Market(valkey), tmp_path / "seen"
    await market.define()
    folder = market.store(tmp_path / "day", stored)
    command = [sys.executable, "-m", "tests.integration.history_node", valkey, str(folder), str(log)]
    node = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        await market.heard()
        for instance in INSTANCES:
            market.alive[instance] = True
            market.runs[instance] = time.time_ns()
            market.counts |= {(instance, schema): 0 for schema in CHANNELS}
        number, deadline = STORED, time.monotonic() + 120
        answered = 0
        while number < answered + 200 or not answered:
            assert node.returncode is None
            assert time.monotonic() < deadline
            if not number % 100:
                await market.beat()
            await market.publish(number)
            number += 1
            await asyncio.sleep(0.005)
            if not answered and "answered" in log.read_text():
                answered = number
        await asyncio.sleep(0.3)
        node.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(node.wait(), 20) == 0
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
        await market.redis.aclose()
    lines = [line.split() for line in log.read_text().splitlines()]
    kinds = [kind for kind, *_ in lines if kind in {"history", "live"}]
    assert kinds == sorted(kinds)
    assert kinds.count("history") == stored
    seen = [int(words[1]) for words in lines if words[0] in {"history", "live"}]
    wanted = [*range(stored), *range(max(stored, STORED), number)]
    assert seen == [(FIRST + each) % 2**32 for each in wanted]
    losses = [words[1:] for words in lines if words[0] == "loss"]
    gap = ["history", str((FIRST + stored) % 2**32), str((FIRST + STORED) % 2**32)]
    assert losses == ([gap] if stored < STORED else [])
