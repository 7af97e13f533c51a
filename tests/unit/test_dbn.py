"""Packed records are byte-equal to databento_dbn's own classes, and framing is checked before decoding."""

from __future__ import annotations

import databento_dbn as db
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import dbn
from penstock.lots import MAX_SIZE

U32 = st.integers(0, 2**32 - 1)
TS = st.integers(2**40, 2**63 - 1)
PRICE = st.integers(0, 2**63 - 1)
FLAGS = st.integers(0, 255)


@given(U32, TS, PRICE, U32, FLAGS, st.integers(-(2**31) + 1, 2**31 - 1), U32, st.sampled_from("ABN"))
def test_trade_equals_the_class(instrument_id, ts_event, price, size, flags, delta, sequence, side):
    """A packed trade is the bytes of TradeMsg."""
    packed = dbn.trade(60001, instrument_id, ts_event, price, size, side.encode(), flags, ts_event + delta, sequence)
    record = db.TradeMsg(
        publisher_id=60001, instrument_id=instrument_id, ts_event=ts_event, price=price, size=size, action=db.Action.TRADE,
        side=db.Side(side), depth=0, ts_recv=ts_event + delta, flags=flags, ts_in_delta=delta, sequence=sequence,
    )  # fmt: skip
    assert packed == bytes(record)


@given(U32, TS, U32, PRICE, U32, FLAGS, U32, st.sampled_from("ABN"), st.sampled_from("AMCR"))
def test_mbo_equals_the_class(instrument_id, ts_event, order_id, price, size, flags, sequence, side, action):
    """A packed book record is the bytes of MBOMsg."""
    packed = dbn.mbo(
        60001,
        instrument_id,
        ts_event,
        order_id,
        price,
        size,
        flags,
        action.encode(),
        side.encode(),
        ts_event + 7,
        sequence,
    )
    record = db.MBOMsg(
        publisher_id=60001, instrument_id=instrument_id, ts_event=ts_event, order_id=order_id, price=price, size=size,
        action=db.Action(action), side=db.Side(side), ts_recv=ts_event + 7, flags=flags, channel_id=0, ts_in_delta=7,
        sequence=sequence,
    )  # fmt: skip
    assert packed == bytes(record)


@given(U32, TS, PRICE, PRICE, U32, U32, FLAGS, U32)
def test_mbp_1_equals_the_class(instrument_id, ts_event, bid_px, ask_px, bid_sz, ask_sz, flags, sequence):
    """A packed top of book is the bytes of MBP1Msg."""
    packed = dbn.mbp_1(60001, instrument_id, ts_event, flags, ts_event, sequence, bid_px, ask_px, bid_sz, ask_sz)
    record = db.MBP1Msg(
        publisher_id=60001, instrument_id=instrument_id, ts_event=ts_event, price=dbn.UNDEF_PRICE,
        size=dbn.UNDEF_ORDER_SIZE, action=db.Action.MODIFY, side=db.Side.NONE, depth=0, ts_recv=ts_event, flags=flags,
        ts_in_delta=0, sequence=sequence,
        levels=db.BidAskPair(bid_px=bid_px, ask_px=ask_px, bid_sz=bid_sz, ask_sz=ask_sz),
    )  # fmt: skip
    assert packed == bytes(record)


def test_statistic_status_and_ohlcv_equal_their_classes():
    """The rarer records are the bytes of their classes too."""
    assert dbn.statistic(1, 2, 3, 10, dbn.STAT_OPEN_INTEREST, 5, quantity=6, ts_ref=9) == bytes(
        db.StatMsg(
            publisher_id=1, instrument_id=2, ts_event=3, ts_recv=10, ts_ref=9, price=dbn.UNDEF_PRICE, quantity=6,
            sequence=5, ts_in_delta=7, stat_type=db.StatType.OPEN_INTEREST, channel_id=0,
            update_action=db.StatUpdateAction.NEW, stat_flags=0,
        )
    )  # fmt: skip
    assert dbn.status(1, 2, 3, 4, 7, b"Y", b"N") == bytes(
        db.StatusMsg(
            publisher_id=1, instrument_id=2, ts_event=3, ts_recv=4, action=db.StatusAction.TRADING,
            is_trading=db.TriState.YES, is_quoting=db.TriState.NO,
        )
    )  # fmt: skip
    assert dbn.ohlcv(0x21, 1, 2, 3, 4, 5, 6, 7, 8) == bytes(
        db.OHLCVMsg(rtype=0x21, publisher_id=1, instrument_id=2, ts_event=3, open=4, high=5, low=6, close=7, volume=8)
    )
    assert dbn.system(60001, 2, 3, "hello", 2)[16:] == bytes(db.SystemMsg(3, "hello", db.SystemCode(2)))[16:]
    assert dbn.error(60001, 2, 3, "bad", 3)[16:] == bytes(db.ErrorMsg(3, "bad", True, db.ErrorCode(3)))[16:]


@given(st.binary(max_size=200))
def test_framing_never_accepts_what_the_decoder_would_choke_on(data):
    """Arbitrary bytes are refused with ValueError or walk exactly to their end."""
    try:
        walked = list(dbn.records(data))
    except ValueError:
        return
    assert b"".join(record for _, record in walked) == data


def test_framing_walks_several_records_of_several_types():
    """One message may hold several records."""
    data = dbn.trade(1, 2, 3, 4, 5, b"A", 128, 6, 7) + dbn.system(1, 2, 3, "x")
    assert [(rtype, len(record)) for rtype, record in dbn.records(data)] == [(0, 48), (0x17, 320)]
    with pytest.raises(ValueError, match="remain"):
        list(dbn.records(data[:-1]))


@given(st.integers(1, 5 * MAX_SIZE), st.sampled_from((0, dbn.F_PUBLISHER_SPECIFIC)))
def test_a_trade_of_any_size_is_one_message(size, flags):
    """Its parts add up and fit u32; flags stand on each, F_LAST on the last only."""
    content = dbn.trade_message(1, 2, 3, 4, size, dbn.BID, flags, 5, 6)
    parts = [content[at : at + 48] for at in range(0, len(content), 48)]
    sizes = [int.from_bytes(part[24:28], "little") for part in parts]
    assert sum(sizes) == size
    assert max(sizes) <= MAX_SIZE
    expected = [dbn.trade(1, 2, 3, 4, each, dbn.BID, flags, 5, 6) for each in sizes]
    expected[-1] = dbn.trade(1, 2, 3, 4, sizes[-1], dbn.BID, flags | dbn.F_LAST, 5, 6)
    assert parts == expected


@pytest.mark.parametrize(
    ("lots", "size", "special"),
    [(0, 0, 0), (MAX_SIZE, MAX_SIZE, 0), (MAX_SIZE + 1, dbn.UNDEF_ORDER_SIZE, dbn.F_PUBLISHER_SPECIFIC),
     (2**40, dbn.UNDEF_ORDER_SIZE, dbn.F_PUBLISHER_SPECIFIC)],
)  # fmt: skip
def test_a_quote_says_where_a_quantity_does_not_fit(lots, size, special):
    """It is undefined then, and flagged; the other side stands as it is."""
    bid = (10, lots) if lots else (dbn.UNDEF_PRICE, 0)
    flags = dbn.F_LAST | dbn.F_TOB | special
    assert dbn.quote(1, 2, 3, 5, 6, bid, (11, 7)) == dbn.mbp_1(1, 2, 3, flags, 5, 6, bid[0], 11, size, 7)
    assert dbn.quote(1, 2, 3, 5, 6, (9, 7), (11, lots)) == dbn.mbp_1(1, 2, 3, flags, 5, 6, 9, 11, 7, size)
