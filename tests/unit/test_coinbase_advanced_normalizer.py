"""What the normalizer makes of frames the recording does not hold: losses, unknown products, large and odd numbers."""

from __future__ import annotations

import json

import databento_dbn
import pytest

from penstock.dbn import (
    ASK,
    BID,
    CLEAR,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_PUBLISHER_SPECIFIC,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    records,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.normalizing import Message, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_HEARTBEAT, Envelope
from tests.unit.coinbase_advanced_frames import (
    MBP_1,
    SNAPSHOT,
    STAT,
    T0,
    TRADE,
    envelope,
    gaps,
    heartbeat,
    is_gap,
    level_event,
    mbo,
    numbered,
    product,
    products,
    ready,
    trade,
)

S = 10**9


def book(number, kind="update", levels=(("bid", "99.00", "1"),), name="BTC-USD", **where):
    return envelope(numbered("l2_data", number, [level_event(kind, levels, name)]), **where)


def trades(number, ids, kind="update", name="BTC-USD", **where):
    event = {"type": kind, "trades": [trade(i, name) for i in sorted(ids, reverse=True)]}
    return envelope(numbered("market_trades", number, [event]), **where)


def ticker(number, at=None, **fields):
    values = {
        "type": "ticker", "product_id": "BTC-USD", "price": "100", "volume_24_h": "5", "low_24_h": "90",
        "high_24_h": "110", "best_bid": "99", "best_ask": "101", "best_bid_quantity": "1", "best_ask_quantity": "2",
    } | fields  # fmt: skip
    return envelope(numbered("ticker", number, [{"type": "update", "tickers": [values]}], at))


def marker(kind, connection=1, channel="session", **payload):
    return Envelope(
        sequence=1, ts_recv=T0, connection=connection, channel=channel, kind=kind, payload=json.dumps(payload).encode()
    )


def synced(*, archive=False):
    """A normalizer with both books, trades and tickers seen on connection 1; the next number is 6."""
    normalizer = ready(archive=archive)
    for each in (
        book(0, "snapshot", SNAPSHOT),
        book(1, "snapshot", SNAPSHOT, "ETH-USD"),
        trades(2, range(1, 11), "snapshot"),
        trades(3, [11]),
        ticker(4),
        envelope(heartbeat(5)),
    ):
        assert not gaps(normalizer.normalize(each))
    return normalizer


def actions(outputs):
    """(product, A, M or D) of each definition."""
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    for output in outputs:
        if isinstance(output, Message) and output.schema == "DEFINITION":
            decoder.write(output.data)
    return [(record.raw_symbol, str(record.security_update_action)) for record in decoder.decode()]


def status(number, listed):
    """A status frame of (product, status, lot)."""
    rows = [{"id": name, "status": word, "base_increment": lot} for name, word, lot in listed]
    return envelope(numbered("status", number, [{"type": "update", "products": rows}]))


def ids_of(outputs):
    return [
        TRADE.unpack(record)[13]
        for output in outputs
        if isinstance(output, Message) and output.schema == "TRADES" and not is_gap(output)
        for _, record in records(output.data)
    ]


def flagged(outputs):
    return [
        all(record.flags & F_MAYBE_BAD_BOOK for record in mbo(output.data))
        for output in outputs
        if isinstance(output, Message) and output.schema == "MBO" and not is_gap(output)
    ]


class TestSequence:
    """sequence_num counts every frame of a connection."""

    def test_jump_is_declared_on_everything_the_connection_carries(self):
        """One missing number: a gap per channel, books flagged, one resync for each book, until its snapshot."""
        normalizer = synced()
        outputs = normalizer.normalize(book(7))
        assert gaps(outputs) == [
            ("MBO", "level2.BTC-USD", "sequence_num"),
            ("MBO", "level2.ETH-USD", "sequence_num"),
            ("TRADES", "market_trades.BTC-USD", "sequence_num"),
            ("MBP_1", "ticker.BTC-USD", "sequence_num"),
            ("STATISTICS", "ticker.BTC-USD", "sequence_num"),
        ]
        assert [o.channel for o in outputs if isinstance(o, Resync)] == ["level2.BTC-USD", "level2.ETH-USD"]
        assert flagged(outputs) == [True]
        assert flagged(normalizer.normalize(book(8, levels=[("bid", "98.00", "1")]))) == [True]
        assert flagged(normalizer.normalize(book(9, "snapshot", SNAPSHOT))) == [False]
        assert flagged(normalizer.normalize(book(10, levels=[("bid", "98.00", "1")]))) == [False]
        assert flagged(normalizer.normalize(book(11, name="ETH-USD"))) == [True]

    def test_control_frames_count(self):
        """A missing heartbeat or acknowledgement is a missing number like any other; present ones are none."""
        normalizer = synced()
        assert not gaps(normalizer.normalize(envelope(numbered("subscriptions", 6, [{"subscriptions": {}}]))))
        assert len(gaps(normalizer.normalize(envelope(heartbeat(8))))) == 5

    def test_a_copy_is_no_gap(self):
        """The same frame twice changes nothing and publishes nothing."""
        normalizer = synced()
        first = normalizer.normalize(book(6))
        assert len(first) == 1
        for again in (book(6), ticker(4), trades(3, [11])):
            assert normalizer.normalize(again) == []
        assert not gaps(normalizer.normalize(book(7, levels=[("bid", "98.00", "1")])))

    def test_an_overtaken_frame_fills_trades_and_leaves_books_alone(self):
        """7 before 6: the gap is declared once; late trades are published, a late book update is not applied."""
        normalizer = synced()
        assert gaps(normalizer.normalize(trades(7, [13])))[-1] == ("TRADES", "market_trades.BTC-USD", "trade_id")
        assert ids_of(normalizer.normalize(trades(6, [12]))) == [12]
        assert ids_of(normalizer.normalize(trades(8, [14]))) == [14]

    def test_counting_anew_on_one_connection_is_a_gap(self):
        """A lower number in a newer frame means the venue began again: what lies between is unknown."""
        normalizer = synced()
        frame = numbered("l2_data", 0, [level_event("update", [("bid", "99.00", "1")])], at=T0 + S)
        assert ("MBO", "level2.BTC-USD", "sequence_num") in gaps(normalizer.normalize(envelope(frame)))

    def test_a_new_connection_counts_from_zero(self):
        """No gap: numbers belong to a connection."""
        normalizer = synced()
        assert not gaps(normalizer.normalize(book(0, "snapshot", SNAPSHOT, connection=2)))
        assert not gaps(normalizer.normalize(book(6)))

    def test_an_archive_takes_an_update_sent_twice_once(self):
        """One connection brought it twice, so the coalesced day has two copies: the book moved once. Anything else of the
        same moment, or the same levels later, is an update of its own."""
        normalizer = synced(archive=True)
        moved, back = (("bid", "100.00", "5"),), (("bid", "100.00", "1"),)
        assert len(normalizer.normalize(book(6, levels=moved))) == 1
        assert list(normalizer.normalize(book(9, levels=moved, connection=2))) == []
        assert len(normalizer.normalize(book(10, levels=back))) == 1
        assert len(normalizer.normalize(book(11, levels=moved))) == 1

    def test_archives_do_not_check_it(self):
        """Two lanes merged have numbers of two connections."""
        normalizer = synced(archive=True)
        assert not gaps(normalizer.normalize(book(70)))
        assert not gaps(normalizer.normalize(book(3)))

    def test_resync_is_repeated_while_no_snapshot_comes(self):
        """Heartbeats drive it, so a quiet product is asked for again too, every three seconds."""
        normalizer = synced()
        normalizer.normalize(book(7))
        asked = [
            [o for o in normalizer.normalize(envelope(heartbeat(7 + s), ts_recv=T0 + s * S)) if isinstance(o, Resync)]
            for s in range(1, 8)
        ]
        assert [len(each) for each in asked] == [0, 0, 2, 0, 0, 2, 0]


class TestBooks:
    """Absolute sizes per level; a book is only as good as its snapshot."""

    def test_update_without_snapshot_publishes_nothing(self):
        """A normalizer that starts in the middle says so and asks for a snapshot."""
        normalizer = ready()
        outputs = normalizer.normalize(book(500))
        assert gaps(outputs) == [("MBO", "level2.BTC-USD", "no_snapshot")]
        assert Resync("level2.BTC-USD") in outputs
        assert flagged(outputs) == []
        assert list(normalizer.images(T0)) == []
        assert flagged(normalizer.normalize(book(501, "snapshot", SNAPSHOT))) == [False]

    def test_zero_removes_and_removing_nothing_is_nothing(self):
        """0 is a removal; of a level that is not there it is no message."""
        normalizer = synced()
        (message,) = normalizer.normalize(book(6, levels=[("offer", "101.00", "0"), ("offer", "150", "0")]))
        assert [(r.action, r.side, r.price) for r in mbo(message.data)] == [(b"C", ASK, 101 * S)]
        assert normalizer.normalize(book(7, levels=[("offer", "150", "0.00000000")])) == []

    def test_crossed_book_is_flagged_in_the_same_message(self):
        """The update that crosses carries the flag, with one gap and one resync."""
        normalizer = synced()
        outputs = normalizer.normalize(book(6, levels=[("bid", "101.00", "1")]))
        assert gaps(outputs) == [("MBO", "level2.BTC-USD", "crossed")]
        assert flagged(outputs) == [True]
        assert outputs[-1] == Resync("level2.BTC-USD")
        assert not gaps(normalizer.normalize(book(7, levels=[("bid", "98", "1")])))

    def test_large_levels_are_split_exactly(self):
        """65,000 BTC at 0.04, as recorded: 1,514 records that sum up, each with an id of its own."""
        normalizer = synced()
        (message,) = normalizer.normalize(book(6, levels=[("bid", "0.04", "65000")]))
        found = mbo(message.data)
        assert sum(record.size for record in found) == 65_000 * 10**8
        assert len({record.order_id for record in found}) == len(found) == 1514
        assert [bool(record.flags & F_LAST) for record in found] == [False] * 1513 + [True]
        (message,) = normalizer.normalize(book(7, levels=[("bid", "0.04", "0")]))
        assert sum(record.size for record in mbo(message.data)) == 65_000 * 10**8

    @pytest.mark.parametrize(
        ("level", "reason"),
        [
            (("bid", "9223372037", "1"), "number_range"),
            (("bid", "100.0000000001", "1"), "number_precision"),
            (("bid", "1e2", "1"), "number_format"),
            (("bid", "-1", "1"), "number_format"),
            (("bid", "100", "0.000000001"), "not_whole_lots"),
            (("bid", "1", "999999999999"), "size_range"),
            (("offer", "138991023.41", "50"), "size_range"),
        ],
    )
    def test_what_cannot_be_exact_is_refused_whole(self, level, reason):
        """The frame is refused, the book is as before, and the next frame shows the loss."""
        normalizer = synced()
        with pytest.raises(PayloadError) as refused:
            normalizer.normalize(book(6, levels=[("bid", "98.50", "7"), level]))
        assert refused.value.reason == reason
        live = normalizer._books["BTC-USD"]
        assert 98_500_000_000 not in live.book.bids
        assert not live.bad
        assert ("MBO", "level2.BTC-USD", "sequence_num") in gaps(normalizer.normalize(book(7)))

    def test_largest_values_that_fit(self):
        """The last price and the last size in one record that DBN can hold pass; the absurd price recorded as well."""
        normalizer = synced()
        size = f"{MAX_SIZE // 10**8}.{MAX_SIZE % 10**8:08}"
        levels = [("offer", "9223372036.85477580", size), ("offer", "138991023.41", "0.00000238")]
        (message,) = normalizer.normalize(book(6, levels=levels))
        assert [record.size for record in mbo(message.data)] == [MAX_SIZE, 238]

    def test_updates_of_another_connection_do_not_mix_in(self):
        """While two connections overlap, the one that sent the last snapshot feeds the book."""
        normalizer = synced()
        normalizer.normalize(book(0, "snapshot", SNAPSHOT, connection=2))
        assert normalizer.normalize(book(6)) == []
        assert flagged(normalizer.normalize(book(1, connection=2))) == [False]
        assert normalizer.normalize(marker(KIND_DISCONNECTED, 1, reason="rotated")) != []
        assert flagged(normalizer.normalize(book(2, connection=2, levels=[("bid", "98", "1")]))) == [False]

    def test_images_leave_doubtful_books_out(self):
        """A late joiner gets no snapshot of a book in doubt."""
        normalizer = synced()
        assert {message.channel for message in normalizer.images(T0)} == {"level2.BTC-USD", "level2.ETH-USD"}
        assert all(mbo(message.data)[0].action == CLEAR for message in normalizer.images(T0))
        normalizer.normalize(book(7))
        assert list(normalizer.images(T0)) == []

    def test_empty_snapshot_clears(self):
        """A product with an empty book has one record: clear."""
        (message,) = synced().normalize(book(6, "snapshot", []))
        assert [record.action for record in mbo(message.data)] == [CLEAR]


class TestTrades:
    """Every distinct trade once; ids show what is missing."""

    def test_history_is_not_published_hot(self):
        """The trades from before the first subscription are not news; what a reconnect missed is."""
        normalizer = ready()
        assert normalizer.normalize(trades(0, range(1, 101), "snapshot")) == []
        assert ids_of(normalizer.normalize(trades(1, [101, 102]))) == [101, 102]
        outputs = normalizer.normalize(trades(0, range(5, 106), "snapshot", connection=2))
        assert ids_of(outputs) == [103, 104, 105]
        assert gaps(outputs) == []

    @pytest.mark.parametrize("change", [{"price": "0.00"}, {"size": "0"}])
    def test_nothing_trades_at_zero(self, change):
        """A price or quantity of zero is refused, and the next trade shows what is missing."""
        normalizer = synced()
        event = {"type": "update", "trades": [trade(11) | change]}
        with pytest.raises(PayloadError, match="above zero"):
            normalizer.normalize(envelope(numbered("market_trades", 6, [event])))
        assert gaps(normalizer.normalize(trades(7, [12])))

    def test_archive_publishes_each_once_in_any_order(self):
        """History, updates and a second lane's history: each id once."""
        normalizer = ready(archive=True)
        outputs = [
            *normalizer.normalize(trades(5, [101, 102])),
            *normalizer.normalize(trades(0, range(1, 101), "snapshot")),
            *normalizer.normalize(trades(0, range(50, 104), "snapshot", connection=2)),
        ]
        assert sorted(ids_of(outputs)) == list(range(1, 104))
        assert gaps(outputs) == []

    def test_hole_is_declared_and_filled_when_found(self):
        """A hole is a gap; the ids in it are still new when a later snapshot brings them."""
        normalizer = synced()
        outputs = normalizer.normalize(trades(6, [15]))
        assert gaps(outputs) == [("TRADES", "market_trades.BTC-USD", "trade_id")]
        assert b"expected=12 got=15" in outputs[0].data
        assert ids_of(normalizer.normalize(trades(0, range(1, 16), "snapshot", connection=2))) == [12, 13, 14]
        assert normalizer.normalize(trades(1, range(1, 16), "snapshot", connection=2)) == []

    def test_records_are_exact(self):
        """Price, size, aggressor and id; a size beyond u32 is several records of one message."""
        normalizer = synced()
        event = {"type": "update", "trades": [trade(12, side="SELL", size="100", at=T0 + 1000)]}
        (message,) = normalizer.normalize(envelope(numbered("market_trades", 6, [event])))
        found = [TRADE.unpack(record) for _, record in records(message.data)]
        assert sum(record[6] for record in found) == 100 * 10**8
        assert [record[9] for record in found] == [0, 0, F_LAST]
        assert {(record[4], record[5], record[8], record[13]) for record in found} == {
            (T0 + 1000, 100_500_000_000, BID, 12)
        }

    def test_products_mixed_in_a_frame_keep_their_channels(self):
        """The raw channel has then no product; messages always have."""
        normalizer = synced()
        event = {"type": "update", "trades": [trade(12), trade(3, "ETH-USD")]}
        mixed = envelope(numbered("market_trades", 6, [event]))
        assert mixed.channel == "market_trades"
        assert [o.channel for o in normalizer.normalize(mixed)] == ["market_trades.BTC-USD", "market_trades.ETH-USD"]


class TestTickers:
    """Top of book each time, statistics when they change."""

    def test_statistics_change_or_refresh(self):
        """Unchanged ones wait for ten seconds of venue time."""
        normalizer = ready()

        def kinds(number, at, **fields):
            found = [o for o in normalizer.normalize(ticker(number, at, **fields)) if o.schema == "STATISTICS"]
            return [STAT.unpack(record)[11] for o in found for _, record in records(o.data)]

        assert kinds(0, T0) == [20005, 5, 4, 6]
        assert kinds(1, T0 + S) == []
        assert kinds(2, T0 + 2 * S, price="101") == [20005]
        assert kinds(3, T0 + 10 * S, price="101") == [20005, 5, 4, 6]

    def test_volume_finer_than_a_lot_is_left_out(self):
        """Never rounded; the other statistics come all the same."""
        (_, message) = ready().normalize(ticker(0, volume_24_h="5.000000001"))
        assert [STAT.unpack(record)[11] for _, record in records(message.data)] == [20005, 5, 4]

    def test_top_of_book(self):
        """An empty side is undefined; a size that does not fit is said not to."""
        outputs = ready().normalize(ticker(0, best_bid="", best_bid_quantity="0", best_ask_quantity="50"))
        found = MBP_1.unpack(outputs[0].data)
        assert found[9] & F_PUBLISHER_SPECIFIC
        assert found[13:18] == (0, UNDEF_PRICE, 101 * S, 0, UNDEF_ORDER_SIZE)


class TestDefinitions:
    """Nothing is published of a product before its definition."""

    def test_unknown_product_asks_for_the_list(self):
        """One gap, one request a second at most, nothing published; after the list, the book asks for its snapshot."""
        normalizer = ready()
        outputs = normalizer.normalize(book(0, "snapshot", SNAPSHOT, "SOL-USD"))
        assert gaps(outputs) == [("MBO", "level2.SOL-USD", "no_definition")]
        assert outputs[-1] == Resync("rest/products")
        assert normalizer.normalize(book(1, name="SOL-USD", ts_recv=T0 + S // 2)) == []
        assert normalizer.normalize(book(2, name="SOL-USD", ts_recv=T0 + S)) == [Resync("rest/products")]
        normalizer.normalize(products(product("SOL-USD")))
        assert gaps(normalizer.normalize(book(3, name="SOL-USD"))) == [("MBO", "level2.SOL-USD", "no_snapshot")]

    def test_only_news_is_published(self):
        """The same list again is silent; a changed tick is a modified definition."""
        normalizer = ready()
        assert normalizer.normalize(products()) == []
        (changed,) = normalizer.normalize(products(product("BTC-USD", price_increment="0.1")))
        assert (changed.schema, changed.channel) == ("DEFINITION", "definition.BTC-USD")
        assert len(list(normalizer.definitions(T0))) == 2

    def test_changed_lot_begins_the_product_anew(self):
        """Sizes counted in another lot do not go on: every channel of the product, and of no other, says so."""
        normalizer = synced()
        outputs = normalizer.normalize(products(product("BTC-USD", base_increment="0.0001"), product("ETH-USD")))
        assert actions(outputs) == [("BTC-USD", "M")]
        assert gaps(outputs) == [
            ("MBO", "level2.BTC-USD", "definition"),
            ("TRADES", "market_trades.BTC-USD", "definition"),
            ("MBP_1", "ticker.BTC-USD", "definition"),
            ("STATISTICS", "ticker.BTC-USD", "definition"),
        ]
        assert [each for each in outputs if isinstance(each, Resync)] == [Resync("level2.BTC-USD")]
        (snapshot,) = normalizer.normalize(book(6, "snapshot", SNAPSHOT))
        assert [record.size for record in mbo(snapshot.data)[1:]] == [10_000, 20_000, 30_000, 40_000]
        # The volume, which did not change but for its unit, is said again.
        assert [m.schema for m in normalizer.normalize(ticker(7))] == ["MBP_1", "STATISTICS"]

    def test_listing_is_defined_before_its_first_price(self):
        """Data of a product that was listed since is dropped and asks for the list; with it, data flows."""
        normalizer = synced()
        outputs = normalizer.normalize(book(6, "snapshot", SNAPSHOT, "SOL-USD"))
        assert gaps(outputs) == [("MBO", "level2.SOL-USD", "no_definition")]
        assert [each for each in outputs if isinstance(each, Resync)] == [Resync("rest/products")]
        outputs = normalizer.normalize(products(product("BTC-USD"), product("ETH-USD"), product("SOL-USD")))
        assert actions(outputs) == [("SOL-USD", "A")]
        assert [m.schema for m in normalizer.normalize(book(7, "snapshot", SNAPSHOT, "SOL-USD"))] == ["MBO"]

    @pytest.mark.parametrize("source", ["list", "status"])
    def test_delisted_product_is_deleted(self, source):
        """D and a status, by whichever channel it is heard first; nothing for late joiners; listed again it is added."""
        normalizer = synced()
        listed = products(product("BTC-USD", status="delisted"), product("ETH-USD"))
        heard = status(6, [("BTC-USD", "delisted", "0.00000001")])
        outputs = normalizer.normalize(listed if source == "list" else heard)
        assert actions(outputs) == [("BTC-USD", "D")]
        assert [m.schema for m in outputs] == ["DEFINITION", "STATUS"]
        assert normalizer.normalize(listed) == []
        assert [m.channel for m in normalizer.definitions(T0)] == ["definition.ETH-USD"]
        assert [m.channel for m in normalizer.images(T0)] == ["level2.ETH-USD"]
        assert ids_of(normalizer.normalize(trades(6 if source == "list" else 7, [12]))) == [12]
        outputs = normalizer.normalize(products())
        assert actions(outputs) == [("BTC-USD", "A")]
        assert len(list(normalizer.images(T0))) == 2

    def test_a_product_missing_from_a_list_stays(self):
        """The venue lists delisted products as such: a list without one proves nothing."""
        normalizer = synced()
        assert normalizer.normalize(products(product("ETH-USD"))) == []
        assert len(list(normalizer.definitions(T0))) == 2

    @pytest.mark.parametrize(
        "change",
        [
            {"base_increment": "0"}, {"base_increment": "0.0000000001"}, {"price_increment": ""},
            {"product_type": "FUTURE"}, {"base_currency_id": "A" * 60},
        ],
    )  # fmt: skip
    def test_product_no_record_can_carry_refuses_its_frames_only(self, change):
        """Others of the list live on; its own frames are refused with a reason, and the list is not asked for again."""
        normalizer = ready()
        normalizer.normalize(products(product("SOL-USD", **change), product("XRP-USD")))
        with pytest.raises(PayloadError) as refused:
            normalizer.normalize(book(0, "snapshot", SNAPSHOT, "SOL-USD"))
        assert refused.value.reason == "definition"
        assert flagged(normalizer.normalize(book(0, "snapshot", SNAPSHOT, "XRP-USD"))) == [False]

    @pytest.mark.parametrize(
        ("change", "action"),
        [
            ({}, 7), ({"trading_disabled": True}, 8), ({"is_disabled": True}, 8), ({"cancel_only": True}, 9),
            ({"post_only": True}, 3), ({"auction_mode": True}, 2), ({"status": "delisted"}, 15), ({"status": "x"}, 8),
        ],
    )  # fmt: skip
    def test_conditions(self, change, action):
        """Each flag and status word has its StatusMsg action."""
        outputs = ready().normalize(products(product("SOL-USD", **change)))
        (status,) = [output for output in outputs if output.schema == "STATUS"]
        assert status.channel == "status.SOL-USD"
        assert int.from_bytes(status.data[24:26], "little") == action

    def test_status_frames(self):
        """A changed word is a status; an unknown product or another lot asks for the list."""
        normalizer = ready()

        def listed(number, **fields):
            fields = {"id": "BTC-USD", "status": "online", "base_increment": "0.00000001"} | fields
            return normalizer.normalize(
                envelope(
                    numbered("status", number, [{"type": "snapshot", "products": [fields]}]), ts_recv=T0 + number * S
                )
            )

        assert listed(0) == []
        (halted,) = listed(1, status="offline")
        assert halted.schema == "STATUS"
        assert listed(2, base_increment="0.1") == [Resync("rest/products")]
        assert listed(3, id="NEW-USD") == [Resync("rest/products")]


class TestSession:
    """What the session manager observed."""

    def test_disconnect_spoils_what_has_no_ids(self):
        """Books and tickers are in doubt until the next snapshot; trades show their own holes. No resync: one comes."""
        normalizer = synced()
        outputs = normalizer.normalize(marker(KIND_DISCONNECTED, reason="closed"))
        assert {schema for schema, _, reason in gaps(outputs) if reason == "disconnected"} == {
            "MBO", "MBP_1", "STATISTICS",
        }  # fmt: skip
        assert not any(isinstance(output, Resync) for output in outputs)
        assert flagged(normalizer.normalize(book(0, "snapshot", SNAPSHOT, connection=2))) == [False]
        assert not gaps(normalizer.normalize(trades(1, [12], connection=2)))

    def test_dropped_envelopes(self):
        """A drop is a gap on its channel, and a resync for a book."""
        normalizer = synced()
        outputs = normalizer.normalize(marker(KIND_DROPPED, channel="level2.BTC-USD", first=3, last=5, count=3))
        assert gaps(outputs) == [("MBO", "level2.BTC-USD", "dropped")]
        assert outputs[-1] == Resync("level2.BTC-USD")
        outputs = normalizer.normalize(marker(KIND_DROPPED, channel="market_trades.BTC-USD", first=3, last=5, count=3))
        assert gaps(outputs) == [("TRADES", "market_trades.BTC-USD", "dropped")]
        assert normalizer.normalize(marker(KIND_DROPPED, channel="control", first=3, last=5, count=3)) == []

    def test_connected_and_heartbeats_publish_nothing(self):
        """They say which channels a connection has: a jump is then declared on those not seen yet as well."""
        normalizer = ready()
        connected = marker(KIND_CONNECTED, 1, url="-", channels=["market_trades.BTC-USD", "heartbeats"])
        assert normalizer.normalize(connected) == []
        assert normalizer.normalize(marker(KIND_HEARTBEAT, 0, connections={})) == []
        normalizer.normalize(envelope(heartbeat(0)))
        assert gaps(normalizer.normalize(envelope(heartbeat(2)))) == [
            ("TRADES", "market_trades.BTC-USD", "sequence_num")
        ]


class TestControl:
    """Frames that belong to no venue channel."""

    def test_error_frames_are_control(self):
        """They have no number and change nothing."""
        assert ready().normalize(envelope({"type": "error", "message": "authentication failure"})) == []

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"{",
            b'{"channel":"l2_dbta","timestamp":"x","sequence_num":1}',
            b"[" * 9999,
        ],
    )
    def test_garbage_is_refused(self, payload):
        """A frame that cannot be told is refused, so that its number is missed."""
        with pytest.raises(PayloadError):
            ready().normalize(envelope(payload))

    def test_candles_count_and_give_no_records(self):
        """Five-minute bars have no DBN record type."""
        normalizer = synced()
        assert normalizer.normalize(envelope(numbered("candles", 6, []), channel="candles.BTC-USD")) == []
        assert not gaps(normalizer.normalize(book(7)))


class TestZeroPrice:
    """No order rests at a price of zero."""

    @pytest.mark.parametrize("quantity", ["1", "0"])
    def test_a_level_at_price_zero_refuses_its_frame(self, quantity):
        """Nothing of the frame is applied; its number is missing, which the next frame shows."""
        normalizer = synced()
        before = list(normalizer.images(1))
        with pytest.raises(PayloadError) as refusal:
            normalizer.normalize(book(6, levels=[("bid", "98.00", "1"), ("bid", "0", quantity)]))
        assert refusal.value.reason == "zero_price"
        assert list(normalizer.images(1)) == before
        assert ("MBO", "level2.BTC-USD", "sequence_num") in gaps(normalizer.normalize(book(7)))
