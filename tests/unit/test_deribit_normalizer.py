"""Deribit's normalizer: continuity, faults and boundaries, on messages in the venue's form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import databento_dbn as dbn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import providers
from penstock.dbn import (
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_PUBLISHER_SPECIFIC,
    F_SNAPSHOT,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap, parse
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    KIND_HEARTBEAT,
    Envelope,
)
from providers.deribit.normalizer import Normalizer

INFO = providers.info("deribit")
SECOND = 10**9
BOOK, TRADES, TICKER = "book.BTC-PERPETUAL.raw", "trades.BTC-PERPETUAL.raw", "ticker.BTC-PERPETUAL.raw"
PERPETUAL = {
    "instrument_name": "BTC-PERPETUAL", "kind": "future", "base_currency": "BTC", "quote_currency": "USD",
    "tick_size": 0.5, "contract_size": 10.0, "min_trade_amount": 10.0, "instrument_type": "reversed",
    "settlement_currency": "BTC", "settlement_period": "perpetual", "expiration_timestamp": 32503708800000,
    "creation_timestamp": 1534167754000, "price_index": "btc_usd", "instrument_id": 124972,
}  # fmt: skip
OPTION = PERPETUAL | {
    "instrument_name": "BTC-27DEC24-100000-C", "kind": "option", "quote_currency": "BTC", "tick_size": 0.0005,
    "contract_size": 1.0, "min_trade_amount": 0.1, "settlement_period": "month", "strike": 100000.0,
    "option_type": "call", "expiration_timestamp": 1735300800000,
}  # fmt: skip
COMBO = PERPETUAL | {"instrument_name": "BTC-FS-19MAY26_PERP", "kind": "future_combo", "settlement_period": "day"}


class Feed:
    """A normalizer and what reaches it. `ts_recv` moves 1 ms with every envelope unless told otherwise."""

    def __init__(self, *instruments: dict[str, Any], archive: bool = False) -> None:
        self.normalizer = Normalizer(INFO, archive=archive)
        self.sequence = 0
        self.ts_recv = 1_700_000_000 * SECOND
        if instruments:
            self.define(*instruments)

    def envelope(self, channel: str, payload: bytes, kind: int = KIND_FRAME, connection: int = 1) -> list[Output]:
        self.sequence += 1
        self.ts_recv += 1_000_000
        return list(
            self.normalizer.normalize(
                Envelope(
                    sequence=self.sequence, ts_recv=self.ts_recv, connection=connection, channel=channel, kind=kind,
                    payload=payload,
                )
            )
        )  # fmt: skip

    def data(self, channel: str, data: object, connection: int = 1) -> list[Output]:
        body = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
        return self.envelope(channel, json.dumps(body).encode(), connection=connection)

    def define(self, *instruments: dict[str, Any]) -> list[Output]:
        body = {"jsonrpc": "2.0", "result": instruments, "usOut": 1_699_999_999_000_000}
        return self.envelope("rest/get_instruments/BTC", json.dumps(body).encode(), connection=0)

    def book(
        self, change_id: int, previous: int | None, levels: dict[tuple[str, float], float], **more: Any
    ) -> list[Output]:
        return self.data(more.get("channel", BOOK), book(change_id, previous, levels, **more))


def book(change_id: int, previous: int | None, levels: dict[tuple[str, float], float], **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "change" if previous is not None else "snapshot", "timestamp": 1_700_000_000_000 + change_id,
        "instrument_name": "BTC-PERPETUAL", "change_id": change_id,
        "bids": [["new", price, amount] for (side, price), amount in levels.items() if side == "B"],
        "asks": [["new", price, amount] for (side, price), amount in levels.items() if side == "A"],
    }  # fmt: skip
    if previous is not None:
        data["prev_change_id"] = previous
    return data | more


def trade(sequence: int, **more: Any) -> dict[str, Any]:
    return {
        "trade_seq": sequence, "trade_id": str(sequence), "timestamp": 1_700_000_000_000 + sequence, "price": 60000.5,
        "amount": 20.0, "direction": "buy", "instrument_name": "BTC-PERPETUAL", "index_price": 1.0,
    } | more  # fmt: skip


def decoded(message: Message) -> list[Any]:
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


def gaps(outputs: Sequence[Output]) -> list[tuple[str, Gap]]:
    found = []
    for output in outputs:
        if isinstance(output, Message) and isinstance(record := decoded(output)[0], dbn.ErrorMsg):
            marker = parse(record.err)
            assert isinstance(marker, Gap)
            found.append((output.schema, marker))
    return found


def content(outputs: Sequence[Output], schema: str) -> list[Any]:
    """The records of one schema, markers left out."""
    messages = [output for output in outputs if isinstance(output, Message) and output.schema == schema]
    return [record for message in messages for record in decoded(message) if not isinstance(record, dbn.ErrorMsg)]


def resyncs(outputs: Sequence[Output]) -> list[str]:
    return [output.channel for output in outputs if isinstance(output, Resync)]


# --- books --------------------------------------------------------------------------------------------------------

LEVELS = st.dictionaries(
    st.one_of(
        st.tuples(st.just("B"), st.integers(1, 4).map(float)), st.tuples(st.just("A"), st.integers(5, 8).map(float))
    ),
    st.integers(0, 3).map(lambda lots: lots * 10.0),
    min_size=1,
    max_size=4,
)
FAULTS = st.sampled_from(["none"] * 6 + ["drop", "duplicate", "swap"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LEVELS, FAULTS), min_size=1, max_size=25), st.booleans())
def test_a_book_is_right_or_declared_doubtful_whatever_is_lost(steps: list[tuple[Any, str]], archive: bool) -> None:
    """Whatever is dropped, duplicated or swapped: an unflagged message leaves exactly the venue's book; a gap is declared
    if and only if something is missing; after the snapshot that was asked for the book is right at once."""
    feed, truth = Feed(PERPETUAL, archive=archive), [dict[tuple[str, float], float]()]
    frames, held = [], None
    for i, (levels, fault) in enumerate(steps, 1):
        state = truth[-1] | levels
        truth.append({key: amount for key, amount in state.items() if amount})
        frame = (i, book(i, i - 1, levels))
        if fault == "swap" and held is None:
            held = frame
            continue
        frames += [] if fault == "drop" else [frame, frame] if fault == "duplicate" else [frame]
        if held is not None:
            frames.append(held)
            held = None
    mirror: dict[int, tuple[str, int, int]] = {}
    applied, doubtful = 0, False

    def check(outputs: list[Output]) -> None:
        nonlocal doubtful
        if gaps(outputs):
            doubtful = True
        for record in content(outputs, "MBO"):
            replay(mirror, record)
            doubtful = doubtful and not int(record.flags) & F_SNAPSHOT
            assert bool(int(record.flags) & F_MAYBE_BAD_BOOK) == doubtful

    check(feed.data(BOOK, book(0, None, {})))
    for number, data in frames:
        feed.ts_recv += 3 * SECOND
        outputs = feed.data(BOOK, data)
        check(outputs)
        assert bool(gaps(outputs)) == (number > applied + 1 and not (doubtful and not gaps(outputs)))
        applied = max(applied, number)
        if not doubtful:
            assert levels_of(mirror) == truth[applied]
        if resyncs(outputs):
            assert resyncs(outputs) == [BOOK]
            check(feed.data(BOOK, book(len(steps), None, truth[-1])))
            applied = len(steps)
            assert not doubtful
            assert levels_of(mirror) == truth[-1]


def replay(mirror: dict[int, tuple[str, int, int]], record: Any) -> None:
    if str(record.action) == "R":
        mirror.clear()
    elif str(record.action) == "C":
        mirror.pop(record.order_id, None)
    else:
        mirror[record.order_id] = (str(record.side), record.price, record.size)


def levels_of(mirror: dict[int, tuple[str, int, int]]) -> dict[tuple[str, float], float]:
    return {(side, price / 1e9): size * 10.0 for side, price, size in mirror.values()}


def test_a_change_before_any_snapshot_is_a_gap_and_asks_for_one_now_and_then() -> None:
    """The request is repeated every two seconds of receive time, the gap is declared once."""
    feed = Feed(PERPETUAL)
    first = feed.book(7, 6, {("B", 1.0): 10.0})
    assert gaps(first) == [("MBO", Gap("no_snapshot", 0, 6))]
    assert resyncs(first) == [BOOK]
    second = feed.book(8, 7, {("B", 1.0): 20.0})
    assert (gaps(second), resyncs(second)) == ([], [])
    feed.ts_recv += 2 * SECOND
    third = feed.book(9, 8, {("B", 1.0): 30.0})
    assert (gaps(third), resyncs(third)) == ([], [BOOK])
    assert list(feed.normalizer.images(1)) == []


def test_a_resubscribed_snapshot_is_no_gap_and_renews_the_book() -> None:
    """Also one with the id of the last message: somebody asked for it."""
    feed = Feed(PERPETUAL)
    feed.book(5, None, {("B", 1.0): 10.0})
    again = feed.book(5, None, {("B", 1.0): 10.0})
    assert [str(record.action) for record in content(again, "MBO")] == ["R", "A"]
    later = feed.book(9, None, {("B", 1.0): 10.0})
    assert gaps(later) == []
    assert gaps(feed.book(10, 9, {("B", 1.0): 0.0})) == []


def test_an_older_snapshot_is_the_other_lanes_copy_but_a_restarted_venue_is_believed() -> None:
    """Lower id and no later time: skipped. Lower id and later time: the ids began anew."""
    feed = Feed(PERPETUAL)
    feed.book(50, None, {("B", 1.0): 10.0})
    assert feed.book(40, None, {("B", 2.0): 10.0}) == []
    restarted = feed.book(3, None, {("B", 2.0): 10.0}, timestamp=1_700_000_100_000)
    assert len(content(restarted, "MBO")) == 2
    assert gaps(feed.book(4, 3, {("B", 3.0): 10.0}, timestamp=1_700_000_100_001)) == []


def test_windows_cut_differently_by_two_lanes_merge_without_a_gap() -> None:
    """Archive only: 100 ms changes that overlap what is applied lose nothing; live they are a break."""
    for archive, expected in ((True, []), (False, [("MBO", Gap("change_id", 105, 102))])):
        feed = Feed(PERPETUAL, archive=archive)
        feed.book(100, None, {("B", 1.0): 10.0})
        feed.book(105, 100, {("B", 2.0): 10.0})
        assert gaps(feed.book(107, 102, {("B", 2.0): 20.0})) == expected


def test_a_crossed_book_is_flagged_in_the_message_that_crosses_it() -> None:
    """Gap, the flagged message, and a request for a snapshot; the snapshot ends it."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {("B", 1.0): 10.0, ("A", 2.0): 10.0})
    crossed = feed.book(2, 1, {("B", 2.0): 10.0})
    assert gaps(crossed) == [("MBO", Gap("crossed", 2, 2))]
    assert all(int(record.flags) & F_MAYBE_BAD_BOOK for record in content(crossed, "MBO"))
    assert resyncs(crossed) == [BOOK]
    healed = feed.book(2, None, {("B", 1.0): 10.0, ("A", 2.0): 10.0})
    assert not any(int(record.flags) & F_MAYBE_BAD_BOOK for record in content(healed, "MBO"))


def test_the_amount_decides_not_the_word() -> None:
    """`new` with amount 0 removes, `delete` with an amount sets."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {("B", 1.0): 10.0})
    data = book(2, 1, {})
    data["bids"] = [["new", 1.0, 0.0], ["delete", 2.0, 30.0]]
    assert [(str(r.action), r.size) for r in content(feed.data(BOOK, data), "MBO")] == [("C", 1), ("A", 3)]


def test_a_grouped_book_is_a_snapshot_each_time() -> None:
    """`book.X.none.20.100ms` has no type and no chain."""
    feed, channel = Feed(PERPETUAL), "book.BTC-PERPETUAL.none.20.100ms"
    for change_id in (10, 20):
        data = {
            "timestamp": change_id, "instrument_name": "BTC-PERPETUAL", "change_id": change_id, "bids": [[1.0, 10.0]],
            "asks": [[2.0, 20.0]],
        }  # fmt: skip
        outputs = feed.data(channel, data)
        assert [str(record.action) for record in content(outputs, "MBO")] == ["R", "A", "A"]
        assert gaps(outputs) == []


def test_a_level_beyond_32_bits_is_split_and_one_beyond_reason_refused() -> None:
    """The parts add up; what no number of parts can hold leaves the book as it was."""
    feed = Feed(PERPETUAL)
    outputs = feed.book(1, None, {("B", 1.0): float((MAX_SIZE + 1) * 10)})
    sizes = [record.size for record in content(outputs, "MBO")]
    assert sizes == [0, MAX_SIZE, 1]
    before = list(feed.normalizer.images(1))
    data = book(2, 1, {("B", 2.0): 10.0})
    data["bids"].append(["new", 1.0, 10**17])
    with pytest.raises(PayloadError) as caught:
        feed.data(BOOK, data)
    assert caught.value.reason == "size_range"
    assert list(feed.normalizer.images(1)) == before
    assert gaps(feed.book(3, 2, {("B", 2.0): 10.0})) == [("MBO", Gap("change_id", 1, 2))]


@pytest.mark.parametrize(
    ("price", "amount", "reason"),
    [
        (-0.5, 10.0, "number_format"), (1.0, 15.0, "not_whole_lots"), (1.0, "10", "number_format"),
        (9.3e9, 10.0, "number_range"), (1e-10, 10.0, "number_precision"), (None, 10.0, "number_format"),
        (True, 10.0, "number_format"),
    ],
)  # fmt: skip
def test_levels_that_cannot_be_exact_are_refused(price: Any, amount: Any, reason: str) -> None:
    """One fixed word says why; the next message shows the loss."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {})
    data = book(2, 1, {})
    data["asks"] = [["new", price, amount]]
    with pytest.raises(PayloadError) as caught:
        feed.data(BOOK, data)
    assert caught.value.reason == reason
    assert gaps(feed.book(3, 2, {("A", 1.0): 10.0})) == [("MBO", Gap("change_id", 1, 2))]


def test_an_exponent_is_exact() -> None:
    """1.5e1 is 15, digit for digit."""
    feed = Feed(OPTION)
    channel, data = "book.BTC-27DEC24-100000-C.raw", book(1, None, {}, instrument_name="BTC-27DEC24-100000-C")
    body = json.dumps({"params": {"channel": channel, "data": data}}).replace(
        '"bids": []', '"bids": [["new", 5.5E-4, 1.5e1]]'
    )
    record = content(feed.envelope(channel, body.encode()), "MBO")[1]
    assert (record.price, record.size, record.sequence) == (550_000, 150, 1)


def test_frames_that_contradict_their_channel_are_refused() -> None:
    """Another channel or another instrument inside than outside."""
    feed = Feed(PERPETUAL, OPTION)
    with pytest.raises(PayloadError, match="instrument_name"):
        feed.book(1, None, {}, instrument_name="BTC-27DEC24-100000-C")
    body = json.dumps({"params": {"channel": "book.X.raw", "data": book(1, None, {})}}).encode()
    with pytest.raises(PayloadError, match="channel is"):
        feed.envelope(BOOK, body)


# --- trades -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_every_trade_is_published_once_and_every_hole_declared(data: st.DataObject, archive: bool) -> None:
    """Drops, copies and late arrivals: each received trade once (live: from the first on), missing ones all declared,
    and a gap only where trades were missing at that time."""
    feed = Feed(PERPETUAL, archive=archive)
    order = data.draw(st.lists(st.integers(100, 130), min_size=1, max_size=40))
    order = order if data.draw(st.booleans()) else sorted(order)
    published: list[int] = []
    declared: set[int] = set()
    for sequence in order:
        outputs = feed.data(TRADES, [trade(sequence)])
        for _, marker in gaps(outputs):
            assert marker.reason == "trade_seq"
            missing = set(range(marker.expected, marker.got))
            assert missing
            assert not missing & set(published)
            declared |= missing
        published += [record.sequence for record in content(outputs, "TRADES")]
    assert len(published) == len(set(published))
    assert set(published) == {sequence for sequence in order if archive or sequence >= order[0]}
    assert set(range(order[0], max(published))) - set(published) <= declared


def test_what_is_not_an_ordinary_trade_is_marked() -> None:
    """Combo legs, block and RFQ trades carry F_PUBLISHER_SPECIFIC; nulls mean nothing."""
    feed = Feed(PERPETUAL)
    kinds = [
        {"combo_id": "X"},
        {"combo_trade_id": 43},
        {"block_trade_id": "5"},
        {"block_rfq_id": 7},
        {"combo_id": None},
    ]
    outputs = feed.data(TRADES, [trade(i, **kind) for i, kind in enumerate(kinds, 1)])
    flags = [int(record.flags) for record in content(outputs, "TRADES")]
    assert flags == [F_LAST | F_PUBLISHER_SPECIFIC] * 4 + [F_LAST]


@pytest.mark.parametrize(
    ("word", "direction", "ways"),
    [
        ("T", "sell", [1]),
        ("T", "buy", [2]),
        ("M", "sell", [2]),
        ("M", "buy", [1]),
        ("MT", "buy", [2, 1]),
        ("none", "buy", []),
    ],
)
def test_a_liquidation_is_also_a_statistic(word: str, direction: str, ways: list[int]) -> None:
    """Who had to sell was long (1), who had to buy short (2); taker first."""
    outputs = Feed(PERPETUAL).data(TRADES, [trade(9, liquidation=word, direction=direction)])
    found = content(outputs, "STATISTICS")
    assert [int(record.stat_flags) for record in found] == ways
    assert all((r.price, r.quantity, r.sequence) == (60_000_500_000_000, 2, 9) for r in found)
    assert len(content(outputs, "TRADES")) == 1


def test_a_trade_beyond_32_bits_is_one_message_of_several_records() -> None:
    """The sizes add up, F_LAST stands on the last only."""
    outputs = Feed(PERPETUAL).data(TRADES, [trade(1, amount=(2 * MAX_SIZE + 5) * 10)])
    assert len(outputs) == 1
    assert [(r.size, int(r.flags) & F_LAST) for r in content(outputs, "TRADES")] == [
        (MAX_SIZE, 0),
        (MAX_SIZE, 0),
        (5, 128),
    ]


def test_a_message_of_several_trades_is_refused_whole_or_not_at_all() -> None:
    """One bad trade: nothing of the frame is published, and the next trade shows the hole."""
    feed = Feed(PERPETUAL)
    feed.data(TRADES, [trade(1)])
    for bad in (
        {"amount": 15.0},
        {"amount": 0},
        {"direction": "up"},
        {"liquidation": "X"},
        {"timestamp": -1},
        {"price": -5.0},
    ):
        with pytest.raises(PayloadError):
            feed.data(TRADES, [trade(2), trade(3, **bad)])
    assert gaps(feed.data(TRADES, [trade(4)])) == [("TRADES", Gap("trade_seq", 2, 4))]


def test_trades_of_many_instruments_on_one_channel_are_published_apart() -> None:
    """`trades.<kind>.<currency>.<interval>`: each instrument has a channel and a count of its own."""
    feed, channel = Feed(PERPETUAL, OPTION), "trades.any.any.raw"
    option = {"instrument_name": "BTC-27DEC24-100000-C", "amount": 0.1}
    outputs = feed.data(channel, [trade(1), trade(700, **option), trade(2)])
    assert [o.channel for o in outputs] == [TRADES, TRADES, "trades.BTC-27DEC24-100000-C.raw"]
    assert gaps(outputs) == []
    assert len(gaps(feed.envelope("session", b'{"reason":"x"}', KIND_DISCONNECTED))) == 2


# --- tickers ------------------------------------------------------------------------------------------------------


def ticker(**more: Any) -> dict[str, Any]:
    return {
        "timestamp": 1_654_161_785_818, "stats": {"volume_usd": 545442610.0, "volume": 17945.19644566, "low": None},
        "state": "open", "open_interest": 559791310, "mark_price": 29932.79, "last_price": 29931.0,
        "instrument_name": "BTC-PERPETUAL", "index_price": 29930.44, "funding_8h": 0.00000255,
        "estimated_delivery_price": 29930.44, "current_funding": -0.00010785, "best_bid_price": 29930.5,
        "best_bid_amount": 149910.0, "best_ask_price": 0.0, "best_ask_amount": 0.0,
    } | more  # fmt: skip


def values(outputs: Sequence[Output]) -> dict[int, tuple[int, int]]:
    return {int(record.stat_type): (record.price, record.quantity) for record in content(outputs, "STATISTICS")}


def test_a_ticker_becomes_top_of_book_and_exact_statistics() -> None:
    """Every value at 1e-9 or in lots; funding also at 1e-18; null and missing ones are not published."""
    outputs = Feed(PERPETUAL).data(TICKER, ticker())
    (top,) = content(outputs, "MBP_1")
    level = top.levels[0]
    assert (level.bid_px, level.bid_sz, level.ask_px, level.ask_sz) == (29_930_500_000_000, 14_991, UNDEF_PRICE, 0)
    assert (top.ts_event, top.sequence) == (1_654_161_785_818_000_000, 0)
    none, undefined = UNDEF_STAT_QUANTITY, UNDEF_PRICE
    assert values(outputs) == {
        6: (undefined, 54_544_261), 9: (undefined, 55_979_131), 10: (29_930_440_000_000, none),
        20001: (29_932_790_000_000, none), 20002: (-107_850, -107_850_000_000_000), 20003: (29_930_440_000_000, none),
        20004: (2_550, 2_550_000_000_000), 20005: (29_931_000_000_000, none),
    }  # fmt: skip
    assert [(r.action, o.channel) for o in outputs if o.schema == "STATUS" for r in decoded(o)] == [
        (7, "status.BTC-PERPETUAL")
    ]


def test_statistics_are_published_on_change_and_again_every_ten_seconds() -> None:
    """By venue time, so that both lanes do the same."""
    feed = Feed(PERPETUAL)
    start = 1_654_161_780_000
    assert len(values(feed.data(TICKER, ticker(timestamp=start)))) == 8
    assert values(feed.data(TICKER, ticker(timestamp=start + 1))) == {}
    assert values(feed.data(TICKER, ticker(timestamp=start + 2, index_price=1.0))) == {10: (10**9, UNDEF_STAT_QUANTITY)}
    assert len(values(feed.data(TICKER, ticker(timestamp=start + 10_000)))) == 8


def test_a_statistic_finer_than_dbn_is_undefined_and_no_reason_to_lose_the_prices() -> None:
    """No rounding, no refusal; text that is no number refuses the frame."""
    feed = Feed(PERPETUAL)
    outputs = feed.data(TICKER, ticker(mark_price=1.0000000001, open_interest=15, funding_8h=1.5e-12))
    found = values(outputs)
    assert found[20001] == (UNDEF_PRICE, UNDEF_STAT_QUANTITY)
    assert found[9] == (UNDEF_PRICE, UNDEF_STAT_QUANTITY)
    assert found[20004] == (UNDEF_PRICE, 1_500_000)
    with pytest.raises(PayloadError):
        feed.data(TICKER, ticker(mark_price="x"))


def test_options_have_volatility_delta_and_volume_in_coin() -> None:
    """mark_iv as the venue's percentage, delta signed, volume in lots of 0.1 BTC."""
    data = ticker(
        instrument_name="BTC-27DEC24-100000-C", mark_iv=67.7, greeks={"delta": -0.05785}, stats={"volume": 16.7},
        open_interest=1767.5, best_bid_amount=2.8, best_bid_price=0.0085,
    )  # fmt: skip
    found = values(Feed(OPTION).data("ticker.BTC-27DEC24-100000-C.raw", data))
    assert found[14] == (67_700_000_000, UNDEF_STAT_QUANTITY)
    assert found[15] == (-57_850_000, UNDEF_STAT_QUANTITY)
    assert (found[6][1], found[9][1]) == (167, 17_675)


def test_a_quote_is_a_top_of_book_and_a_size_beyond_32_bits_is_undefined() -> None:
    """Never a clamped size."""
    data = ticker(best_bid_amount=10 * (MAX_SIZE + 1), best_ask_price=30000.0, best_ask_amount=10.0)
    (record,) = content(Feed(PERPETUAL).data("quote.BTC-PERPETUAL", data), "MBP_1")
    assert (record.levels[0].bid_sz, record.levels[0].ask_sz) == (UNDEF_ORDER_SIZE, 1)
    assert int(record.flags) & F_PUBLISHER_SPECIFIC


def test_a_negative_price_of_a_combo_is_refused() -> None:
    """DBN could hold it; books keyed by price could not, so combos are published only while above zero."""
    feed = Feed(COMBO)
    name = "BTC-FS-19MAY26_PERP"
    with pytest.raises(PayloadError) as caught:
        feed.data(f"quote.{name}", ticker(instrument_name=name, best_bid_price=-3.5))
    assert caught.value.reason == "number_format"


# --- definitions, states, losses ----------------------------------------------------------------------------------


def test_data_without_definition_is_not_published_but_declared_and_asked_for() -> None:
    """One gap per channel, one request per second and currency; with the definition data flows."""
    feed = Feed()
    first = feed.data(TRADES, [trade(1)])
    assert gaps(first) == [("TRADES", Gap("no_definition"))]
    assert resyncs(first) == ["rest/get_instruments/BTC"]
    assert feed.data(TRADES, [trade(2)]) == []
    feed.ts_recv += SECOND
    assert feed.data(TRADES, [trade(3)]) == [Resync("rest/get_instruments/BTC")]
    assert gaps(feed.book(1, None, {})) == [("MBO", Gap("no_definition"))]
    feed.define(PERPETUAL)
    assert [record.sequence for record in content(feed.data(TRADES, [trade(4)]), "TRADES")] == [4]
    assert gaps(feed.book(2, 1, {("B", 1.0): 10.0})) == [("MBO", Gap("no_snapshot", 0, 1))]


def test_definitions_are_published_when_new_or_changed() -> None:
    """A on first sight, nothing while equal, M on change; `definitions` repeats what is known."""
    feed = Feed()
    (message,) = feed.define(PERPETUAL)
    assert isinstance(message, Message)
    assert (message.schema, message.channel) == ("DEFINITION", "definition.BTC-PERPETUAL")
    assert list(feed.normalizer.definitions(5)) == [message]
    assert feed.define(PERPETUAL) == []
    (changed,) = feed.define(PERPETUAL | {"tick_size": 1.0})
    assert str(decoded(changed)[0].security_update_action) == "M"


def test_a_finer_lot_starts_the_book_anew() -> None:
    """Sizes in old lots say nothing any more: a gap, and a snapshot is asked for."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {("B", 1.0): 10.0})
    feed.define(PERPETUAL | {"min_trade_amount": 1.0})
    assert gaps(feed.book(2, 1, {("B", 1.0): 11.0})) == [("MBO", Gap("no_snapshot", 0, 1))]


def test_states_are_published_on_change() -> None:
    """From the instrument list, notifications and tickers; an unknown word is no guess."""
    feed = Feed()

    def actions(outputs: Sequence[Output]) -> list[tuple[int, str]]:
        return [(int(record.action), str(record.is_trading)) for record in content(outputs, "STATUS")]

    assert actions(feed.define(PERPETUAL | {"state": "open"})) == [(7, "True")]
    channel = "instrument.state.future.BTC"
    state = {"timestamp": 5, "instrument_name": "BTC-PERPETUAL"}
    assert actions(feed.data(channel, state | {"state": "started"})) == []
    assert actions(feed.data(channel, state | {"state": "locked"})) == [(10, "False")]
    assert actions(feed.define(PERPETUAL | {"state": "open"})) == []
    assert actions(feed.data(TICKER, ticker(state="closed"))) == [(12, "False")]
    assert actions(feed.data(channel, state | {"state": "dancing"})) == [(0, "None")]


def test_a_lost_connection_puts_its_channels_in_doubt() -> None:
    """A gap on everything only that connection carried; the next snapshot ends the doubt; nothing needs asking for."""
    feed = Feed(PERPETUAL)
    feed.envelope("session", json.dumps({"url": "x", "channels": [BOOK, TRADES, TICKER]}).encode(), KIND_CONNECTED)
    feed.book(1, None, {("B", 1.0): 10.0})
    feed.data("quote.BTC-PERPETUAL", ticker(), connection=2)
    lost = feed.envelope("session", b'{"reason":"reset"}', KIND_DISCONNECTED)
    assert [schema for schema, _ in gaps(lost)] == ["MBO", "MBP_1", "STATISTICS", "TRADES"]
    assert {marker for _, marker in gaps(lost)} == {Gap("disconnected")}
    assert resyncs(lost) == []
    assert list(feed.normalizer.images(1)) == []
    unsynced = feed.book(2, 1, {("B", 1.0): 20.0})
    assert int(content(unsynced, "MBO")[0].flags) & F_MAYBE_BAD_BOOK
    assert resyncs(unsynced) == [BOOK]
    feed.book(2, None, {("B", 1.0): 20.0})
    assert len(list(feed.normalizer.images(1))) == 1


def test_a_channel_that_another_connection_carries_too_is_not_lost() -> None:
    """Rotation overlaps: the old connection's end is no gap."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {})
    feed.data(BOOK, book(1, None, {}), connection=2)
    assert feed.envelope("session", b'{"reason":"rotated"}', KIND_DISCONNECTED) == []
    assert gaps(feed.data(BOOK, book(2, 1, {("B", 1.0): 10.0}), connection=2)) == []


def test_dropped_envelopes_are_declared_and_books_and_definitions_asked_for() -> None:
    """No snapshot comes by itself after a drop of our own."""
    feed = Feed(PERPETUAL)
    feed.book(1, None, {})
    body = b'{"first":5,"last":9,"count":5}'
    dropped = feed.envelope(BOOK, body, KIND_DROPPED)
    assert (gaps(dropped), resyncs(dropped)) == ([("MBO", Gap("dropped", 5, 9))], [BOOK])
    assert gaps(feed.envelope(TICKER, body, KIND_DROPPED)) == [
        ("MBP_1", Gap("dropped", 5, 9)), ("STATISTICS", Gap("dropped", 5, 9)),
    ]  # fmt: skip
    assert feed.envelope("rest/get_instruments/BTC", body, KIND_DROPPED) == [Resync("rest/get_instruments/BTC")]
    assert feed.envelope("control", body, KIND_DROPPED) == []


def test_an_archive_is_not_told_of_connections() -> None:
    """Where one lane was down the other's frames stand; the chain of ids tells what both missed."""
    feed = Feed(PERPETUAL, archive=True)
    feed.book(1, None, {("B", 1.0): 10.0})
    assert feed.envelope("session", b'{"reason":"x"}', KIND_DISCONNECTED) == []
    assert gaps(feed.book(2, 1, {("B", 1.0): 20.0})) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x00\x01", "json"),
        (b"[]", "shape"),
        (b'{"method":"subscription","params":{"channel":"trade.BTC-PERPETUAL.raw","data":[]}}', "channel"),
    ],
)
def test_a_frame_that_lost_its_channel_is_refused(payload: bytes, reason: str) -> None:
    """It is counted with a reason, not taken for a control frame."""
    with pytest.raises(PayloadError) as refused:
        Feed(PERPETUAL).envelope("control", payload)
    assert refused.value.reason == reason


def test_a_trade_at_price_zero_is_refused() -> None:
    """Nothing but a combo can change hands at zero."""
    with pytest.raises(PayloadError, match="price above 0"):
        Feed(PERPETUAL).data(TRADES, [trade(1, price=0)])


def test_control_frames_and_heartbeats_say_nothing() -> None:
    """They are counted by their schema, SYSTEM."""
    feed = Feed(PERPETUAL)
    assert feed.envelope("control", b'{"id":1,"result":"ok"}') == []
    assert feed.envelope("rest/probe/" + BOOK, b"{}", connection=0) == []
    assert feed.envelope("session", b'{"connections":{}}', KIND_HEARTBEAT) == []
    assert INFO.schema_of("rest/probe/" + BOOK) == INFO.schema_of("control") == "SYSTEM"


def test_a_level_at_price_zero_is_refused_but_on_a_combo() -> None:
    """No order rests at 0: the frame changes nothing. Only the difference of a combo's legs can be 0."""
    feed = Feed(PERPETUAL, COMBO)
    feed.book(1, None, {("B", 1.0): 10.0, ("A", 5.0): 10.0})
    before = list(feed.normalizer.images(1))
    for amount in (10.0, 0.0):
        with pytest.raises(PayloadError) as refusal:
            feed.book(2, 1, {("B", 2.0): 10.0, ("B", 0.0): amount})
        assert refusal.value.reason == "zero_price"
    assert list(feed.normalizer.images(1)) == before
    assert not gaps(feed.book(3, 1, {("B", 2.0): 10.0}))
    name = COMBO["instrument_name"]
    outputs = feed.book(1, None, {("B", 0.0): 10.0}, channel=f"book.{name}.raw", instrument_name=name)
    assert [record.price for record in content(outputs, "MBO")][1:] == [0]


# --- candles ------------------------------------------------------------------------------------------------------

CHART = "chart.trades.BTC-PERPETUAL.1"
MINUTE = 60_000


def candle(minute: int, **more: Any) -> dict[str, Any]:
    return {
        "tick": 1_699_999_980_000 + minute * MINUTE, "open": 60000.5, "high": 60010.0, "low": 59990.0, "close": 60001.0,
        "volume": 0.0005, "cost": 30.0,
    } | more  # fmt: skip


def test_a_candle_is_published_when_the_next_one_begins() -> None:
    """With what its last message said, its start as time, and the volume in lots of dollars."""
    feed = Feed(PERPETUAL)
    assert feed.data(CHART, candle(0)) == []
    assert feed.data(CHART, candle(0, high=60020.0, cost=50.0)) == []
    (message,) = feed.data(CHART, candle(1, cost=0.0, volume=0.0))
    (bar,) = decoded(message)
    assert (message.schema, message.channel, bar.ts_event) == ("OHLCV_1M", CHART, 1_699_999_980 * SECOND)
    assert [bar.open, bar.high, bar.low, bar.close] == [
        60000_500000000, 60020_000000000, 59990_000000000, 60001_000000000,
    ]  # fmt: skip
    assert bar.volume == 5
    (quiet,) = feed.data(CHART, candle(2))
    assert decoded(quiet)[0].volume == 0


def test_late_copies_of_a_candle_change_nothing() -> None:
    """The other lane's: of the minute before, or of this one with less volume."""
    feed = Feed(PERPETUAL, archive=True)
    feed.data(CHART, candle(1, cost=50.0))
    assert feed.data(CHART, candle(0, cost=90.0)) == []
    assert feed.data(CHART, candle(1, cost=30.0)) == []
    (message,) = feed.data(CHART, candle(2))
    assert decoded(message)[0].volume == 5
    assert feed.data(CHART, candle(1, cost=70.0)) == []
    assert len(feed.data(CHART, candle(3))) == 1


def test_a_candle_that_may_lack_its_last_trades_is_not_published() -> None:
    """After a loss the minute counts again with its next message, which is whole; without one it is declared only."""
    feed = Feed(PERPETUAL)
    feed.data(CHART, candle(0))
    lost = feed.envelope("session", b'{"reason":"x"}', KIND_DISCONNECTED)
    assert gaps(lost) == [("OHLCV_1M", Gap("disconnected"))]
    assert feed.data(CHART, candle(1)) == []
    assert len(feed.data(CHART, candle(2))) == 1
    feed.envelope("session", b'{"reason":"x"}', KIND_DISCONNECTED)
    feed.data(CHART, candle(2, cost=80.0))
    (message,) = feed.data(CHART, candle(3))
    assert decoded(message)[0].volume == 8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"open": 0.0}, "zero_price"),
        ({"cost": 35.0}, "not_whole_lots"),
        ({"close": None}, "number_format"),
        ({"high": -1.0}, "number_format"),
        ({"tick": "x"}, "shape"),
    ],
)
def test_a_candle_that_cannot_be_exact_is_refused(change: dict[str, Any], reason: str) -> None:
    """And changes nothing."""
    feed = Feed(PERPETUAL)
    feed.data(CHART, candle(0))
    with pytest.raises(PayloadError) as refusal:
        feed.data(CHART, candle(0) | change)
    assert refusal.value.reason == reason
    assert len(feed.data(CHART, candle(1))) == 1


def test_candles_of_other_lengths_and_notices_give_no_record() -> None:
    """They are stored raw; a notice that is none is refused."""
    feed = Feed(PERPETUAL)
    assert feed.data("chart.trades.BTC-PERPETUAL.3", candle(0)) == []
    assert feed.data("platform_state", {"maintenance": True}) == []
    assert feed.data("platform_state", {"price_index": "sol_usdc", "locked": True}) == []
    assert feed.data("platform_state.public_methods_state", {"allow_unauthenticated_public_requests": False}) == []
    with pytest.raises(PayloadError):
        feed.data("platform_state", {"maintenance": "maybe"})


# --- instruments that come and go -----------------------------------------------------------------------------------


class Lists(Feed):
    """Lists of one currency, each a minute after the one before."""

    def __init__(self, *instruments: dict[str, Any]) -> None:
        super().__init__()
        self.out_us = self.ts_recv // 1000
        self.define(*instruments)

    def define(self, *instruments: dict[str, Any], seconds: int = 60) -> list[Output]:
        self.ts_recv += seconds * SECOND
        self.out_us += seconds * 1_000_000
        body = {"jsonrpc": "2.0", "result": instruments, "usOut": self.out_us}
        return self.envelope("rest/get_instruments/BTC", json.dumps(body).encode(), connection=0)


def updates(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    """(instrument, A, M or D) of each definition."""
    return [(r.raw_symbol, str(r.security_update_action)) for r in content(outputs, "DEFINITION")]


def test_a_listing_is_defined_before_its_first_price() -> None:
    """A new instrument's state asks for the list; its data flows once the list has it."""
    feed = Lists(PERPETUAL)
    state = {"timestamp": 5, "state": "created", "instrument_name": OPTION["instrument_name"]}
    outputs = feed.data("instrument.state.option.BTC", state)
    assert resyncs(outputs) == ["rest/get_instruments/BTC"]
    assert updates(feed.define(PERPETUAL, OPTION)) == [("BTC-27DEC24-100000-C", "A")]
    name = OPTION["instrument_name"]
    outputs = feed.book(1, None, {("B", 0.05): 1.0}, channel=f"book.{name}.raw", instrument_name=name)
    assert not gaps(outputs)
    assert content(outputs, "MBO")


def test_an_expired_instrument_is_deleted_and_its_late_trades_are_published() -> None:
    """D when the list has it no more: no image and no definition for late joiners. Listed again it is added again."""
    feed = Lists(PERPETUAL, OPTION)
    name = OPTION["instrument_name"]
    feed.book(1, None, {("B", 0.05): 1.0}, channel=f"book.{name}.raw", instrument_name=name)
    assert len(list(feed.normalizer.images(1))) == 1
    assert updates(feed.define(PERPETUAL)) == [(name, "D")]
    assert updates(feed.define(PERPETUAL)) == []
    assert list(feed.normalizer.images(1)) == []
    assert [message.channel for message in feed.normalizer.definitions(1)] == ["definition.BTC-PERPETUAL"]
    late = feed.data(f"trades.{name}.raw", [trade(1, instrument_name=name, amount=0.5)])
    assert [record.size for record in content(late, "TRADES")] == [5]
    assert not gaps(late)
    assert updates(feed.define(PERPETUAL, OPTION)) == [(name, "A")]
    assert len(list(feed.normalizer.definitions(1))) == 2


def test_lists_that_prove_nothing_delete_nothing() -> None:
    """An older answer (the other lane's), an empty one, an error, another currency's, an absurd time."""
    feed = Lists(PERPETUAL, OPTION)
    assert feed.define(PERPETUAL, seconds=-30) == []
    feed.ts_recv += 60 * SECOND
    for body, reason in ((b'{"result":[]}', "no_instruments"), (b'{"error":{"code":11051}}', "venue_error")):
        with pytest.raises(PayloadError) as refusal:
            feed.envelope("rest/get_instruments/BTC", body, connection=0)
        assert refusal.value.reason == reason
    body = json.dumps({"result": [COMBO], "usOut": feed.ts_recv // 1000}).encode()
    assert updates(feed.envelope("rest/get_instruments/USDC", body, connection=0)) == [(COMBO["instrument_name"], "A")]
    assert len(list(feed.normalizer.definitions(1))) == 3
    body = json.dumps({"result": [PERPETUAL, OPTION], "usOut": 2**62 // 1000}).encode()
    assert feed.envelope("rest/get_instruments/BTC", body, connection=0) == []
    feed.ts_recv += 60 * SECOND
    assert updates(feed.define(PERPETUAL, seconds=300)) == [(OPTION["instrument_name"], "D")]


def test_a_new_tick_modifies_and_a_new_lot_begins_anew() -> None:
    """M for both. Sizes in old lots say nothing any more: every channel of the instrument, and no other, is declared, and a
    snapshot of its book asked for."""
    eth = PERPETUAL | {"instrument_name": "ETH-PERPETUAL", "base_currency": "ETH", "instrument_id": 2}
    feed = Lists(PERPETUAL, eth)
    feed.book(1, None, {("B", 1.0): 10.0})
    feed.book(1, None, {("B", 1.0): 10.0}, channel="book.ETH-PERPETUAL.raw", instrument_name="ETH-PERPETUAL")
    feed.data(TRADES, [trade(1)])
    feed.data(TICKER, ticker())
    assert updates(outputs := feed.define(PERPETUAL | {"tick_size": 1.0}, eth)) == [("BTC-PERPETUAL", "M")]
    assert not gaps(outputs)
    assert not gaps(feed.book(2, 1, {("B", 1.0): 20.0}))
    outputs = feed.define(PERPETUAL | {"min_trade_amount": 1.0}, eth)
    assert updates(outputs) == [("BTC-PERPETUAL", "M")]
    assert [schema for schema, marker in gaps(outputs)] == ["MBO", "MBP_1", "STATISTICS", "TRADES"]
    assert {marker for _, marker in gaps(outputs)} == {Gap("definition")}
    assert resyncs(outputs) == [BOOK]
    outputs = feed.book(3, None, {("B", 1.0): 25.0})
    assert [record.size for record in content(outputs, "MBO")][1:] == [25]
    assert not gaps(outputs)
    assert len(list(feed.normalizer.images(1))) == 2
