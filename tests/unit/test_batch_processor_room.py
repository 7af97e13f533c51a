"""A lane whose disk takes nothing: it refuses, makes room where it can, and goes on without a restart."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.objectstore import open_store
from penstock.objectstore_raw import rows
from penstock.raw.v1.raw_pb2 import Envelope, PushRequest
from services.batch_processor import lane as lane_module
from services.batch_processor.disk import RESERVE_BYTES, Disk
from services.batch_processor.lane import Lane, SpoolFailed
from services.batch_processor.settings import Settings
from services.batch_processor.uploads import Upload
from tests.batch_processor_stream import envelopes, stored

LIMIT = 60_000


class Store:
    """A store that is down until `put` is called; then everything that waits is stored."""

    def __init__(self, url: str) -> None:
        self.objects = open_store(url, writable=True)
        self.waiting: list[Upload] = []
        self.add = self.waiting.append

    def put(self) -> None:
        for upload in self.waiting:
            self.objects.put_if_absent(upload.key, upload.body, upload.sha256)
            upload.done()
        self.waiting.clear()

    @property
    def sequences(self) -> list[int]:
        return sorted(row.sequence for key in self.objects.list("") for row in rows(self.objects.get(key)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


@pytest.fixture
async def lane(
    request: pytest.FixtureRequest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lane]:
    """A lane with `--roll-s` as the test's parameter and LIMIT bytes of spool."""
    monkeypatch.setattr(lane_module, "_RETRY_S", 0.01)
    settings = Settings(
        instance="PRIMARY", listen="127.0.0.1:0", store="file:///x", spool=str(tmp_path / "spool"),
        roll_s=request.param, segment_bytes=5000,
    )  # fmt: skip
    lane = Lane("deribit", settings, store, Disk(tmp_path / "spool", LIMIT))
    running = asyncio.create_task(lane.run())
    await lane.ready()
    yield lane
    finishing = asyncio.create_task(lane.finish())
    while not finishing.done():
        store.put()
        await asyncio.sleep(0.01)
    await lane.settle()
    running.cancel()
    assert not running.done()


async def push(lane: Lane, stream: list[Envelope], start: int) -> int:
    """Send from `start` on, one batch after the other, until one is refused; what is acknowledged."""
    try:
        for at in range(start, len(stream), 20):
            batch = stream[at : at + 20]
            await lane.offer(PushRequest(provider="deribit", instance=1, epoch=1, envelopes=batch))
            await lane.advanced(1, batch[-1].sequence - 1)
    except SpoolFailed:
        pass
    return lane.durable(1)


@pytest.mark.parametrize("lane", [2.0], indirect=True)
async def test_a_full_spool_refuses_until_the_store_has_made_room(lane: Lane, store: Store, tmp_path: Path) -> None:
    """--spool-bytes holds while the store is down, whoever asks; with the store back everything comes in, once."""
    stream = envelopes(1500)
    done = await push(lane, stream, 0)
    assert 100 < done < 1000
    for _ in range(5):
        assert await push(lane, stream, done) == done
    on_disk = sum(path.stat().st_size for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert on_disk < LIMIT * 1.3  # the list of stored objects and closed chunks' files come on top
    for _ in range(200):
        store.put()
        await asyncio.sleep(0.02)
        if (done := await push(lane, stream, done)) == 1500:
            break
    assert done == 1500
    await lane.finish()
    store.put()
    assert store.sequences == stored(stream)


@pytest.mark.parametrize("lane", [3600.0], indirect=True)
async def test_a_bucket_larger_than_the_disk_is_cut(lane: Lane, store: Store) -> None:
    """Where only open chunks hold the spool, they are closed: or it would be full for ever."""
    stream, done = envelopes(1500), 0
    for _ in range(200):
        store.put()
        if (done := await push(lane, stream, done)) == 1500:
            break
        await asyncio.sleep(0.02)
    assert done == 1500
    await lane.finish()
    store.put()
    assert store.sequences == stored(stream)


@pytest.mark.parametrize("lane", [0.2], indirect=True)
async def test_what_the_outbox_cannot_take_goes_from_memory(
    lane: Lane, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills between two files ends the stream, not the process; the object waits in memory, one at a time."""

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    stream = envelopes(300)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        done = await push(lane, stream, 0)
        await asyncio.sleep(0.05)
        assert done < 300
        assert [type(upload.body) for upload in store.waiting] == [bytes]
        for _ in range(5):
            store.put()
            await asyncio.sleep(0.02)
            done = await push(lane, stream, done)
    for _ in range(200):
        store.put()
        if (done := await push(lane, stream, done)) == 300:
            break
        await asyncio.sleep(0.02)
    assert done == 300
    await lane.finish()
    store.put()
    assert store.sequences == stored(stream)


def test_the_last_megabytes_are_for_what_makes_room(tmp_path: Path) -> None:
    """The disk's own reserve is refused like the limit, and both say the number they stand on."""
    disk = Disk(tmp_path, 1 << 60)
    disk.check(1)
    with pytest.raises(OSError, match=f"{(1 << 50) + RESERVE_BYTES} are needed"):
        disk.check(1 << 50)
    disk.used["deribit"] = 1 << 60
    with pytest.raises(OSError, match=f"--spool-bytes is {1 << 60}"):
        disk.check(1)


def test_the_table_of_costs_is_what_its_formula_says() -> None:
    """docs/lake.md: PUTs and USD of one lane in 30 days."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "lake.md").read_text()
    lines = re.findall(
        r"^\| \**(\d+)\**[^|]*\| (.*) \|$", page.partition("| `--roll-s` |")[2].partition("At risk")[0], re.MULTILINE
    )
    assert len(lines) == 5
    for roll, rest in lines:
        *cells, at_risk = rest.split(" | ")
        for channels, cell in zip((100, 1000, 5000), cells, strict=True):
            millions, dollars = (float(text.replace(",", "")) for text in re.findall(r"[\d.,]*\d", cell))
            puts = channels * 2_592_000 / int(roll)
            assert millions == pytest.approx(puts / 1e6, rel=0.06, abs=0.005), cell
            assert dollars == pytest.approx(puts * 5e-6, rel=0.05, abs=0.5), cell
        assert at_risk == f"{int(roll) + 2:,} s"
