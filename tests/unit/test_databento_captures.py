"""Databento's own files as recordings: what comes out are the records that went in."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import databento_dbn
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock import dbn
from penstock.cli.normalize import Summary, normalize_capture
from penstock.errors import PayloadError
from penstock.framing import Framer
from penstock.normalizing import Message
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.databento import metadata, payloads, wire
from simulator import captures, captures_dbn

UNPUBLISHED = {"cbbo-1s", "imbalance"}


def files(fixtures: Path) -> list[Path]:
    found = sorted(path for path in (fixtures / "dbn").rglob("*.dbn*") if ".frag" not in path.name)
    assert len(found) > 100
    return found


def content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return data


def records(path: Path) -> bytes:
    """Everything behind the metadata."""
    data = content(path)
    return data[8 + int.from_bytes(data[4:8], "little") :]


def normalize(path: Path, directory: Path) -> tuple[Summary, dict[str, bytes]]:
    summary = normalize_capture([path], "databento", directory / "out.dbn.zst")
    return summary, {output.schema: records(Path(output.path)) for output in summary.outputs}


def test_every_file_comes_out_as_it_went_in(fixtures: Path, tmp_path: Path):
    """All schemas of DBN 1, 2 and 3; nothing quarantined, no gap, but for the schemas that are refused by name."""
    compared = 0
    for path in files(fixtures):
        schema = next((part for part in path.name.split(".") if part in UNPUBLISHED), "")
        if "LIVE" in str(path) or "definition" in path.name or "esh4" in path.name:
            continue  # these have tests of their own
        summary, outputs = normalize(path, tmp_path)
        expected = records(path)
        if schema in UNPUBLISHED:
            assert set(summary.quarantined) == {"unknown_frame"}
            assert not outputs
            continue
        assert (summary.quarantined, summary.gaps) == ({}, {}), path
        assert b"".join(outputs.values()) == expected, path
        compared += len(expected)
    assert compared > 900_000


def test_a_day_of_esh4(fixtures: Path, tmp_path: Path):
    """68,792 MBO records: the snapshot of 8,725 orders without a clear, then 60,067 of the day."""
    path = fixtures / "dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
    summary, outputs = normalize(path, tmp_path)
    assert (summary.frames, summary.data, summary.records) == (47_023, 47_023, {"MBO": 68_792})
    assert (summary.quarantined, summary.gaps) == ({}, {})
    assert outputs["mbo"] == records(path)
    written: Any = databento_dbn.Metadata.decode(content(Path(summary.outputs[0].path)))
    assert written.dataset == "DATABENTO.LIVE"


def test_esh4_as_if_it_were_live(fixtures: Path):
    """The book crosses before the opening: declared once, flagged as long as it does, and then there is an image."""
    normalizer = providers.normalizer_class("databento")(providers.info("databento"))
    flagged, marked, images, lots = 0, list[int](), list[int](), 0
    for number, frame in enumerate(
        captures.read(fixtures / "dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst", "databento")
    ):
        channel = payloads.channel_of(frame.payload)
        envelope = Envelope(ts_recv=1, connection=1, channel=channel, kind=KIND_FRAME, payload=frame.payload)
        for output in normalizer.normalize(envelope):
            assert isinstance(output, Message)
            if output.data[1] == dbn.RTYPE_ERROR:
                marked.append(number)
            elif output.data[38:39] == dbn.CLEAR:
                images.append(number)
                lots = len(output.data) // 56 - 1
            else:
                flagged += bool(output.data[36] & dbn.F_MAYBE_BAD_BOOK)
    assert (marked, images, flagged, lots) == ([35], [926], 892, 8834)


def test_older_definitions_are_todays(fixtures: Path, tmp_path: Path):
    """Records of 360 and 400 bytes become 520, with the fields that Databento's decoder reads from the originals."""
    seen = set()
    for path in files(fixtures):
        if "definition" not in path.name:
            continue
        summary, outputs = normalize(path, tmp_path)
        assert (summary.quarantined, summary.gaps) == ({}, {}), path
        ours: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
        ours.write(outputs["definition"])
        theirs: Any = databento_dbn.DBNDecoder()
        theirs.write(content(path))
        expected = [bytes(record) for record in theirs.decode()[1:]]
        assert [bytes(record) for record in ours.decode()] == expected
        seen.add(content(path)[3])
    assert seen == {1, 2, 3}


def test_a_live_session(fixtures: Path, tmp_path: Path):
    """Twenty mappings, then 28 records of nine types: each on its own schema, under the mapping's symbol."""
    path = fixtures / "dbn/databento-python/LIVE/test_data.live.dbn.zst"
    summary, outputs = normalize(path, tmp_path)
    assert (summary.frames, summary.quarantined, summary.gaps) == (46, {}, {})
    assert summary.records == {
        "DEFINITION": 2, "MBO": 5, "MBP_1": 2, "MBP_10": 2, "OHLCV_1M": 2, "OHLCV_1S": 2, "STATISTICS": 9, "TRADES": 2,
    }  # fmt: skip
    by_type: defaultdict[int, bytes] = defaultdict(bytes)
    for frame in captures.read(path, "databento"):
        by_type[frame.payload[1]] += frame.payload
    assert (outputs["mbo"], outputs["trades"], outputs["mbp-10"]) == (by_type[0xA0], by_type[0], by_type[0x0A])


def test_our_metadata_is_databentos(fixtures: Path):
    """Of every file: dataset, start, symbols, whether it has times of sending."""
    for path in files(fixtures):
        (first, *_) = Framer().feed(content(path))
        theirs: Any = databento_dbn.Metadata.decode(first)
        symbols = {
            int(interval["symbol"]): name
            for name, intervals in theirs.mappings.items()
            for interval in intervals
            if str(theirs.stype_in) == "raw_symbol" and interval["symbol"]
        }
        found = metadata.read(first)
        assert found[1:] == (theirs.dataset, theirs.start, theirs.ts_out, symbols), path


@given(st.data())
def test_damaged_metadata_is_refused(data: st.DataObject):
    """Databento's decoder panics on some of these; here it is a PayloadError or metadata."""
    whole = bytearray(_METADATA)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(3, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = metadata.read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except PayloadError:
        return
    assert found.version in {1, 2, 3}


class _Mapping:
    raw_symbol = "ESH4"

    class _Interval:
        import datetime as dt

        start_date, end_date, symbol = dt.date(2024, 1, 1), dt.date(2024, 1, 2), "17077"

    intervals = (_Interval,)


_METADATA = bytes(
    databento_dbn.Metadata(
        dataset="GLBX.MDP3", start=5, stype_in=databento_dbn.SType("raw_symbol"),
        stype_out=databento_dbn.SType("instrument_id"), schema=databento_dbn.Schema.from_str("mbo"), symbols=["ESH4"],
        mappings=[_Mapping], version=3,
    )
)  # fmt: skip


class TestReading:
    def test_times_do_not_run_backwards(self):
        """A frame has its capture time, or that of the one before where it is earlier; the metadata the first's."""
        trades = [dbn.trade(1, 5, 1, 1, 1, b"B", 0, at, 1) for at in (20, 10, 30)]
        read = list(captures_dbn.read([wire.metadata("X", 7), *trades]))
        assert [at for at, _ in read] == [20, 20, 20, 30]
        assert list(captures_dbn.read([wire.metadata("X", 7)])) == [(7, wire.metadata("X", 7))]

    @pytest.mark.parametrize(("change", "text"), [(slice(0, -3), "unfinished frame"), (slice(200, 200), "")])
    def test_a_damaged_file_is_named(self, tmp_path: Path, change: slice, text: str):
        """With what is wrong there."""
        path = tmp_path / "bad.dbn"
        data = _METADATA + dbn.trade(1, 5, 1, 1, 1, b"B", 0, 20, 1)
        path.write_bytes(data[change] if text else data[: len(_METADATA)] + b"\0" * 48)
        with pytest.raises(captures.CaptureError, match=rf"bad\.dbn, line 0: expected whole DBN records \(.*{text}"):
            list(captures.read(path, "databento"))

    def test_times_of_sending_are_refused(self, tmp_path: Path):
        """A file with ts_out has records of other sizes."""
        path = tmp_path / "sent.dbn"
        record = dbn.trade(1, 5, 1, 1, 1, b"B", 0, 20, 1)
        path.write_bytes(_METADATA + bytes((record[0] + 2,)) + record[1:] + bytes(8))
        with pytest.raises(captures.CaptureError, match="56 bytes"):
            list(captures.read(path, "databento"))
