"""Published days: made again by backfill and by Spark, made twice at once, checked, and what they were made from cleaned."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.cli import verify
from penstock.errors import ConfigError, Terminal
from penstock.objectstore import open_store
from penstock.raw.v1.raw_pb2 import Envelope
from services.post_processor.backfill import Backfill
from services.post_processor.publication import read_manifest
from services.post_processor.settings import BackfillSettings
from services.post_processor.verification import clean, count_rows, verified
from services.post_processor.workfolder import work_folder
from tests.integration import cold_days
from tests.integration.cold_days import FIRST, SECOND, coalesce, digest, simulated, two_lanes

PROVIDER = "binance_spot"
DAYS = (FIRST, SECOND)


class Lake(NamedTuple):
    """Where two days are, raw and published, and what they were made of."""

    raw: str
    lake: str
    envelopes: list[Envelope]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("days")
    envelopes = simulated(PROVIDER, folder)
    raw, target = (folder / "raw").as_uri(), (folder / "lake").as_uri()
    two_lanes(raw, PROVIDER, envelopes)
    for day in DAYS:
        coalesce(raw, target, day, PROVIDER)
    return Lake(raw, target, envelopes)


@pytest.fixture
def copy(lake: Lake, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The folders of raw objects and of the lake, to be spoiled."""
    for name, url in (("raw", lake.raw), ("lake", lake.lake)):
        shutil.copytree(url.removeprefix("file://"), tmp_path / name)
    return tmp_path / "raw", tmp_path / "lake"


def backfill(lake: str, target: str, begin: dt.date = FIRST, end: dt.date = SECOND, **work) -> int:
    return Backfill(BackfillSettings(lake=lake, target=target, begin=begin, end=end, **work).check()).run()


def files(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {key: store.get(key) for key in store.list("")}


@pytest.mark.parametrize("jobs", [1, 2])
def test_backfill_makes_the_nightly_bytes_again(lake: Lake, tmp_path: Path, jobs: int) -> None:
    """Every object of both days, manifests too, although they were normalized side by side; a second run does nothing."""
    assert backfill(lake.lake, tmp_path.as_uri(), jobs=jobs) == 2
    assert files(tmp_path.as_uri()) == files(lake.lake)
    assert backfill(lake.lake, tmp_path.as_uri()) == 0


def test_a_day_alone_begins_where_the_day_before_ended(lake: Lake, tmp_path: Path) -> None:
    """Without the first day in the target, the second is still the nightly one: its run-up comes from the lake."""
    assert backfill(lake.lake, tmp_path.as_uri(), begin=SECOND) == 1
    assert digest(tmp_path.as_uri(), PROVIDER, SECOND) == digest(lake.lake, PROVIDER, SECOND)


def test_backfill_refuses_what_it_cannot_vouch_for(copy: tuple[Path, Path], tmp_path: Path) -> None:
    """No day there, the same place twice, a run-up that is gone, raw that is not what the manifest names."""
    _, target = copy
    with pytest.raises(ConfigError, match="none is published"):
        backfill(target.as_uri(), (tmp_path / "new").as_uri(), dt.date(2020, 1, 1), dt.date(2020, 1, 2))
    with pytest.raises(ConfigError, match="another place"):
        backfill(target.as_uri(), target.as_uri())
    spoiled = next(target.glob("raw/**/channel=btcusdt@trade/**/day=22/*.csv.gz"))
    spoiled.write_bytes(spoiled.read_bytes()[:-1])
    with pytest.raises(Terminal, match="not the object its manifest names"):
        backfill(target.as_uri(), (tmp_path / "new").as_uri(), begin=SECOND)
    next(target.glob("manifests/**/day=21/manifest.json")).unlink()
    with pytest.raises(Terminal, match="day before"):
        backfill(target.as_uri(), (tmp_path / "new").as_uri(), begin=SECOND)


def test_two_runs_of_one_day_at_once(lake: Lake, tmp_path: Path) -> None:
    """Both end well; there is one manifest, and it is the quiet run's."""
    command = [
        sys.executable, "-m", "services.post_processor", "--source", lake.raw, "--target", tmp_path.as_uri(), "--day",
        str(FIRST), "--providers", PROVIDER,
    ]  # fmt: skip
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait(100) for run in runs] == [0, 0]
    assert digest(tmp_path.as_uri(), PROVIDER, FIRST) == digest(lake.lake, PROVIDER, FIRST)
    assert len(list(tmp_path.glob("manifests/**/*.json"))) == 1
    assert set(files(tmp_path.as_uri())) == {key for key in files(lake.lake) if "day=21" in key}


def test_any_chunking_and_order_makes_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    """The frames of both lanes in other objects, some of them in two: the coalesced and canonical day stays the same."""
    cold_days.rechunked(lake.raw, tmp_path / "raw", random.Random(1))
    coalesce((tmp_path / "raw").as_uri(), (tmp_path / "lake").as_uri(), FIRST, PROVIDER)
    for key, data in files((tmp_path / "lake").as_uri()).items():
        if not key.startswith("manifests/"):  # they name the raw objects
            assert data == files(lake.lake)[key], key


def test_spark_makes_the_same_dataset(lake: Lake, tmp_path: Path) -> None:
    """Both engines publish the same hash, of the night and of the backfill."""
    if find_spec("pyspark") is None or shutil.which("java") is None:
        pytest.skip("pyspark (uv sync --group spark) or Java is not installed")
    url = (tmp_path / "night").as_uri()
    for day in DAYS:
        coalesce(lake.raw, url, day, PROVIDER, engine="spark")
        assert digest(url, PROVIDER, day) == digest(lake.lake, PROVIDER, day)
    backfill(lake.lake, (tmp_path / "again").as_uri(), engine="spark", jobs=2)
    assert files((tmp_path / "again").as_uri()) == files(lake.lake)


# --- verifying and cleaning -----------------------------------------------------------------------------------------


def verify_day(target: Path, day: dt.date = FIRST, raw: Path | None = None, keep_days: int = 0) -> int:
    place = "" if raw is None else raw.as_uri()
    return verify.main(target.as_uri(), str(day), (), place, keep_days, as_json=False)


def test_a_whole_day_is_good(copy: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Every object has its hash and its rows."""
    assert verify_day(copy[1]) == 0
    assert "good" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["raw", "canonical", "parquet", "reports"])
def test_every_kind_of_damage_is_named(
    copy: tuple[Path, Path], capsys: pytest.CaptureFixture[str], place: str
) -> None:  # fmt: skip
    """A changed byte, a lost object: exit code 1, and the object's key."""
    spoiled = next(path for path in sorted(copy[1].glob(f"{place}/**/day=21/*")))
    data = bytearray(spoiled.read_bytes())
    data[len(data) // 2] ^= 1
    spoiled.write_bytes(data)
    assert verify_day(copy[1]) == 1
    assert spoiled.name in capsys.readouterr().out
    spoiled.unlink()
    assert verify_day(copy[1]) == 1
    assert "is not there" in capsys.readouterr().out


def test_row_counts_are_read_from_the_objects(copy: tuple[Path, Path]) -> None:
    """A manifest that counts otherwise is not believed, however its hashes fit."""
    manifest, _ = read_manifest(open_store(copy[1].as_uri()), PROVIDER.upper(), FIRST)
    assert manifest is not None
    for item in manifest.objects:
        assert count_rows(copy[1] / item.key) in (item.rows, None)
    first = manifest.objects[0]
    wrong = type(first)(first.key, first.bytes, first.sha256, first.rows + 1, first.schema, first.channel)
    changed = type(manifest)(manifest.provider, manifest.day, manifest.source, manifest.run_up, (wrong,))
    (verdict,) = verified(open_store(copy[1].as_uri()), changed)
    assert verdict.fault == f"has {first.rows} rows"


def test_only_a_verified_days_raw_objects_are_cleaned(copy: tuple[Path, Path]) -> None:
    """Damaged or too young: kept. Good: gone, those of the other day stay, and coalescing again knows it is done."""
    raw, target = copy
    other = list(raw.glob("**/day=22/*.csv.gz"))
    before = set(raw.glob("**/*.csv.gz"))
    assert verify_day(target, raw=raw, keep_days=36_500) == 0
    assert set(raw.glob("**/*.csv.gz")) == before
    spoiled = next(target.glob("parquet/**/day=21/*"))
    data = spoiled.read_bytes()
    spoiled.write_bytes(data[:-1])
    assert verify_day(target, raw=raw) == 1
    assert set(raw.glob("**/*.csv.gz")) == before
    spoiled.write_bytes(data)
    assert verify_day(target, raw=raw) == 0
    assert sorted(raw.glob("**/*.csv.gz")) == sorted(other)
    assert verify_day(target, raw=raw) == 0
    assert coalesce(raw.as_uri(), target.as_uri(), FIRST, PROVIDER) is not None


def test_objects_added_since_are_never_cleaned(copy: tuple[Path, Path]) -> None:
    """Not even where a cleaning was killed half-way and goes on."""
    raw, target = copy
    store, lake = open_store(raw.as_uri()), open_store(target.as_uri())
    manifest, _ = read_manifest(lake, PROVIDER.upper(), FIRST)
    assert manifest is not None
    some = next(raw.glob("**/channel=btcusdt@trade/**/day=21/*.csv.gz"))
    late = some.with_name("9-1-2.csv.gz")
    late.write_bytes(some.read_bytes())
    with pytest.raises(Terminal, match="added since"):
        clean(lake, store, manifest)
    assert verify_day(target, raw=raw) == 1
    late.unlink()

    class Killed(Exception):
        pass

    class Dying:
        """A store whose process dies at the third removal."""

        removed = 0

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def remove(self, key: str) -> None:
            Dying.removed += 1
            if Dying.removed == 3:
                raise Killed
            store.remove(key)

    with pytest.raises(Killed):
        clean(lake, Dying(), manifest)
    late.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(next(raw.glob("**/day=21/*.csv.gz")), late)
    with pytest.raises(Terminal, match="added since"):
        clean(lake, store, manifest)
    late.unlink()
    assert clean(lake, store, manifest) > 0
    assert not list(raw.glob("**/day=21/*.csv.gz"))


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    """The next run removes the folder of one that was killed, and none of one that lives."""
    script = (
        "import sys, time\nfrom services.post_processor.workfolder import work_folder\n"
        "with work_folder(sys.argv[1]) as folder:\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    with work_folder(str(tmp_path)):
        assert left.is_dir()
    process.kill()
    process.communicate()
    with work_folder(str(tmp_path)) as folder:
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
