"""OKX's instruments, trades, statistics, candles and states as DBN messages."""

from __future__ import annotations

import json
from decimal import Decimal

import databento_dbn as dbn
import pytest

from penstock.errors import PayloadError
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED
from tests.unit.okx_frames import NS, T0_MS, Feed, book, decoded, gaps, instrument, listed, push, trade

SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def the(outputs: list[Output], schema: str) -> list[Message]:
    return [output for output in outputs if isinstance(output, Message) and output.schema == schema]


# --- instruments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "lot", "unit", "group", "subtype", "kind"),
    [
        (instrument(SPOT), "0.00000001", "BTC", "BTC/USDT", "", "X"),
        (instrument(SWAP, lotSz="0.01"), "0.0001", "BTC", "BTC/USDT:USDT", "LIN", "F"),
        (
            instrument("BTC-USD-SWAP", ctVal="100", ctValCcy="USD", ctType="inverse", settleCcy="BTC"),
            "100", "USD", "BTC/USD:BTC", "INV", "F",
        ),
        (
            instrument(
                "BTC-USD-220325-40000-C", ctVal="1", ctMult="0.1", ctType="", settleCcy="BTC", optType="C", stk="40000"
            ),
            "0.1", "BTC", "BTC/USD:BTC", "INV", "C",
        ),
    ],
)  # fmt: skip
def test_size_times_lot_is_the_quantity_in_the_unit_of_measure(
    facts: dict[str, object], lot: str, unit: str, group: str, subtype: str, kind: str
):
    """Contracts × ctVal × ctMult, exactly; spot in the base currency."""
    (record,) = decoded(the(Feed(facts).learned, "DEFINITION")[0])
    assert Decimal(record.unit_of_measure_qty) / 10**9 == Decimal(lot)
    assert (record.unit_of_measure, record.group, record.secsubtype) == (unit, group, subtype)
    assert str(record.instrument_class) == kind
    assert record.min_price_increment == 10**8


def test_what_dbn_cannot_hold_is_refused_alone_and_by_name():
    """A tick of 1e-11 and an unreadable neighbour are no reason to lose the third."""
    feed = Feed(instrument("ELON-USDT", tickSz="0.00000000001"), instrument("AB-USDT", lotSz=None), instrument(SPOT))
    assert gaps(feed.learned) == [
        ("definition.AB-USDT", "definition_shape"),
        ("definition.ELON-USDT", "definition_number_precision"),
    ]
    assert [message.channel for message in the(feed.learned, "STATUS")] == [f"status.{SPOT}"]
    data = push("trades.ELON-USDT", trade("ELON-USDT", 1))
    assert gaps(feed.frame(data)) == [("trades.ELON-USDT", "no_definition")]
    assert feed.frame(data) == [], "once, and no list is asked for that cannot help"


def test_definitions_follow_the_lists():
    """Listed, changed, delisted; a list of one type says nothing of another, and of options only of its families."""
    feed = Feed(instrument(SWAP), instrument("ETH-USDT-SWAP"))
    feed.rest("rest/instruments/SPOT", listed(instrument(SPOT)))
    assert feed.rest("rest/instruments/SWAP", listed(instrument(SWAP), instrument("ETH-USDT-SWAP"))) == []
    outputs = feed.rest("rest/instruments/SWAP", listed(instrument(SWAP, tickSz="0.01"), instrument("SOL-USDT-SWAP")))
    actions = [(m.channel, str(decoded(m)[0].security_update_action)) for m in the(outputs, "DEFINITION")]
    assert actions == [
        ("definition.BTC-USDT-SWAP", "M"), ("definition.SOL-USDT-SWAP", "A"), ("definition.ETH-USDT-SWAP", "D"),
    ]  # fmt: skip
    assert int(decoded(the(outputs, "STATUS")[-1])[0].action) == 12, "closed"
    names = [message.channel for message in feed.normalizer.definitions(1)]
    assert names == ["definition.BTC-USDT-SWAP", "definition.BTC-USDT", "definition.SOL-USDT-SWAP"]


def test_an_answer_for_one_instrument_delists_no_other():
    """Only a list by instType is whole; an empty one says nothing."""
    feed = Feed(instrument(SWAP), instrument("ETH-USDT-SWAP"))
    assert feed.rest(f"rest/instruments/{SWAP}", listed(instrument(SWAP))) == []
    assert feed.rest("rest/instruments/SWAP", listed()) == []
    assert len(list(feed.normalizer.definitions(1))) == 2


def test_a_lot_that_changes_starts_the_streams_anew():
    """A gap on each of them, and a snapshot is asked for: sizes before and after are not of one unit."""
    feed = Feed(instrument(SWAP))
    channel = f"books.{SWAP}"
    feed.frame(book(channel, "snapshot", [("99.9", "5")], [("100.1", "4")], prevSeqId=-1, seqId=10))
    feed.frame(push(f"trades.{SWAP}", trade(SWAP, 5)))
    feed.frame(push(f"open-interest.{SWAP}", {"instId": SWAP, "oi": "7", "ts": str(T0_MS)}))
    outputs = feed.rest("rest/instruments/SWAP", listed(instrument(SWAP, lotSz="0.1")))
    assert gaps(outputs) == [
        (name, "definition_changed") for name in (channel, f"trades.{SWAP}", f"open-interest.{SWAP}")
    ]
    assert Resync(channel) in outputs
    (message,) = feed.frame(book(channel, "snapshot", [("99.9", "0.5")], [], 5, prevSeqId=-1, seqId=11))
    assert [record.size for record in decoded(message)] == [0, 5]


def test_pushed_instruments_outrank_a_list_that_may_be_older():
    """A push says suspend; a list that was on its way says live and is not believed, one ten seconds later is."""
    feed = Feed(instrument(SWAP))
    (message,) = feed.frame(push("instruments.SWAP", instrument(SWAP, state="suspend")))
    assert (message.channel, int(decoded(message)[0].action)) == (f"status.{SWAP}", 10)
    assert feed.rest("rest/instruments/SWAP", listed(instrument(SWAP))) == []
    feed.ms += 10_001
    (message,) = feed.rest("rest/instruments/SWAP", listed(instrument(SWAP)))
    assert int(decoded(message)[0].action) == 7
    gone = feed.frame(push("instruments.SWAP", instrument(SWAP, state="expired")))
    assert [str(decoded(m)[0].security_update_action) for m in the(gone, "DEFINITION")] == ["D"]


def test_data_without_definition_is_declared_once_and_the_list_asked_for():
    """Nothing is guessed about lots."""
    feed = Feed()
    assert feed.frame(push(f"trades.{SWAP}", trade(SWAP, 1)))[1:] == [Resync("rest/instruments/SWAP")]
    assert feed.frame(push(f"trades.{SWAP}", trade(SWAP, 2))) == []
    with pytest.raises(PayloadError, match="expected 0"):
        feed.rest("rest/instruments/SWAP", b'{"code":"50011","msg":"Too Many Requests","data":[]}')


# --- trades -------------------------------------------------------------------------------------------------------------


def trades(feed: Feed, *items: dict[str, object]) -> list[Output]:
    return [output for item in items for output in feed.frame(push(f"trades.{SWAP}", item))]


def test_a_trade_covers_the_ids_of_its_matches():
    """tradeId 123 with count 3 is 121 to 123 and follows on 120; then 124 is missing."""
    feed = Feed(instrument(SWAP))
    outputs = trades(feed, trade(SWAP, 120), trade(SWAP, 123, count="3", source="1", side="sell"), trade(SWAP, 125))
    assert gaps(outputs) == [(f"trades.{SWAP}", "trade_id")]
    found = [decoded(message)[0] for message in the(outputs, "TRADES")]
    assert [(r.sequence, str(r.side), int(r.flags), r.size) for r in found if isinstance(r, dbn.TradeMsg)] == [
        (120, "B", 128, 3), (123, "A", 128 | 2, 3), (125, "B", 128, 3),
    ]  # fmt: skip
    assert found[0].price == 100_500_000_000
    assert len(trades(feed, trade(SWAP, 124))) == 1, "what fills the hole is published"
    assert trades(feed, trade(SWAP, 124), trade(SWAP, 123, count="3"), trade(SWAP, 125)) == []


def test_the_trade_that_a_subscription_starts_with_is_history():
    """It says where the ids are; after a reconnect it shows what was lost."""
    feed = Feed(instrument(SWAP))
    acknowledged = json.dumps({"event": "subscribe", "arg": {"channel": "trades", "instId": SWAP}}).encode()
    feed.frame(acknowledged)
    assert trades(feed, trade(SWAP, 7, ms=-3_600_000)) == []
    assert len(trades(feed, trade(SWAP, 8, ms=10))) == 1
    feed.frame(acknowledged)
    assert trades(feed, trade(SWAP, 8, ms=10)) == []
    outputs = trades(feed, trade(SWAP, 11, ms=20))
    assert gaps(outputs) == [(f"trades.{SWAP}", "trade_id")]
    assert len(outputs) == 2
    archive = Feed(instrument(SWAP), archive=True)
    archive.frame(acknowledged)
    late = trades(archive, trade(SWAP, 7, ms=-3_600_000), trade(SWAP, 6), trade(SWAP, 7, ms=-3_600_000))
    assert [decoded(message)[0].sequence for message in late] == [7, 6]


@pytest.mark.parametrize(
    "wrong",
    [
        {"px": "0"}, {"sz": "0"}, {"sz": "0.5"}, {"side": "b"}, {"tradeId": "-1"}, {"count": "0"}, {"count": "200"},
        {"px": "1e3"}, {"ts": "99999999999999999"}, {"instId": "ETH-USDT-SWAP"}, {"sz": 3},
    ],
)  # fmt: skip
def test_a_trade_that_is_not_exact_is_refused(wrong: dict[str, object]):
    """And leaves no trace: the next one follows on the one before."""
    feed = Feed(instrument(SWAP), instrument("ETH-USDT-SWAP"))
    trades(feed, trade(SWAP, 100))
    with pytest.raises(PayloadError):
        trades(feed, trade(SWAP, 101) | wrong)
    assert not gaps(trades(feed, trade(SWAP, 101)))


# --- states -------------------------------------------------------------------------------------------------------------


def statistics(outputs: list[Output]) -> list[tuple[str, int, object, object]]:
    return [
        (message.channel, int(r.stat_type), r.price, r.quantity)
        for message in the(outputs, "STATISTICS")
        for r in decoded(message)
        if isinstance(r, dbn.StatMsg)
    ]


def test_statistics_are_published_when_they_change_and_all_every_ten_seconds():
    """Prices at 1e-9, quantities in lots; an empty text is no value."""
    feed = Feed(instrument(SWAP))
    channel, none = f"tickers.{SWAP}", dbn.UNDEF_PRICE
    ticker = {"instId": SWAP, "last": "100", "high24h": "120", "low24h": "", "vol24h": "7", "ts": str(T0_MS)}
    assert statistics(feed.frame(push(channel, ticker))) == [
        (channel, 5, 120 * 10**9, none), (channel, 6, none, 7), (channel, 20005, 100 * 10**9, none),
    ]  # fmt: skip
    assert statistics(feed.frame(push(channel, ticker | {"last": "101"}))) == [(channel, 20005, 101 * 10**9, none)]
    assert feed.frame(push(channel, ticker | {"last": "101"})) == []
    assert len(statistics(feed.frame(push(channel, ticker | {"ts": str(T0_MS + 10_000)})))) == 3


def test_a_funding_rate_keeps_its_sixteen_decimals():
    """Exact at 1e-18 in quantity, with the time it is settled at; 1e-9 is too coarse for a price."""
    feed = Feed(instrument(SWAP))
    element = {"instId": SWAP, "fundingRate": "-0.0001875391284828", "fundingTime": "1790000400000", "ts": str(T0_MS)}
    (record,) = decoded(feed.frame(push(f"funding-rate.{SWAP}", element))[0])
    assert (int(record.stat_type), record.price) == (20002, dbn.UNDEF_PRICE)
    assert record.quantity == -187_539_128_482_800
    assert record.ts_ref == 1_790_000_400_000 * NS


def test_an_index_is_published_for_the_derivatives_that_are_followed():
    """An index has no definition of its own."""
    feed = Feed(instrument(SWAP))
    index = push("index-tickers.BTC-USDT", {"instId": "BTC-USDT", "idxPx": "100.5", "ts": str(T0_MS)})
    assert feed.frame(index) == []
    mark = push(f"mark-price.{SWAP}", {"instId": SWAP, "markPx": "100.7", "ts": str(T0_MS)})
    assert statistics(feed.frame(mark)) == [(f"mark-price.{SWAP}", 20001, 100_700_000_000, dbn.UNDEF_PRICE)]
    assert statistics(feed.frame(index)) == [(f"index-tickers.{SWAP}", 10, 100_500_000_000, dbn.UNDEF_PRICE)]


@pytest.mark.parametrize(
    ("position", "side", "flags"), [("long", "sell", 1), ("short", "buy", 2), ("net", "sell", 1), ("net", "buy", 2)]
)
def test_a_liquidation_says_which_position_was_closed(position: str, side: str, flags: int):
    """`net`: who must sell was long."""
    feed = Feed(instrument(SWAP))
    detail = {"bkPx": "99.5", "sz": "13", "side": side, "posSide": position, "ts": str(T0_MS)}
    (message,) = feed.frame(push("liquidation-orders.SWAP", {"instId": SWAP, "details": [detail]}))
    (record,) = decoded(message)
    assert message.channel == f"liquidation-orders.{SWAP}"
    assert (int(record.stat_type), record.stat_flags, record.price, record.quantity) == (
        20006,
        flags,
        99_500_000_000,
        13,
    )


def test_the_top_of_book_and_its_empty_side():
    """An empty list is an empty side."""
    feed = Feed(instrument(SWAP))
    channel = f"bbo-tbt.{SWAP}"
    (message,) = feed.frame(book(channel, "", [("99.9", "5")], [], 7, seqId=3))
    (record,) = decoded(message)
    level = record.levels[0]
    assert (level.bid_px, level.bid_sz, level.ask_px, level.ask_sz) == (99_900_000_000, 5, dbn.UNDEF_PRICE, 0)
    assert (record.sequence, record.ts_event) == (3, (T0_MS + 7) * NS)
    with pytest.raises(PayloadError):
        feed.frame(book(channel, "", [("99.9", "5"), ("99.8", "5")], [], 7, seqId=3))


def test_a_candle_is_published_once_when_its_minute_is_over():
    """`confirm` is the ninth word; recordings of 2022 have seven, and say nothing."""
    feed = Feed(instrument(SWAP))
    channel, words = f"candle1m.{SWAP}", [str(T0_MS), "100", "102", "99", "101", "7", "0.07", "7.07"]
    assert feed.frame(push(channel, [*words, "0"])) == []
    assert feed.frame(push(channel, words[:7])) == []
    (message,) = feed.frame(push(channel, [*words, "1"]))
    (record,) = decoded(message)
    values = (record.open, record.high, record.low, record.close)
    assert [value // 10**9 for value in values] == [100, 102, 99, 101]
    assert (record.volume, record.ts_event) == (7, T0_MS * NS)
    assert feed.frame(push(channel, [*words, "1"])) == []


# --- what is missing ----------------------------------------------------------------------------------------------------


def test_a_lost_connection_puts_its_channels_in_doubt():
    """Books and what has no sequence; not what another connection brings as well; an archive says nothing."""
    feed = Feed(instrument(SWAP))
    channels = [
        f"books.{SWAP}",
        f"trades.{SWAP}",
        f"tickers.{SWAP}",
        "index-tickers.BTC-USDT",
        "liquidation-orders.SWAP",
    ]
    feed.frame(book(channels[0], "snapshot", [("99.9", "5")], [], prevSeqId=-1, seqId=10))
    feed.frame(push(f"mark-price.{SWAP}", {"instId": SWAP, "markPx": "1", "ts": str(T0_MS)}))
    up = json.dumps({"channels": [*channels, "status", "instruments.SWAP"]}).encode()
    feed.envelope("session", up, KIND_CONNECTED, 1)
    feed.envelope("session", json.dumps({"channels": [channels[2]]}).encode(), KIND_CONNECTED, 2)
    lost = gaps(feed.envelope("session", b'{"reason":"closed"}', KIND_DISCONNECTED, 1))
    assert lost == [
        (channels[0], "disconnected"), (f"index-tickers.{SWAP}", "disconnected"),
        (f"liquidation-orders.{SWAP}", "disconnected"), (channels[1], "disconnected"),
    ]  # fmt: skip
    assert list(feed.normalizer.images(1)) == []


def test_dropped_frames_are_declared_and_books_asked_for():
    """And lists of instruments, which REST has."""
    feed = Feed(instrument(SWAP))
    dropped = b'{"first":3,"last":9}'
    assert feed.envelope(f"books.{SWAP}", dropped, KIND_DROPPED)[-1] == Resync(f"books.{SWAP}")
    assert gaps(feed.envelope(f"trades.{SWAP}", dropped, KIND_DROPPED)) == [(f"trades.{SWAP}", "dropped")]
    assert feed.envelope("instruments.SWAP", dropped, KIND_DROPPED) == [Resync("rest/instruments/SWAP")]


def test_control_frames_say_nothing_and_others_are_refused():
    """`pong` is no JSON; a channel that nobody subscribed is a bug of somebody's."""
    feed = Feed(instrument(SWAP))
    for payload in (
        b"pong",
        b'{"event":"notice","code":"64008","msg":""}',
        b'{"arg":{"channel":"status"},"data":[{}]}',
    ):
        assert feed.frame(payload) == []
    for payload in (b"ping?", b"{}", push("opt-summary.BTC-USD", {}), b'{"arg":{"channel":"books"},"data":[]}'):
        with pytest.raises(PayloadError):
            feed.frame(payload)
