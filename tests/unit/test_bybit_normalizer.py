"""Bybit's messages as DBN: books and their continuity, trades, tickers, candles, liquidations, instruments, states."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.dbn import F_MAYBE_BAD_BOOK, F_PUBLISHER_SPECIFIC, UNDEF_ORDER_SIZE, UNDEF_PRICE
from penstock.errors import PayloadError
from penstock.normalizing import Message, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED
from providers.bybit.oracle import Oracle
from providers.bybit.trades import REMEMBERED
from tests.contract import naive
from tests.unit.bybit_frames import (
    INVERSE,
    LINEAR,
    MS,
    OPTION,
    SPOT,
    T0,
    book,
    dropped,
    envelope,
    gaps,
    listed,
    normalizer,
    of_schema,
    records,
    refusal,
    snapshot,
    ticker,
    trades,
)

BOOK = "linear.orderbook.200.BTCUSDT"


class TestBooks:
    def test_a_snapshot_and_deltas_are_a_book(self):
        """Absolute sizes in lots, 0 removes, the matching engine's time is ts_event, seq the sequence."""
        made = normalizer()
        clear, *adds = records(made.normalize(snapshot(7)))
        assert (str(clear.action), clear.ts_event, clear.sequence) == ("R", (T0 + 7) * MS, 70)
        assert [(str(a.side), a.price, a.size) for a in adds] == [
            ("B", 100 * 10**9, 1500), ("B", 99_900_000_000, 2000), ("A", 100_100_000_000, 500)
        ]  # fmt: skip
        got = records(made.normalize(book(8, [["100.0", "0"], ["99.8", "1"]], [["100.1", "0.7"]])))
        assert [(str(r.action), str(r.side), r.size) for r in got] == [
            ("C", "B", 1500),
            ("A", "B", 1000),
            ("M", "A", 700),
        ]

    def test_the_same_symbol_of_two_categories_is_two_instruments(self):
        """Their books, lots and ids are apart."""
        made = normalizer()
        linear = records(made.normalize(snapshot(7)))
        spot = records(made.normalize(snapshot(90, channel="spot.orderbook.200.BTCUSDT")))
        assert linear[0].instrument_id != spot[0].instrument_id
        assert (linear[1].size, spot[1].size) == (1500, 1_500_000)
        assert not gaps(made.normalize(book(8))) + gaps(made.normalize(book(91, channel="spot.orderbook.200.BTCUSDT")))

    def test_a_step_other_than_one_is_a_gap_of_that_book_alone(self):
        """Declared once, flagged until the snapshot, which is asked for once in a while."""
        made = normalizer()
        made.normalize(snapshot(7))
        made.normalize(snapshot(7, channel="spot.orderbook.200.BTCUSDT"))
        outputs = made.normalize(book(9, [["99.7", "1"]]))
        assert gaps(outputs) == [("MBO", BOOK, "u")]
        assert [output for output in outputs if isinstance(output, Resync)] == [Resync(BOOK)]
        assert all(r.flags & F_MAYBE_BAD_BOOK for r in records(of_schema(outputs, "MBO")[1:]))
        later = made.normalize(book(10, [["99.6", "1"]]))
        assert not gaps(later)
        assert not [output for output in later if isinstance(output, Resync)]
        assert records(later)[0].flags & F_MAYBE_BAD_BOOK
        assert not any(r.flags & F_MAYBE_BAD_BOOK for r in records(made.normalize(snapshot(10))))
        assert not gaps(made.normalize(book(11))) + gaps(made.normalize(book(8, channel="spot.orderbook.200.BTCUSDT")))

    def test_u_1_is_a_restart_and_no_gap(self):
        """The book is overwritten and counts on from there."""
        made = normalizer()
        made.normalize(snapshot(700))
        outputs = [
            *made.normalize(snapshot(1, seq=7_001, ts_ms=T0 + 900)),
            *made.normalize(book(2, seq=7_002, ts_ms=T0 + 901)),
        ]
        assert not gaps(outputs)
        assert str(records(outputs)[0].action) == "R"

    def test_a_falling_sequence_is_a_gap_and_a_copy_is_not(self):
        """What is older by seq and time was applied already."""
        made = normalizer()
        made.normalize(snapshot(7))
        assert not made.normalize(book(7, [["99.0", "9"]]))
        assert gaps(made.normalize(book(8, seq=69))) == [("MBO", BOOK, "seq")]

    def test_a_delta_without_a_snapshot_is_declared(self):
        """Nothing is known of the book yet."""
        outputs = normalizer().normalize(book(8, [["99.8", "1"]]))
        assert gaps(outputs) == [("MBO", BOOK, "no_snapshot")]
        assert outputs[-1] == Resync(BOOK)

    def test_a_crossed_book_is_flagged_in_the_message_that_crosses(self):
        """Nobody sees it unflagged; it is repaired like a break."""
        made = normalizer()
        made.normalize(snapshot(7))
        outputs = made.normalize(book(8, [["100.1", "1"]]))
        assert gaps(outputs) == [("MBO", BOOK, "crossed")]
        assert records(outputs[1:2])[0].flags & F_MAYBE_BAD_BOOK
        assert outputs[-1] == Resync(BOOK)

    def test_two_lanes_merged_are_one_book(self):
        """In an archive the other lane's snapshot of a state long passed changes nothing."""
        made = normalizer(archive=True)
        outputs: list[Any] = list(made.normalize(snapshot(7)))
        for u in range(8, 12):
            outputs += made.normalize(book(u, [["99.8", str(u)]]))
        outputs += made.normalize(snapshot(9))
        outputs += made.normalize(book(12))
        assert not gaps(outputs)
        assert len([r for r in records(outputs) if str(r.action) == "R"]) == 1

    @settings(deadline=None, max_examples=20)
    @given(st.integers(0, 2**32))
    def test_random_losses_are_all_declared_and_nothing_else(self, seed):
        """Drops, repeats and swaps of 80 deltas: declared exactly where one is missing; books equal the oracle's."""
        dice, made, oracle = random.Random(seed), normalizer(), Oracle()
        oracle.read("rest/instruments-info/linear", listed("linear", LINEAR).payload, 0)
        frames = [snapshot(1000)]
        for u in range(1001, 1080):
            side = [[f"{dice.randrange(900, 1000) / 10:.1f}", str(dice.randrange(4))] for _ in range(dice.randrange(4))]
            frames.append(book(u, side, [["100.1", str(1 + dice.randrange(3))]]))
        lost = sorted(dice.sample(range(1, len(frames)), dice.randrange(4)))
        arrived = [frame for at, frame in enumerate(frames) if at not in lost]
        for at in dice.sample(range(len(arrived)), 3):
            arrived.insert(at, arrived[at])
        reader, declared = naive.Book(), 0
        for frame in arrived:
            for output in made.normalize(frame):
                if isinstance(output, Message):
                    if naive.is_gap(output.data):
                        declared += 1
                        reader.bad = True
                    else:
                        reader.apply(output.data)
        inner = [at for at in lost if at < len(frames) - 1]
        seen_after = any(at not in lost for at in range(inner[0] + 1, len(frames))) if inner else False
        assert declared == bool(inner and seen_after)
        repaired = snapshot(2000)
        for output in made.normalize(repaired):
            assert isinstance(output, Message)
            reader.apply(output.data)
        oracle.read(BOOK, repaired.payload, 0)
        assert reader.levels(Decimal("0.001")) == oracle.books[BOOK]
        assert not reader.bad

    def test_level_1_is_top_of_book_and_its_repetition_is_nothing(self):
        """A snapshot each time; after three quiet seconds again with the same u. An empty side is undefined."""
        made = normalizer()
        channel = "linear.orderbook.1.BTCUSDT"
        first = book(5, [["100.0", "1.5"]], [["100.1", "0.5"]], kind="snapshot", channel=channel)
        (record,) = records(made.normalize(first))
        assert (record.levels[0].bid_px, record.levels[0].bid_sz, record.levels[0].ask_sz) == (100 * 10**9, 1500, 500)
        assert record.sequence == 50
        again = book(5, [["100.0", "1.5"]], [["100.1", "0.5"]], kind="snapshot", channel=channel, ts_ms=T0 + 3005)
        assert not made.normalize(again)
        (record,) = records(made.normalize(book(6, [], [["100.1", "99999999"]], kind="snapshot", channel=channel)))
        assert (record.levels[0].bid_px, record.levels[0].bid_sz) == (UNDEF_PRICE, 0)
        assert record.levels[0].ask_sz == UNDEF_ORDER_SIZE
        assert record.flags & F_PUBLISHER_SPECIFIC

    def test_a_refused_message_changes_nothing(self):
        """Half of a delta is never applied; its loss shows at the next one."""
        made = normalizer()
        made.normalize(snapshot(7))
        assert refusal(made, book(8, [["99.8", "1"], ["99.7", "0.0005"]])).reason == "not_whole_lots"
        assert refusal(made, book(8, [["99.8", "1e3"]])).reason == "number_format"
        assert refusal(made, book(8, [["0", "1"]])).reason == "zero_price"
        assert refusal(made, book(8, kind="partial")).reason == "shape"
        assert not gaps(made.normalize(book(8, [["99.8", "1"]])))


class TestTrades:
    def test_side_size_and_time_are_the_takers_trade(self):
        """S is the taker's side, T the time of the fill."""
        (record,) = records(normalizer().normalize(trades({"S": "Sell", "p": "65114.20"})))
        assert (str(record.side), record.price, record.size, record.ts_event) == ("A", 65_114_200_000_000, 4, T0 * MS)
        assert not record.flags & F_PUBLISHER_SPECIFIC

    @pytest.mark.parametrize("flag", ["BT", "RPI"])
    def test_block_and_rpi_trades_are_marked(self, flag):
        """No order of the published book took part."""
        (record,) = records(normalizer().normalize(trades({flag: True})))
        assert record.flags & F_PUBLISHER_SPECIFIC

    def test_every_trade_once_whatever_the_batches(self):
        """Copies are known by id, also within a message; late trades are published."""
        made = normalizer()
        outputs = [
            *made.normalize(trades({"i": "b", "seq": 9})),
            *made.normalize(trades({"i": "a", "seq": 8}, {"i": "b", "seq": 9})),
        ]
        outputs += made.normalize(trades({"i": "a", "seq": 8}, {"i": "c", "seq": 10}, {"i": "c", "seq": 10}))
        assert len(records(outputs)) == 3
        assert not gaps(outputs)

    def test_what_is_older_than_memory_is_a_repetition_unless_the_venue_counts_anew(self):
        """A lower sequence at a later time is news."""
        made = normalizer()
        for start in range(0, REMEMBERED + 100, 1000):
            made.normalize(trades(*({"i": f"x{n}", "seq": n, "T": T0 + n} for n in range(start, start + 1000))))
        assert not made.normalize(trades({"i": "x3", "seq": 3, "T": T0 + 3}))
        assert len(records(made.normalize(trades({"i": "y", "seq": 3, "T": T0 + 50_000})))) == 1

    def test_trades_of_one_order_have_sequences_of_their_own(self):
        """They share seq: numbered within it by twos, and never as if ids counted without holes. Spot has real ids."""
        made = normalizer()
        numbers = [
            r.sequence for r in records(made.normalize(trades(*({"i": str(n) + "-x", "seq": 3} for n in range(3)))))
        ]
        assert numbers == [3 << 11, 3 << 11 | 2, 3 << 11 | 4]
        (record,) = records(made.normalize(trades({"i": "2290000001189048101"}, channel="spot.publicTrade.BTCUSDT")))
        assert record.sequence == 2290000001189048101 % 2**32

    def test_option_trades_come_by_base_coin(self):
        """Each is published on the channel of its own instrument."""
        (output,) = normalizer().normalize(
            trades({"s": OPTION["symbol"], "v": "0.5"}, channel="option.publicTrade.BTC")
        )
        assert isinstance(output, Message)
        assert output.channel == f"option.publicTrade.{OPTION['symbol']}"
        assert records([output])[0].size == 50

    def test_a_size_beyond_u32_is_several_records_of_one_trade(self):
        """To be summed; the last one ends the message."""
        (output,) = normalizer().normalize(trades({"v": "5000000.000", "i": "1"}))
        parts = records([output])
        assert sum(part.size for part in parts) == 5_000_000_000
        assert [bool(part.flags & 128) for part in parts] == [False, True]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [({"S": "buy"}, "shape"), ({"v": "0"}, "zero_size"), ({"p": "0"}, "zero_price"), ({"i": ""}, "shape"),
         ({"T": 2**62}, "time_range"), ({"s": "ETHUSDT"}, "wrong_channel"), ({"v": "0.0001"}, "not_whole_lots")],
    )  # fmt: skip
    def test_what_cannot_be_understood_is_refused_whole(self, change, reason):
        """Also where the first trade of the message was good: the message comes again or not at all."""
        made = normalizer()
        assert refusal(made, trades({"i": "good"}, change)).reason == reason
        assert len(records(made.normalize(trades({"i": "good"})))) == 1


def test_liquidations_say_which_side_was_closed():
    """S is the position's side: Buy is a long."""
    items = [{"T": T0, "s": "BTCUSDT", "S": side, "v": "0.5", "p": "100"} for side in ("Buy", "Sell")]
    body = {"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": T0, "data": items}
    got = records(normalizer().normalize(envelope("linear.allLiquidation.BTCUSDT", body)))
    assert [(int(r.stat_type), r.quantity, r.stat_flags) for r in got] == [(20006, 500, 1), (20006, 500, 2)]


class TestTickers:
    def test_a_delta_changes_what_it_names(self):
        """Missing is unchanged: the other side of the book and the funding time stand."""
        made = normalizer()
        made.normalize(
            ticker("snapshot", bid1Price="100.0", bid1Size="1", ask1Price="100.1", ask1Size="2", fundingRate="0.0001",
                   nextFundingTime="1786320000000", markPrice="100.05", openInterest="7.5", lastPrice="", preQty="")
        )  # fmt: skip
        outputs = made.normalize(ticker("delta", bid1Price="100.0", bid1Size="3", cs=2))
        (top,) = records(outputs)
        assert (top.levels[0].bid_sz, top.levels[0].ask_sz) == (3000, 2000)
        (rate,) = records(made.normalize(ticker("delta", fundingRate="-0.000212", cs=3)))
        assert (int(rate.stat_type), rate.price, rate.quantity) == (20002, -212_000, -212_000_000_000_000)
        assert rate.ts_ref == 1786320000000 * MS

    def test_statistics_are_said_when_they_change_and_every_ten_seconds(self):
        """An unchanged one is not repeated within the span."""
        made = normalizer()
        first = records(made.normalize(ticker("snapshot", markPrice="100.05", volume24h="12.5", indexPrice="0")))
        assert [(int(r.stat_type), r.price, r.quantity) for r in first] == [
            (6, UNDEF_PRICE, 12_500), (20001, 100_050_000_000, 2**63 - 1)
        ]  # fmt: skip
        assert not made.normalize(ticker("delta", markPrice="100.05", cs=2))
        assert len(made.normalize(ticker("delta", cs=3, ts_ms=T0 + 10_000))) == 1

    def test_spot_and_options_have_their_own_words(self):
        """Spot: the base coin's index in dollars. Options: implied volatility, delta, underlying, and an empty side."""
        made = normalizer()
        spot = made.normalize(
            ticker("snapshot", "spot.tickers.BTCUSDT", lastPrice="65140.5", usdIndexPrice="65091.459221")
        )
        assert [(int(r.stat_type), r.price) for r in records(spot)] == [
            (20005, 65140_500000000),
            (20035, 65091_459221000),
        ]
        option = made.normalize(
            ticker("snapshot", f"option.tickers.{OPTION['symbol']}", cs=0, bidPrice="0", bidSize="0", askPrice="10",
                   askSize="5.1", markPriceIv="0.4896", delta="-0.047831", underlyingPrice="16815.1",
                   predictedDeliveryPrice="0", lastPrice="10")
        )  # fmt: skip
        top, *stats = records(option)
        assert (top.levels[0].bid_px, top.levels[0].ask_px, top.levels[0].ask_sz) == (UNDEF_PRICE, 10**10, 510)
        assert [(int(r.stat_type), r.price) for r in stats] == [
            (14, 489_600_000), (15, -47_831_000), (20005, 10**10), (20036, 16_815_100_000_000)
        ]  # fmt: skip

    def test_after_a_loss_a_delta_stands_on_nothing(self):
        """The old side of the book is not repeated as if it were known; the snapshot is asked for."""
        made = normalizer()
        made.normalize(ticker("snapshot", bid1Price="100.0", bid1Size="1", ask1Price="100.1", ask1Size="2"))
        outputs = made.normalize(dropped("linear.tickers.BTCUSDT"))
        assert {gap[0] for gap in gaps(outputs)} == {"MBP_1", "STATISTICS"}
        assert outputs[-1] == Resync("linear.tickers.BTCUSDT")
        assert not made.normalize(ticker("delta", bid1Price="100.0", bid1Size="3", cs=2))


def test_a_candle_is_published_once_when_it_is_finished():
    """The running one beside it is not."""
    done = {"start": T0, "end": T0 + 59_999, "interval": "1", "open": "1", "close": "2", "high": "3", "low": "1",
            "volume": "0.5", "confirm": True, "timestamp": T0}  # fmt: skip
    body = {"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": T0,
            "data": [done, done | {"start": T0 + 60_000, "confirm": False}]}  # fmt: skip
    made = normalizer()
    (bar,) = records(made.normalize(envelope("linear.kline.1.BTCUSDT", body)))
    assert (bar.ts_event, bar.open, bar.high, bar.low, bar.close, bar.volume) == (
        T0 * MS, 10**9, 3 * 10**9, 10**9, 2 * 10**9, 500
    )  # fmt: skip
    assert not made.normalize(envelope("linear.kline.1.BTCUSDT", body))
    assert (
        refusal(made, envelope("linear.kline.5.BTCUSDT", body | {"topic": "kline.5.BTCUSDT"})).reason == "unknown_frame"
    )


class TestInstruments:
    @pytest.mark.parametrize(
        ("category", "item", "expected"),
        [
            ("linear", LINEAR, ("BTCUSDT-LINEAR", "F", "PERP", "LIN", "BTC/USDT:USDT", "BTC", 1_000_000, 100_000_000)),
            ("spot", SPOT, ("BTCUSDT-SPOT", "X", "SPOT", "", "BTC/USDT", "BTC", 1_000, 100_000_000)),
            ("inverse", INVERSE, ("BTCUSD-INVERSE", "F", "PERP", "INV", "BTC/USD:BTC", "USD", 10**9, 500_000_000)),
            (
                "option",
                OPTION,
                ("BTC-30JUN25-100000-C-OPTION", "C", "OPT", "", "BTC/USD:USDC", "BTC", 10**7, 5 * 10**9),
            ),
        ],
    )
    def test_each_category(self, category, item, expected):
        """Name, class, type, style, group, the unit of a lot and its size, the tick."""
        got = records(normalizer("linear").normalize(listed(category, item | {"symbolId": 77})))[0]
        found = (
            got.raw_symbol, str(got.instrument_class), got.security_type, got.secsubtype, got.group, got.unit_of_measure,
            got.unit_of_measure_qty, got.min_price_increment,
        )  # fmt: skip
        assert found == expected
        if category == "option":
            assert (got.strike_price, got.expiration) == (100_000 * 10**9, 1751270400000 * MS)

    def test_changes_begin_the_instruments_streams_anew(self):
        """M, a gap on each of its channels, a new snapshot; other instruments go on."""
        made = normalizer()
        made.normalize(snapshot(7))
        made.normalize(snapshot(7, channel="spot.orderbook.200.BTCUSDT"))
        outputs = made.normalize(listed("linear", LINEAR | {"lotSizeFilter": {"qtyStep": "0.01"}}, symbol="BTCUSDT"))
        assert str(records(outputs)[0].security_update_action) == "M"
        assert gaps(outputs) == [("MBO", BOOK, "definition")]
        assert Resync(BOOK) in outputs
        assert records(made.normalize(snapshot(9)))[1].size == 150
        assert not gaps(made.normalize(book(8, channel="spot.orderbook.200.BTCUSDT")))

    @pytest.mark.parametrize("answer", [{"code": 10001}, {"items": [LINEAR | {"status": "Closed"}]}, {"items": []}])
    def test_what_is_gone_is_deleted(self, answer):
        """By an answer about the symbol itself; a list without it proves nothing, for lists have pages."""
        made = normalizer()
        assert not [m for m in made.normalize(listed("linear")) if isinstance(m, Message)]
        outputs = made.normalize(
            listed("linear", *answer.get("items", []), symbol="BTCUSDT", code=answer.get("code", 0))
        )
        definition, status = records(outputs)
        assert (str(definition.security_update_action), int(status.action)) == ("D", 15)
        assert gaps(made.normalize(snapshot(7))) == [("MBO", BOOK, "no_definition")]

    def test_an_answer_is_about_the_category_it_names(self):
        """Whatever was asked: a spot list is never read as linear, and shows nothing of what linear has."""
        made = normalizer("linear")
        answer = listed("spot", SPOT)
        answer.channel = "rest/instruments-info/linear/BTCUSDT"
        assert records(made.normalize(answer))[0].raw_symbol == "BTCUSDT-SPOT"
        assert {message.channel for message in made.definitions(0)} == {
            "definition.BTCUSDT-LINEAR", "definition.BTCUSDT-SPOT"
        }  # fmt: skip

    def test_an_instrument_that_cannot_be_stated_is_refused_alone(self):
        """A tick below 1e-9: its data is declared as without definition, once, and nobody asks for it again and again."""
        made = normalizer()
        outputs = made.normalize(
            listed("spot", SPOT | {"symbol": "SATSUSDT", "priceFilter": {"tickSize": "0.000000000001"}}, SPOT)
        )
        assert gaps(outputs) == [("DEFINITION", "definition.SATSUSDT-SPOT", "definition_number_precision")]
        frames = [snapshot(u, channel="spot.orderbook.200.SATSUSDT") for u in (1, 2)]
        assert [gaps(made.normalize(frame)) for frame in frames] == [
            [("MBO", "spot.orderbook.200.SATSUSDT", "no_definition")], []
        ]  # fmt: skip

    def test_an_unknown_instrument_is_asked_for(self):
        """By the request that is about it alone."""
        outputs = normalizer("spot").normalize(snapshot(7))
        assert outputs[-1] == Resync("rest/instruments-info/linear/BTCUSDT")

    def test_an_error_of_the_venue_is_refused(self):
        """Too many visits, for one."""
        assert refusal(normalizer(), listed("linear", code=10006)).reason == "venue_error"

    def test_states_and_maintenance(self):
        """Trading, paused while the trading service of its product is under maintenance, trading again."""
        made = normalizer("linear", "spot")

        def system(state: str, **change: Any) -> list[tuple[str, int]]:
            item = {"id": "m", "title": "t", "state": state, "serviceTypes": [1, 5], "product": [1], "env": 1} | change
            outputs = made.normalize(
                envelope("misc.system.status", {"topic": "system.status", "ts": T0, "data": [item]})
            )
            return [(o.channel, int(records([o])[0].action)) for o in outputs if isinstance(o, Message)]

        assert system("scheduled") == []
        assert system("ongoing", serviceTypes=[4]) == system("ongoing", env=2) == system("ongoing", product=[4]) == []
        assert system("ongoing") == [("status.BTCUSDT-LINEAR", 9)]
        assert not made.normalize(listed("linear", LINEAR, symbol="BTCUSDT"))
        assert system("completed") == [("status.BTCUSDT-LINEAR", 7)]
        outputs = made.normalize(listed("linear", LINEAR | {"status": "Delivering"}, symbol="BTCUSDT"))
        assert [int(r.action) for r in records(outputs)] == [12]


class TestLosses:
    def test_a_lost_connection_puts_its_channels_in_doubt(self):
        """Each in its schemas, unless another connection carries it too."""
        made = normalizer()
        for frame in (snapshot(7), trades({}), ticker("snapshot", markPrice="1")):
            made.normalize(frame)
        channels = ["linear.kline.1.BTCUSDT", "linear.orderbook.1.BTCUSDT"]
        made.normalize(envelope("session", {"channels": channels}, connection=2, kind=KIND_CONNECTED))
        made.normalize(snapshot(8, connection=2))
        lost = gaps(made.normalize(envelope("session", {"reason": "x"}, connection=1, kind=KIND_DISCONNECTED)))
        assert {(schema, channel) for schema, channel, _ in lost} == {
            ("TRADES", "linear.publicTrade.BTCUSDT"), ("MBP_1", "linear.tickers.BTCUSDT"),
            ("STATISTICS", "linear.tickers.BTCUSDT"),
        }  # fmt: skip
        lost = gaps(made.normalize(envelope("session", {"reason": "x"}, connection=2, kind=KIND_DISCONNECTED)))
        assert {(schema, channel) for schema, channel, _ in lost} == {
            ("OHLCV_1M", channels[0]), ("MBP_1", channels[1]), ("MBO", BOOK)
        }  # fmt: skip

    def test_dropped_envelopes_are_declared_and_books_asked_for(self):
        """No snapshot comes by itself."""
        made = normalizer()
        made.normalize(snapshot(7))
        outputs = made.normalize(dropped(BOOK))
        assert gaps(outputs) == [("MBO", BOOK, "dropped")]
        assert outputs[-1] == Resync(BOOK)
        assert made.normalize(dropped("rest/instruments-info/linear/BTCUSDT")) == [
            Resync("rest/instruments-info/linear/BTCUSDT")
        ]

    def test_images_are_of_whole_books_only(self):
        """A doubtful book has none."""
        made = normalizer()
        made.normalize(snapshot(7))
        assert len(list(made.images(T0 * MS))) == 1
        made.normalize(dropped(BOOK))
        assert not list(made.images(T0 * MS))
        assert len(list(made.definitions(T0 * MS))) == 4


@pytest.mark.parametrize(
    ("channel", "body", "reason"),
    [
        ("orderBookL2_25.BTCUSD", {"topic": "orderBookL2_25.BTCUSD", "type": "delta", "data": {}}, "retired_api"),
        ("trade.BTCUSDT", {"topic": "trade.BTCUSDT", "data": []}, "retired_api"),
        ("linear.candle.1.BTCUSDT", {"topic": "candle.1.BTCUSDT", "data": []}, "retired_api"),
        ("rest/symbols", {"ret_code": 0, "result": []}, "retired_api"),
        ("orderbook.200.BTCUSDT", {"topic": "orderbook.200.BTCUSDT", "data": {}}, "wrong_channel"),
        ("linear.orderbook.rpi.BTCUSDT", book(1).payload, "wrong_channel"),
        ("linear.insight.BTCUSDT", {"topic": "insight.BTCUSDT"}, "unknown_frame"),
        ("control", {"topic": "\u00e9"}, "unknown_frame"),
        ("linear.orderbook.200.BTCUSDT", {"topic": "orderbook.200.BTCUSDT"}, "shape"),
        ("linear.orderbook.200.BTCUSDT", b"{", "json"),
        ("rest/instruments-info/spread", {"retCode": 0}, "unknown_channel"),
    ],
)
def test_what_is_not_ours_is_refused_by_name(channel, body, reason):
    """The retired API before v5, topics without their category, and what nobody subscribed to; never misread."""
    with pytest.raises(PayloadError) as refused:
        normalizer().normalize(envelope(channel, body))
    assert refused.value.reason == reason
