"""The ids of counted trades: each new once, every hole declared, holes filled late, memory bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PayloadError
from penstock.tradeids import MAX_RANGES, MAX_STEP, TradeIds


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80), st.booleans())
def test_ids_against_a_set(numbers: list[int], archive: bool) -> None:
    """Each id is new once; what is missing is what lies between the highest and the next one."""
    ids, seen = TradeIds(archive=archive), set[int]()
    for number in numbers:
        answer = ids.admit(number)
        if number in seen or (seen and not archive and number < min(seen)):
            assert answer == -1
            continue
        if seen and number > max(seen):
            assert answer == number - max(seen) - 1
        else:
            assert answer == 0
        seen.add(number)
    assert ids.last == max(seen)


@given(st.lists(st.tuples(st.sampled_from(("trade", "owe", "fill")), st.integers(0, 40)), max_size=60))
def test_every_id_between_the_first_and_the_last_comes_once(steps: list[tuple[str, int]]) -> None:
    """Whatever comes in whatever order: nothing is new twice, and holes can always be filled."""
    ids, new = TradeIds(archive=False), list[int]()
    for kind, number in steps:
        if kind == "owe":
            ids.owe(number)
        elif (kind == "trade" and ids.admit(number) >= 0) or (kind == "fill" and ids.fills(number)):
            new.append(number)
    assert len(new) == len(set(new))
    before = list(new)
    filled = [number for number in range(ids.last + 1) if ids.fills(number)]
    assert not set(filled) & set(before)
    assert not [number for number in range(ids.last + 1) if ids.fills(number)]


@given(st.lists(st.tuples(st.integers(10, 60), st.integers(1, 8)), min_size=1, max_size=60), st.booleans())
def test_sums_of_matches_against_a_set(trades: list[tuple[int, int]], archive: bool) -> None:
    """A trade stands for its id and the `count` - 1 before it, but only down to what was seen."""
    ids, seen, start = TradeIds(archive=archive), set[int](), 0
    for last, count in trades:
        answer = ids.admit(last, count)
        if not seen:
            start = 0 if archive else last - count + 1
        if last in seen or last < start:
            assert answer == -1
            continue
        expected = last - count - max(seen) if seen and last > max(seen) else 0
        assert answer == max(0, expected)
        below = max((number for number in seen if number < last), default=-1)
        seen |= set(range(max(last - count, below) + 1, last + 1))
    assert ids.last == max(seen)
    assert [number for number in range(start, 61) if number not in seen and number < ids.last] == [
        number for number in range(start, ids.last) if ids.admit(number) == 0
    ]


def test_one_absurd_id_is_refused_until_a_second_confirms_it() -> None:
    """A mangled digit is no loss of millions of trades; a real loss of so many is believed at the second trade."""
    ids = TradeIds(archive=False)
    ids.check(2**60)
    assert ids.admit(7) == 0
    for absurd in (7 + 10 * MAX_STEP, 30 * MAX_STEP):
        with pytest.raises(PayloadError) as caught:
            ids.check(absurd)
        assert caught.value.reason == "id_jump"
    ids.check(8)
    ids.check(30 * MAX_STEP + 1)
    assert ids.admit(30 * MAX_STEP + 1) == 30 * MAX_STEP + 1 - 8
    archive = TradeIds(archive=True)
    archive.admit(7)
    archive.check(2**60)


def test_what_is_owed_is_missing_once() -> None:
    """Trades that the venue named but did not send are declared, and new when they come after all."""
    ids = TradeIds(archive=False)
    assert (ids.owe(5), ids.admit(5), ids.admit(6)) == (0, -1, 0)
    assert (ids.owe(8), ids.owe(8), ids.admit(9)) == (2, 0, 0)
    assert (ids.admit(7), ids.fills(8), ids.fills(8), ids.fills(4)) == (0, True, False, False)


def test_live_memory_is_bounded_and_an_archive_forgets_nothing() -> None:
    """Of many holes the newest are remembered; what fills an older one counts as seen."""
    live, archive = TradeIds(archive=False), TradeIds(archive=True)
    for number in range(1, 4 * MAX_RANGES, 2):
        live.admit(number)
        archive.admit(number)
    assert len(live._starts) == len(live._ends) == MAX_RANGES
    assert (live.admit(2), live.admit(4 * MAX_RANGES - 2)) == (-1, 0)
    assert (archive.admit(0), archive.admit(2), archive.admit(2)) == (0, 0, -1)
