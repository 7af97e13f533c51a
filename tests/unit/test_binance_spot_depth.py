"""The rule for keeping a book: every break declared, no false alarm, and a right book after every resynchronization."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.book import order_id
from penstock.dbn import ASK, F_MAYBE_BAD_BOOK, F_SNAPSHOT, records
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from providers.binance_spot.depth import BUFFERED, PATIENCE_NS
from providers.binance_spot.normalizer import Normalizer
from tests.unit.binance_spot_frames import (
    DEPTH,
    LOT,
    QUOTES,
    SNAPSHOT,
    T0,
    TRADES,
    Rebuilt,
    data,
    defined,
    depth,
    envelope,
    feed,
    gaps,
    mbo,
    quote,
    resyncs,
    snapshot,
    trade,
)

BIDS, ASKS = [["10.00", "1.0"], ["9.00", "2.0"]], [["11.00", "1.0"], ["12.00", "4.0"]]


def begun(last: int = 100) -> Normalizer:
    """A normalizer whose book is that of update `last`."""
    normalizer = defined()
    assert data(feed(normalizer, snapshot(last, BIDS, ASKS)))
    return normalizer


def doubtful(message: Message) -> set[bool]:
    return {bool(record.flags & F_MAYBE_BAD_BOOK) for record in mbo(message)}


# --- the rule, step by step -------------------------------------------------------------------------------------------


def test_nothing_is_published_before_the_first_snapshot_and_then_everything_since() -> None:
    """Updates wait: those the snapshot contains are dropped, the one that spans it is the first used."""
    normalizer = defined()
    waiting = feed(
        normalizer,
        depth(95, 98, [["10.00", "9.0"]]),
        depth(99, 102, [["10.00", "3.0"]]),
        depth(103, 103, [["9.00", "0"]]),
    )
    assert not data(waiting)
    assert resyncs(waiting) == [DEPTH]
    outputs = feed(normalizer, snapshot(100, BIDS, ASKS), ts_recv=T0 + 7)
    assert [mbo(message)[0].sequence for message in outputs] == [100, 102, 103]
    assert all(record.flags & F_SNAPSHOT for record in mbo(outputs[0]))
    assert [record.action for record in mbo(outputs[0])] == [b"R", b"A", b"A", b"A", b"A"]
    assert {record.ts_recv for message in outputs for record in mbo(message)} == {T0 + 7}
    assert not any(doubtful(message) == {True} for message in outputs)


def test_a_snapshot_older_than_the_first_update_is_asked_for_again() -> None:
    """There is a hole between them; nothing may be published on it."""
    normalizer = defined()
    feed(normalizer, depth(105, 106))
    outputs = feed(normalizer, snapshot(103, BIDS, ASKS))
    assert resyncs(outputs) == [DEPTH]
    assert not data(outputs)
    assert data(feed(normalizer, snapshot(104, BIDS, ASKS)))


@pytest.mark.parametrize(
    ("first", "last", "ok"), [(101, 101, True), (90, 101, True), (101, 110, True), (102, 110, False)]
)
def test_the_first_update_must_span_the_snapshot(first: int, last: int, ok: bool) -> None:
    """U <= lastUpdateId + 1 <= u."""
    outputs = feed(begun(), depth(first, last, [["10.00", "3.0"]]))
    assert bool(gaps(outputs)) is not ok
    assert doubtful(data(outputs)[0]) == {not ok}


def test_a_hole_is_declared_and_updates_are_doubtful_until_the_next_snapshot() -> None:
    """Gap, flagged records, one request; then the snapshot, the kept updates without flag, and it goes on."""
    normalizer = begun()
    feed(normalizer, depth(101, 102))
    broken = feed(normalizer, depth(104, 105, [["10.00", "3.0"]]))
    assert gaps(broken) == [Gap("update_id", 103, 104)]
    assert [type(output).__name__ for output in broken] == ["Message", "Message", "Resync"]
    later = feed(normalizer, depth(106, 106, [["10.00", "4.0"]]))
    assert not resyncs(later)
    assert [doubtful(message) for message in data(broken) + data(later)] == [{True}, {True}]
    healed = feed(normalizer, snapshot(105, BIDS, ASKS))
    assert [mbo(message)[0].sequence for message in healed] == [105, 106]
    assert [doubtful(message) for message in healed] == [{False}, {False}]
    assert not gaps(feed(normalizer, depth(107, 107)))


def test_in_an_archive_each_update_stands_once() -> None:
    """The snapshot after a hole contains the updates that were published, flagged, before it came."""
    normalizer = defined(archive=True)
    feed(normalizer, snapshot(100, BIDS, ASKS))
    feed(normalizer, depth(104, 105, [["10.00", "3.0"]]), depth(106, 106, [["10.00", "4.0"]]))
    (image,) = feed(normalizer, snapshot(105, [["10.00", "3.0"]], ASKS))
    assert mbo(image)[0].sequence == 106
    assert (10_000_000_000, 4_000_000) in {(record.price, record.size) for record in mbo(image)}
    assert not gaps(feed(normalizer, depth(107, 107)))


def test_an_overlap_after_the_first_update_is_a_break() -> None:
    """Only the first update may begin before the expected id."""
    normalizer = begun()
    feed(normalizer, depth(101, 105))
    assert gaps(feed(normalizer, depth(104, 108))) == [Gap("update_id", 106, 104)]


def test_copies_are_passed_over() -> None:
    """A second connection repeats every update; so may the venue those before the snapshot."""
    normalizer = begun()
    feed(normalizer, depth(101, 105), depth(106, 108))
    assert not feed(normalizer, depth(106, 108), depth(101, 105), depth(90, 95), depth(99, 100))
    assert not gaps(feed(normalizer, depth(109, 109)))


def test_an_absurd_id_is_a_break_and_not_the_end() -> None:
    """What follows an update that claims to be far ahead is not taken for old."""
    normalizer = begun()
    feed(normalizer, depth(101, 10**15))
    outputs = feed(normalizer, depth(102, 102))
    assert gaps(outputs) == [Gap("update_id", 10**15 + 1, 102)]
    assert resyncs(outputs) == [DEPTH]
    feed(normalizer, snapshot(102, BIDS, ASKS))
    assert not gaps(feed(normalizer, depth(103, 103)))


def test_a_crossed_book_is_flagged_in_the_very_message() -> None:
    """A bid at the best ask is impossible: declared, flagged, and a new snapshot asked for."""
    normalizer = begun()
    outputs = feed(normalizer, depth(101, 101, [["11.00", "1.0"], ["8.00", "1.0"]]))
    assert [gap.reason for gap in gaps(outputs)] == ["crossed"]
    assert [doubtful(message) for message in data(outputs)] == [{True}]
    assert resyncs(outputs) == [DEPTH]
    assert not list(normalizer.images(T0))
    assert data(feed(normalizer, snapshot(101, BIDS, ASKS)))
    assert len(list(normalizer.images(T0))) == 1


def test_a_crossed_snapshot_is_refused() -> None:
    """Publishing it would be publishing a wrong book."""
    with pytest.raises(PayloadError, match="expected a best bid below"):
        feed(defined(), snapshot(100, [["11.00", "1.0"]], ASKS))


def test_a_snapshot_of_a_whole_book_changes_nothing() -> None:
    """Two lanes' answers, or one too many: the chain of updates is the better witness."""
    normalizer = begun()
    feed(normalizer, depth(101, 105))
    assert not feed(normalizer, snapshot(103, [["1.00", "1.0"]], []), snapshot(200, [["1.00", "1.0"]], []))
    assert not gaps(feed(normalizer, depth(106, 106)))


def test_a_missing_snapshot_is_asked_for_again_but_not_with_every_update() -> None:
    """Once in five seconds of receive time."""
    normalizer = defined()
    asked = [
        len(resyncs(feed(normalizer, depth(number, number), ts_recv=T0 + number * 1_000_000_000)))
        for number in range(100, 112)
    ]
    assert asked == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert PATIENCE_NS == 5_000_000_000


def test_waiting_updates_are_bounded() -> None:
    """What no longer fits makes the snapshot too old, which is noticed."""
    normalizer = defined()
    for number in range(101, 102 + BUFFERED):
        feed(normalizer, depth(number, number))
    assert resyncs(feed(normalizer, snapshot(100, BIDS, ASKS))) == [DEPTH]
    assert len(data(feed(normalizer, snapshot(101, BIDS, ASKS)))) == 1


def test_a_refused_update_leaves_the_book_as_it_was_and_shows_as_a_gap() -> None:
    """All or nothing: not even the good levels of a bad update are applied."""
    normalizer = begun()
    for bad in (
        depth(101, 101, [["10.00", "5.0"], ["9.00", "0.0000001"]]),
        depth(101, 101, [["10.00", "5.0"]], [["x", "1.0"]]),
        depth(101, 101, [["10.00", "5.0"], ["9.00", "99999999999.0"]]),
        depth(101, 101, [["10.00", "5.0"]], [["11.00", "1.0", "extra"]]),
        depth(101, 101, [["10.00", "5.0"]], [["0.00", "1.0"]]),
        depth(102, 101, [["10.00", "5.0"]]),
        depth(101, 101, [["10.00", "5.0"]], E=10**14),
    ):
        with pytest.raises(PayloadError):
            feed(normalizer, bad)
    (image,) = normalizer.images(T0)
    assert (10_000_000_000, 1_000_000) in {(record.price, record.size) for record in mbo(image)}
    assert gaps(feed(normalizer, depth(102, 102))) == [Gap("update_id", 101, 102)]


def test_a_level_beyond_u32_lots_is_split_and_adds_up() -> None:
    """9,000 BTC are three records with ids of their own; shrinking and removing them is as exact."""
    normalizer, rebuilt = begun(), Rebuilt()
    (image,) = normalizer.images(T0)
    rebuilt.apply(image)
    for number, quantity in enumerate(["9000.000001", "5000.0", "9999999.0", "1.0", "0"], 101):
        (message,) = feed(normalizer, depth(number, number, (), [["20.00", quantity]]))
        rebuilt.apply(message)
        assert rebuilt.asks.get(20_000_000_000, 0) == int(float(quantity) * 1_000_000)
        assert all(record.size <= MAX_SIZE for record in mbo(message))
        (again,) = normalizer.images(T0)
        other = Rebuilt()
        other.apply(again)
        assert (other.orders, other.asks) == (rebuilt.orders, rebuilt.asks)
    assert order_id(ASK, 20_000_000_000) not in rebuilt.orders


# --- random streams ---------------------------------------------------------------------------------------------------


class Venue:
    """A book and its updates, told by plain dictionaries: `books[i]` is the book after update `ids[i]`."""

    def __init__(self, seed: int, length: int) -> None:
        draw = random.Random(seed)
        book = {"b": {str(price): 1 for price in range(1, 6)}, "a": {str(price): 1 for price in range(11, 16)}}
        last = 50_000_000_000
        self.ids, self.books, self.updates = [last], [json.loads(json.dumps(book))], []
        for _ in range(length):
            first, last = last + 1, last + draw.randint(1, 4)
            changed: dict[str, dict[str, int]] = {"b": {}, "a": {}}
            for _ in range(draw.randint(0, 3)):
                side = draw.choice("ba")
                price = str(draw.randint(1, 10) if side == "b" else draw.randint(11, 20))
                changed[side][price] = draw.choice([0, draw.randint(1, 9)])
            for side, levels in changed.items():
                book[side] |= levels
                book[side] = {price: size for price, size in book[side].items() if size}
            levels_ = {side: [[price, str(size)] for price, size in changed[side].items()] for side in "ba"}
            self.updates.append(depth(first, last, levels_["b"], levels_["a"]))
            self.ids.append(last)
            self.books.append(json.loads(json.dumps(book)))

    def snapshot(self, index: int) -> dict[str, Any]:
        book = self.books[index]
        return snapshot(
            self.ids[index], [[p, str(q)] for p, q in book["b"].items()], [[p, str(q)] for p, q in book["a"].items()]
        )

    def is_book(self, rebuilt: Rebuilt, last: int) -> bool:
        """True where `rebuilt` is the book after the update whose id ends in `last`."""
        index = next(i for i, number in enumerate(self.ids) if number % 2**32 == last)
        mine = [{str(p // 10**9): q * LOT // 10**9 for p, q in side.items()} for side in (rebuilt.bids, rebuilt.asks)]
        return mine == [self.books[index]["b"], self.books[index]["a"]]


class Subscriber:
    """Believes what is not flagged, and holds it against the venue's own book."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.rebuilt = Rebuilt()
        self.trusted = False
        self.declared = 0
        self.wanted = 0

    def take(self, outputs: list[Output]) -> None:
        self.declared += len(gaps(outputs))
        self.wanted += len(resyncs(outputs))
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


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), EVENTS)
def test_whatever_is_lost_repeated_or_swapped_the_unflagged_book_is_right(seed: int, events: list[str]) -> None:
    """Every unflagged message leaves exactly the venue's book; a fresh snapshot always heals."""
    venue = Venue(seed, len(events) + 1)
    normalizer, subscriber = defined(), Subscriber(venue)
    updates = venue.updates
    arrived: list[int] = []
    queue = list(range(len(events)))
    for position, event in enumerate(events):
        number = queue[position]
        if event == "swap" and position + 1 < len(queue):
            queue[position], queue[position + 1] = queue[position + 1], number
            number = queue[position]
        if event in {"snapshot", "stale"}:
            index = max(0, number + 1 - (3 if event == "stale" else 0))
            subscriber.take(feed(normalizer, venue.snapshot(index)))
        if event != "drop":
            arrived.append(number)
            subscriber.take(feed(normalizer, updates[number]))
        if event == "copy":
            subscriber.take(feed(normalizer, updates[number]))
        if event == "old" and arrived:
            subscriber.take(feed(normalizer, updates[arrived[len(arrived) // 2]]))
    subscriber.take(feed(normalizer, updates[len(events)], venue.snapshot(len(events) + 1)))
    assert subscriber.trusted
    (image,) = normalizer.images(T0)
    subscriber.take([image])
    assert mbo(image)[0].sequence == venue.ids[-1] % 2**32


@settings(max_examples=100, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(0, 39), min_size=1))
def test_every_hole_is_declared(seed: int, lost: set[int]) -> None:
    """One Gap for each run of lost updates that something follows, with the ids that are missing."""
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
    assert [gap.got for gap in gaps(outputs)] == [venue.updates[number + 1]["data"]["U"] for number in runs]


# --- broken frames ----------------------------------------------------------------------------------------------------

NUMBERS = ["-1", "1e5", "0.1234567890", "9" * 25, "٣", "", "NaN", "1_0", " 1", "+1", "0x10", ".5", "5."]
VALUES = [None, True, -1, 1.5, 2**64, 10**30, "", "x", [], {}, [[]], [["1", "2", "3"]], [None], 1e400]


def mutate(frame: dict[str, Any], draw: random.Random) -> bytes:
    """One broken copy: bytes flipped, cut, repeated or inserted, or a value, a number, a field changed."""
    text = json.dumps(frame, separators=(",", ":")).encode()
    kind = draw.randrange(7)
    at = draw.randrange(len(text))
    if kind == 0:
        return text[:at] + bytes([text[at] ^ (1 << draw.randrange(8))]) + text[at + 1 :]
    if kind == 1:
        return text[:at]
    if kind == 2:
        return text[:at] + bytes(draw.randrange(256) for _ in range(draw.randint(1, 4))) + text[at:]
    if kind == 3:
        return text[:at] + text[at + draw.randint(1, 20) :]
    body = json.loads(text)
    part = body.get("data", body) if draw.random() < 0.9 else body
    key = draw.choice(list(part))
    if kind == 4:
        del part[key]
    elif kind == 5:
        part[key] = draw.choice(VALUES)
    elif isinstance(part[key], list) and part[key]:
        part[key][0] = draw.choice([[draw.choice(NUMBERS), "1"], ["1", draw.choice(NUMBERS)], draw.choice(VALUES)])
    else:
        part[key] = draw.choice(NUMBERS)
    return json.dumps(body).encode()


def test_ten_thousand_broken_frames_do_no_harm() -> None:
    """Between true frames: only PayloadError or whole records come of them, no trade and no update is lost in silence,
    and at the end everything works."""
    draw = random.Random(20260809)
    length = 2_500
    venue = Venue(7, length)
    normalizer = defined()
    reasons: dict[str, int] = {}
    outputs: list[Output] = []

    def take(channel: str, payload: bytes) -> None:
        try:
            made = list(normalizer.normalize(envelope(channel, payload)))
        except PayloadError as error:
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
            return
        for output in made:
            if isinstance(output, Message):
                assert list(records(output.data))
        outputs.extend(made)

    broken = 0
    for number in range(length):
        frames = [
            (TRADES, trade(1000 + number)), (QUOTES, quote(5000 + number)), (DEPTH, venue.updates[number]),
            (SNAPSHOT, venue.snapshot(number)),
        ]  # fmt: skip
        for channel, frame in frames:
            take(channel, mutate(frame, draw))
            broken += 1
            if channel != SNAPSHOT or not list(normalizer.images(T0)):
                take(channel, json.dumps(frame, separators=(",", ":")).encode())
    assert broken == 10_000
    assert sum(reasons.values()) > 5_000
    sold = {int.from_bytes(message.data[44:48], "little") for message in data(outputs, "TRADES")}
    assert sold >= {1000 + number for number in range(length)}
    outputs.clear()
    for frame in (venue.snapshot(length), trade(10**6), trade(10**6 + 1), quote(10**9)):
        take(frame.get("stream", SNAPSHOT), json.dumps(frame).encode())
    take(DEPTH, json.dumps(depth(venue.ids[-1] + 1, venue.ids[-1] + 1)).encode())
    (image,) = normalizer.images(T0)
    rebuilt = Rebuilt()
    rebuilt.apply(image)
    assert {price // 10**9 for price in rebuilt.bids} == {int(price) for price in venue.books[-1]["b"]}
