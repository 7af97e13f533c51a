"""Binance USD-M futures' messages one by one: what each becomes, what is refused, what happens around connections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import F_LAST, F_PUBLISHER_SPECIFIC, UNDEF_ORDER_SIZE, UNDEF_PRICE, UNDEF_TIMESTAMP, records
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_HEARTBEAT
from penstock.tradeids import MAX_STEP
from providers.binance_usdm.normalizer import Normalizer
from providers.binance_usdm.offline import offline
from providers.binance_usdm.payloads import channel_of, event_time, merge_key
from tests.unit.binance_usdm_frames import (
    CONTRACT,
    DEPTH,
    E0,
    EXCHANGE_INFO,
    INFO,
    LIQUIDATIONS,
    MARK,
    MBP_1,
    MS,
    NEVER,
    OPEN_INTEREST,
    QUOTES,
    SNAPSHOT,
    T0,
    TRADE,
    TRADES,
    bar,
    compact,
    contract,
    data,
    decoded,
    defined,
    depth,
    envelope,
    feed,
    gaps,
    info,
    liquidation,
    listed,
    mark,
    match,
    quote,
    resyncs,
    snapshot,
    statistics,
    ticker,
    trade,
)

S = 1_000_000_000
BOOK = snapshot(1000, [["10.00", "1.0"]], [["11.00", "1.0"]])
INTEREST = {"openInterest": "10659.509", "symbol": "BTCUSDT", "time": E0}


def refused(frame: dict[str, Any] | bytes | str, channel: str = TRADES, normalizer: Normalizer | None = None) -> str:
    with pytest.raises(PayloadError) as caught:
        (normalizer or defined()).normalize(envelope(channel, frame))
    return caught.value.reason


def published(outputs: Any) -> list[int]:
    return [TRADE.unpack(message.data)[13] for message in data(outputs, "TRADES")]


# --- trades -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("maker", "side"), [(True, b"A"), (False, b"B")])
def test_the_aggressor_is_not_the_maker(maker: bool, side: bytes) -> None:
    """`m`: the buyer was the maker, so the aggressor sold. The whole of `q` traded, whatever `nq` says."""
    (message,) = feed(defined(), trade(7, m=maker, nq="0.001"))
    fields = TRADE.unpack(message.data)
    assert (message.schema, message.channel) == ("TRADES", TRADES)
    assert (fields[5], fields[6], fields[8], fields[9]) == (61800_200_000_000, 20, side, F_LAST)
    assert (fields[4], fields[11], fields[13]) == ((E0 + 1) * MS, T0, 7)


def test_a_hole_in_the_ids_is_declared_before_the_trade_that_shows_it() -> None:
    """Ids count +1 per symbol; what was declared missing and comes after all is published once."""
    normalizer = defined()
    outputs = feed(normalizer, trade(7), trade(8), trade(11))
    assert gaps(outputs) == [Gap("trade_id", 9, 11)]
    assert outputs[2].data[1] == 0x15  # type: ignore[union-attr] # the marker comes before the trade
    assert not feed(normalizer, trade(11), trade(7), trade(6))
    assert published(feed(normalizer, trade(9), trade(10), trade(9), trade(12))) == [9, 10, 12]


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA"])
def test_what_did_not_happen_on_the_book_counts_and_is_not_published(kind: str) -> None:
    """Its id is no hole, whatever its price; the same holds for aggregates, should they ever say so."""
    normalizer = defined()
    outputs = feed(normalizer, match(7), match(8, X=kind, p="0", q="0"), match(9), trade(1), trade(2, X=kind), trade(3))
    assert not gaps(outputs)
    assert published(outputs) == [7, 9, 1, 3]
    outputs = feed(normalizer, match(11, X=kind))
    assert gaps(outputs) == [Gap("trade_id", 10, 11)]
    assert not data(outputs)


def test_trades_and_aggregates_are_channels_of_their_own() -> None:
    """Recordings have `@trade`, whose ids have nothing to do with those of aggregates."""
    outputs = feed(defined(), match(4217898224), trade(5), match(4217898225))
    assert not gaps(outputs)
    assert [message.channel for message in data(outputs)] == ["btcusdt@trade", TRADES, "btcusdt@trade"]


def test_a_trade_beyond_u32_lots_is_split_and_adds_up() -> None:
    """Several records of one message, F_LAST on the last only."""
    (message,) = feed(defined(), trade(7, q="9000000.000"))
    parts = [TRADE.unpack(record) for _, record in records(message.data)]
    assert [part[6] for part in parts] == [MAX_SIZE, MAX_SIZE, 9_000_000_000 - 2 * MAX_SIZE]
    assert [part[9] for part in parts] == [0, 0, F_LAST]


def test_one_absurd_id_neither_passes_nor_silences_what_follows() -> None:
    """An id far ahead is refused; the stream goes on; a second one as far ahead is believed and declared."""
    normalizer = defined()
    feed(normalizer, trade(7))
    assert refused(trade(7 + 10 * MAX_STEP), normalizer=normalizer) == "id_jump"
    assert published(feed(normalizer, trade(8))) == [8]
    assert refused(trade(9 * MAX_STEP), normalizer=normalizer) == "id_jump"
    assert gaps(feed(normalizer, trade(9 * MAX_STEP + 1))) == [Gap("trade_id", 9, 9 * MAX_STEP + 1)]


@given(st.lists(st.integers(0, 60), max_size=120))
def test_an_archive_publishes_each_distinct_trade_once_in_any_order(ids: list[int]) -> None:
    """Two lanes merged may come in any order with any copies."""
    assert published(feed(defined(archive=True), *map(trade, ids))) == list(dict.fromkeys(ids))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=120))
def test_live_publishes_no_trade_twice_and_hides_no_hole(ids: list[int]) -> None:
    """Whatever comes from the first id on is published once; every id that was jumped over was declared."""
    outputs = feed(defined(), *map(trade, ids))
    assert published(outputs) == list(dict.fromkeys(number for number in ids if number >= ids[0]))
    declared = {number for gap in gaps(outputs) for number in range(gap.expected, gap.got)}
    assert declared | set(published(outputs)) >= set(range(ids[0], max(ids) + 1))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"p": "61800.2000000001"}, "number_precision"),
        ({"p": "1e5"}, "number_format"),
        ({"p": "-1.0"}, "number_format"),
        ({"p": "9223372037"}, "number_range"),
        ({"p": "0.00"}, "zero_price"),
        ({"p": 61800.2}, "shape"),
        ({"q": "0.0001"}, "not_whole_lots"),
        ({"q": "0.000"}, "zero_size"),
        ({"q": "9" * 18}, "size_range"),
        ({"a": 2**63}, "shape"),
        ({"a": -1}, "shape"),
        ({"a": "7"}, "shape"),
        ({"T": 10**13}, "time_range"),
        ({"m": 1}, "shape"),
        ({"X": "NOVEL"}, "shape"),
        ({"e": "trade"}, "shape"),
        ({"s": "ETHUSDT"}, "wrong_channel"),
    ],
)
def test_what_cannot_be_said_exactly_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Nothing is rounded, wrapped or guessed; the refusal names a fixed reason and leaves no trace."""
    normalizer = defined()
    feed(normalizer, trade(7))
    assert refused(trade(8, **changed), normalizer=normalizer) == reason
    assert published(feed(normalizer, trade(8))) == [8]


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"stream":"\xff"}', b"[" * 100_000, b"null"])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    """Broken bytes end in a PayloadError, whatever they are."""
    assert refused(payload) in {"json", "shape"}


# --- quotes and bars --------------------------------------------------------------------------------------------------


def test_a_quote_has_the_matching_engines_time() -> None:
    """`T`, not the time of sending; the update id is the sequence; an empty side is undefined."""
    (message,) = feed(defined(), quote(2**32 + 5, b="0", B="0.000"))
    fields = MBP_1.unpack(message.data)
    assert (fields[4], fields[11], fields[13]) == ((E0 - 1) * MS, T0, 5)
    assert (fields[14], fields[15], fields[16], fields[17]) == (UNDEF_PRICE, 61800_300_000_000, 0, 1546)


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
    archive = feed(defined(archive=True), quote(5), quote(9), quote(7), quote(7))
    assert [MBP_1.unpack(message.data)[13] for message in data(archive)] == [5, 9, 7]


def test_a_quantity_beyond_u32_lots_is_unknown_rather_than_wrong() -> None:
    """MBP_1 cannot be split: UNDEF_ORDER_SIZE, said by a flag. A crossed quote is refused."""
    (message,) = feed(defined(), quote(5, B="4294967.295"))
    fields = MBP_1.unpack(message.data)
    assert (fields[16], fields[17], fields[9]) == (UNDEF_ORDER_SIZE, 1546, F_LAST | F_PUBLISHER_SPECIFIC)
    assert refused(quote(6, b="61800.30"), QUOTES) == "crossed"


def test_a_bar_is_published_once_when_it_is_finished() -> None:
    """The present bar's updates are data without a message; a second connection repeats finished ones."""
    normalizer = defined()
    assert not feed(normalizer, bar(x=False))
    (message,) = feed(normalizer, bar(), bar())
    (record,) = decoded(message)
    assert [record.open, record.high, record.low, record.close, record.volume] == [
        1_100000000, 1_300000000, 1_000000000, 1_200000000, 191_500,
    ]  # fmt: skip
    assert (message.schema, record.ts_event) == ("OHLCV_1M", 1638747660000 * MS)
    assert refused(bar(i="1h"), "btcusdt@kline_1m") == "wrong_channel"


# --- statistics -------------------------------------------------------------------------------------------------------


def test_a_mark_price_is_four_statistics() -> None:
    """Index, mark, estimated settlement, and the funding rate exactly, with the time it is due at."""
    (message,) = feed(defined(), mark())
    found = {one.kind: one for one in statistics(message)}
    assert found.keys() == {10, 20001, 20002, 20003}
    assert [found[kind].price for kind in (10, 20001, 20003)] == [
        58857_266936640, 58940_149245320, 58905_146636580,
    ]  # fmt: skip
    funding = found[20002]
    assert (funding.price, funding.quantity, funding.ts_ref) == (584_550, 584_550 * S, 1_723_190_400_000 * MS)
    assert {one.ts_event for one in found.values()} == {E0 * MS}


def test_funding_may_be_negative_and_may_be_missing() -> None:
    """Dated and delisted contracts have none: `T` is 0, or `r` empty. What is zero is not stated."""
    (message,) = feed(defined(), mark(r="-0.00010000"))
    assert next(one for one in statistics(message) if one.kind == 20002).price == -100_000
    for changed in ({"T": 0}, {"r": ""}):
        (message,) = feed(defined(), mark(**changed, P="0.00000000"))
        assert {one.kind for one in statistics(message)} == {10, 20001}
    assert refused(mark(r="99"), MARK) == "number_range"


def test_statistics_are_told_when_they_change_and_all_every_ten_seconds() -> None:
    """Of venue time. After a loss everything is told again."""
    normalizer = defined()
    start = E0 - E0 % 10_000
    feed(normalizer, mark(E=start))
    assert not feed(normalizer, mark(E=start + 1000))
    (message,) = feed(normalizer, mark(E=start + 2000, p="58940.2"))
    assert [one.kind for one in statistics(message)] == [20001]
    (message,) = feed(normalizer, mark(E=start + 10_000, p="58940.2"))
    assert len(statistics(message)) == 4
    normalizer.normalize(envelope(MARK, b"", kind=KIND_DROPPED))
    (message,) = feed(normalizer, mark(E=start + 11_000, p="58940.2"))
    assert len(statistics(message)) == 4


def test_a_ticker_is_four_statistics_of_its_window() -> None:
    """Low, high and last price, volume in lots; ts_ref is where the window begins. Without trades there is no price."""
    (message,) = feed(defined(), ticker())
    found = statistics(message)
    assert [(one.kind, one.price) for one in found[:3]] == [
        (4, 57000 * S), (5, 60000 * S), (20005, 58940_100000000),
    ]  # fmt: skip
    assert (found[3].kind, found[3].quantity) == (6, 122_474_816)
    assert {one.ts_ref for one in found} == {(E0 - 86_400_000) * MS}
    (message,) = feed(defined(), ticker(**dict.fromkeys("chlv", "0")))
    assert [one.kind for one in statistics(message)] == [6]
    assert refused(ticker(v="9" * 18), "btcusdt@ticker") == "size_range"


@pytest.mark.parametrize(("side", "flags"), [("SELL", 1), ("BUY", 2)])
def test_a_liquidation_says_which_side_was_closed_and_what_was_filled(side: str, flags: int) -> None:
    """A SELL order closed a long position: stat_flags 1. Average price and quantity of its fills, at their time."""
    normalizer = defined()
    (message,) = feed(normalizer, liquidation(S=side), liquidation(S=side))
    (one,) = statistics(message)
    assert (one.kind, one.price, one.quantity, one.flags) == (20006, 9910 * S, 14, flags)
    assert one.ts_event == (E0 - 3) * MS
    assert not feed(normalizer, liquidation(S=side, z="0", ap="0", X="NEW"))
    assert len(feed(normalizer, liquidation(S=side, T=E0))) == 1
    assert refused(liquidation(S="NONE"), LIQUIDATIONS) == "shape"


def test_open_interest_is_counted_in_lots() -> None:
    """It comes by REST; another symbol's answer, or an error, is refused."""
    (message,) = feed(defined(), INTEREST)
    (one,) = statistics(message)
    assert (message.schema, message.channel) == ("STATISTICS", OPEN_INTEREST)
    assert (one.kind, one.quantity, one.ts_event) == (9, 10_659_509, E0 * MS)
    assert refused(INTEREST | {"symbol": "ETHUSDT"}, OPEN_INTEREST) == "wrong_channel"
    assert refused({"code": -1121, "msg": "Invalid symbol."}, OPEN_INTEREST) == "shape"


# --- definitions ------------------------------------------------------------------------------------------------------


def test_a_definition_says_everything_needed_to_read_sizes() -> None:
    """Lot, tick, pair and settlement; the status beside it. A second time nothing."""
    normalizer = Normalizer(INFO)
    message, status = feed(normalizer, info(listed()))
    (record,) = decoded(message)
    assert (message.schema, message.channel) == ("DEFINITION", "definition.BTCUSDT")
    assert (record.raw_symbol, record.group, record.asset, record.underlying) == (
        "BTCUSDT", "BTC/USDT:USDT", "BTC", "BTCUSDT",
    )  # fmt: skip
    assert (record.security_type, record.secsubtype, record.security_update_action) == ("PERP", "LIN", "A")
    assert (record.unit_of_measure, record.unit_of_measure_qty, record.min_price_increment) == (
        "BTC", 1_000_000, 100_000_000,
    )  # fmt: skip
    assert (record.expiration, record.activation) == (UNDEF_TIMESTAMP, 1_569_398_400_000 * MS)
    assert record.instrument_id == instrument_id("binance_usdm", "BTCUSDT")
    assert (status.schema, status.channel, decoded(status)[0].action.value) == ("STATUS", "status.BTCUSDT", 7)
    assert not feed(normalizer, info(listed()))
    assert list(normalizer.definitions(T0)) == [message]


def test_a_dated_contract_expires() -> None:
    """A quarterly future has a delivery date."""
    dated = listed("BTCUSDT_261225", contractType="CURRENT_QUARTER", deliveryDate=1_798_185_600_000)
    (record,) = decoded(feed(Normalizer(INFO), info(dated))[0])
    assert (record.security_type, record.expiration) == ("FUT", 1_798_185_600_000 * MS)
    assert record.underlying == "BTCUSDT"


def test_the_lot_is_what_the_venue_prints_or_the_step_where_that_is_finer() -> None:
    """Orders of before a step was coarsened keep their decimals."""
    for step, precision, lot, round_lot in (("0.01", 3, 10**6, 10), ("0.001", 0, 10**6, 1), ("1", 0, 10**9, 1)):
        entry = listed(step=step, quantityPrecision=precision)
        (record,) = decoded(feed(Normalizer(INFO), info(entry))[0])
        assert (record.unit_of_measure_qty, record.min_lot_size_round_lot) == (lot, round_lot)


def test_definitions_are_followed() -> None:
    """Listings, states, delisting dates, and contracts that are gone: each once."""
    normalizer = Normalizer(INFO)
    feed(normalizer, info(listed(), listed("ETHUSDT")))
    added = feed(normalizer, info(listed(), listed("ETHUSDT"), listed("NEWUSDT", status="PENDING_TRADING")))
    assert [(message.schema, message.channel) for message in data(added)] == [
        ("DEFINITION", "definition.NEWUSDT"), ("STATUS", "status.NEWUSDT"),
    ]  # fmt: skip
    assert decoded(data(added)[1])[0].action.value == 1
    (changed,) = feed(normalizer, info(listed(), listed("ETHUSDT", deliveryDate=1_798_185_600_000), listed("NEWUSDT")))[
        :1
    ]
    assert decoded(changed)[0].security_update_action == "M"  # type: ignore[arg-type] # a message
    feed(normalizer, quote(5))
    gone = feed(normalizer, info(listed("ETHUSDT", deliveryDate=1_798_185_600_000), listed("NEWUSDT")))
    assert decoded(data(gone)[0])[0].security_update_action == "D"
    assert [gap.reason for gap in gaps(gone)] == ["definition"]
    assert refused(quote(6), QUOTES, normalizer) == "unknown_instrument"
    again = feed(normalizer, info(listed(), listed("ETHUSDT"), listed("NEWUSDT")))
    assert ("A", "BTC") in {
        (str(record.security_update_action), record.asset)
        for message in data(again, "DEFINITION")
        for record in decoded(message)
    }


@pytest.mark.parametrize("changed", [{"tick": "0.01"}, {"step": "0.01", "quantityPrecision": 2}])
def test_another_lot_or_tick_starts_the_streams_anew(changed: dict[str, Any]) -> None:
    """What is counted in old lots cannot be continued in new ones: a gap on each, and a new snapshot."""
    normalizer = defined()
    feed(normalizer, BOOK, depth(1000, 1001, 1001), quote(5))
    outputs = feed(normalizer, info(listed(**changed)))
    assert decoded(data(outputs)[0])[0].security_update_action == "M"
    assert [gap.reason for gap in gaps(outputs)] == ["definition", "definition"]
    assert not list(normalizer.images(T0))
    assert resyncs(feed(normalizer, depth(1001, 1002, 1002))) == [DEPTH]


def test_contract_info_says_sooner_what_exchange_info_will() -> None:
    """A state and a delivery date at the venue's time; a new contract is asked for; COIN-M's are passed over."""
    normalizer = defined()
    assert not feed(normalizer, contract())
    (status,) = data(feed(normalizer, contract(cs="SETTLING")))
    assert (status.channel, decoded(status)[0].action.value, decoded(status)[0].ts_event) == (
        "status.BTCUSDT", 12, E0 * MS,
    )  # fmt: skip
    (changed,) = data(feed(normalizer, contract(cs="SETTLING", dt=1_798_185_600_000)))
    assert decoded(changed)[0].expiration == 1_798_185_600_000 * MS
    (status,) = data(feed(normalizer, contract(cs="MYSTERY", dt=1_798_185_600_000)))
    assert (decoded(status)[0].action.value, decoded(status)[0].is_trading) == (0, None)
    assert resyncs(feed(normalizer, contract(s="NEWUSDT"))) == [EXCHANGE_INFO]
    assert not feed(normalizer, contract(s="NEWUSDT"))
    assert not feed(normalizer, contract(s="BTCUSD_PERP", st=2), ts_recv=T0 + 2 * S)
    assert refused(contract(dt=10**14), CONTRACT, normalizer) == "time_range"


def test_a_status_is_not_turned_back_by_an_unchanged_list() -> None:
    """An entry that has not changed says nothing new."""
    normalizer = Normalizer(INFO)
    feed(normalizer, info(listed()), contract(cs="SETTLING"))
    assert not feed(normalizer, info(listed()))
    (status,) = feed(normalizer, info(listed(status="CLOSE")))
    assert decoded(status)[0].action.value == 15  # type: ignore[arg-type] # a message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (info(), "no_instruments"),
        (info(listed(tick="0")), "no_instruments"),
        (info(listed(quantityPrecision=10)), "no_instruments"),
        (info(listed("B" * 80)), "no_instruments"),
        ({"symbols": [{"symbol": "BTCUSDT"}]}, "shape"),
        ({"code": -1003, "msg": "Too many requests"}, "shape"),
    ],
)
def test_a_list_without_any_usable_contract_is_refused(body: dict[str, Any], reason: str) -> None:
    """And what was known before still is."""
    normalizer = defined()
    assert refused(body, EXCHANGE_INFO, normalizer) == reason
    assert len(list(normalizer.definitions(T0))) == 2


def test_data_without_a_definition_is_dropped_and_said_to_be() -> None:
    """Once per channel; the list is asked for at most once a second."""
    normalizer = Normalizer(INFO)
    outputs = feed(normalizer, trade(7), trade(8), quote(5))
    assert [gap.reason for gap in gaps(outputs)] == ["no_definition", "no_definition"]
    assert resyncs(outputs) == [EXCHANGE_INFO]
    assert resyncs(feed(normalizer, trade(9), ts_recv=T0 + S)) == [EXCHANGE_INFO]
    feed(normalizer, info(listed()))
    assert refused(trade(1, s="ETHUSDT"), "ethusdt@aggTrade", normalizer) == "unknown_instrument"


def test_offline_definitions_are_for_what_they_know() -> None:
    """The two symbols of the recordings that hold no list."""
    (body,) = offline(["ETHUSDT", "NOSUCH"]).values()
    outputs = Normalizer(INFO).normalize(envelope(EXCHANGE_INFO, body))
    assert [message.channel for message in data(outputs)] == ["definition.ETHUSDT", "status.ETHUSDT"]
    assert not offline(["NOSUCH"])


# --- what happened to the session -------------------------------------------------------------------------------------


def connected(normalizer: Normalizer, number: int, *channels: str) -> list[Any]:
    payload = {"url": "u", "channels": list(channels)}
    return list(normalizer.normalize(envelope("session", payload, kind=KIND_CONNECTED, connection=number)))


def test_a_lost_connection_puts_in_doubt_what_does_not_prove_itself() -> None:
    """Book, quotes and marks; not trades, whose ids tell, and not contract states, which are listed again."""
    normalizer = defined()
    connected(normalizer, 1, DEPTH, QUOTES, TRADES, MARK, CONTRACT)
    feed(normalizer, BOOK, quote(5), trade(7), mark(), contract())
    outputs = list(normalizer.normalize(envelope("session", b"{}", kind=KIND_DISCONNECTED)))
    assert sorted(output.channel for output in outputs) == [QUOTES, DEPTH, MARK]
    assert {gap.reason for gap in gaps(outputs)} == {"disconnected"}
    assert not list(normalizer.images(T0))


def test_what_another_connection_carries_is_not_lost() -> None:
    """A rotated connection overlaps; another session manager starts from the lowest number."""
    normalizer = defined()
    connected(normalizer, 1, QUOTES)
    feed(normalizer, quote(5))
    connected(normalizer, 2, QUOTES)
    assert not normalizer.normalize(envelope("session", b"{}", kind=KIND_DISCONNECTED, connection=1))
    assert [gap.reason for gap in gaps(connected(normalizer, 1, QUOTES))] == ["session_lost"]


def test_a_dropped_frame_is_declared_and_repaired() -> None:
    """A book asks for a snapshot; of contract states the list tells all."""
    normalizer = defined()
    feed(normalizer, BOOK, quote(5))
    assert normalizer.normalize(envelope(DEPTH, b"", kind=KIND_DROPPED))[-1] == Resync(DEPTH)
    assert normalizer.normalize(envelope(SNAPSHOT, b"", kind=KIND_DROPPED)) == [Resync(DEPTH)]
    assert [gap.reason for gap in gaps(normalizer.normalize(envelope(QUOTES, b"", kind=KIND_DROPPED)))] == ["dropped"]
    assert normalizer.normalize(envelope(CONTRACT, b"", kind=KIND_DROPPED)) == (Resync(EXCHANGE_INFO),)


def test_a_snapshot_that_does_not_come_is_asked_for_by_heartbeats() -> None:
    """Of books that a living connection carries, also where this normalizer came later than it."""
    normalizer = defined()
    connected(normalizer, 1, DEPTH)
    beat = envelope("session", {"connections": {"1": [DEPTH]}}, T0 + 6 * S, KIND_HEARTBEAT)
    assert resyncs(normalizer.normalize(beat)) == [DEPTH]
    assert not normalizer.normalize(beat)


@pytest.mark.parametrize(
    "channel", ["btcusdt@depth20", "BTCUSDT@aggTrade", "@aggTrade", "!markPrice@arr", "rest/klines"]
)
def test_unknown_channels_are_refused(channel: str) -> None:
    """By name."""
    assert refused(b"{}", channel) == "unknown_channel"


def test_control_frames_and_probes_become_nothing() -> None:
    """A control frame must still be one."""
    normalizer = defined()
    assert not normalizer.normalize(envelope("control", '{"result":null,"id":1}'))
    assert not normalizer.normalize(envelope("control", '{"error":{"code":4,"msg":"Too many subscriptions"}}'))
    assert not normalizer.normalize(envelope("rest/probe/btcusdt@markPrice@1s", "{}"))
    assert refused('{"e":"listenKeyExpired"}', "control") == "unknown_frame"


# --- peeks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "frame", "at", "sequence", "identity"),
    [
        (TRADES, trade(7), E0 + 1, 7, b"7"),
        ("btcusdt@trade", match(8), E0 + 1, 8, b"8"),
        (DEPTH, depth(1, 2, 3), E0 - 1, 3, b"2-3"),
        (QUOTES, quote(9), E0 - 1, 9, b"9"),
        (MARK, mark(), E0, 0, None),
        (LIQUIDATIONS, liquidation(), E0 - 3, 0, None),
        ("btcusdt@kline_1m", bar(), E0, 0, None),
        (CONTRACT, contract(), E0, 0, None),
        (SNAPSHOT, BOOK, E0 + 4, 1000, None),
        (OPEN_INTEREST, INTEREST, E0, 0, None),
    ],
)
def test_peeks_say_channel_time_and_identity(
    channel: str, frame: dict[str, Any], at: int, sequence: int, identity: bytes | None
) -> None:
    """Without decoding; the time is that of the record, where it has one."""
    payload = compact(frame)
    assert channel_of(payload) == (channel if "stream" in frame else "control")
    key = merge_key(channel, payload)
    assert (event_time(channel, payload), key.ts_event, key.sequence) == (at * MS, at * MS, sequence)
    assert key.identity == (identity or compact(frame.get("data", frame)) + (b"}" if "data" in frame else b""))


@given(st.binary(max_size=80), st.sampled_from([TRADES, DEPTH, QUOTES, MARK, SNAPSHOT, OPEN_INTEREST, "control"]))
def test_peeks_never_raise(payload: bytes, channel: str) -> None:
    """Whatever the bytes."""
    assert channel_of(payload)
    assert merge_key(channel, payload).ts_event == event_time(channel, payload) >= 0


def test_the_2100_date_of_perpetuals_is_no_expiration() -> None:
    """A day later is one."""
    for delivery, expiration in ((NEVER, UNDEF_TIMESTAMP), (NEVER + 86_400_000, (NEVER + 86_400_000) * MS)):
        (record,) = decoded(feed(Normalizer(INFO), info(listed(deliveryDate=delivery)))[0])
        assert record.expiration == expiration
