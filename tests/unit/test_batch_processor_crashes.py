"""A lane killed between any two system calls that change the disk: it goes on as if nothing had been.

Nothing is really killed. The folders are copied before and after every such call of a run, which is exactly what a
kill -9 there would leave; every copy is then run to its end and compared with an undisturbed run.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.objectstore import open_store
from penstock.raw.v1.raw_pb2 import Envelope, PushRequest
from services.batch_processor import lane as lane_module
from services.batch_processor.disk import Disk
from services.batch_processor.lane import Lane
from services.batch_processor.settings import Settings
from services.batch_processor.uploads import Upload
from tests.batch_processor_stream import envelopes

CHANGES = ("write", "fsync", "ftruncate", "unlink", "replace", "open", "link", "mkdir", "rmdir")


class Store:
    """Uploads that happen when and in the order the dice say."""

    def __init__(self, folder: Path) -> None:
        self.objects = open_store((folder / "store").as_uri(), writable=True)
        self.waiting: list[Upload] = []
        self.add = self.waiting.append

    def put(self, dice: random.Random) -> None:
        if self.waiting:
            upload = self.waiting.pop(dice.randrange(len(self.waiting)))
            self.objects.put_if_absent(upload.key, upload.body, upload.sha256)
            upload.body.unlink()
            upload.done()


async def run(folder: Path, stream: list[Envelope], dice: random.Random, *, finish: bool, on_lane: Any = None) -> None:
    """Send `stream`, in batches and with uploads as the dice say; with `finish` to the last object."""
    store = Store(folder)
    spool = folder / "spool"
    settings = Settings(
        instance="PRIMARY", listen="127.0.0.1:0", store="file:///x", spool=str(spool), roll_s=0.5, object_bytes=8000,
        segment_bytes=dice.choice((3000, 9000)),
    )  # fmt: skip
    lane = Lane("deribit", settings, store, Disk(spool, 1 << 40))
    if on_lane:
        on_lane(lane)
    running = asyncio.create_task(lane.run())
    await lane.ready()
    sent = 0
    while sent < len(stream):
        size = dice.randrange(1, 12)
        await lane.offer(PushRequest(provider="deribit", instance=1, epoch=1, envelopes=stream[sent : sent + size]))
        sent += size
        if dice.random() < 0.7:
            await lane.commit()
        for _ in range(dice.randrange(3)):
            store.put(dice)
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
    if finish:
        await lane.finish()
        while store.waiting:
            store.put(dice)
        await lane.settle()
    running.cancel()


def contents(folder: Path) -> dict[str, str]:
    store = open_store((folder / "store").as_uri())
    return {key: store.head(key).sha256 for key in store.list("")}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for company, and disk work in the loop's own thread: a copy then is of one instant."""

    async def at_once(call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    monkeypatch.setattr(lane_module, "GROUP_S", 0)
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    monkeypatch.setattr(lane_module.asyncio, "to_thread", at_once)


@pytest.mark.parametrize("seed", range(int(os.environ.get("PENSTOCK_CRASH_SEEDS", "6"))))
def test_killed_between_any_two_system_calls(
    seed: int, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed three times over at random calls: the same objects, none lost, none twice, none with other content."""
    dice = random.Random(seed)
    stream = envelopes(300 + seed % 50)
    asyncio.run(run(tmp_path / "quiet", stream, random.Random(1), finish=True))
    expected = contents(tmp_path / "quiet")
    folder, acknowledged = tmp_path / "0", 0
    (folder / "store").mkdir(parents=True)
    for kill in range(1, 5):
        # Anywhere, or about where segments are let go: that is where most can go wrong.
        only, calls = dice.choice((("", 700), ("stored.json", 30), (".segment", 60)))
        victim = Victim(folder, tmp_path / str(kill), only, dice.randrange(1, calls))
        start = dice.randrange(max(0, acknowledged - 30), acknowledged + 1)
        with monkeypatch.context() as patch:
            for name in CHANGES:
                patch.setattr(os, name, victim.watched(getattr(os, name)))
            asyncio.run(run(folder, stream[start:], dice, finish=False, on_lane=victim.holds))
        if not victim.where:
            victim.dies("the end")
        folder, acknowledged = victim.grave, victim.acknowledged
        whole = tmp_path / f"{kill}-whole"
        shutil.copytree(folder, whole)
        asyncio.run(run(whole, stream[acknowledged:], random.Random(2), finish=True))
        assert contents(whole) == expected, f"kill {kill} at {victim.where}"


class Victim:
    """Copies `folder` to `grave` at the `countdown`th change of a path with `only` in it, and what was acknowledged."""

    def __init__(self, folder: Path, grave: Path, only: str, countdown: int) -> None:
        self.folder, self.grave, self.only, self.countdown = folder, grave, only, countdown
        self.acknowledged = 0
        self.where = ""
        self._lane: Lane | None = None

    def holds(self, lane: Lane) -> None:
        self._lane = lane

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*arguments: Any, **options: Any) -> Any:
            self.count(f"before {call.__name__} {arguments[:2]}")
            result = call(*arguments, **options)
            self.count(f"after {call.__name__} {arguments[:2]}")
            return result

        return watching

    def count(self, where: str) -> None:
        if not self.where:
            self.countdown -= self.only in where
            if self.countdown == 0:
                self.dies(where)

    def dies(self, where: str) -> None:
        self.where = where
        self.acknowledged = self._lane.durable(1) if self._lane else 0
        shutil.copytree(self.folder, self.grave)
