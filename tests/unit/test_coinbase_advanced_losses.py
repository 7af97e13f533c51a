"""Drops, copies and overtaking on a connection, and mangled bytes: every loss declared, nothing declared that is none."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import F_MAYBE_BAD_BOOK, records
from penstock.errors import PayloadError
from penstock.normalizing import Message, Resync
from tests.unit.coinbase_advanced_frames import (
    SNAPSHOT,
    TRADE,
    capture,
    envelope,
    gaps,
    heartbeat,
    is_gap,
    level_event,
    mbo,
    numbered,
    products,
    ready,
    trade,
)

LENGTH = 40


def stream() -> list[dict[str, object]]:
    """Frames 0.. of one connection: a snapshot, then book updates, trades and heartbeats in turn."""
    frames = [numbered("l2_data", 0, [level_event("snapshot", SNAPSHOT)])]
    for number in range(1, LENGTH):
        if number % 4 == 0:
            frames.append(heartbeat(number))
        elif number % 4 == 1:
            event = {"type": "update", "trades": [trade(number)]}
            frames.append(numbered("market_trades", number, [event]))
        else:
            level = ("bid", f"{90 + number % 7}.00", str(number))
            frames.append(numbered("l2_data", number, [level_event("update", [level])]))
    return frames


def apply(book: dict[int, int], data: bytes) -> None:
    for record in mbo(data):
        if record.action == b"R":
            book.clear()
        elif record.action == b"C":
            book.pop(record.order_id, None)
        else:
            book[record.order_id] = record.size


faults = st.lists(
    st.tuples(st.sampled_from(["drop", "copy", "swap"]), st.integers(1, LENGTH - 2)),
    max_size=6,
    unique_by=lambda f: f[1],
)


@given(faults=faults, repair_at=st.integers(1, 3))
def test_losses_are_declared_and_books_are_right_after_a_resync(faults, repair_at):
    """A jump is a gap with a resync; copies alone are none; after the snapshot the book is the venue's, unflagged."""
    frames = stream()
    arriving = list(range(LENGTH))
    for kind, at in faults:
        if at not in arriving:
            continue
        index = arriving.index(at)
        if kind == "drop":
            arriving.pop(index)
        elif kind == "copy":
            arriving.insert(index, at)
        elif index + 1 < len(arriving):
            arriving[index], arriving[index + 1] = arriving[index + 1], arriving[index]
    normalizer, book, seen = ready(), {}, -1
    for number in arriving:
        outputs = list(normalizer.normalize(envelope(frames[number])))
        declared = [reason for _, _, reason in gaps(outputs) if reason == "sequence_num"]
        assert bool(declared) == (number > seen + 1)
        if number > seen + 1 and not any(live.resync_at for live in normalizer._books.values()):
            assert Resync("level2.BTC-USD") in outputs
        seen = max(seen, number)
        for output in outputs:
            if isinstance(output, Message) and output.schema == "MBO" and not is_gap(output):
                apply(book, output.data)
    # The venue's snapshot, some frames later: the whole book as it is, whatever was lost before.
    levels = [*SNAPSHOT]
    for number in range(LENGTH, LENGTH + repair_at):
        levels.append(("bid", f"{80 + number - LENGTH}.00", "5"))
        normalizer.normalize(envelope(numbered("l2_data", number, [level_event("update", levels[-1:])])))
    number = LENGTH + repair_at
    outputs = list(normalizer.normalize(envelope(numbered("l2_data", number, [level_event("snapshot", levels)]))))
    outputs += normalizer.normalize(
        envelope(numbered("l2_data", number + 1, [level_event("update", [("bid", "70", "1")])]))
    )
    assert not any(isinstance(output, Resync) for output in outputs[-1:])
    book.clear()
    for output in outputs:
        if isinstance(output, Message) and output.schema == "MBO" and not is_gap(output):
            assert not any(record.flags & F_MAYBE_BAD_BOOK for record in mbo(output.data))
            apply(book, output.data)
    assert len(book) == len(levels) + 1
    assert sum(book.values()) == int(sum(Decimal(q) for _, _, q in levels) * 10**8) + 10**8


def test_one_absurd_frame_does_not_deafen():
    """After a number and a time from far ahead the true frames are a jump and then in order again, not late forever."""
    normalizer = ready()
    frames = stream()
    normalizer.normalize(envelope(frames[0]))
    absurd = numbered("heartbeats", 10**15, [], at=10**9 * 4_000_000_000)
    assert gaps(normalizer.normalize(envelope(absurd)))
    assert gaps(normalizer.normalize(envelope(frames[1])))
    assert not gaps(normalizer.normalize(envelope(frames[2])))


def mangle(payload: bytes, source: random.Random) -> bytes:
    """One or two places changed, removed, doubled or cut off."""
    mangled = bytearray(payload)
    for _ in range(source.randint(1, 2)):
        at, kind = source.randrange(len(mangled)), source.randrange(6)
        if kind == 0:
            mangled[at] = source.randrange(256)
        elif kind == 1:
            mangled[at] = source.choice(b'0123456789.-eE"{}[],:')
        elif kind == 2:
            del mangled[at : at + source.randint(1, 9)]
        elif kind == 3:
            mangled[at:at] = mangled[at : at + source.randint(1, 30)]
        elif kind == 4:
            mangled[at:at] = source.choice([b"9" * 30, b"9" * 5000, b"-", b"null", b"1e9", b"\x00", b'"'])
        elif source.random() < 0.2:
            del mangled[at:]
        mangled = mangled or bytearray(b"{")
    return bytes(mangled)


REASONS = {
    "json", "shape", "time_format", "number_format", "number_range", "number_precision", "not_whole_lots",
    "size_range", "definition",
}  # fmt: skip


@pytest.mark.parametrize("archive", [False, True])
def test_ten_thousand_mangled_frames(archive, fixtures: Path):
    """Ten mangled copies before each frame: refused with a reason or whole records; then all goes on as before."""
    normalizer, source = ready(archive=archive), random.Random(1)
    wide = [("bid", "0.01", "1"), ("offer", "99999999", "1")]
    normalizer.normalize(envelope(numbered("l2_data", 0, [level_event("snapshot", wide)])))
    normalizer.normalize(envelope(numbered("l2_data", 1, [level_event("snapshot", wide, "ETH-USD")])))
    frames = [frame for frame in capture(fixtures) if frame.connection and len(frame.payload) < 5000]
    refused: Counter[str] = Counter()
    total = published = 0
    for frame in frames:
        for _ in range(10):
            total += 1
            try:
                outputs = normalizer.normalize(envelope(mangle(frame.payload, source), ts_recv=frame.ts_recv))
            except PayloadError as error:
                refused[error.reason] += 1
                continue
            for output in outputs:
                if isinstance(output, Message):
                    assert list(records(output.data))
                    assert output.channel
                    published += 1
        normalizer.normalize(frame)
    assert total >= 10_000
    assert set(refused) <= REASONS
    assert refused.total() > 5000
    assert published > 1000
    # A list, a snapshot and trades on a new connection: everything is right again.
    normalizer.normalize(products())
    outputs = normalizer.normalize(envelope(numbered("l2_data", 0, [level_event("snapshot", SNAPSHOT)]), 9))
    assert [len(mbo(o.data)) for o in outputs if isinstance(o, Message)] == [5]
    first = 10**18
    event = {"type": "update", "trades": [trade(first), trade(first + 1)]}
    outputs = normalizer.normalize(envelope(numbered("market_trades", 1, [event]), 9))
    found = [TRADE.unpack(o.data) for o in outputs if isinstance(o, Message) and not is_gap(o)]
    assert [record[5:7] for record in found] == [(100_500_000_000, 10**8)] * 2


def test_mangled_definitions(fixtures: Path):
    """The product list is as strict: refused whole, or a list whose every definition can be packed."""
    source = random.Random(2)
    body = products().payload
    for _ in range(2_000):
        mangled = bytearray(body)
        for _ in range(source.randint(1, 3)):
            mangled[source.randrange(len(mangled))] = source.choice(b'0123456789.-eE"{}[],:AZ\xff')
        normalizer = ready()
        try:
            outputs = normalizer.normalize(envelope(bytes(mangled), 0, channel="rest/products"))
        except PayloadError:
            continue
        assert all(list(records(output.data)) for output in outputs if isinstance(output, Message))
