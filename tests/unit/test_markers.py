"""Markers are read back from their records, and nothing else is taken for one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock import dbn
from penstock.markers import Gap, Heartbeat, parse

U64 = st.integers(0, 2**64 - 1)


def text(record: bytes) -> str:
    ((_, data),) = dbn.records(record)
    return data[16:318].decode("ascii")


@given(U64, U64, U64)
def test_a_heartbeat_reads_back(epoch, run, published):
    """Whatever the numbers, padding included."""
    beat = Heartbeat(epoch, run, published)
    assert parse(text(beat.record(1, 2, 3))) == beat


@given(st.from_regex(r"\A[a-z_]{1,20}\Z"), U64, U64)
def test_a_gap_reads_back(reason, expected, got):
    """Reason and both numbers."""
    gap = Gap(reason, expected, got)
    assert parse(text(gap.record(1, 2, 3))) == gap


@given(st.one_of(st.text(max_size=40), st.from_regex(r"\A(heartbeat|gap)( [a-z]+=[a-z0-9]*){0,4}\Z")))
def test_other_texts_are_no_markers(line):
    """Texts of other makers give None, never an exception; what parses has all its fields."""
    marker = parse(line)
    if marker is not None:
        assert line.startswith(("heartbeat ", "gap "))
        assert all(
            f"{name}=" in line for name in (("epoch", "run", "count") if isinstance(marker, Heartbeat) else ("reason",))
        )
