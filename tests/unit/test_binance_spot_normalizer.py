"""Binance spot's messages one by one: what each becomes, what is refused, and what happens around connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import databento_dbn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import F_LAST, F_PUBLISHER_SPECIFIC, UNDEF_ORDER_SIZE, UNDEF_PRICE, records
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_HEARTBEAT, Envelope
from penstock.tradeids import MAX_STEP
from providers.binance_spot.definitions import lot_of
from providers.binance_spot.normalizer import Normalizer
from tests.unit.binance_spot_frames import (
    DEPTH,
    E0,
    EXCHANGE_INFO,
    INFO,
    LOT,
    MBP_1,
    QUOTES,
    STAT,
    T0,
    TRADE,
    TRADES,
    data,
    defined,
    definition,
    depth,
    envelope,
    feed,
    gaps,
    quote,
    resyncs,
    snapshot,
    trade,
)

S = 1_000_000_000
BOOK = snapshot(100, [["10.00", "1.0"], ["9.00", "2.0"]], [["11.00", "1.0"]])


def decoded(message: Message) -> list[Any]:
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


def refused(frame: dict[str, Any] | bytes | str, channel: str = TRADES, normalizer: Normalizer | None = None) -> str:
    with pytest.raises(PayloadError) as caught:
        (normalizer or defined()).normalize(envelope(channel, frame))
    return caught.value.reason


# --- trades -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("maker", "side"), [(True, b"A"), (False, b"B")])
def test_the_aggressor_is_not_the_maker(maker: bool, side: bytes) -> None:
    """`m`: the buyer was the maker, so the aggressor sold."""
    (message,) = feed(defined(), trade(7, m=maker))
    assert TRADE.unpack(message.data)[8] == side
    assert (message.schema, message.channel) == ("TRADES", TRADES)


def test_a_trade_beyond_u32_lots_is_split_and_adds_up() -> None:
    """9,000 BTC are 9e9 lots: three records of one message, F_LAST on the last only."""
    (message,) = feed(defined(), trade(7, q="9000.00000000"))
    parts = [TRADE.unpack(record) for _, record in records(message.data)]
    assert [part[6] for part in parts] == [MAX_SIZE, MAX_SIZE, 9_000_000_000 - 2 * MAX_SIZE]
    assert [part[9] for part in parts] == [0, 0, F_LAST]
    assert len({(part[4], part[5], part[13]) for part in parts}) == 1


def test_a_hole_in_the_ids_is_declared_before_the_trade_that_shows_it() -> None:
    """Ids count +1 per symbol: a jump is a loss."""
    normalizer = defined()
    outputs = feed(normalizer, trade(7), trade(8), trade(11))
    assert gaps(outputs) == [Gap("trade_id", 9, 11)]
    assert outputs[2].data[1] == 0x15


def test_copies_are_passed_over_and_late_trades_fill_their_hole_once() -> None:
    """Two overlapping connections repeat trades; what was declared missing and comes after all is published."""
    normalizer = defined()
    feed(normalizer, trade(7), trade(11))
    assert not feed(normalizer, trade(11), trade(7), trade(6))
    late = feed(normalizer, trade(9), trade(8), trade(9), trade(10), trade(10))
    assert [TRADE.unpack(message.data)[13] for message in late] == [9, 8, 10]
    assert [TRADE.unpack(m.data)[13] for m in feed(normalizer, trade(12))] == [12]


def test_one_absurd_id_neither_passes_nor_silences_what_follows() -> None:
    """An id far ahead is refused; the stream goes on; a second one as far ahead is believed and declared."""
    normalizer = defined()
    feed(normalizer, trade(7))
    assert refused(trade(7 + 10 * MAX_STEP), normalizer=normalizer) == "id_jump"
    assert len(data(feed(normalizer, trade(8)))) == 1
    assert refused(trade(9 * MAX_STEP), normalizer=normalizer) == "id_jump"
    assert gaps(feed(normalizer, trade(9 * MAX_STEP + 1))) == [Gap("trade_id", 9, 9 * MAX_STEP + 1)]


@given(st.lists(st.integers(0, 60), max_size=120))
def test_an_archive_publishes_each_distinct_trade_once_in_any_order(ids: list[int]) -> None:
    """Two lanes merged may come in any order with any copies."""
    normalizer = defined(archive=True)
    published = [TRADE.unpack(message.data)[13] for message in data(feed(normalizer, *map(trade, ids)))]
    assert published == list(dict.fromkeys(ids))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=120))
def test_live_publishes_no_trade_twice_and_hides_no_hole(ids: list[int]) -> None:
    """Whatever comes from the first id on is published once; every id that was jumped over was declared."""
    normalizer = defined()
    outputs = feed(normalizer, *map(trade, ids))
    published = [TRADE.unpack(message.data)[13] for message in data(outputs)]
    assert published == list(dict.fromkeys(number for number in ids if number >= ids[0]))
    declared = {number for gap in gaps(outputs) for number in range(gap.expected, gap.got)}
    assert declared | set(published) >= set(range(ids[0], max(ids) + 1))
    assert all(gap.expected not in ids[: ids.index(gap.got)] for gap in gaps(outputs))


def test_aggregate_trades_are_trades_with_ids_of_their_own() -> None:
    """`@aggTrade` counts by `a`."""
    body = {
        "stream": "btcusdt@aggTrade",
        "data": {
            "e": "aggTrade", "E": E0, "s": "BTCUSDT", "a": 5, "p": "58942.01000000", "q": "0.000356", "f": 716849523,
            "l": 716849523, "T": E0, "m": False, "M": True,
        },
    }  # fmt: skip
    (message,) = feed(defined(), body)
    fields = TRADE.unpack(message.data)
    assert (message.schema, fields[5], fields[6], fields[8], fields[13]) == ("TRADES", 58942_010000000, 356, b"B", 5)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"p": "61837.6300000001"}, "number_precision"),
        ({"p": "1e5"}, "number_format"),
        ({"p": "-1.0"}, "number_format"),
        ({"p": "9223372037"}, "number_range"),
        ({"p": "9" * 5000}, "number_range"),
        ({"p": "0.00000000"}, "zero_price"),
        ({"p": 61837.63}, "shape"),
        ({"p": None}, "shape"),
        ({"q": "0.0000001"}, "not_whole_lots"),
        ({"q": "0.00000000"}, "zero_size"),
        ({"q": "9" * 15}, "size_range"),
        ({"q": "9" * 20}, "number_range"),
        ({"t": 2**63}, "shape"),
        ({"t": -1}, "shape"),
        ({"t": "7"}, "shape"),
        ({"t": 7.5}, "shape"),
        ({"T": 10**13}, "time_range"),
        ({"T": -1}, "shape"),
        ({"m": 1}, "shape"),
        ({"e": "aggTrade"}, "shape"),
        ({"s": "ETHUSDT"}, "wrong_channel"),
    ],
)
def test_what_cannot_be_said_exactly_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Nothing is rounded, wrapped or guessed; the refusal names a fixed reason and leaves no trace."""
    normalizer = defined()
    feed(normalizer, trade(7))
    assert refused(trade(8) | {"data": trade(8)["data"] | changed}, normalizer=normalizer) == reason
    (message,) = feed(normalizer, trade(8))
    assert TRADE.unpack(message.data)[13] == 8


@pytest.mark.parametrize("field", ["s", "t", "p", "q", "T", "m"])
def test_a_missing_field_is_refused(field: str) -> None:
    """No field has a default."""
    frame = trade(7)
    del frame["data"][field]
    assert refused(frame) == "shape"


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"stream":"\xff"}', b"[" * 100_000, b"null"])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    """Broken bytes end in a PayloadError, whatever they are."""
    assert refused(payload) in {"json", "shape"}


@pytest.mark.parametrize("price", ["9223372036.854775806", "0.000000001", "61837.63000000000000"])
def test_the_limits_of_prices_are_exact(price: str) -> None:
    """i64 at 1e-9 to the last digit; zeros beyond nine decimals change nothing."""
    (message,) = feed(defined(), trade(7, p=price))
    whole, _, fraction = price.partition(".")
    assert TRADE.unpack(message.data)[5] == int(whole + fraction[:9].ljust(9, "0"))


# --- quotes -----------------------------------------------------------------------------------------------------------


def test_an_empty_side_is_undefined() -> None:
    """The venue prints zero price and quantity where a side has no orders."""
    (message,) = feed(defined(), quote(5, b="0.00000000", B="0.00000000"))
    fields = MBP_1.unpack(message.data)
    assert (fields[14], fields[16], fields[15]) == (UNDEF_PRICE, 0, 61837_640000000)


def test_a_quantity_beyond_u32_lots_is_unknown_rather_than_wrong() -> None:
    """MBP_1 cannot be split: UNDEF_ORDER_SIZE, said by a flag; the other side is exact."""
    (message,) = feed(defined(), quote(5, B="4294.96729500"))
    fields = MBP_1.unpack(message.data)
    assert (fields[16], fields[17]) == (UNDEF_ORDER_SIZE, 1_546_980)
    assert fields[9] == F_LAST | F_PUBLISHER_SPECIFIC
    (message,) = feed(defined(), quote(5, B="4294.96729400"))
    assert (MBP_1.unpack(message.data)[16], MBP_1.unpack(message.data)[9]) == (MAX_SIZE, F_LAST)


def test_quotes_never_go_back_and_one_absurd_id_does_not_silence_them() -> None:
    """Copies are passed over; what is late is declared, not published; three in a row mean the last id was wrong."""
    normalizer = defined()
    feed(normalizer, quote(5), quote(9))
    assert not feed(normalizer, quote(9), quote(5))
    late = feed(normalizer, quote(7))
    assert gaps(late) == [Gap("out_of_order", 10, 7)]
    assert not data(late)
    feed(normalizer, quote(10**15))
    outputs = feed(normalizer, quote(10), quote(12), quote(13), quote(14))
    assert [MBP_1.unpack(message.data)[13] for message in data(outputs)] == [13, 14]
    assert len(gaps(outputs)) == 3


def test_an_archive_keeps_each_distinct_quote() -> None:
    """Merged lanes may swap neighbours."""
    outputs = feed(defined(archive=True), quote(5), quote(9), quote(7), quote(7), quote(5), quote(10))
    assert [MBP_1.unpack(message.data)[13] for message in outputs] == [5, 9, 7, 10]


def test_a_crossed_quote_is_refused() -> None:
    """No order book has it: the digits are wrong."""
    assert refused(quote(5, b="61837.64000000"), QUOTES) == "crossed"


# --- tickers and bars -------------------------------------------------------------------------------------------------

TICKER = {
    "stream": "btcusdt@ticker",
    "data": {
        "e": "24hrTicker", "E": 1653812650349, "s": "BTCUSDT", "p": "28.23000000", "P": "1.600", "c": "1792.84000000",
        "h": "1808.98000000", "l": "1748.94000000", "v": "471703.53110000", "O": 1653726250344, "C": 1653812650344,
    },
}  # fmt: skip


def test_a_ticker_is_four_statistics_of_its_window() -> None:
    """Last, low and high price, volume in lots; ts_ref is where the window begins."""
    (message,) = feed(defined(), TICKER)
    found = [STAT.unpack(record) for _, record in records(message.data)]
    assert [(fields[11], fields[7]) for fields in found[:3]] == [
        (20005, 1792_840000000), (4, 1748_940000000), (5, 1808_980000000),
    ]  # fmt: skip
    assert (found[3][11], found[3][8]) == (6, 471_703_531_100)
    assert {(fields[4], fields[6]) for fields in found} == {(1653812650349 * 10**6, 1653726250344 * 10**6)}
    assert message.schema == "STATISTICS"


def test_a_figure_is_published_when_it_changed_and_all_of_them_every_ten_seconds() -> None:
    """Of venue time; a copy changes nothing, an absurd time silences nothing, a loss has all said again."""
    normalizer = defined()

    def kinds(seconds: float, **changed: str) -> list[int]:
        at = TICKER["data"]["E"] + int(seconds * 1000)
        outputs = feed(normalizer, TICKER | {"data": TICKER["data"] | {"E": at} | changed})
        return [STAT.unpack(record)[11] for message in data(outputs) for _, record in records(message.data)]

    assert kinds(0) == [20005, 4, 5, 6]
    assert kinds(1) == []
    assert kinds(2, c="1793.00000000") == [20005]
    assert kinds(1, c="1792.00000000") == []
    assert kinds(3, c="1793.00000000") == []
    assert kinds(10, c="1793.00000000") == [20005, 4, 5, 6]
    assert kinds(10**6) == [20005, 4, 5, 6]
    assert kinds(11) == [20005, 4, 5, 6]
    normalizer.normalize(envelope("btcusdt@ticker", {"first": 1, "last": 2}, kind=KIND_DROPPED))
    assert kinds(12) == [20005, 4, 5, 6]


def test_a_ticker_without_trades_has_no_prices() -> None:
    """Zero is what the venue prints where nothing traded in the window."""
    empty = dict.fromkeys(["c", "h", "l", "v"], "0.00000000")
    (message,) = feed(defined(), TICKER | {"data": TICKER["data"] | empty})
    assert [STAT.unpack(record)[11] for _, record in records(message.data)] == [6]
    huge = TICKER | {"data": TICKER["data"] | {"v": "9" * 18}}
    assert refused(huge, "btcusdt@ticker") == "size_range"


def test_a_bar_is_published_when_it_is_finished() -> None:
    """The present bar's updates are data without a message."""
    bar = {
        "t": 1653818820000, "T": 1653818879999, "s": "BTCUSDT", "i": "1m", "o": "1.1", "c": "1.2", "h": "1.3", "l": "1.0",
        "v": "191.5", "x": False,
    }  # fmt: skip
    frame = {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1653818854836, "s": "BTCUSDT", "k": bar}}
    normalizer = defined()
    assert not feed(normalizer, frame)
    bar["x"] = True
    (message,) = feed(normalizer, frame)
    (record,) = decoded(message)
    assert [record.open, record.high, record.low, record.close, record.volume] == [
        1_100000000, 1_300000000, 1_000000000, 1_200000000, 191_500_000,
    ]  # fmt: skip
    assert (message.schema, record.ts_event) == ("OHLCV_1M", 1653818820000 * 10**6)
    assert not feed(normalizer, frame)  # another connection's
    bar["i"] = "1h"
    assert refused(frame, "btcusdt@kline_1m", normalizer) == "wrong_channel"


# --- definitions ------------------------------------------------------------------------------------------------------


def test_a_definition_says_everything_needed_to_read_sizes() -> None:
    """Lot, tick, order step and pair, and the symbol's status beside it; a second time nothing."""
    normalizer = Normalizer(INFO)
    first = normalizer.normalize(envelope(EXCHANGE_INFO, definition()))
    message, status = first
    (record,) = decoded(message)
    assert (message.schema, message.channel) == ("DEFINITION", "definition.BTCUSDT")
    assert (record.raw_symbol, record.group, record.asset) == ("BTCUSDT", "BTC/USDT", "BTC")
    assert (record.unit_of_measure, record.unit_of_measure_qty) == ("BTC", LOT)
    assert (record.min_price_increment, record.min_lot_size, record.min_lot_size_round_lot) == (10_000_000, 10, 10)
    assert record.instrument_id == instrument_id("binance_spot", "BTCUSDT")
    assert (status.schema, status.channel, decoded(status)[0].action.value) == ("STATUS", "status.BTCUSDT", 7)
    assert not normalizer.normalize(envelope(EXCHANGE_INFO, definition()))
    (again,) = normalizer.definitions(T0)
    assert again == message


def test_changes_are_published_once() -> None:
    """A new status is a STATUS, a new tick a modified definition."""
    normalizer = defined()
    (status,) = normalizer.normalize(envelope(EXCHANGE_INFO, definition(status="BREAK")))
    assert (decoded(status)[0].action.value, decoded(status)[0].is_trading) == (9, False)
    (changed, _) = normalizer.normalize(envelope(EXCHANGE_INFO, definition(tickSize="0.10000000")))
    assert decoded(changed)[0].security_update_action == "M"


def test_a_new_lot_starts_the_book_anew() -> None:
    """What is counted in old lots cannot be continued in new ones: a gap, and a new snapshot."""
    normalizer = defined()
    feed(normalizer, depth(100, 100), BOOK)
    outputs = normalizer.normalize(envelope(EXCHANGE_INFO, definition(maxQty="90000.00000000")))
    assert gaps(outputs) == [Gap("definition")]
    assert [output.schema for output in outputs] == ["DEFINITION", "MBO"]
    assert resyncs(feed(normalizer, depth(101, 101))) == [DEPTH]
    assert data(feed(normalizer, snapshot(101, [["10.00", "1.0"]], [["11.00", "1.0"]])))


def listing(*entries: dict[str, Any], at_s: int) -> Envelope:
    """An exchangeInfo of several symbols, `at_s` seconds after the first, by the venue's clock and ours."""
    symbols = [entry["symbols"][0] for entry in entries]
    ts_recv = T0 + at_s * S
    return envelope(EXCHANGE_INFO, {"serverTime": ts_recv // 10**6, "symbols": symbols}, ts_recv)


def updates(outputs: Iterable[Output]) -> list[tuple[str, str]]:
    """(symbol, A, M or D) of each definition."""
    found = [decoded(message)[0] for message in data(outputs, "DEFINITION")]
    return [(record.raw_symbol, str(record.security_update_action)) for record in found]


BTC, ETH, SOL = definition(), definition("ETHUSDT"), definition("SOLUSDT")


def test_a_listing_is_asked_for_and_defined_before_its_first_price() -> None:
    """Data of a symbol listed since is dropped, declared once, and asks for the list; with it, data flows."""
    normalizer = Normalizer(INFO)
    assert updates(normalizer.normalize(listing(BTC, ETH, at_s=0))) == [("BTCUSDT", "A"), ("ETHUSDT", "A")]
    new = {"stream": "solusdt@trade", "data": trade(1)["data"] | {"s": "SOLUSDT"}}
    first = feed(normalizer, new, ts_recv=T0 + 20 * S)
    assert gaps(first) == [Gap("no_definition")]
    assert resyncs(first) == [EXCHANGE_INFO]
    assert not feed(normalizer, new, ts_recv=T0 + 29 * S)
    assert feed(normalizer, new, ts_recv=T0 + 30 * S) == [Resync(EXCHANGE_INFO)]
    assert updates(normalizer.normalize(listing(BTC, ETH, SOL, at_s=31))) == [("SOLUSDT", "A")]
    assert [message.channel for message in data(feed(normalizer, new))] == ["solusdt@trade"]


def test_a_delisted_symbol_is_deleted() -> None:
    """D when the list has it no more; nothing for late joiners; its trades stay known; listed again it is added."""
    normalizer = Normalizer(INFO)
    normalizer.normalize(listing(BTC, ETH, at_s=0))
    feed(normalizer, depth(100, 100), BOOK, trade(7))
    assert len(list(normalizer.images(T0))) == 1
    assert updates(normalizer.normalize(listing(ETH, at_s=60))) == [("BTCUSDT", "D")]
    assert not normalizer.normalize(listing(ETH, at_s=120))
    assert not list(normalizer.images(T0))
    assert [message.channel for message in normalizer.definitions(T0)] == ["definition.ETHUSDT"]
    assert not feed(normalizer, trade(7))
    assert len(data(feed(normalizer, trade(8)), "TRADES")) == 1
    again = normalizer.normalize(listing(BTC, ETH, at_s=180))
    assert updates(again) == [("BTCUSDT", "A")]
    assert [message.channel for message in data(again, "STATUS")] == ["status.BTCUSDT"]
    assert not feed(normalizer, trade(8))


def test_lists_that_prove_nothing_delete_nothing() -> None:
    """One with few of the symbols, asked by name; an older one, the other lane's; one of an absurd time."""
    normalizer = Normalizer(INFO)
    normalizer.normalize(listing(BTC, ETH, SOL, at_s=60))
    assert not normalizer.normalize(listing(BTC, at_s=120))
    assert not normalizer.normalize(listing(BTC, ETH, at_s=30))
    absurd = {"serverTime": 2**53, "symbols": [entry["symbols"][0] for entry in (BTC, ETH, SOL)]}
    assert not normalizer.normalize(envelope(EXCHANGE_INFO, absurd, T0 + 130 * S))
    assert len(list(normalizer.definitions(T0))) == 3
    assert updates(normalizer.normalize(listing(BTC, ETH, at_s=180))) == [("SOLUSDT", "D")]


def test_a_symbol_listed_again_in_another_lot_begins_anew() -> None:
    """What was counted in the lots of before is not continued."""
    normalizer = Normalizer(INFO)
    normalizer.normalize(listing(BTC, ETH, at_s=0))
    feed(normalizer, trade(7))
    normalizer.normalize(listing(ETH, at_s=60))
    outputs = normalizer.normalize(listing(definition(maxQty="90000.00000000"), ETH, at_s=120))
    assert updates(outputs) == [("BTCUSDT", "A")]
    assert gaps(outputs) == [Gap("definition")]
    (message,) = data(feed(normalizer, trade(8, q="1.00000000")), "TRADES")
    assert TRADE.unpack(message.data)[6] == 100_000


@pytest.mark.parametrize(
    ("step", "largest", "lot"),
    [
        (10_000, 9_000 * S, 1_000),  # BTCUSDT 2021-10 on; 0.000001 before
        (100_000, 9_000 * S, 1_000),  # ETHUSDT 2021-10 on; 0.00001 before
        (1_000_000, 90_000 * S, 10_000),  # LTCUSDT 2021-10 on; 0.00001 before
        (S, 9_000_000 * S, 1_000_000),  # NKNUSDT 2021-10 on; 0.1 before
        (S, 46_116_860_414 * S, S),  # SHIBUSDT
        (10, 1 * S, 10),  # never finer than 1e-8
    ],
)
def test_lots_leave_room_for_the_largest_order_and_for_older_steps(step: int, largest: int, lot: int) -> None:
    """Filters of 2021, with the steps that orders of before still have."""
    assert lot_of(step, largest) == lot


def test_symbols_that_cannot_be_defined_are_left_out() -> None:
    """One strange symbol among hundreds must not keep the others from being defined."""
    body = definition()
    strange = [
        {"symbol": "NOFILTER", "status": "TRADING", "baseAsset": "A", "quoteAsset": "B", "filters": []},
        {**body["symbols"][0], "symbol": "币安人生USDT", "baseAsset": "币安人生"},
        {**definition(stepSize="0.00000000")["symbols"][0], "symbol": "NOSTEP"},
        {**definition(stepSize="1e-5")["symbols"][0], "symbol": "EXPONENT"},
    ]
    normalizer = Normalizer(INFO)
    normalizer.normalize(envelope(EXCHANGE_INFO, body | {"symbols": [*strange, *body["symbols"]]}))
    assert [message.channel for message in normalizer.definitions(T0)] == ["definition.BTCUSDT"]
    assert refused({"symbols": strange}, EXCHANGE_INFO) == "no_instruments"


def test_data_before_its_definition_is_declared_and_definitions_are_asked_for_once_a_second() -> None:
    """Sizes cannot be counted yet: one gap per channel, and no flood of requests."""
    normalizer = Normalizer(INFO)
    first = feed(normalizer, trade(7))
    assert gaps(first) == [Gap("no_definition")]
    assert resyncs(first) == [EXCHANGE_INFO]
    assert not feed(normalizer, trade(8), ts_recv=T0 + S - 1)
    assert gaps(feed(normalizer, quote(5), ts_recv=T0 + S - 1)) == [Gap("no_definition")]
    assert feed(normalizer, trade(9), BOOK, ts_recv=T0 + S) == [Resync(EXCHANGE_INFO)]
    normalizer.normalize(envelope(EXCHANGE_INFO, definition()))
    assert len(data(feed(normalizer, trade(10)))) == 1


def test_an_unknown_symbol_is_refused_once_definitions_are_known() -> None:
    """A stream's name that a broken frame invented makes no channel."""
    normalizer = defined()
    assert refused(trade(7) | {"stream": "btcusdx@trade"}, "btcusdx@trade", normalizer) == "unknown_instrument"
    assert refused(BOOK, "rest/depth/BTCUSDX", normalizer) == "unknown_instrument"
    for channel in ("btcusdt@trafe", "BTCUSDT@trade", "@trade", "rest/other", "!ticker@arr"):
        assert refused(trade(7) | {"stream": channel}, channel, normalizer) == "unknown_channel"


# --- control ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        {"result": None, "id": 1},
        {"result": ["btcusdt@trade"], "id": "a"},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
        {"code": 2, "msg": "Invalid request"},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
        {"e": "serverShutdown", "E": 1770123456789},
    ],
)
def test_control_frames_are_nothing_to_publish(frame: dict[str, Any]) -> None:
    """Acknowledgements, refusals and serverShutdown are understood."""
    assert not defined().normalize(envelope("control", frame))


@pytest.mark.parametrize("frame", ['{"strean":"btcusdt@trade","data":{}}', "{}", "nonsense", '\x00\ufffd{"a":1}'])
def test_anything_else_without_a_channel_is_refused(frame: str) -> None:
    """A broken market message must not pass as control."""
    assert refused(frame, "control") in {"unknown_frame", "json"}


def test_probes_are_nothing_to_publish() -> None:
    """The session compares them itself."""
    assert not defined().normalize(envelope(f"rest/probe/{DEPTH}", BOOK))


# --- connections ------------------------------------------------------------------------------------------------------


def connected(connection: int, ts_recv: int = T0, *channels: str) -> Any:
    body = {"url": "ws://x", "channels": list(channels or (TRADES, DEPTH, QUOTES))}
    return envelope("session", body, ts_recv, KIND_CONNECTED, connection)


def disconnected(connection: int, ts_recv: int = T0) -> Any:
    return envelope("session", {"reason": "closed"}, ts_recv, KIND_DISCONNECTED, connection)


def started() -> Normalizer:
    normalizer = defined()
    normalizer.normalize(connected(1))
    feed(normalizer, depth(99, 100), BOOK, quote(5), trade(7))
    return normalizer


def test_a_lost_connection_makes_books_and_quotes_doubtful_but_trade_ids_speak_for_themselves() -> None:
    """No false gap where the next trade is the next id; the book waits for the snapshot of the new connection."""
    normalizer = started()
    outputs = normalizer.normalize(disconnected(1))
    assert sorted(message.schema for message in outputs) == ["MBO", "MBP_1"]
    assert {gap.reason for gap in gaps(outputs)} == {"disconnected"}
    assert not list(normalizer.images(T0))
    normalizer.normalize(connected(2))
    assert not gaps(feed(normalizer, trade(8)))
    assert not resyncs(feed(normalizer, depth(101, 101, [["10.00", "3.0"]])))
    (image,) = data(feed(normalizer, snapshot(101, [["10.00", "3.0"]], [["11.00", "1.0"]])), "MBO")
    assert len(list(records(image.data))) == 3


def test_a_rotated_connection_is_no_loss() -> None:
    """The new connection is there before the old one ends: nothing is missing, copies are passed over."""
    normalizer = started()
    normalizer.normalize(connected(2))
    outputs = feed(normalizer, depth(101, 102, [["10.00", "3.0"]]), depth(101, 102, [["10.00", "3.0"]]), quote(5))
    assert len(data(outputs)) == 1
    assert not normalizer.normalize(disconnected(1))
    assert len(list(normalizer.images(T0))) == 1
    assert normalizer.normalize(disconnected(2))


def test_a_new_session_manager_is_a_lost_connection() -> None:
    """Connections are numbered anew: whatever the last one did not hand over is doubtful."""
    normalizer = started()
    assert {gap.reason for gap in gaps(normalizer.normalize(connected(1)))} == {"session_lost"}


def test_connections_older_than_the_normalizer_are_learnt_from_heartbeats() -> None:
    """A restarted normalizer declares their end as well, and asks for the snapshots it never saw."""
    normalizer = defined()
    feed(normalizer, quote(5))
    beat = envelope("session", {"connections": {"3": [QUOTES, DEPTH]}}, T0, KIND_HEARTBEAT, 0)
    normalizer.normalize(beat)
    assert {gap.reason for gap in gaps(normalizer.normalize(disconnected(3)))} == {"disconnected"}


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    """Also in a market too quiet to send updates: heartbeats bring the time."""
    normalizer = defined()
    normalizer.normalize(connected(1))
    body = {"connections": {"1": [DEPTH]}}
    assert not normalizer.normalize(envelope("session", body, T0 + 4 * S, KIND_HEARTBEAT, 0))
    assert resyncs(normalizer.normalize(envelope("session", body, T0 + 5 * S, KIND_HEARTBEAT, 0))) == [DEPTH]
    assert not normalizer.normalize(envelope("session", body, T0 + 6 * S, KIND_HEARTBEAT, 0))
    assert not resyncs(feed(normalizer, BOOK, ts_recv=T0 + 6 * S))
    assert not normalizer.normalize(envelope("session", body, T0 + 60 * S, KIND_HEARTBEAT, 0))


@pytest.mark.parametrize(("channel", "wanted"), [(DEPTH, [DEPTH]), (QUOTES, []), (TRADES, [])])
def test_dropped_envelopes_are_declared_on_their_channel(channel: str, wanted: list[str]) -> None:
    """What a full queue threw away is a gap; a book wants a snapshot at once."""
    body = {"first": 5, "last": 9, "count": 5}
    outputs = started().normalize(envelope(channel, body, T0, KIND_DROPPED, 1))
    assert [gap.reason for gap in gaps(outputs)] == ["dropped"]
    assert resyncs(outputs) == wanted


def test_a_dropped_answer_is_asked_for_again() -> None:
    """Where it was of use: a book that waits, and definitions."""
    body = {"first": 5, "last": 5, "count": 1}
    normalizer = started()
    assert not normalizer.normalize(envelope("rest/depth/BTCUSDT", body, T0, KIND_DROPPED, 0))
    normalizer.normalize(disconnected(1))
    assert resyncs(normalizer.normalize(envelope("rest/depth/BTCUSDT", body, T0, KIND_DROPPED, 0))) == [DEPTH]
    assert resyncs(normalizer.normalize(envelope(EXCHANGE_INFO, body, T0, KIND_DROPPED, 0))) == [EXCHANGE_INFO]


def test_reference_definitions_define_btcusdt() -> None:
    """For recordings that lack an exchangeInfo."""
    (message,) = defined().definitions(T0)
    assert message.channel == "definition.BTCUSDT"
