"""Coalescing real recordings and real processes: exact, repeatable, readable by everybody."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import boto3
import databento
import databento_dbn as dbn
import pyarrow.parquet as pq
import pytest

import providers
from penstock.cli.query import query
from penstock.errors import ConfigError, Terminal
from penstock.normalizing import Message
from penstock.objectstore import open_store
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from services.batch_processor.chunks import Chunker
from services.post_processor.providerday import ProviderDay
from services.post_processor.settings import Settings
from tests.unit.test_objectstore import aws as aws
from tests.unit.test_objectstore import endpoint as endpoint

DAY = dt.date(2024, 8, 8)
PROVIDER = "binance_spot"
LANES = ("PRIMARY", "REPLICA")
REFERENCE = Path(providers.__file__).parent / PROVIDER / "reference.json"
CHANNELS = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"]


@pytest.fixture(scope="module")
def capture(fixtures: Path) -> dict[dt.date, list[Envelope]]:
    """Both days of the recording: the last seconds of one, the first of the next, without a snapshot."""
    peek = providers.payloads(PROVIDER)
    days: dict[dt.date, list[Envelope]] = {}
    for day, keep in ((DAY, slice(0, 4000)), (DAY + dt.timedelta(days=1), slice(0, 2500))):
        path = fixtures / PROVIDER / "hftbacktest" / f"btcusdt_{day:%Y%m%d}.gz"
        lines = gzip.decompress(path.read_bytes()).splitlines()
        # The end of the first day joins the beginning of the second: its snapshot, then only what is left of it.
        frames = [line.partition(b" ")[::2] for line in lines[keep]]
        days[day] = [
            Envelope(
                sequence=n, ts_recv=int(ts), connection=1, kind=raw_pb2.KIND_FRAME, payload=body,
                channel="rest/depth/BTCUSDT" if body.startswith(b'{"lastUpdateId"') else peek.channel_of(body),
            )
            for n, (ts, body) in enumerate(frames, 3)
        ]  # fmt: skip
    return days


def opening(first: Envelope) -> list[Envelope]:
    """What a session manager says and asks before the first frame."""
    common = {"ts_recv": first.ts_recv - 2 * 10**9}
    plan = json.dumps({"url": "wss://x", "channels": CHANNELS}).encode()
    return [
        Envelope(**common, sequence=1, channel="rest/exchangeInfo", kind=1, payload=REFERENCE.read_bytes()),
        Envelope(**common, sequence=2, connection=1, channel="session", kind=raw_pb2.KIND_CONNECTED, payload=plan),
    ]


def record(url: str, envelopes: Iterable[Envelope], instance: str, epoch: int = 1) -> None:
    """Store envelopes as the batch processor does."""
    store = open_store(url)
    chunker = Chunker(providers.info(PROVIDER), providers.payloads(PROVIDER), instance, 60 * 10**9, 1 << 20)
    chunks = [chunk for envelope in envelopes for chunk in chunker.feed(epoch, envelope)]
    for chunk in chunks + chunker.close():
        store.put_if_absent(chunk.key, *chunk.finish())


def without(envelopes: Sequence[Envelope], lost: slice) -> list[Envelope]:
    """A lane that lost some, and whose receive times differ from the other's."""
    gone = set(range(len(envelopes))[lost])
    return [envelope for n, envelope in enumerate(envelopes) if n not in gone or envelope.channel.startswith("rest/")]


def coalesce(source: str, target: str, day: dt.date = DAY, **changes) -> None:
    settings = Settings(source=source, target=target, day=day, **changes).check()
    ProviderDay(settings, PROVIDER).run()


def direct(envelopes: Iterable[Envelope]) -> dict[str, list[bytes]]:
    """The messages of a recording that nobody split, lost or merged, by schema."""
    normalizer = providers.normalizer_class(PROVIDER)(providers.info(PROVIDER), archive=True)
    found: dict[str, list[bytes]] = defaultdict(list)
    for envelope in envelopes:
        for output in normalizer.normalize(envelope):
            if isinstance(output, Message) and output.data[1] != 0x15:
                found[output.schema].append(output.data)
    return found


def canonical(target: str, schema: str, day: dt.date = DAY) -> bytes:
    """The record bytes of a schema's file, by databento's own decoder."""
    store = open_store(target)
    prefix = f"canonical/provider=BINANCE_SPOT/schema={schema}/year={day.year}/month={day.month:02d}/day={day.day:02d}/"
    (key,) = (key for key in store.list(prefix) if key.endswith(".dbn.zst"))
    decoder = dbn.DBNDecoder(compression=dbn.Compression.from_str("zstd"))
    decoder.write(store.get(key))
    return b"".join(bytes(item) for item in decoder.decode() if not isinstance(item, dbn.Metadata))


def timeless(mbo: bytes) -> list[tuple[bytes, bytes]]:
    """MBO records without ts_recv and ts_in_delta."""
    return [(mbo[n : n + 40], mbo[n + 52 : n + 56]) for n in range(0, len(mbo), 56)]


def contents(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {key: store.get(key) for key in store.list("")}


@pytest.fixture(scope="module")
def lake(capture, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two lanes that each lost every twentieth frame, never the same one, merged."""
    folder = tmp_path_factory.mktemp("lake")
    source, target = (folder / "raw").as_uri(), (folder / "lake").as_uri()
    frames = [*opening(capture[DAY][0]), *capture[DAY]]
    record(source, without(frames, slice(20, None, 20)), "PRIMARY")
    record(source, without(frames, slice(30, None, 20)), "REPLICA")
    coalesce(source, target)
    return source, target


def test_two_lanes_with_losses_make_the_whole_recording(lake, capture) -> None:
    """Every trade, book change and quote of the recording is there once, in order, unaltered, byte for byte."""
    expected = direct([*opening(capture[DAY][0]), *capture[DAY]])
    for schema in ("TRADES", "MBP_1", "DEFINITION"):
        assert expected[schema]
        assert canonical(lake[1], schema) == b"".join(expected[schema]), schema
    # Live, the update that bridges the snapshot waits for it and is received when that is: here it comes after it.
    merged = canonical(lake[1], "MBO")
    assert timeless(merged) == timeless(b"".join(expected["MBO"]))
    differing = [n for n in range(0, len(merged), 56) if merged[n : n + 56] != b"".join(expected["MBO"])[n : n + 56]]
    assert len(differing) < 50


def test_the_report_says_who_saw_what(lake, capture) -> None:
    """Counts by lane and hour add up to the recording; the holes are listed; nothing is missing from both."""
    store = open_store(lake[1])
    (key,) = store.list("reports/")
    report = json.loads(store.get(key))
    channels = {channel["channel"]: channel for channel in report["channels"]}
    for name in CHANNELS:
        sent = sum(envelope.channel == name for envelope in capture[DAY])
        (hour,) = (hour for hour in channels[name]["hours"] if hour["merged"])
        assert hour["merged"] == sent
        assert hour["both"] + hour["primary_only"] + hour["replica_only"] == sent
        assert hour["primary"] == hour["both"] + hour["primary_only"] < sent
        assert 0 < hour["covered_ns"]["PRIMARY"] < hour["covered_ns"]["EITHER"]
        assert channels[name]["uncovered"] == []
    assert report["gaps"] == []
    assert report["quarantined"] == {}
    assert len(report["holes"]) == 399
    assert not any(hole["declared"] for hole in report["holes"])


def test_databento_and_parquet_readers_agree(lake, tmp_path: Path) -> None:
    """DBNStore opens every file with its symbols; Parquet has the same records with the same integers."""
    store = open_store(lake[1])
    for key in [key for key in store.list("canonical/") if key.endswith(".dbn.zst")]:
        opened = databento.DBNStore.from_bytes(store.get(key))
        beside = key.replace("canonical/", "parquet/").replace(".dbn.zst", ".parquet")
        store.download(beside, tmp_path / "parquet")
        table = pq.read_table(tmp_path / "parquet")
        frame = opened.to_df(price_type="fixed", pretty_ts=False, map_symbols=True).reset_index()
        assert opened.symbols == ["BTCUSDT"]
        assert opened.dataset == "BINANCE.SPOT"
        assert len(frame) == table.num_rows > 0
        for name in {"ts_recv", "ts_event", "price", "size", "sequence", "symbol"} & set(table.column_names):
            assert frame[name].tolist() == table.column(name).to_pylist(), (key, name)


def test_a_second_run_changes_nothing(lake, tmp_path: Path) -> None:
    """The same objects make the same bytes, anywhere; a published day is left alone; other objects are refused."""
    source, target = lake
    other = tmp_path.as_uri()
    coalesce(source, other, memory_mb=256)
    assert contents(other) == contents(target)
    coalesce(source, target)
    assert contents(other) == contents(target)
    late = Envelope(sequence=9, ts_recv=1723161254 * 10**9, connection=1, channel="control", kind=1, payload=b"{}")
    (tmp_path / "more").mkdir()
    for key, data in contents(source).items():
        open_store((tmp_path / "more").as_uri()).put_if_absent(key, data)
    record((tmp_path / "more").as_uri(), [late], "PRIMARY", epoch=2)
    with pytest.raises(Terminal, match="new target"):
        coalesce((tmp_path / "more").as_uri(), target)


def test_lanes_may_be_swapped(lake, tmp_path: Path) -> None:
    """Which lane is called PRIMARY decides whose receive times are kept, and nothing else."""
    source, target = lake
    swapped = (tmp_path / "raw").as_uri()
    for key, data in contents(source).items():
        lane = "REPLICA" if "PRIMARY" in key else "PRIMARY"
        open_store(swapped).put_if_absent(
            key.replace("REPLICA", "").replace("PRIMARY", "").replace("=/", f"={lane}/", 1), data
        )
    coalesce(swapped, (tmp_path / "lake").as_uri())
    for schema in ("TRADES", "MBO", "MBP_1"):
        # The recording gave both lanes the same receive times.
        assert canonical((tmp_path / "lake").as_uri(), schema) == canonical(target, schema)


def test_the_next_day_begins_where_this_one_ended(lake, capture, tmp_path: Path) -> None:
    """A day without a snapshot has its book from the day before, as its first message, and repeats no trade."""
    source, target = (tmp_path / "raw").as_uri(), (tmp_path / "lake").as_uri()
    second = DAY + dt.timedelta(days=1)
    depth = [e for e in capture[DAY] if "depth" in e.channel]
    (snapshot,) = (e for e in depth if e.channel.startswith("rest/"))
    tail = [*depth, capture[DAY][-1]]
    assert snapshot in tail
    frames = [*opening(capture[DAY][0]), *tail]
    for n, envelope in enumerate(frames, 1):
        envelope.sequence = n
    again = capture[DAY][0]
    head = [
        Envelope(
            sequence=1,
            ts_recv=capture[second][0].ts_recv,
            connection=2,
            channel=again.channel,
            kind=1,
            payload=again.payload,
        )
    ]
    record(source, frames, "PRIMARY")
    record(source, [*head, *capture[second]], "PRIMARY", epoch=2)
    coalesce(source, target)
    coalesce(source, target, second)
    book = canonical(target, "MBO", second)
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(book)
    records = decoder.decode()
    midnight = int(dt.datetime(2024, 8, 9, tzinfo=dt.UTC).timestamp()) * 10**9
    image = [r for r in records if r.ts_recv == midnight]
    assert str(image[0].action) == "R"
    assert len(image) > 1000
    assert records[: len(image)] == image
    assert len(canonical(target, "DEFINITION", second)) >= 520


def test_killed_anywhere_a_rerun_makes_the_same_bytes(lake, tmp_path: Path) -> None:
    """kill -9 at random moments: no manifest without everything in it, and the next run publishes the quiet run's bytes."""
    source, target = lake
    random_ = random.Random(3)
    url = tmp_path.as_uri()
    command = [
        sys.executable, "-m", "services.post_processor", "--source", source, "--target", url, "--day", str(DAY),
    ]  # fmt: skip
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            process.wait(random_.uniform(0.8, 2.5))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if any(tmp_path.glob("manifests/**/manifest.json")):
            break
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.splitlines()
    assert contents(url) == contents(target)


def test_a_whole_day_over_s3(lake, tmp_path: Path, aws: None, endpoint: str) -> None:
    """The same bytes from and to S3, and the same SQL answers."""
    source, target = lake
    bucket = f"bucket-{os.urandom(6).hex()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    for key, data in contents(source).items():
        open_store(f"s3://{bucket}/raw").put_if_absent(key, data)
    coalesce(f"s3://{bucket}/raw", f"s3://{bucket}/lake")
    assert contents(f"s3://{bucket}/lake") == contents(target)
    for sql in (
        "SELECT provider, symbol, day, count(*), sum(size), min(price) FROM trades_readable GROUP BY 1, 2, 3",
        "SELECT schema, channel, count(*), sum(length(payload)) FROM raw GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT action, side, count(*) FROM mbo GROUP BY 1, 2 ORDER BY 1, 2",
    ):
        assert query(sql, f"s3://{bucket}/lake") == query(sql, target)


def test_sql_answers_are_the_recordings(lake, capture) -> None:
    """Raw payloads come out of SQL as they were received; the wrong table is a readable error."""
    columns, rows = query("SELECT payload FROM frames WHERE channel = 'btcusdt@trade' ORDER BY sequence", lake[1])
    assert columns == ("payload",)
    sent = [envelope.payload.decode() for envelope in capture[DAY] if envelope.channel == "btcusdt@trade"]
    assert [text for (text,) in rows] == sent
    with pytest.raises(ConfigError, match="nothing"):
        query("SELECT * FROM nothing", lake[1])


def test_a_wrong_day_is_one_line() -> None:
    """Mistyped options end with exit code 2 and one readable line."""
    command = [
        sys.executable,
        "-m",
        "services.post_processor",
        "--source",
        "file:///a",
        "--target",
        "file:///b",
        "--day",
        "x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--day is 'x'" in done.stderr
