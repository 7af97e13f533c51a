"""Coinbase Exchange's books by order: the chain, what breaks it, and the whole of it against the simulated venue."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from glob import escape
from hashlib import blake2s
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import providers
from penstock.dbn import ASK, BID
from penstock.errors import PayloadError
from penstock.normalizing import Output
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_FRAME, KIND_HEARTBEAT
from penstock.session import Session
from providers.coinbase_exchange.normalizer import Normalizer
from providers.coinbase_exchange.oracle import Oracle
from providers.coinbase_exchange.orders import Order, OrderBook, order_key
from tests.contract import naive
from tests.contract.venue_loop import VenueLoop
from tests.unit.coinbase_exchange_frames import CREDENTIALS, INFO, Feed, data, gaps, resyncs

CHANNEL = "full.BTC-USD"
BOOK = "rest/book/BTC-USD"
LEVEL3 = {
    "sequence": 10,
    "bids": [["100.00", "1", "b1"], ["100.00", "2", "b2"]],
    "asks": [["101.00", "1", "a1"]],
    "auction_mode": False,
}


def whole() -> Feed:
    """A feed whose book is that of sequence 10."""
    feed = Feed()
    feed.order("received", 10, "x")
    assert data(feed.rest(BOOK, LEVEL3), "MBO")
    return feed


def flagged(outputs: Sequence[Output]) -> bool:
    (message,) = data(outputs, "MBO")
    return bool(naive.flags(message) & naive.F_MAYBE_BAD_BOOK)


def records(outputs: Sequence[Output]) -> list[tuple[str, str, int, int]]:
    """(action, side, price in cents, size) of the records of the MBO messages."""
    found = []
    for message in data(outputs, "MBO"):
        for record in naive.split(message):
            fields = naive.MBO.unpack(record)
            found.append((fields[10].decode(), fields[11].decode(), fields[6] // 10**7, fields[7]))
    return found


def test_the_life_of_orders():
    feed = whole()
    one = 100_000_000
    assert not feed.order("received", 11, "b3")
    assert records(feed.order("open", 12, "b3", price="99.00", remaining_size="1")) == [("A", "B", 9900, one)]
    outputs = feed.match(1, sequence=13, maker_order_id="b2", side="buy", price="100.00", size="0.5")
    assert records(outputs) == [("M", "B", 10000, one * 3 // 2)]
    assert len(data(outputs, "TRADES")) == 1
    assert records(feed.order("change", 14, "b2", new_size="1", old_size="1.5", price="100.00")) == [
        ("M", "B", 10000, one)
    ]
    moved = feed.order("change", 15, "b1", old_size="1", new_size="1", old_price="100.00", new_price="99.50")
    assert records(moved) == [("C", "B", 10000, one), ("A", "B", 9950, one)]
    assert records(feed.match(2, sequence=16, maker_order_id="b2", side="buy", price="100.00", size="1")) == [
        ("C", "B", 10000, one)
    ]
    assert not feed.order("done", 17, "b2", reason="filled", remaining_size="0"), "it is gone already"
    assert not feed.order("change", 18, "never-open", new_size="1", price=None)
    assert not feed.order("done", 19, "never-open", reason="canceled")
    assert records(feed.order("done", 20, "a1", reason="canceled", remaining_size="1")) == [("C", "A", 10100, one)]


def test_order_ids_are_the_first_bytes_of_a_hash():
    (message,) = data(whole().rest(BOOK, LEVEL3) or whole().order("done", 11, "b1"), "MBO")
    expected = int.from_bytes(blake2s(b"b1").digest()[:8], "big")
    assert naive.MBO.unpack(message)[5] == expected == order_key("b1")


def test_an_order_beyond_u32_lots_is_several_records():
    feed, book = whole(), naive.Book()
    book.apply(next(iter(data(list(feed.normalizer.images(0)), "MBO"))))
    sizes = ("100", "50", "42.94967295", "0.5", "85.89934590")
    outputs = feed.order("open", 11, "big", price="99.00", remaining_size=sizes[0])
    for number, size in enumerate(sizes[1:], 12):
        (message,) = data(outputs, "MBO")
        book.apply(message)
        outputs = feed.order("change", number, "big", new_size=size, price="99.00")
    book.apply(data(outputs, "MBO")[0])
    assert book.level("B", 99 * 10**9) == 8_589_934_590
    book.apply(data(feed.order("done", 16, "big"), "MBO")[0])
    assert book.level("B", 99 * 10**9) == 0
    with pytest.raises(PayloadError):
        feed.order("open", 17, "absurd", price="99.00", remaining_size="99999999")


def test_a_jump_is_a_gap_until_the_next_snapshot():
    feed = whole()
    outputs = feed.order("open", 12, "b3", price="99.00", remaining_size="1")
    assert gaps(outputs) == [(CHANNEL, "sequence")]
    assert resyncs(outputs) == [CHANNEL]
    assert flagged(outputs)
    assert flagged(feed.order("open", 13, "b4", price="99.00", remaining_size="1"))
    assert not list(feed.normalizer.images(0))
    # The snapshot has the first of the two; the other is played back.
    snapshot = {**LEVEL3, "sequence": 12, "bids": [["99.00", "1", "b3"]]}
    image, played = data(feed.rest(BOOK, snapshot), "MBO")
    assert not naive.flags(image) & naive.F_MAYBE_BAD_BOOK
    assert not naive.flags(played) & naive.F_MAYBE_BAD_BOOK
    assert not gaps(feed.order("done", 14, "b4"))


def test_old_messages_and_copies_are_passed_over():
    feed = whole()
    feed.order("open", 11, "b3", price="99.00", remaining_size="1")
    assert not feed.order("open", 11, "b3", price="99.00", remaining_size="1")
    assert not feed.order("open", 9, "b0", price="99.00", remaining_size="1")
    assert not feed.rest(BOOK, LEVEL3), "the chain is whole"


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("open", {"order_id": "b1", "price": "99.00", "remaining_size": "1"}, "order_known"),
        ("match", {"maker_order_id": "nobody"}, "order_unknown"),
        ("match", {"maker_order_id": "a1", "size": "1.5"}, "order_size"),
        ("match", {"maker_order_id": "b1", "price": "100.01"}, "order_size"),
        ("open", {"order_id": "b3", "price": "101.00", "remaining_size": "1"}, "crossed"),
    ],
)
def test_an_impossible_event_puts_the_book_in_doubt(kind: str, fields: dict[str, str], reason: str):
    feed = whole()
    if kind == "match":
        outputs = feed.match(1, sequence=11, **{"price": "101.00", **fields})
    else:
        outputs = feed.order(kind, 11, fields.pop("order_id"), **fields)
    assert gaps(outputs) == [(CHANNEL, reason)]
    assert resyncs(outputs) == [CHANNEL]


def test_a_heartbeat_proves_a_lost_last_message():
    feed = whole()
    feed.now = 1.0
    assert not feed.heartbeat(0, sequence=11)
    feed.now = 2.0
    outputs = feed.heartbeat(0, sequence=11)
    assert gaps(outputs) == [(CHANNEL, "sequence")]
    assert resyncs(outputs) == [CHANNEL]


def test_snapshots_that_cannot_be_used():
    """Too old for what is kept, indicative, crossed: asked for again."""
    feed = Feed()
    feed.order("received", 20, "x")
    feed.now = 1.0
    assert resyncs(feed.rest(BOOK, LEVEL3)) == [CHANNEL]
    assert not feed.rest(BOOK, {**LEVEL3, "sequence": 20, "auction_mode": True})
    assert resyncs(feed.rest(BOOK, {**LEVEL3, "sequence": 20, "bids": [["101.00", "1", "b"]]})) == [CHANNEL]
    assert data(feed.rest(BOOK, {**LEVEL3, "sequence": 20}), "MBO")


def test_a_snapshot_that_does_not_come_is_asked_for_again():
    feed = Feed()
    feed.take("session", b'{"channels":["full.BTC-USD"]}', 1, KIND_CONNECTED)
    alive = b'{"connections":{"1":["full.BTC-USD"]}}'
    assert not feed.take("session", alive, 0, KIND_HEARTBEAT), "the session fetches the first one"
    feed.now = 6.0
    assert resyncs(feed.take("session", alive, 0, KIND_HEARTBEAT)) == [CHANNEL]
    assert not feed.take("session", alive, 0, KIND_HEARTBEAT)


def test_one_absurd_sequence_does_not_silence_a_book():
    feed = whole()
    assert gaps(feed.order("received", 10**15, "x"))
    feed.order("open", 12, "b3", price="99.00", remaining_size="1")
    assert len(data(feed.rest(BOOK, {**LEVEL3, "sequence": 11}), "MBO")) == 2
    assert not gaps(feed.order("done", 13, "b3"))


def test_messages_about_the_clients_own_orders_are_not_counted():
    feed = whole()
    message = {
        "type": "activate",
        "product_id": "BTC-USD",
        "timestamp": "1483736448.299000",
        "order_id": "o",
        "side": "buy",
    }
    assert not feed.frame(message)
    assert not feed.frame(
        {"type": "received", "product_id": "BTC-USD", "time": "2026-09-21T14:13:20Z", "order_id": "o"}
    )
    assert not gaps(feed.order("received", 11, "x"))


ORDERS = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 6), st.integers(0, 2**33)), max_size=80)


@given(ORDERS)
def test_an_order_book_against_a_dictionary(steps: list[tuple[int, bool, int, int]]):
    """The records of any sequence of puts add up to the orders that rest, and so does the image."""
    book, truth, copy = OrderBook(), dict[str, Order](), naive.Book()
    for number, is_bid, price, size in steps:
        name = f"o{number}"
        side = truth[name].side if name in truth else BID if is_bid else ASK
        order = Order(order_key(name), side, price, size)
        parts = book.put(name, order)
        truth.pop(name, None)
        if size:
            truth[name] = order
        apply(copy, parts)
    assert dict(book.orders) == truth
    image = naive.Book()
    apply(image, book.image())
    totals: Counter[tuple[str, int]] = Counter()
    for order in truth.values():
        totals[order.side.decode(), order.price] += order.size
    assert Counter(copy._levels) == Counter(image._levels) == totals
    bids = [price for side, price in totals if side == "B"]
    asks = [price for side, price in totals if side == "A"]
    assert book.crossed == (bool(bids and asks) and max(bids, default=0) >= min(asks, default=0))


def apply(book: naive.Book, parts: list[tuple[int, int, int, bytes, bytes]]) -> None:
    if parts:
        head = [
            naive.MBO.pack(14, 0xA0, 1, 1, 0, key, price, size, 128, 0, action, side, 0, 0, 0)
            for key, price, size, action, side in parts
        ]
        book.apply(b"".join(head))


# --- against the simulated venue, with keys -------------------------------------------------------------------------


class Loop(VenueLoop):
    """The contract suite's loop, signed in."""

    def _session(self) -> Session:
        return providers.session_class(self.provider)(self.info, self._endpoints, self.symbols, CREDENTIALS)

    async def settled(self) -> None:
        await self.until(lambda: all(client.ready for client in self.clients) and bool(self.clients), 30)
        await self.until(lambda: bool(self.books) and not any(book.bad for book in self.books.values()), 30)
        await self.run(0.5, market=False)

    def wrong(self) -> list[str]:
        return [text for channel in self.books if (text := self.difference(channel, 0))]


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop("coinbase_exchange", 21, tmp_path, monkeypatch)
    yield made
    made.close()


async def test_faults_on_full_and_matches(loop: Loop):
    """Every lost or swapped message is declared, only its product's books are repaired, and then they are right."""
    await loop.start()
    await loop.run(2)
    await loop.settled()
    assert not loop.declared
    assert sorted(loop.books) == ["full.BTC-USD", "full.ETH-USD"]
    assert not loop.wrong()
    channels = [
        name for client in loop.clients for name in client.plan.channels if name.startswith(("full", "matches"))
    ]
    dice = random.Random("faults")
    for _ in range(14):
        kind, channel = dice.choice(("drop", "reorder", "duplicate")), dice.choice(channels)
        faults, declared, resynced = len(loop.faults), len(loop.declared), len(loop.resyncs)
        loop.inject(kind, escape(channel))
        await loop.until(lambda count=faults: len(loop.faults) > count, 120)
        seen = loop.seen[channel]
        await loop.until(lambda name=channel, count=seen: loop.seen[name] >= count + 2, 120)
        await loop.run(0.2)
        await loop.settled()
        product = channel.partition(".")[2]
        found = {gap.channel for gap in loop.declared[declared:]}
        assert bool(found) == (kind != "duplicate"), f"{kind} on {channel}: {found}"
        assert found <= {f"full.{product}", f"matches.{product}"}
        assert set(loop.resyncs[resynced:]) <= {f"full.{product}", f"matches.{product}"}
        assert not loop.wrong(), f"{kind} on {channel}"
    for fault in ("reset", "close", "lose_snapshot"):
        loop.inject(fault)
        await loop.run(1)
        await loop.settled()
        assert not loop.wrong(), fault
    assert not Counter(loop.trades) - Counter(loop.published_trades())
    assert not loop.quarantined


@pytest.mark.parametrize("archive", [False, True])
async def test_books_equal_the_oracles_after_every_message(archive: bool, loop: Loop):
    """A second reading of the venue's pages has the same book, hot and as an archive."""
    await loop.start()
    await loop.run(2)
    frames = [envelope for envelope in loop.envelopes if envelope.kind == KIND_FRAME]
    normalizer, oracle, books, compared = Normalizer(INFO, archive=archive), Oracle(), dict[str, naive.Book](), 0
    for envelope in frames:
        oracle.read(envelope.channel, envelope.payload, envelope.ts_recv)
        for output in normalizer.normalize(envelope):
            if output[0] != "MBO":
                continue
            book = books.setdefault(output.channel, naive.Book())
            book.apply(output.data)  # type: ignore[union-attr]
            assert not book.bad
            assert book.levels(Decimal("1e-8")) == oracle.books[output.channel]
            compared += 1
    assert compared > 100


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_an_archive_may_have_what_happened_at_once_in_any_order(dice: random.Random):
    """Five messages of one instant between a snapshot and a later one."""
    frames = [
        lambda feed: feed.order("received", 11, "t"),
        lambda feed: feed.match(1, sequence=12, maker_order_id="a1", price="101.00", size="1"),
        lambda feed: feed.order("done", 13, "a1", reason="filled"),
        lambda feed: feed.order("open", 14, "t", price="101.00", remaining_size="1"),
        lambda feed: feed.order("change", 15, "t", new_size="0.5", price="101.00"),
    ]
    dice.shuffle(frames)
    feed, book = Feed(archive=True), naive.Book()
    feed.order("received", 10, "x")
    outputs = [*feed.rest(BOOK, LEVEL3)]
    for send in frames:
        outputs += send(feed)
    assert not gaps(outputs)
    for message in data(outputs, "MBO"):
        book.apply(message)
    assert not book.bad
    assert book.level("B", 101 * 10**9) == 50_000_000
    assert book.level("A", 101 * 10**9) == 0


def test_a_hole_in_an_archive_is_a_gap_after_a_second():
    feed = Feed(archive=True)
    feed.order("received", 10, "x")
    feed.rest(BOOK, LEVEL3)
    assert not feed.order("received", 12, "x")
    assert not feed.order("open", 12, "y", price="99.00", remaining_size="1"), "the same number at the same instant"
    feed.now = 2.0
    assert gaps(feed.order("received", 13, "x")) == [(CHANNEL, "sequence")]
