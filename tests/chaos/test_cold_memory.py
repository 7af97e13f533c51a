"""A coalesced day that does not fit a memory limit: 512 MB by a cgroup of its own, several times as much raw data.

PENSTOCK_DAY_MB says how much raw data each lane has, uncompressed (500 where not set: two lanes are twice the limit).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.objectstore import open_store
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from services.post_processor.publication import read_manifest
from tests.integration import cold_days
from tests.integration import test_post_processor as captured

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

LIMIT_MB = 512
DAY_MB = int(os.environ.get("PENSTOCK_DAY_MB", "500"))
FRAME_BYTES = 6_000
CGROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup (v1) of LIMIT_MB, page cache included."""
    folder = CGROUPS / f"penstock-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(LIMIT_MB << 20))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    folder.rmdir()


def trades(count: int) -> Iterator[Envelope]:
    """Trades in frames of FRAME_BYTES: the venue's own, with a field that nobody reads and no compressor shortens."""
    dice, start = random.Random(3), cold_days.MIDNIGHT_NS + 3600 * 10**9
    first = Envelope(sequence=1, ts_recv=start, connection=1, channel="btcusdt@trade", kind=raw_pb2.KIND_FRAME)
    yield from captured.opening(first)
    for n in range(count):
        at = start + n * 500_000_000 // 1000
        filler = dice.randbytes(FRAME_BYTES // 2).hex()
        payload = (
            f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at // 10**6},"s":"BTCUSDT","t":{n + 1},'
            f'"p":"61837.63000000","q":"0.02000000","T":{at // 10**6},"m":true,"M":true,"x":"{filler}"}}}}'
        )
        yield Envelope(
            sequence=n + 3, ts_recv=at + 10**6, connection=1, channel="btcusdt@trade", kind=raw_pb2.KIND_FRAME,
            payload=payload.encode(),
        )  # fmt: skip


def test_a_day_larger_than_the_memory(cgroup: Path, tmp_path: Path) -> None:
    """Both lanes whole, 512 MB for everything: the day is published with every trade."""
    count = DAY_MB * 1_000_000 // FRAME_BYTES
    source, target = (tmp_path / "raw").as_uri(), (tmp_path / "lake").as_uri()
    for epoch, instance in enumerate(("PRIMARY", "REPLICA"), 1):
        cold_days.store(source, "binance_spot", instance, epoch, trades(count), roll_s=60)
    command = [
        "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup), sys.executable, "-m",
        "services.post_processor", "--source", source, "--target", target, "--day", str(cold_days.SECOND),
        "--memory-mb", "128", "--work-dir", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    usage = {name: (cgroup / f"memory.{name}").read_text().strip() for name in ("max_usage_in_bytes", "failcnt")}
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:], usage)
    manifest, _ = read_manifest(open_store(target), "BINANCE_SPOT", cold_days.SECOND)
    assert manifest is not None
    rows = {item.channel: item.rows for item in manifest.objects if item.key.startswith("raw/")}
    records = {item.schema: item.rows for item in manifest.objects if item.key.startswith("parquet/")}
    assert rows["btcusdt@trade"] == records["TRADES"] == count
    print(
        f"2 lanes x {count} frames of {FRAME_BYTES} bytes ({2 * count * FRAME_BYTES >> 20} MB raw) in a cgroup of "
        f"{LIMIT_MB} MB: {usage}; peak RSS {_peak_mb(done.stdout)} MB"
    )


def _peak_mb(log: str) -> str:
    return log.rpartition('"peak_rss_mb": ')[2].split(",")[0].split("}")[0]
