"""Binance USD-M futures' books: the `pu` chain, snapshots and what bridges them, losses, and what subscribers see."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.book import order_id
from penstock.dbn import ASK, F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from providers.binance_usdm.depth import BUFFERED, PATIENCE_NS
from providers.binance_usdm.normalizer import Normalizer
from tests.unit.binance_usdm_frames import (
    DEPTH,
    E0,
    MS,
    T0,
    Rebuilt,
    data,
    defined,
    depth,
    feed,
    gaps,
    mbo,
    resyncs,
    snapshot,
)

BIDS, ASKS = [["10.00", "1.0"], ["9.00", "2.0"]], [["11.00", "1.0"]]
BOOK = snapshot(1000, BIDS, ASKS)


def begun() -> Normalizer:
    """A book after update 1000."""
    normalizer = defined()
    assert len(data(feed(normalizer, BOOK))) == 1
    return normalizer


def doubtful(message: Message) -> set[bool]:
    return {bool(record.flags & F_MAYBE_BAD_BOOK) for record in mbo(message)}


def test_a_snapshot_is_a_clear_and_adds() -> None:
    """R, then A for each level, all F_SNAPSHOT and F_MBP, F_LAST on the last, at the venue's time."""
    (message,) = feed(defined(), BOOK)
    found = mbo(message)
    assert (message.schema, message.channel) == ("MBO", DEPTH)
    assert [(record.action, record.side, record.price // 10**9, record.size) for record in found] == [
        (b"R", b"N", (2**63 - 1) // 10**9, 0), (b"A", b"B", 10, 1000), (b"A", b"B", 9, 2000), (b"A", b"A", 11, 1000),
    ]  # fmt: skip
    assert {record.flags & ~F_LAST for record in found} == {F_MBP | F_SNAPSHOT}
    assert [bool(record.flags & F_LAST) for record in found] == [False, False, False, True]
    assert {(record.ts_event, record.ts_recv, record.sequence) for record in found} == {((E0 + 4) * MS, T0, 1000)}


def test_an_update_changes_adds_and_removes_levels() -> None:
    """Absolute sizes: M, A, C; removing what is not there is nothing. `T` is the time."""
    update = depth(1000, 1030, 1040, [["10.00", "5.0"], ["8.00", "1.0"], ["1.00", "0"]], [["11.00", "0.000"]])
    (message,) = feed(begun(), update)
    assert [(record.action, record.price // 10**9, record.size) for record in mbo(message)] == [
        (b"M", 10, 5000), (b"A", 8, 1000), (b"C", 11, 1000),
    ]  # fmt: skip
    assert {(record.ts_event, record.sequence) for record in mbo(message)} == {((E0 - 1) * MS, 1040)}


@pytest.mark.parametrize(
    ("previous", "first", "last"),
    [(990, 995, 1005), (990, 1000, 1005), (1000, 1001, 1005), (1000, 1003, 1005), (999, 1002, 1005), (990, 995, 1000)],
)
def test_what_bridges_a_snapshot(previous: int, first: int, last: int) -> None:
    """`U` <= `lastUpdateId` <= `u`, or nothing of the symbol between: `pu` is not after the snapshot."""
    normalizer = begun()
    outputs = feed(normalizer, depth(previous, first, last, [["10.00", "5.0"]]), depth(last, last + 9, last + 10))
    assert not gaps(outputs)
    assert [doubtful(message) for message in data(outputs)] == [{False}]


def test_what_ends_before_a_snapshot_is_dropped() -> None:
    """`u` < `lastUpdateId`: it is in the snapshot, with what came after it."""
    normalizer = begun()
    assert not feed(normalizer, depth(980, 985, 990, [["10.00", "7.0"]]), depth(990, 991, 999, [["10.00", "8.0"]]))
    assert not gaps(feed(normalizer, depth(999, 1000, 1001)))


def test_an_update_lost_right_after_a_snapshot_is_a_break() -> None:
    """`pu` is after it: something lies between."""
    outputs = feed(begun(), depth(1001, 1005, 1009, [["10.00", "5.0"]]))
    assert gaps(outputs) == [Gap("update_id", 1000, 1001)]
    assert [doubtful(message) for message in data(outputs)] == [{True}]
    assert resyncs(outputs) == [DEPTH]


def test_only_the_previous_id_tells() -> None:
    """Ids of a symbol are far apart; a chain that fits by `U` but not by `pu` is broken."""
    normalizer = begun()
    assert not gaps(feed(normalizer, depth(1000, 1001, 1001), depth(1001, 5000, 9000), depth(9000, 9001, 9001)))
    assert gaps(feed(normalizer, depth(9002, 9003, 9003))) == [Gap("update_id", 9001, 9002)]


def test_updates_before_the_snapshot_are_kept_for_it() -> None:
    """As in the recordings: the update that bridges the snapshot comes before it."""
    normalizer = defined()
    early = feed(
        normalizer, depth(900, 910, 950, [["10.00", "9.0"]]), depth(950, 990, 1005, [["10.00", "4.0"]]),
        depth(1005, 1006, 1010, [["9.00", "3.0"]]),
    )  # fmt: skip
    assert not data(early)
    outputs = feed(normalizer, BOOK)
    assert [record.sequence for message in data(outputs) for record in mbo(message)] == [1000] * 4 + [1005, 1010]
    rebuilt = Rebuilt()
    for message in data(outputs):
        rebuilt.apply(message)
    assert rebuilt.bids == {10 * 10**9: 4000, 9 * 10**9: 3000}


def test_a_snapshot_that_is_too_old_is_asked_for_again() -> None:
    """Nothing bridges it: the first update kept came after another one."""
    normalizer = defined()
    feed(normalizer, depth(1001, 1005, 1009))
    outputs = feed(normalizer, BOOK)
    assert not data(outputs)
    assert resyncs(outputs) == [DEPTH]


def test_after_a_break_updates_are_flagged_until_the_snapshot_heals() -> None:
    """Flagged and kept; the snapshot is followed by what it does not contain, unflagged."""
    normalizer = begun()
    broken = feed(normalizer, depth(1010, 1011, 1020, [["10.00", "5.0"]]), depth(1020, 1021, 1030, [["9.00", "5.0"]]))
    assert len(gaps(broken)) == 1
    assert [doubtful(message) for message in data(broken)] == [{True}, {True}]
    assert not list(normalizer.images(T0))
    healed = data(feed(normalizer, snapshot(1020, BIDS, ASKS)))
    assert [doubtful(message) for message in healed] == [{False}] * 3
    assert mbo(healed[0])[0].action == b"R"
    assert not gaps(feed(normalizer, depth(1030, 1031, 1032)))


def test_in_an_archive_each_update_stands_once() -> None:
    """After a break the snapshot contains the updates that stand before it."""
    normalizer = defined(archive=True)
    feed(normalizer, BOOK, depth(1010, 1011, 1020, [["10.00", "5.0"]]), depth(1020, 1021, 1030, [["9.00", "7.0"]]))
    (message,) = data(feed(normalizer, snapshot(1025, BIDS, ASKS)))
    rebuilt = Rebuilt()
    rebuilt.apply(message)
    assert rebuilt.bids == {10 * 10**9: 1000, 9 * 10**9: 7000}
    assert mbo(message)[0].sequence == 1030


def test_copies_and_late_ones_change_nothing() -> None:
    """A second connection repeats every update."""
    normalizer = begun()
    one, two = depth(1000, 1001, 1005, [["10.00", "5.0"]]), depth(1005, 1006, 1010, [["10.00", "6.0"]])
    feed(normalizer, one, two)
    assert not feed(normalizer, one, two, one)


def test_a_crossed_book_is_flagged_in_the_message_that_crosses_it() -> None:
    """Declared and repaired."""
    normalizer = begun()
    outputs = feed(normalizer, depth(1000, 1001, 1005, [["11.00", "1.0"]]))
    assert [gap.reason for gap in gaps(outputs)] == ["crossed"]
    assert [doubtful(message) for message in data(outputs)] == [{True}]
    assert resyncs(outputs) == [DEPTH]
    with pytest.raises(PayloadError, match="expected a best bid below"):
        feed(normalizer, snapshot(1010, [["11.00", "1.0"]], ASKS))


def test_a_missing_snapshot_is_asked_for_again_but_not_with_every_update() -> None:
    """Once in five seconds of receive time."""
    normalizer = defined()
    asked = [
        len(resyncs(feed(normalizer, depth(number, number + 1, number + 1), ts_recv=T0 + number * 10**9)))
        for number in range(100, 112)
    ]
    assert asked == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert PATIENCE_NS == 5 * 10**9


def test_waiting_updates_are_bounded() -> None:
    """What no longer fits makes the snapshot too old, which is noticed."""
    normalizer = defined()
    for number in range(1000, 1001 + BUFFERED):
        feed(normalizer, depth(number, number + 1, number + 1))
    assert resyncs(feed(normalizer, BOOK)) == [DEPTH]
    assert data(feed(normalizer, snapshot(1001, BIDS, ASKS)))


def test_a_refused_update_leaves_the_book_as_it_was_and_shows_as_a_gap() -> None:
    """All or nothing: not even the good levels of a bad update are applied."""
    normalizer = begun()
    for bad in (
        depth(1000, 1001, 1001, [["10.00", "5.0"], ["9.00", "0.0001"]]),
        depth(1000, 1001, 1001, [["10.00", "5.0"]], [["x", "1.0"]]),
        depth(1000, 1001, 1001, [["10.00", "5.0"]], [["11.00", "1.0", "extra"]]),
        depth(1000, 1001, 1001, [["10.00", "5.0"]], [["0.00", "1.0"]]),
        depth(1000, 1001, 1001, [["10.00", "5.0"], ["40000000.00", "9999999999999.0"]]),
        depth(1000, 1002, 1001, [["10.00", "5.0"]]),
        depth(1001, 1001, 1001, [["10.00", "5.0"]]),
        depth(1000, 1001, 1001, [["10.00", "5.0"]], T=10**14),
        depth(1000, 1001, 1001, [["10.00", "5.0"]], s="ETHUSDT"),
    ):
        with pytest.raises(PayloadError):
            feed(normalizer, bad)
    (image,) = normalizer.images(T0)
    assert (10 * 10**9, 1000) in {(record.price, record.size) for record in mbo(image)}
    assert gaps(feed(normalizer, depth(1001, 1002, 1002))) == [Gap("update_id", 1000, 1001)]


def test_a_level_beyond_u32_lots_is_split_and_adds_up() -> None:
    """Cheap coins: more than four billion lots at a price are records with ids of their own."""
    normalizer, rebuilt = begun(), Rebuilt()
    (image,) = normalizer.images(T0)
    rebuilt.apply(image)
    for number, quantity in enumerate(["9000000.001", "5000000.0", "9999999999.0", "1.0", "0"], 1000):
        (message,) = feed(normalizer, depth(number, number + 1, number + 1, (), [["20.00", quantity]]))
        rebuilt.apply(message)
        assert rebuilt.asks.get(20 * 10**9, 0) == round(float(quantity) * 1000)
        assert all(record.size <= MAX_SIZE for record in mbo(message))
    assert order_id(ASK, 20 * 10**9) not in rebuilt.orders


# --- random streams ---------------------------------------------------------------------------------------------------


class Venue:
    """A book and its updates, told by plain dictionaries: `books[i]` is the book after update `ids[i]`."""

    def __init__(self, seed: int, length: int) -> None:
        draw = random.Random(seed)
        book = {"b": {str(price): 1 for price in range(1, 6)}, "a": {str(price): 1 for price in range(11, 16)}}
        last = 5_000_000_000_000
        self.ids, self.books, self.updates = [last], [json.loads(json.dumps(book))], []
        for _ in range(length):
            previous, first = last, last + draw.randint(1, 900)
            last = first + draw.randint(0, 900)
            changed: dict[str, dict[str, int]] = {"b": {}, "a": {}}
            for _ in range(draw.randint(0, 3)):
                side = draw.choice("ba")
                price = str(draw.randint(1, 10) if side == "b" else draw.randint(11, 20))
                changed[side][price] = draw.choice([0, draw.randint(1, 9)])
            for side, levels in changed.items():
                book[side] |= levels
                book[side] = {price: size for price, size in book[side].items() if size}
            levels_ = {side: [[price, str(size)] for price, size in changed[side].items()] for side in "ba"}
            self.updates.append(depth(previous, first, last, levels_["b"], levels_["a"]))
            self.ids.append(last)
            self.books.append(json.loads(json.dumps(book)))

    def snapshot(self, index: int) -> dict[str, Any]:
        sides = [[[price, str(size)] for price, size in self.books[index][side].items()] for side in "ba"]
        return snapshot(self.ids[index], *sides)

    def is_book(self, rebuilt: Rebuilt, last: int) -> bool:
        """True where `rebuilt` is the book after the update whose id ends in `last`."""
        index = next(i for i, number in enumerate(self.ids) if number % 2**32 == last)
        mine = [{str(price // 10**9): size // 1000 for price, size in s.items()} for s in (rebuilt.bids, rebuilt.asks)]
        return mine == [self.books[index]["b"], self.books[index]["a"]]


class Subscriber:
    """Believes what is not flagged, and holds it against the venue's own book."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.rebuilt = Rebuilt()
        self.trusted = False
        self.declared = 0

    def take(self, outputs: list[Output]) -> None:
        self.declared += len(gaps(outputs))
        for output in outputs:
            if isinstance(output, Message):
                if gaps([output]):
                    self.trusted = False
                    continue
                found = mbo(output)
                self.rebuilt.apply(output)
                if found[0].action == b"R":
                    self.trusted = True
                assert doubtful(output) == {not self.trusted}, "flags and gaps must say the same"
                if self.trusted:
                    assert self.venue.is_book(self.rebuilt, found[0].sequence)


EVENTS = st.lists(st.sampled_from(["pass"] * 8 + ["drop", "copy", "swap", "old", "snapshot", "stale"]), max_size=80)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), EVENTS)
def test_whatever_is_lost_repeated_or_swapped_the_unflagged_book_is_right(seed: int, events: list[str]) -> None:
    """Every unflagged message leaves exactly the venue's book; a fresh snapshot always heals."""
    venue = Venue(seed, len(events) + 1)
    normalizer, subscriber = defined(), Subscriber(venue)
    arrived: list[int] = []
    queue = list(range(len(events)))
    for position, event in enumerate(events):
        if event == "swap" and position + 1 < len(queue):
            queue[position], queue[position + 1] = queue[position + 1], queue[position]
        number = queue[position]
        if event in {"snapshot", "stale"}:
            subscriber.take(feed(normalizer, venue.snapshot(max(0, number + 1 - (3 if event == "stale" else 0)))))
        if event != "drop":
            arrived.append(number)
            subscriber.take(feed(normalizer, venue.updates[number]))
        if event == "copy":
            subscriber.take(feed(normalizer, venue.updates[number]))
        if event == "old" and arrived:
            subscriber.take(feed(normalizer, venue.updates[arrived[len(arrived) // 2]]))
    subscriber.take(feed(normalizer, venue.updates[len(events)], venue.snapshot(len(events) + 1)))
    assert subscriber.trusted
    (image,) = normalizer.images(T0)
    subscriber.take([image])
    assert mbo(image)[0].sequence == venue.ids[-1] % 2**32


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(["pass", "copy", "old"]), min_size=1, max_size=60), st.data())
def test_no_gap_is_declared_where_nothing_is_missing(seed: int, events: list[str], draw: st.DataObject) -> None:
    """Copies, new or old, and the moment of the snapshot make no false alarm."""
    venue = Venue(seed, len(events))
    normalizer, subscriber = defined(), Subscriber(venue)
    at = draw.draw(st.integers(0, len(events) - 1))
    for number, event in enumerate(events):
        if number == at:
            subscriber.take(feed(normalizer, venue.snapshot(draw.draw(st.integers(0, number + 1)))))
        again = [venue.updates[number]] * (2 if event == "copy" else 1)
        old = [venue.updates[draw.draw(st.integers(0, number))]] if event == "old" else []
        subscriber.take(feed(normalizer, *again, *old))
    assert not subscriber.declared
    assert subscriber.trusted


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(0, 39), min_size=1))
def test_every_hole_is_declared(seed: int, lost: set[int]) -> None:
    """One Gap for each run of lost updates that something follows, with the id that is missing."""
    venue = Venue(seed, 40)
    normalizer = defined()
    feed(normalizer, venue.snapshot(0))
    outputs = [
        output
        for number, update in enumerate(venue.updates)
        if number not in lost
        for output in feed(normalizer, update)
    ]
    runs = [number for number in sorted(lost) if number + 1 not in lost and number < 39]
    assert [gap.got for gap in gaps(outputs)] == [venue.updates[number]["data"]["u"] for number in runs]
