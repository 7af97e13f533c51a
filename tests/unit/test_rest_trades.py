"""Lists of trades: each once, nothing missing without a gap, no gap without a loss."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from penstock.errors import PayloadError
from penstock.raw.v1.raw_pb2 import KIND_DISCONNECTED, KIND_DROPPED
from tests.unit.rest_sources import SECOND, TRADES, Reader, ids, source, trade

CHANNEL = "rest/desk/trades/BTC-USD"
OPAQUE = TRADES | {"fields": TRADES["fields"] | {"id": {"path": "id"}}}


def reader(*, archive: bool = False, opaque: bool = False) -> Reader:
    return Reader(source(OPAQUE if opaque else TRADES), archive=archive)


def listed(*numbers: object) -> list[object]:
    return [trade(number) for number in numbers]


def test_hot_the_first_list_is_where_the_stream_begins():
    """Old trades are not published as if they were new; an archive has them all."""
    hot, cold = reader(), reader(archive=True)
    assert ids(hot.body(CHANNEL, listed(5, 6))) == ["definition"]
    assert ids(cold.body(CHANNEL, listed(5, 6))) == ["definition", 5, 6]
    assert ids(hot.body(CHANNEL, listed(5, 6, 7))) == ids(cold.body(CHANNEL, listed(5, 6, 7))) == [7]


def test_a_stream_may_begin_with_an_empty_list():
    """The first trade ever is new."""
    hot = reader()
    hot.body(CHANNEL, [])
    assert ids(hot.body(CHANNEL, listed(1))) == [1]
    hot = reader(opaque=True)
    hot.body(CHANNEL, [])
    assert len(hot.body(CHANNEL, listed("x9"))) == 1


@pytest.mark.parametrize("archive", [False, True])
def test_a_hole_in_ids_that_count_is_declared_and_filled_late(archive):
    """Between polls and within a list; what fills it is published, once."""
    hot = reader(archive=archive)
    hot.body(CHANNEL, listed(5))
    assert ids(hot.body(CHANNEL, listed(8, 9, 11))) == [
        ("gap", "trade_id", 6, 8),
        8,
        9,
        ("gap", "trade_id", 10, 11),
        11,
    ]
    assert ids(hot.body(CHANNEL, listed(9, 10, 11))) == [10]
    assert ids(hot.body(CHANNEL, listed(7, 10, 11, 12))) == [7, 12]
    assert ids(hot.body(CHANNEL, listed(7, 10, 11, 12))) == []
    assert ids(hot.body(CHANNEL, listed(3, 4))) == ([3, 4] if archive else [])


def test_without_counting_ids_an_item_of_both_lists_proves_that_nothing_is_between():
    """No overlap is a possible hole, and declared."""
    hot = reader(opaque=True)
    hot.body(CHANNEL, listed("a", "b"))
    assert len(hot.body(CHANNEL, listed("b", "c", "d"))) == 2
    found = hot.body(CHANNEL, listed("f", "g"))
    assert found[0][:3] == ("gap", "desk.trades.BTC-USD", "no_overlap")
    assert len(found) == 3
    assert hot.body(CHANNEL, listed("a", "f", "g")) == []
    assert hot.body(CHANNEL, listed("z", "g")) == [], "older than the first item known: from before"
    assert len(hot.body(CHANNEL, listed("g", "y"))) == 1


@pytest.mark.parametrize("opaque", [False, True])
def test_an_outage_is_declared_only_where_the_next_list_does_not_prove_otherwise(opaque):
    """A lost connection or envelope changes nothing for lists that prove themselves."""
    hot = reader(opaque=opaque)
    hot.body(CHANNEL, listed(1, 2))
    hot.body(CHANNEL, listed(2, 3))
    assert hot.tell(KIND_DROPPED, {"first": 1, "last": 1, "count": 1}, channel=CHANNEL) == []
    assert hot.tell(KIND_DISCONNECTED, {"reason": "x"}, connection=1) == []
    assert len(hot.body(CHANNEL, listed(3, 4))) == 1


def test_what_a_trade_says():
    """Price, size in lots, the aggressor, the venue's time, the id's low 32 bits."""
    hot = reader()
    hot.body(CHANNEL, listed(2**32 + 6))
    found = hot.body(CHANNEL, [trade(2**32 + 7, price="0.5", size=0.25, side="s", ms=5)])
    (_, channel, record) = found[0]
    assert channel == "desk.trades.BTC-USD"
    assert (record.price, record.size, str(record.side), record.sequence) == (500_000_000, 250, "A", 7)
    assert (record.ts_event, record.ts_recv) == (1_790_000_000_005_000_000, hot.now)


@pytest.mark.parametrize(
    ("of", "value", "side"),
    [("aggressor", "b", "B"), ("aggressor", "s", "A"), ("maker", "b", "A"), ("maker", "s", "B")],
)
def test_a_makers_side_is_the_other_one(of, value, side):
    """The record has the aggressor's."""
    fields = TRADES["fields"] | {"side": TRADES["fields"]["side"] | {"of": of}}
    hot = Reader(source(TRADES | {"fields": fields}))
    hot.body(CHANNEL, [])
    assert str(hot.body(CHANNEL, [trade(1, side=value)])[-1][2].side) == side


def test_a_side_may_be_a_truth_value_or_missing():
    """`isBuyerMaker: true` is a sell of the aggressor; without a side it is N."""
    fields = TRADES["fields"] | {"side": {"path": "s", "of": "maker", "buy": ["true"], "sell": ["false"]}}
    hot = Reader(source(TRADES | {"fields": fields}))
    hot.body(CHANNEL, [])
    assert [str(fact[2].side) for fact in hot.body(CHANNEL, [trade(1, side=True), trade(2, side=False)])] == ["A", "B"]
    hot = Reader(source(TRADES | {"fields": {key: value for key, value in TRADES["fields"].items() if key != "side"}}))
    hot.body(CHANNEL, [])
    assert str(hot.body(CHANNEL, [trade(1)])[-1][2].side) == "N"


def test_a_size_beyond_u32_lots_is_several_records_of_one_trade():
    """They add up."""
    hot = reader()
    hot.body(CHANNEL, listed(1))
    found = hot.body(CHANNEL, [trade(2, size="10000000")])
    assert sum(fact[2].size for fact in found) == 10**10
    assert [int(fact[2].flags) for fact in found] == [0, 0, 128]


def test_prefixed_and_text_ids_are_numbered():
    """A number behind its prefix counts; any other text is its hash, the same everywhere."""
    fields = TRADES["fields"] | {"id": {"path": "id", "prefix": "d-", "consecutive": True}}
    hot = Reader(source(TRADES | {"fields": fields}))
    hot.body(CHANNEL, listed("d-7"))
    assert ids(hot.body(CHANNEL, listed("d-7", "d-9"))) == [("gap", "trade_id", 8, 9), 9]
    one, two = (Reader(source(OPAQUE), archive=True).body(CHANNEL, listed("03f89a55")) for _ in range(2))
    assert one[-1][2].sequence == two[-1][2].sequence > 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"p": "0"}, "zero_price"), ({"p": -1}, "number_format"), ({"q": 0}, "zero_size"),
        ({"q": "0.0005"}, "not_whole_lots"), ({"s": "x"}, "direction"), ({"id": None}, "shape"),
        ({"id": "x"}, "number_format"), ({"t": -5}, "number_format"), ({"q": 10**12}, "size_range"),
        ({"p": [1]}, "shape"), ({"id": 5_000_000}, "id_jump"),
    ],
)  # fmt: skip
def test_a_list_with_one_bad_item_is_refused_whole_and_leaves_no_trace(changed, reason):
    """The next list is read as if it had not been there."""
    hot = reader()
    hot.body(CHANNEL, listed(1))
    with pytest.raises(PayloadError) as refused:
        hot.body(CHANNEL, [trade(2), trade(3) | changed])
    assert refused.value.reason == reason
    assert ids(hot.body(CHANNEL, listed(1, 2, 3))) == [2, 3]


def test_ids_that_jump_are_believed_the_second_time():
    """A venue that counts anew is followed, one absurd id is not."""
    hot = reader()
    hot.body(CHANNEL, listed(1))
    with pytest.raises(PayloadError):
        hot.body(CHANNEL, listed(9_000_000))
    assert ids(hot.body(CHANNEL, listed(9_000_001))) == [("gap", "trade_id", 2, 9_000_001), 9_000_001]


def test_one_id_twice_in_a_list():
    """The same item twice is one trade; two trades of one id are nothing we know."""
    hot = reader()
    hot.body(CHANNEL, listed(1))
    assert ids(hot.body(CHANNEL, listed(2, 2))) == [2]
    with pytest.raises(PayloadError, match="one trade of each id"):
        hot.body(CHANNEL, [trade(3), trade(3, price="1")])


@pytest.mark.parametrize("opaque", [False, True])
def test_memory_is_bounded_and_forgotten_ids_that_count_are_not_new(monkeypatch, opaque):
    """Many trades later the first ones are not published again where ids count; others are forgotten."""
    monkeypatch.setattr("providers.rest.trades._REMEMBERED", 100)
    cold = reader(archive=True, opaque=opaque)
    for start in range(0, 1000, 50):
        cold.body(CHANNEL, listed(*range(start, start + 51)))
    assert ids(cold.body(CHANNEL, listed(10, 1000))) == ([10] if opaque else [])
    assert ids(cold.body(CHANNEL, listed(1000, 1001))) == [1001]


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_random_polls_of_a_random_market(seed, opaque):
    """Whatever is missed: every trade once and in order, and a gap exactly where the lists prove none or show a hole."""
    dice = random.Random(seed)
    hot, top, published, due = reader(opaque=opaque), 0, [], []
    seen: list[object] = []
    previous: set[object] = set()
    for _ in range(30):
        top += dice.choice((0, 1, 2, 5))
        lost = dice.random() < 0.2
        window = [f"t{n}" if opaque else n for n in range(max(1, top - 3), top + 1)]
        hot.now += SECOND
        if lost:
            continue
        found = hot.body(CHANNEL, listed(*window))
        gaps = [fact[2] for fact in found if fact[0] == "gap"]
        new = [item for item in window if item not in seen]
        hole = (
            bool(seen and new and not previous & set(window))
            if opaque
            else bool(new and seen and new[0] != seen[-1] + 1)
        )
        first = not due
        due.append(window)
        published += [fact[2].sequence for fact in found if fact[0] == "TRADES"]
        assert [reason for reason in gaps if reason != "unanswered"] == (
            ["no_overlap" if opaque else "trade_id"] if hole else []
        )
        assert first or len([fact for fact in found if fact[0] == "TRADES"]) == len(new)
        seen += new
        previous = set(seen)
    assert len(set(published)) == len(published)
    assert opaque or published == sorted(published)


def test_refused_lists_do_not_change_the_state():
    """Normalizers with and without refused lists agree on everything after."""
    clean, dirty = reader(), reader()
    assert ids(clean.body(CHANNEL, listed(1, 2))) == ids(dirty.body(CHANNEL, listed(1, 2)))
    for bad in (b"{", b"[1]", [trade(3), {}], [trade(3), trade(3, price="7")]):
        with pytest.raises(PayloadError):
            dirty.body(CHANNEL, bad)
    assert ids(dirty.body(CHANNEL, listed(2, 3))) == ids(clean.body(CHANNEL, listed(2, 3))) == [3]
