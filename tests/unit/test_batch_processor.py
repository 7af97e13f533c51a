"""Chunking is a function of the stream, and the spool gives back what it took."""

from __future__ import annotations

import datetime as dt
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import ConfigError
from penstock.objectstore_raw import Row, rows
from penstock.payloads import MergeKey
from penstock.provider import ChannelRule, Endpoints, Limit, Limits, ProviderInfo
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from services.batch_processor.chunks import Chunk, Chunker, ChunkId, Position
from services.batch_processor.settings import Settings
from services.batch_processor.spool import BATCH, CUT, Spool

S = 1_000_000_000
NOON = int(dt.datetime(2026, 8, 9, 12, tzinfo=dt.UTC).timestamp()) * S
_limit = Limit(1, 1)
INFO = ProviderInfo(
    "deribit", "Test", 60005, "DERIBIT.MAIN", "DRBT", (), Endpoints("ws://x", "http://x"), ("A",),
    Limits(_limit, _limit, _limit, 1), (ChannelRule("trades.*", "TRADES"), ChannelRule("book.*", "MBO")),
)  # fmt: skip


class Payloads:
    """A venue whose payload is its own time in ns."""

    def channel_of(self, frame: bytes) -> str:
        return "trades.A"

    def event_time(self, channel: str, payload: bytes) -> int:
        text = payload.partition(b" ")[0]
        return int(text) if text.isdigit() else 0

    def merge_key(self, channel: str, payload: bytes) -> MergeKey:
        return MergeKey(self.event_time(channel, payload), 0, payload)


def chunker(**changes) -> Chunker:
    fields = {"roll_ns": 10 * S, "max_bytes": 1 << 20, **changes}
    return Chunker(INFO, Payloads(), "PRIMARY", **fields)


def frame(sequence: int, ts_recv: int, payload: bytes, channel: str = "trades.A", kind: int = 1) -> Envelope:
    return Envelope(sequence=sequence, ts_recv=ts_recv, connection=1, channel=channel, kind=kind, payload=payload)


def heartbeat(sequence: int, ts_recv: int) -> Envelope:
    return frame(sequence, ts_recv, b"{}", "session", raw_pb2.KIND_HEARTBEAT)


def objects(chunks: list[Chunk]) -> dict[str, tuple[bytes, str]]:
    made = {chunk.key: chunk.finish() for chunk in chunks}
    assert len(made) == len(chunks), "two objects of one key"
    return made


def stored_rows(made: dict[str, tuple[bytes, str]]) -> list[tuple[str, Row]]:
    return [(key, row) for key, (data, _) in sorted(made.items()) for row in rows(data)]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, Envelope]]:
    """(epoch, envelope)s as a session manager may send them: jumps, holes, wrong times, markers, new epochs."""
    stream, now = [], NOON
    for epoch in range(1, draw(st.integers(1, 3)) + 1):
        sequence = 0
        for _ in range(draw(st.integers(1, 25))):
            sequence += draw(st.sampled_from([1, 1, 1, 1, 3]))
            now += draw(st.sampled_from([0, 1, S // 3, S, 4 * S, 11 * S]))
            kind = draw(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 4, 5]))
            lag = draw(st.sampled_from([0, S // 2, -S, 3 * S, 30 * S, 14 * 60 * S, -14 * 60 * S, 80 * 365 * 86400 * S]))
            payload = b"%d %s" % (now - lag if lag < 10**18 else now + lag, b"x" * draw(st.sampled_from([0, 200])))
            channel = draw(st.sampled_from(["trades.A", "book.A", "rest/x"]))
            body = payload if kind == 1 else b'{"reason":"test"}'
            stream.append((epoch, frame(sequence, now, body, channel, kind)))
    return stream


def undisturbed(stream: list[tuple[int, Envelope]], **changes) -> dict[str, tuple[bytes, str]]:
    whole = chunker(**changes)
    chunks = [chunk for epoch, envelope in stream for chunk in whole.feed(epoch, envelope)]
    return objects(chunks + whole.close())


@settings(max_examples=60, deadline=None)
@given(streams())
def test_every_envelope_is_in_one_object(stream: list[tuple[int, Envelope]]) -> None:
    """Frames and observations are stored once each, heartbeats not at all, holes are said."""
    made = undisturbed(stream, max_bytes=300)
    found = Counter((row.epoch, row.sequence) for _, row in stored_rows(made) if b'"HOLE"' not in row.payload)
    assert found == Counter((e, v.sequence) for e, v in stream if v.kind != raw_pb2.KIND_HEARTBEAT)
    missing = sum(
        hole["last"] - hole["first"] + 1
        for _, row in stored_rows(made)
        if b'"HOLE"' in row.payload and (hole := msgspec.json.decode(row.payload))
    )
    last = Counter()
    for epoch, envelope in stream:
        last[epoch] = envelope.sequence
    assert missing == sum(last.values()) - len(stream)
    for key, row in stored_rows(made):
        first, end = (int(part) for part in key.rsplit("/", 1)[1].removesuffix(".csv.gz").split("-")[1:])
        assert first <= row.sequence <= end


@settings(max_examples=80, deadline=None)
@given(streams(), st.data())
def test_a_replay_makes_the_same_objects(stream: list[tuple[int, Envelope]], data: st.DataObject) -> None:
    """Killed anywhere with any of the closed objects stored, and started again from any earlier position behind which
    everything is stored: the objects are those of an undisturbed run, byte for byte."""
    expected = undisturbed(stream, max_bytes=300)
    run, made, positions = chunker(max_bytes=300), {}, [Position()]
    stop = data.draw(st.integers(0, len(stream)))
    closed: list[Chunk] = []
    oldest = []
    for epoch, envelope in stream[:stop]:
        closed += run.feed(epoch, envelope)
        positions.append(run.position)
        oldest.append((epoch, envelope.sequence))
    uploaded = [chunk for chunk in closed if data.draw(st.booleans())]
    made |= objects(uploaded)
    kept = [(c.epoch, c.first) for c in closed if c not in uploaded] + ([run.oldest] if run.oldest else [])
    floor = min(kept, default=(99, 0))
    # The spool may have let go everything before the oldest row that is not stored.
    start = data.draw(st.integers(0, sum(1 for end in oldest if end < floor)))
    again = chunker(max_bytes=300, position=positions[start], stored=[chunk.id for chunk in uploaded])
    chunks = [chunk for epoch, envelope in stream[start:] for chunk in again.feed(epoch, envelope)]
    made |= objects(chunks + again.close())
    assert made == expected


def test_a_payload_from_2106_moves_nothing() -> None:
    """One absurd venue time is filed by its receive time, and closes nobody's chunk."""
    wrong = b"%d" % (2**32 * S)
    run = chunker()
    assert run.feed(1, frame(1, NOON, b"%d" % NOON)) == []
    assert run.feed(1, frame(2, NOON + 1, wrong, "book.A")) == []
    assert run.position.watermark <= NOON + 1
    made = objects(run.close())
    assert all("/year=2026/month=08/day=09/" in key for key in made)


def test_a_clock_put_right_lets_time_start_anew() -> None:
    """A receiver an hour ahead does not keep chunks open for an hour once its clock is right."""
    run = chunker()
    run.feed(1, frame(1, NOON + 3600 * S, b"x"))
    closed = run.feed(1, frame(2, NOON, b"%d" % NOON))
    assert [chunk.first for chunk in closed] == [1]
    assert [c.first for c in run.feed(1, frame(3, NOON + 13 * S, b"%d" % (NOON + 13 * S)))] == [2]


def test_a_clock_put_right_where_no_venue_tells_the_time() -> None:
    """Without any venue time, heartbeats say it: half a minute of them, and chunks close again."""
    run = chunker()
    run.feed(1, frame(1, NOON + 3600 * S, b"x"))
    closed = [chunk for n in range(2, 100) for chunk in run.feed(1, heartbeat(n, NOON + n * S))]
    assert [chunk.first for chunk in closed] == [1]
    assert run.position.watermark <= NOON + 100 * S


TEN_YEARS = 3652 * 86_400 * S


@pytest.mark.parametrize("step", [3600 * S, -3600 * S, TEN_YEARS, -TEN_YEARS])
@pytest.mark.parametrize("kind", [raw_pb2.KIND_HEARTBEAT, raw_pb2.KIND_FRAME])
def test_a_receivers_clock_that_is_set_misfiles_nothing(step: int, kind: int) -> None:
    """Venue time goes on where the receiver's jumps: the same partitions and as many objects as without the jump, also
    where a heartbeat or a frame without time comes first; what has no venue time follows once the venue was heard."""
    keys = []
    for jump in (0, step):
        run, made = chunker(), []
        for n in range(1, 400):
            true = NOON + n * S // 4
            wrong = true + (jump if 100 <= n < 300 else 0)
            if n % 10:
                made += run.feed(1, frame(n, wrong, b"%d" % (true - S // 10), "book.A" if n % 3 else "trades.A"))
            else:
                made += run.feed(1, frame(n, wrong, b"none", "control", kind))
        keys.append([key for key in objects(made + run.close()) if "/schema=SYSTEM/" not in key])
    assert keys[0] == keys[1]


@pytest.mark.parametrize("step", [3600 * S, -3600 * S, TEN_YEARS, -TEN_YEARS])
def test_a_receiver_that_starts_with_a_wrong_clock_misfiles_nothing(step: int) -> None:
    """The venue is believed against a clock that is wrong from the first envelope on, and chunks close as they should."""
    run, made = chunker(), []
    for n in range(1, 400):
        true = NOON + n * S // 4
        body = b"%d" % true if n > 3 else b"none"
        made += run.feed(1, frame(n, true + step, body, "trades.A" if n > 3 else "control"))
    made += run.close()
    filed = [key for key in objects(made) if "/schema=TRADES/" in key]
    assert len(filed) == 10
    assert all("/year=2026/month=08/day=09/" in key for key in filed)
    assert abs(run.position.watermark - (NOON + 100 * S)) < 3 * S


def test_rows_go_to_the_day_of_their_own_time() -> None:
    """A trade of 23:59:59.9 received after midnight is in the day it happened in."""
    midnight = NOON + 12 * 3600 * S
    run = chunker()
    run.feed(1, frame(1, midnight + S, b"%d" % (midnight - 1)))
    run.feed(1, frame(2, midnight + S, b"%d" % midnight))
    keys = sorted(objects(run.close()))
    assert ["day=09" in keys[0], "day=10" in keys[1]] == [True, True]


def test_an_idle_channel_closes_by_heartbeats() -> None:
    """Stream time goes on when a venue is silent, by as much as the receiver's clock did."""
    run = chunker()
    run.feed(1, frame(1, NOON + S, b"%d" % NOON))
    assert [run.feed(1, heartbeat(n, NOON + n * S)) for n in range(2, 13)] == [[]] * 11
    assert run.feed(1, heartbeat(13, NOON + 13 * S - 1)) == []
    assert len(run.feed(1, heartbeat(14, NOON + 13 * S))) == 1


def test_late_rows_share_an_object() -> None:
    """What comes after its bucket was closed is gathered until the present bucket ends, in its own partition."""
    run = chunker()
    run.feed(1, frame(1, NOON, b"%d" % NOON))
    assert len(run.feed(1, frame(2, NOON + 25 * S, b"%d" % (NOON + 25 * S)))) == 1
    assert run.feed(1, frame(3, NOON + 26 * S, b"%d" % NOON)) == []
    assert run.feed(1, frame(4, NOON + 27 * S, b"%d" % NOON)) == []
    closed = run.feed(1, frame(5, NOON + 32 * S, b"%d" % (NOON + 32 * S)))
    assert [(chunk.first, chunk.last) for chunk in closed] == [(2, 2), (3, 4)]


def test_a_channel_nobody_could_subscribe_to_has_no_partition() -> None:
    """The name in a garbage frame makes no endless key; its bytes are kept all the same."""
    run = chunker()
    run.feed(1, frame(1, NOON, b"1", "é" * 500))
    made = objects(run.close())
    assert "/schema=SYSTEM/channel=control/" in next(iter(made))
    assert [row.payload for _, row in stored_rows(made)] == [b"1"]


# --- spool --------------------------------------------------------------------------------------------------------


def read(folder: Path) -> list[tuple[bytes, bytes]]:
    spool = Spool(folder)
    spool.start()
    return [(kind, body) for _, kind, body in spool.records()]


def test_a_torn_tail_costs_only_what_was_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, filled with zeros, with what was on the disk before, or with one bit wrong, at every byte of its last record:
    the spool gives back every record before it, cuts durably, and takes further records."""
    monkeypatch.setattr("services.batch_processor.spool.os.fsync", lambda _file: None)
    spool = Spool(tmp_path / "whole")
    spool.start()
    spool.roll(Position())
    bodies = [b"one", b"", b"three" * 9 + b"."]
    for n, body in enumerate(bodies):
        before = spool.segments[-1].size
        spool.append([(BATCH, body)], (1, n + 1))
    spool.close()
    whole = spool.segments[-1].path.read_bytes()
    expected = [(BATCH, body) for body in bodies[:-1]]
    for at in range(before, len(whole)):
        rest = len(whole) - at
        for kind, tail in (
            ("cut", b""), ("zeros", bytes(rest + 100)), ("old", os.urandom(rest + 7)),
            ("bit", bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]),
        ):  # fmt: skip
            folder = tmp_path / f"{kind}{at}"
            folder.mkdir()
            (folder / spool.segments[-1].path.name).write_bytes(whole[:at] + tail)
            torn = Spool(folder)
            torn.start()
            assert [(kind, body) for _, kind, body in torn.records()] == expected, (kind, at)
            torn.roll(Position())
            torn.append([(BATCH, b"next")], (1, 3))
            torn.close()
            assert read(folder) == [*expected, (BATCH, b"next")], (kind, at)


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Limits the size of files, which then fill up as a disk does: a write takes what fits, the next one fails."""
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size >= 0 else soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, former)


def test_a_full_disk_takes_back_what_it_began(tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    """A record that did not fit leaves no trace, and the next one that fits follows the last good one."""
    spool = Spool(tmp_path)
    spool.start()
    spool.roll(Position())
    spool.append([(BATCH, b"one")], (1, 1))
    file_limit(spool.segments[-1].size + 50)
    with pytest.raises(OSError, match="large"):
        spool.append([(BATCH, b"x" * 1000)], (1, 2))
    file_limit(-1)
    spool.append([(BATCH, b"two"), (CUT, b"")], (1, 2))
    spool.close()
    assert read(tmp_path) == [(BATCH, b"one"), (BATCH, b"two"), (CUT, b"")]


def test_a_segment_that_does_not_begin_whole_does_not_begin(tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    """Room for half of its first record: the segment before goes on. What came into a headless one would be lost."""
    spool = Spool(tmp_path)
    spool.start()
    spool.roll(Position())
    spool.append([(BATCH, b"one")], (1, 1))
    file_limit(20)
    with pytest.raises(OSError, match="large"):
        spool.roll(Position(1, 1))
    file_limit(-1)
    spool.append([(BATCH, b"two")], (1, 2))
    spool.close()
    assert read(tmp_path) == [(BATCH, b"one"), (BATCH, b"two")]


def test_segments_go_only_when_all_in_them_is_stored(tmp_path: Path) -> None:
    """The front goes up to the oldest row that is not stored; the newest stays for its position."""
    spool = Spool(tmp_path)
    spool.start()
    for n in range(3):
        spool.roll(Position(1, n * 10, 0, 0))
        spool.append([(BATCH, b"%d" % n)], (1, n * 10 + 10))
    assert not spool.release((1, 5), [])
    assert spool.release((1, 11), [])
    assert [body for _, body in read(tmp_path)] == [b"1", b"2"]
    assert spool.release(None, [])
    assert [body for _, body in read(tmp_path)] == [b"2"]
    again = Spool(tmp_path)
    assert again.start() == Position(1, 20, 0, 0)


@pytest.mark.parametrize("deleted", [0, 1, 2, 3])
def test_killed_while_letting_go_nothing_is_made_twice(tmp_path: Path, deleted: int) -> None:
    """Whichever segments a kill leaves of those being deleted, the stored objects that reach into them are known."""
    spool = Spool(tmp_path)
    spool.start()
    for n in range(4):
        spool.roll(Position(1, n * 10, 0, 0))
        spool.append([(BATCH, b"%d" % n)], (1, n * 10 + 10))
    spool.close()
    spans = [(0, 8), (1, 15), (5, 25), (12, 18), (22, 35)]
    chunks = [ChunkId("MBO", "book.A", dt.date(2026, 8, 9), n, 1, *span) for n, span in enumerate(spans)]
    before = {segment.path: segment.path.read_bytes() for segment in spool.segments}
    assert spool.release(None, list(chunks))
    for path in list(before)[deleted:]:
        path.write_bytes(before[path])
    again = Spool(tmp_path)
    start = again.start().sequence
    assert start == deleted * 10
    assert set(again.stored()) >= {chunk for chunk in chunks if chunk.first <= start < chunk.last}


def test_what_is_before_a_missing_segment_is_let_go(tmp_path: Path) -> None:
    """Deletions that reached the disk out of order leave no hole in the stream."""
    spool = Spool(tmp_path)
    spool.start()
    for n in range(4):
        spool.roll(Position(1, n * 10, 0, 0))
    spool.close()
    spool.segments[1].path.unlink()
    again = Spool(tmp_path)
    assert again.start().sequence == 20
    assert [segment.number for segment in again.segments] == [3, 4]


def test_damage_in_the_middle_is_kept_for_reading(tmp_path: Path) -> None:
    """Bytes that were durable and are not any more are said and set aside, and later segments still count."""
    spool = Spool(tmp_path)
    spool.start()
    for n in range(2):
        spool.roll(Position())
        spool.append([(BATCH, b"body %d" % n)], (1, n))
    spool.close()
    path = spool.segments[0].path
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    assert [body for _, body in read(tmp_path)] == [b"body 1"]
    assert path.with_suffix(".damaged").read_bytes().endswith(b"???")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"listen": "0.0.0.0:1"}, "loopback"), ({"listen": "10.0.0.1:80"}, "loopback"), ({"listen": "x"}, "loopback"),
     ({"instance": "THIRD"}, "PRIMARY"), ({"roll_s": 0.0}, "roll-s"), ({"uploads": 0}, "uploads")],
)  # fmt: skip
def test_settings_without_meaning_are_one_readable_line(change: dict, word: str) -> None:
    """An address that other hosts reach is refused like any other mistake, naming the option."""
    fields = {"instance": "PRIMARY", "listen": "127.0.0.1:0", "store": "file:///x", "spool": "/x", **change}
    with pytest.raises(ConfigError, match=word):
        Settings(**fields).check()
