"""OKX books: the chain of sequence ids, and the checksum of the years before."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import ASK, BID
from penstock.errors import PayloadError
from penstock.normalizing import Message, Resync
from providers.okx.checksums import Ladder
from tests.unit.okx_frames import Feed, book, decoded, gaps, instrument

SWAP = "BTC-USDT-SWAP"
CHANNEL = f"books.{SWAP}"
BIDS, ASKS = [("99.9", "5"), ("99.8", "7")], [("100.1", "4"), ("100.3", "9")]


def started(**words: int) -> Feed:
    feed = Feed(instrument(SWAP), instrument("ETH-USDT-SWAP"))
    feed.frame(book(CHANNEL, "snapshot", BIDS, ASKS, **({"prevSeqId": -1, "seqId": 10} | words)))
    return feed


def update(previous: int, sequence: int, ms: int, size: str = "6", channel: str = CHANNEL) -> bytes:
    return book(channel, "update", [("99.9", size)], [], ms, prevSeqId=previous, seqId=sequence, checksum=0)


def test_the_documented_example_is_one_unbroken_book():
    """Snapshot 10, update 15, no update 15, reset to 3, update 5: the venue's own example, and no gap."""
    feed = started()
    outputs = feed.frame(update(10, 15, 100, "6"))
    outputs += feed.frame(book(CHANNEL, "update", [], [], 60_100, prevSeqId=15, seqId=15, checksum=0))
    outputs += feed.frame(update(15, 3, 60_200, "7"))
    outputs += feed.frame(update(3, 5, 60_300, "8"))
    assert [[record.size for record in decoded(output)] for output in outputs] == [[6], [7], [8]]
    assert [decoded(output)[0].sequence for output in outputs] == [15, 3, 5]
    assert [decoded(output)[0].flags for output in outputs] == [128 | 16] * 3


def test_a_message_that_is_missing_is_declared_and_only_its_book_repaired():
    """The gap names the ids; what follows is flagged until the snapshot, of this channel alone."""
    feed = started()
    feed.frame(book("books.ETH-USDT-SWAP", "snapshot", BIDS, ASKS, prevSeqId=-1, seqId=70))
    outputs = feed.frame(update(15, 20, 100))
    assert gaps(outputs) == [(CHANNEL, "seq_id")]
    assert decoded(outputs[1])[0].flags == 128 | 16 | 4
    assert outputs[2] == Resync(CHANNEL)
    assert not gaps(feed.frame(update(70, 71, 100, channel="books.ETH-USDT-SWAP")))
    assert decoded(feed.frame(update(20, 22, 150, "9"))[0])[0].flags & 4, "doubtful until the snapshot"
    assert [message.channel for message in feed.normalizer.images(1)] == ["books.ETH-USDT-SWAP"]
    renewed = feed.frame(book(CHANNEL, "snapshot", BIDS, ASKS, 200, prevSeqId=-1, seqId=23))
    assert decoded(renewed[0])[0].flags & 4 == 0
    assert not gaps(feed.frame(update(23, 24, 300)))


def test_copies_are_skipped_and_swapped_messages_declared_once():
    """A duplicate says nothing; of two swapped ones the late one is older than the book."""
    feed = started()
    feed.frame(update(10, 15, 100))
    assert feed.frame(update(10, 15, 100)) == []
    assert gaps(feed.frame(update(20, 25, 300, "9"))) == [(CHANNEL, "seq_id")]
    assert feed.frame(update(15, 20, 200, "8")) == []


def test_asking_grows_rarer_while_nothing_mends_the_book():
    """Requests are 480 an hour: after 2 s, 4 s, 8 s …"""
    feed = started()
    feed.frame(update(15, 16, 1))
    asked = []
    for second in range(130):
        feed.ms = second * 1000
        if Resync(CHANNEL) in feed.frame(update(16 + second, 17 + second, 1000 * second + 2, str(second + 1))):
            asked.append(second)
    assert asked == [3, 7, 15, 31, 63, 127]


def test_a_crossed_book_is_flagged_unless_trading_has_not_begun():
    """Crossed in the message that crosses; in `preopen` the venue says that it happens."""
    crossing = book(CHANNEL, "update", [("100.2", "1")], [], 100, prevSeqId=10, seqId=11)
    outputs = started().frame(crossing)
    assert gaps(outputs) == [(CHANNEL, "crossed")]
    assert decoded(outputs[1])[0].flags & 4
    feed = Feed(instrument(SWAP, state="preopen"))
    feed.frame(book(CHANNEL, "snapshot", BIDS, ASKS, prevSeqId=-1, seqId=10))
    assert gaps(feed.frame(crossing)) == []


def test_the_dead_checksum_is_never_looked_at_where_there_are_ids():
    """The venue sends 0 since 2026."""
    feed = started(checksum=0)
    assert not gaps(feed.frame(update(10, 15, 100)))


def test_without_ids_the_checksum_proves_the_book_or_declares_a_gap():
    """The documentation's string, bid and ask in turn; a lost update shows at the next."""
    feed = Feed(instrument(SWAP))
    start = signed("99.9:5:100.1:4:99.8:7:100.3:9")
    assert not gaps(feed.frame(book(CHANNEL, "snapshot", BIDS, ASKS, 0, checksum=start)))
    after = signed("99.9:6:100.1:4:99.8:7:100.3:9")
    assert not gaps(feed.frame(book(CHANNEL, "update", [("99.9", "6")], [], 10, checksum=after)))
    assert feed.frame(book(CHANNEL, "update", [("99.9", "5")], [], 5, checksum=start)) == [], "a copy from before"
    lost = signed("99.9:6:100.1:4:100.3:9")  # 99.8 was removed by a message that never came
    outputs = feed.frame(book(CHANNEL, "update", [], [("100.1", "4")], 20, checksum=lost))
    assert gaps(outputs) == [(CHANNEL, "checksum")]
    assert outputs[-1] == Resync(CHANNEL)


def test_an_update_that_nothing_proves_is_refused():
    """Neither id nor checksum; an id without the one before; another action."""
    feed = started()
    for payload in (
        book(CHANNEL, "update", [("99.9", "1")], [], 50),
        book(CHANNEL, "update", [("99.9", "1")], [], 50, seqId=11),
        book(CHANNEL, "partial", [("99.9", "1")], [], 50, seqId=11, prevSeqId=10),
        book(CHANNEL, "update", [("0", "1")], [], 50, seqId=11, prevSeqId=10),
        book(CHANNEL, "update", [("99.9", "0.5")], [], 50, seqId=11, prevSeqId=10),
    ):
        with pytest.raises(PayloadError):
            feed.frame(payload)
    assert not gaps(feed.frame(update(10, 11, 60))), "the book is as before"


def test_five_levels_are_a_book_each_time():
    """books5 has no action; every frame is the whole of it."""
    feed = Feed(instrument(SWAP))
    channel = f"books5.{SWAP}"
    for number in (1, 2):
        (message,) = feed.frame(book(channel, "", BIDS, ASKS, number * 100, seqId=number))
        assert isinstance(message, Message)
        assert [str(record.action) for record in decoded(message)] == ["R", "A", "A", "A", "A"]


@given(
    st.dictionaries(st.integers(1, 60), st.integers(1, 99)), st.dictionaries(st.integers(61, 120), st.integers(1, 99))
)
def test_a_ladder_has_the_checksum_of_its_best_25(bids: dict[int, int], asks: dict[int, int]):
    """Against the documentation's words, read plainly."""
    ladder = Ladder()
    ladder.apply([(BID, price, f"{price}:{size}") for price, size in bids.items()])
    ladder.apply([(ASK, price, f"{price}:{size}") for price, size in asks.items()])
    best = (sorted(bids.items(), reverse=True)[:25], sorted(asks.items())[:25])
    words = [f"{side[i][0]}:{side[i][1]}" for i in range(25) for side in best if i < len(side)]
    assert ladder.checksum() == signed(":".join(words))
    ladder.apply([(BID, price, "") for price in bids] + [(ASK, price, "") for price in asks])
    assert ladder.checksum() == 0


def signed(text: str) -> int:
    value = zlib.crc32(text.encode())
    return value - 2**32 if value >= 2**31 else value
