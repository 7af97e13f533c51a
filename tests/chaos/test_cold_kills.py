"""kill -9 of the post-processor at random moments, and replays in other chunks: always the bytes of a quiet run.

PENSTOCK_KILLS and PENSTOCK_REPLAYS say how often (20 and 10 where not set).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from penstock.objectstore import open_store
from services.post_processor.__main__ import main
from services.post_processor.publication import read_manifest
from services.post_processor.verification import verified
from tests.integration import cold_days
from tests.integration import test_post_processor as captured
from tests.integration.cold_days import FIRST, SECOND, coalesce, digest, simulated, two_lanes

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(5400)]

KILLS = int(os.environ.get("PENSTOCK_KILLS", "20"))
REPLAYS = int(os.environ.get("PENSTOCK_REPLAYS", "10"))
PER_TARGET = 4
PROVIDERS = ("binance_spot",)


def run(source: str, target: str, day: str) -> None:
    """In a process of its own: the service, without its log."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 # for the rest of this process
    sys.exit(main(["--source", source, "--target", target, "--day", day]))


def context() -> ForkServerContext:
    """Processes that have imported everything: kills hit the work, not the imports."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["services.post_processor.__main__", __name__, "services.post_processor.local"])
    return made


def objects(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file() and ".incoming" not in path.parts)


def test_killed_anywhere_the_day_is_that_of_a_quiet_run(tmp_path: Path) -> None:
    """Each target sees four kills, then a run to the end: 0 lost, 0 conflicting, one manifest, the quiet run's hash."""
    source, quiet = (tmp_path / "raw").as_uri(), (tmp_path / "quiet").as_uri()
    for provider in PROVIDERS:
        two_lanes(source, provider, simulated(provider, tmp_path, 8))
        for day in (FIRST, SECOND):
            coalesce(source, quiet, day, provider)
    quiet_objects = {day: sum(f"day={day.day}" in key for key in open_store(quiet).list("")) for day in (FIRST, SECOND)}
    dice, starts, hit = random.Random(11), context(), Counter[str]()
    began = time.monotonic()
    warm = starts.Process(target=run, args=(source, (tmp_path / "warm").as_uri(), str(FIRST)))
    warm.start()
    warm.join()
    whole_s = time.monotonic() - began
    number = 0
    while hit["kills"] < KILLS:
        number += 1
        folder = tmp_path / f"target-{number}"
        folder.mkdir()
        for day in (FIRST, SECOND):
            for _ in range(PER_TARGET):
                _kill_once(starts, source, folder, str(day), dice, whole_s, quiet_objects[day], hit)
                _no_half_manifest(folder)
            done = starts.Process(target=run, args=(source, folder.as_uri(), str(day)))
            done.start()
            done.join()
            assert done.exitcode == 0
            for provider in PROVIDERS:
                assert digest(folder.as_uri(), provider, day) == digest(quiet, provider, day)
        keys = set(open_store(folder.as_uri()).list(""))
        assert keys == set(open_store(quiet).list("")), "an object that no quiet run makes"
        # An empty one may be another writer's that has not locked it yet: those stay.
        left = [path for path in (folder / ".incoming").glob("*") if path.stat().st_size]
        assert not left, "what a killed write left was not swept"
    print(f"{dict(hit)} over {number} targets, whole run {whole_s:.1f} s")
    assert hit["while working"] >= KILLS // 4


def _kill_once(
    starts: ForkServerContext, source: str, folder: Path, day: str, dice: random.Random, whole_s: float, total: int,
    hit: Counter[str],
) -> None:  # fmt: skip
    before, began = objects(folder), time.monotonic()
    process = starts.Process(target=run, args=(source, folder.as_uri(), day))
    process.start()
    if dice.random() < 0.5:
        # While objects are put: at the first sign of a certain one.
        wanted, deadline = before + dice.randrange(max(1, total)), began + 2 * whole_s
        while process.is_alive() and objects(folder) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
    else:
        process.join(dice.uniform(0, whole_s))
    if process.is_alive():
        hit["while working"] += 1
    process.kill()
    process.join()
    hit["kills"] += 1
    hit["mid-write"] += bool(list((folder / ".incoming").glob("*")))
    hit["with objects stored"] += objects(folder) > before


def _no_half_manifest(folder: Path) -> None:
    store = open_store(folder.as_uri())
    for provider in PROVIDERS:
        for day in (FIRST, SECOND):
            manifest, _ = read_manifest(store, provider.upper(), day)
            assert manifest is None or not [verdict for verdict in verified(store, manifest) if verdict.fault]


def test_replays_in_other_chunks_make_the_same_bytes(fixtures: Path, tmp_path: Path) -> None:
    """A captured day, shuffled and cut into other objects, every time otherwise."""
    capture = captured.capture.__wrapped__ if hasattr(captured.capture, "__wrapped__") else None
    days = (capture or captured.capture._get_wrapped_function())(fixtures)
    source, quiet = (tmp_path / "raw").as_uri(), (tmp_path / "quiet").as_uri()
    frames = [*captured.opening(days[captured.DAY][0]), *days[captured.DAY]]
    captured.record(source, captured.without(frames, slice(20, None, 20)), "PRIMARY")
    captured.record(source, captured.without(frames, slice(30, None, 20)), "REPLICA")
    captured.coalesce(source, quiet)
    expected = _without_manifest(quiet)
    counts = []
    for number in range(REPLAYS):
        folder = tmp_path / f"replay-{number}"
        cold_days.rechunked(source, folder / "raw", random.Random(number))
        counts.append(sum(1 for _ in open_store((folder / "raw").as_uri()).list("")))
        captured.coalesce((folder / "raw").as_uri(), (folder / "lake").as_uri())
        assert _without_manifest((folder / "lake").as_uri()) == expected, number
    rows = sum(len(data) for data in expected.values())
    print(
        f"{REPLAYS} replays in {min(counts)} to {max(counts)} objects: the same {len(expected)} objects, {rows} bytes"
    )


def _without_manifest(url: str) -> dict[str, bytes]:
    return {key: data for key, data in captured.contents(url).items() if not key.startswith("manifests/")}
