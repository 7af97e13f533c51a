"""The parts of coalescing: multiplicity, order, coverage, files and tables."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import config
from penstock import dbn as packing
from penstock.errors import ConfigError
from penstock.objectstore_raw import Row
from penstock.payloads import MergeKey
from services.post_processor import database, payloadfile, rawfiles
from services.post_processor.coverage import Coverage
from services.post_processor.database import MergedChannel
from services.post_processor.frames import WINDOW_NS, Timed, in_venue_order
from services.post_processor.intervals import Interval, length, minus, union
from services.post_processor.lanes import Connection, Kept
from services.post_processor.settings import Settings
from services.post_processor.tables import Layout

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Payloads:
    """Payload `<time> <content>`: known by both."""

    def channel_of(self, frame: bytes) -> str:
        return "c"

    def merge_key(self, channel: str, payload: bytes) -> MergeKey:
        time, _, content = payload.partition(b" ")
        return MergeKey(int(time), 0, content)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("work")
    connection = database.connect(folder, 256)
    yield partial(MergedChannel, connection, folder)
    connection.close()


Messages = list[list[bytes]]  # one list per connection, in order of arrival


def received(lanes: list[Messages]) -> list[tuple[int, Row]]:
    rows = []
    for lane, connections in enumerate(lanes):
        sequence = 0
        for connection, payloads in enumerate(connections, 1):
            for payload in payloads:
                sequence += 1
                rows.append((lane, Row(1000 + sequence * 3 + lane, 1, connection, sequence, payload)))
    return rows


def merge(work: Any, lanes: list[Messages]) -> list[Kept]:
    return list(work(Payloads(), "c", received(lanes)).rows())


def payloads(rows: list[Kept]) -> Counter[bytes]:
    return Counter(row.payload for row in rows)


messages = st.lists(
    st.lists(st.builds(lambda t, c: b"%d %c" % (t, c), st.integers(0, 3), st.sampled_from(b"ab")), max_size=8),
    max_size=3,
)


@quick
@given(messages, messages)
def test_a_message_has_as_many_copies_as_its_best_connection(work: Any, primary: Messages, replica: Messages) -> None:
    """Neither the sum nor the set: two equal trades on one connection are two, one trade on four connections is one."""
    counts: Counter[bytes] = Counter()
    for connection in primary + replica:
        counts |= Counter(connection)
    assert payloads(merge(work, [primary, replica])) == counts


@quick
@given(messages, messages)
def test_merging_is_commutative_and_idempotent(work: Any, primary: Messages, replica: Messages) -> None:
    """Lanes may be swapped, and a merged day merged again with either lane: the messages stay the same."""
    merged = merge(work, [primary, replica])
    assert payloads(merge(work, [replica, primary])) == payloads(merged)
    assert [row.payload for row in merge(work, [primary, replica])] == [row.payload for row in merged]
    again = [[row.payload for row in merged]]
    assert payloads(merge(work, [again, replica])) == payloads(merged)
    assert payloads(merge(work, [again, again])) == payloads(merged)


@quick
@given(messages, messages, st.randoms())
def test_arrival_order_of_objects_does_not_matter(work: Any, primary: Messages, replica: Messages, random: Any) -> None:
    """The same rows, some of them in two objects, read in any order: the same merged rows."""
    rows = received([primary, replica])
    shuffled = rows + random.sample(rows, len(rows) // 2)
    random.shuffle(shuffled)
    expected = list(work(Payloads(), "c", rows).rows())
    assert list(work(Payloads(), "c", shuffled).rows()) == expected


def test_primary_is_preferred_and_hours_are_counted(work: Any) -> None:
    """Rows of both lanes come from PRIMARY; the hour's figures add up."""
    hour = 3600 * 10**9
    lanes = [[[b"1 a", b"1 a", b"%d b" % hour]], [[b"1 a", b"2 c"]]]
    rows = [
        (lane, row._replace(ts_recv=hour + 1) if row.payload.endswith(b" b") else row) for lane, row in received(lanes)
    ]
    merged = work(Payloads(), "c", rows)
    assert [(row.lane, row.payload) for row in merged.rows()] == [
        (0, b"1 a"), (0, b"1 a"), (1, b"2 c"), (0, b"%d b" % hour)
    ]  # fmt: skip
    assert [tuple(counted) for counted in merged.hours()] == [(0, 2, 2, 3, 1, 1, 1, 0), (1, 1, 0, 1, 0, 1, 0, 0)]
    assert merged.connections() == [Connection(0, 1, 1, 1003, hour + 1), Connection(1, 1, 1, 1004, 1007)]


def test_a_time_that_cannot_be_believed_orders_nothing(work: Any) -> None:
    """A message that claims to be of another year stands where it was received."""
    rows = received([[[b"1 a", b"%d far" % 2**62, b"2 b"]]])
    assert [row.payload for row in work(Payloads(), "c", rows).rows()] == [
        b"1 a",
        b"2 b",
        b"%d far" % 2**62,
    ]


def test_sessions_are_never_copies_of_each_other(work: Any) -> None:
    """Both lanes said `connected`: both did."""
    rows = received([[[b"x"]], [[b"x"]]])
    assert len(list(work(None, "session", rows + rows).rows())) == 2


def test_different_rows_of_one_sequence_are_both_kept(work: Any) -> None:
    """Where two owners of one epoch wrote, nothing is thrown away."""
    rows = [(0, Row(5, 1, 1, 1, b"1 a")), (0, Row(6, 1, 1, 1, b"1 b"))]
    assert payloads(list(work(Payloads(), "c", rows).rows())) == {b"1 a": 1, b"1 b": 1}


def test_payloads_need_no_memory_of_the_database(tmp_path: Path) -> None:
    """Two lanes of 100 MB in a database that has 64 MB: sorted, whole, each once."""
    connection = database.connect(tmp_path, 64)
    rows = (
        (lane, Row(n, 1, 1, n, b"%d " % (n * 7919 % 20_011) + bytes(5000))) for lane in (0, 1) for n in range(20_011)
    )
    merged = MergedChannel(connection, tmp_path, Payloads(), "c", rows)
    assert [row.payload.count(b"\0") * 100_000 + row.at for row in merged.rows()] == [
        5000 * 100_000 + n for n in range(20_011)
    ]
    connection.close()


def test_payloads_are_found_again_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, small and larger than a block, of two files, with fewer blocks held than there are."""
    monkeypatch.setattr(payloadfile, "_CACHE_BYTES", 200_000)
    dice = random.Random(4)
    paths = {number: tmp_path / str(number) for number in (3, 70_000)}
    added = []
    for number, path in paths.items():
        with closing(payloadfile.PayloadWriter(path, number)) as writer:
            for size in [0, *dice.choices([0, 1, 200, 6_000, 300_000], k=200)]:
                payload = dice.randbytes(size)
                added.append((writer.add(payload), payload))
    reader = payloadfile.PayloadReader(paths)
    dice.shuffle(added)
    assert [reader.get(place) for place, _ in added] == [payload for _, payload in added]
    assert reader._held == sum(map(len, reader._blocks.values())) <= 200_000 + 400_000


# --- order --------------------------------------------------------------------------------------------------------


def timed(at: int, sequence: int) -> Timed:
    return Timed(at, sequence, Row(at, 1, 1, 1, b""))


@given(st.lists(st.tuples(st.integers(0, WINDOW_NS - 1), st.integers(0, WINDOW_NS // 4)), max_size=50))
def test_ids_decide_where_times_disagree_a_little(steps: list[tuple[int, int]]) -> None:
    """Times that run back by less than the window do not put ids out of order."""
    now, rows = 10 * WINDOW_NS, []
    for sequence, (jitter, step) in enumerate(steps, 1):
        now += step
        rows.append(timed(now - jitter, sequence))
    rows.sort(key=lambda row: (row.at, row.venue_sequence))
    assert [row.venue_sequence for row in in_venue_order(rows)] == list(range(1, len(steps) + 1))


@given(st.lists(st.tuples(st.integers(0, 5 * WINDOW_NS), st.integers(0, 5)), max_size=50))
def test_nothing_is_lost_and_anonymous_rows_stay_put(pairs: list[tuple[int, int]]) -> None:
    """Every row comes out once, whatever ids and times say; rows without an id keep their order."""
    rows = sorted(timed(at, sequence) for at, sequence in pairs)
    found = list(in_venue_order(rows))
    assert sorted(found) == rows
    assert [row for row in found if not row.venue_sequence] == [row for row in rows if not row.venue_sequence]


def test_ids_that_start_anew_are_believed_by_time() -> None:
    """A venue that restarts its numbering is not turned inside out."""
    rows = [timed(2 * n * WINDOW_NS, sequence) for n, sequence in enumerate([100, 101, 1, 2, 3])]
    assert [row.venue_sequence for row in in_venue_order(rows)] == [100, 101, 1, 2, 3]


# --- coverage -----------------------------------------------------------------------------------------------------

spans = st.lists(
    st.builds(lambda a, b: Interval(min(a, b), max(a, b)), st.integers(0, 30), st.integers(0, 30)), max_size=6
)


def points(intervals: list[Interval]) -> set[int]:
    return {n for start, end in intervals for n in range(start, end)}


@given(spans, spans)
def test_intervals_are_sets_of_instants(a: list[Interval], b: list[Interval]) -> None:
    """Union, difference and length are those of the sets of instants, and results are sorted and disjoint."""
    assert points(union(a, b)) == points(a) | points(b)
    assert points(minus(a, b)) == points(a) - points(b)
    assert length(a, Interval(5, 20)) == len(points(a) & set(range(5, 20)))
    for result in (union(a, b), minus(a, b)):
        assert all(one.end < two.start or one.end == two.start for one, two in pairwise(result))


def session(lane: int, epoch: int, sequence: int, ts_recv: int, connection: int, **fields: Any) -> tuple[int, Row]:
    return lane, Row(ts_recv, epoch, connection, sequence, json.dumps(fields).encode())


def test_one_lane_fills_what_the_other_lacks() -> None:
    """A gap is only what neither lane covered, from the last frame before to the new connection."""
    coverage = Coverage(
        [
            session(0, 1, 1, 100, 1, kind="CONNECTED", channels=["c", "quiet"]),
            session(0, 2, 1, 500, 1, kind="CONNECTED", channels=["c", "quiet"]),
            session(1, 1, 1, 120, 1, kind="CONNECTED", channels=["c"]),
            session(1, 1, 9, 300, 1, kind="DISCONNECTED", reason="x"),
        ]
    )
    coverage.add("c", [Connection(0, 1, 1, 110, 200), Connection(0, 2, 1, 510, 900), Connection(1, 1, 1, 130, 290)])
    assert coverage.covered(0, "c") == [(100, 201), (500, 901)]
    assert coverage.covered(1, "c") == [(120, 291)]
    assert coverage.gaps("c") == [(291, 500)]
    assert coverage.gaps("quiet") == [(201, 500)]
    assert coverage.channels == {"c", "quiet"}


def test_drops_count_against_their_channel_and_holes_against_all() -> None:
    """What the session manager said it dropped is missing on that channel only; what nobody said, everywhere."""
    rows = [
        session(0, 1, 1, 100, 1, kind="CONNECTED", channels=["c", "d"]),
        session(0, 1, 14, 210, 0, kind="HOLE", first=10, last=14, after=200),
        session(0, 1, 15, 210, 0, kind="DROPPED", channel="c", first=10, last=14, count=5),
        session(0, 1, 29, 400, 0, kind="HOLE", first=20, last=29, after=300),
    ]
    coverage = Coverage(rows)
    coverage.add("c", [Connection(0, 1, 1, 101, 999)])
    assert coverage.covered(0, "c") == [(100, 200), (211, 300), (401, 1000)]
    assert coverage.covered(0, "d") == [(100, 300), (401, 1000)]
    assert [hole.declared for hole in coverage.holes] == [True, False]


def test_a_connection_of_the_day_before_covers_from_its_first_frame() -> None:
    """Nobody can tell from the day alone when it began; REST answers cover nothing."""
    coverage = Coverage([(0, Row(1, 1, 1, 1, b"not json"))])
    coverage.add("c", [Connection(0, 1, 3, 50, 60)])
    coverage.add("d", [Connection(0, 1, 3, 10, 90), Connection(0, 1, 0, 1, 99)])
    assert coverage.covered(0, "c") == [(10, 91)]
    assert coverage.covered(0, "nowhere") == []


def test_a_polled_channel_is_covered_until_the_last_answer() -> None:
    """Answers come on connection 0, whatever plan asked for them."""
    channel = "rest/openInterest/BTCUSDT"
    coverage = Coverage([session(0, 1, 1, 100, 4, kind="CONNECTED", channels=[channel])])
    coverage.add(channel, [Connection(0, 1, 0, 130, 700)])
    assert coverage.covered(0, channel) == [(100, 701)]


# --- files --------------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.binary(max_size=50), max_size=20))
def test_coalesced_raw_files_come_back(tmp_path: Path, bodies: list[bytes]) -> None:
    """Rows written are rows read; the same rows make the same bytes."""
    kept = [Kept(1, 0, n + 1, n % 2, 7, 3, n, body) for n, body in enumerate(bodies)]
    written = list(rawfiles.write(tmp_path / "1", kept))
    assert written == kept
    assert list(rawfiles.read(tmp_path / "1")) == [Row(n + 1, 7, 3, n, body) for n, body in enumerate(bodies)]
    list(rawfiles.write(tmp_path / "2", kept))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_tables_have_dbns_columns_and_values() -> None:
    """Every column equals what databento's own decoder says of the record."""
    data = packing.trade(60001, 7, 10**18, -5, 3, packing.BID, 130, 10**18 + 1, 2**32 - 1)
    data += packing.trade(60001, 8, 10**18, 2**63 - 1, 2**32 - 1, packing.ASK, 128, 10**18 + 9, 0)
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(data)
    table = Layout("TRADES").table(data, ["a", "b"], {7: "SEVEN"})
    assert table.column_names == [*dbn.TradeMsg._ordered_fields, "symbol", "channel"]
    assert table.schema.field("price").type == pa.int64()
    assert {pa.types.is_signed_integer(field.type) for field in table.schema if field.type != pa.string()} == {True}
    for row, record in zip(table.to_pylist(), decoder.decode(), strict=True):
        for name in (
            "ts_recv",
            "ts_event",
            "price",
            "size",
            "sequence",
            "instrument_id",
            "publisher_id",
            "ts_in_delta",
        ):
            assert row[name] == getattr(record, name), name
        assert (row["action"], row["side"], row["flags"]) == (str(record.action), str(record.side), int(record.flags))
    assert table.column("symbol").to_pylist() == ["SEVEN", ""]
    assert table.column("channel").to_pylist() == ["a", "b"]


def test_every_schema_has_a_layout() -> None:
    """Each schema a normalizer publishes has columns, and each layout is as long as its record."""
    for schema in (
        "TRADES",
        "MBO",
        "MBP_1",
        "MBP_10",
        "TBBO",
        "BBO_1S",
        "OHLCV_1M",
        "DEFINITION",
        "STATISTICS",
        "STATUS",
    ):
        assert "instrument_id" in Layout(schema).schema.names


@pytest.mark.parametrize(
    ("change", "word"), [({"memory_mb": 1}, "memory-mb"), ({"work_dir": "/nowhere/at/all"}, "work-dir")]
)
def test_settings_without_meaning_are_refused(change: dict[str, Any], word: str) -> None:
    """A wrong option is one readable line that names it."""
    import datetime as dt

    fields = {"source": "file:///a", "target": "file:///b", "day": dt.date(2026, 8, 9), **change}
    with pytest.raises(ConfigError, match=word):
        Settings(**fields).check()


def test_a_scheduled_run_merges_the_day_before():
    """However late it starts, and whatever zone the scheduler's time is in, the day follows from when it was meant."""
    places = ["--source", "file:///a", "--target", "file:///b"]
    for text in ("2026-11-22T00:40:00Z", "2026-11-22T09:40:00+09:00"):
        assert str(config.load(Settings, [*places, "--scheduled", text]).check().day) == "2026-11-21"
    for words in (
        [],
        ["--day", "2026-11-21", "--scheduled", "2026-11-22T00:40:00Z"],
        ["--scheduled", "2026-11-22T00:40:00"],
    ):
        with pytest.raises(ConfigError, match="--scheduled"):
            config.load(Settings, [*places, *words]).check()
