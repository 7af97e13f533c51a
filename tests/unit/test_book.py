"""A book's records rebuild exactly the book, whatever happens to its levels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import dbn
from penstock.book import Book, check_room, doubtful, order_id
from penstock.dbn import ASK, BID, F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT
from penstock.errors import PayloadError
from penstock.lots import MAX_PARTS, MAX_SIZE, SCALE

SIZES = st.one_of(st.integers(0, 3), st.sampled_from([MAX_SIZE - 1, MAX_SIZE, MAX_SIZE + 1, 3 * MAX_SIZE + 5]))
CHANGES = st.lists(st.tuples(st.sampled_from([BID, ASK]), st.integers(1, 6), SIZES), max_size=6)
LEVELS = st.dictionaries(st.integers(1, 8), SIZES, max_size=6)
STEPS = st.lists(st.one_of(CHANGES, st.tuples(LEVELS, LEVELS)), max_size=25)


class Orders:
    """What a subscriber keeps: orders by id, built from the records alone. It refuses what makes no sense."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[bytes, int, int]] = {}

    def apply(self, message: bytes) -> None:
        records = [record for _, record in dbn.records(message)]
        for index, record in enumerate(records):
            key, price = int.from_bytes(record[16:24], "little"), int.from_bytes(record[24:32], "little")
            size, flags, action, side = (
                int.from_bytes(record[32:36], "little"),
                record[36],
                record[38:39],
                record[39:40],
            )
            assert bool(flags & F_LAST) == (index == len(records) - 1)
            assert flags & F_MBP
            if action == b"R":
                self.orders.clear()
                assert index == 0
                assert flags & F_SNAPSHOT
            elif action == b"A":
                assert key not in self.orders
                self.orders[key] = (side, price, size)
            elif action == b"M":
                assert self.orders[key][:2] == (side, price)
                self.orders[key] = (side, price, size)
            else:
                assert self.orders.pop(key) == (side, price, size)

    def levels(self, wanted: bytes) -> dict[int, int]:
        found: dict[int, int] = {}
        for side, price, size in self.orders.values():
            if side == wanted:
                found[price] = found.get(price, 0) + size
        return found


@settings(max_examples=150)
@given(STEPS)
def test_the_records_rebuild_the_book(steps):
    """After each message a subscriber that knows only records has the same levels as a naive book, parts summed; the
    best prices are those of the naive book; an image at any moment gives the same."""
    book, seen = Book(1, 2), Orders()
    naive: dict[bytes, dict[int, int]] = {BID: {}, ASK: {}}
    for sequence, step in enumerate(steps):
        if isinstance(step, tuple):
            naive = {
                side: {p: s for p, s in levels.items() if s} for side, levels in zip((BID, ASK), step, strict=True)
            }
            message = book.replace(step[0].items(), step[1].items(), 5, 6, sequence)
        else:
            for side, price, size in step:
                naive[side][price] = size
                if not size:
                    del naive[side][price]
            message = book.update(step, 5, 6, sequence)
        if message:
            seen.apply(message)
        assert {side: seen.levels(side) for side in (BID, ASK)} == naive == {BID: book.bids, ASK: book.asks}
        assert book.best_bid == max(naive[BID], default=None)
        assert book.best_ask == min(naive[ASK], default=None)
        assert book.crossed == (bool(naive[BID] and naive[ASK]) and max(naive[BID]) >= min(naive[ASK]))
        image = Orders()
        image.apply(book.image(5, 6, sequence))
        assert image.orders == seen.orders


def test_nothing_changed_is_no_message():
    """Removing an unknown level gives no bytes."""
    assert Book(1, 2).update([(BID, 5, 0)], 1, 1, 1) == b""


def test_order_ids_are_the_same_on_every_lane_and_differ_by_side_price_and_part():
    """An id is a function of side, price and part only."""
    keys = {order_id(side, price, part) for side in (BID, ASK) for price in range(1, 50) for part in range(4)}
    assert len(keys) == 2 * 49 * 4
    assert order_id(ASK, 7) == 15


def test_a_level_that_comes_and_goes_does_not_fill_memory():
    """A hundred thousand appearances of one price leave a bounded heap."""
    book = Book(1, 2)
    for _ in range(20_000):
        book.update([(BID, 5, 1), (BID, 5, 0)], 1, 1, 1)
    assert len(book._bid_heap) < 2048
    assert book.best_bid is None


def test_a_doubtful_message_says_so_in_each_record():
    """And nothing else of it changes."""
    book = Book(1, 2)
    content = book.replace([(10 * SCALE, 5)], [(11 * SCALE, 6)], 1, 2, 3)
    marked = doubtful(content)
    flags = [offset + 36 for offset in range(0, len(content), 56)]
    assert [marked[at] ^ content[at] for at in flags] == [F_MAYBE_BAD_BOOK] * 3
    assert all(marked[at] == content[at] for at in range(len(content)) if at not in flags)


def test_a_level_without_room_is_refused_before_the_book_is_touched():
    """As `order_id` says: the parts of a level are numbered in what its price leaves of 64 bits."""
    check_room(BID, 100 * SCALE, 3 * MAX_SIZE)
    with pytest.raises(PayloadError, match="size"):
        check_room(BID, 100 * SCALE, MAX_SIZE * (MAX_PARTS + 1))
    with pytest.raises(PayloadError, match="price"):
        check_room(BID, 9 * 10**18, 3 * MAX_SIZE)
