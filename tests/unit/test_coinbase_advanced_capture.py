"""A recording of the real venue: 1,030 frames of one connection, BTC-USD and ETH-USD, 2026-08-09."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import databento_dbn
import pytest

from penstock.dbn import ADD, BID, CANCEL, CLEAR, F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, records
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import Envelope
from providers.coinbase_advanced.normalizer import Normalizer
from providers.coinbase_advanced.payloads import channel_of, merge_key
from tests.unit.coinbase_advanced_frames import INFO, TRADE, capture, gaps, mbo

Run = list[tuple[Envelope, list[Output]]]
LOT = Decimal("0.00000001")
TICK = Decimal("0.000000001")


def run(envelopes: list[Envelope], *, archive: bool) -> Run:
    return start(envelopes, archive=archive)[1]


def start(envelopes: list[Envelope], *, archive: bool) -> tuple[Normalizer, Run]:
    normalizer = Normalizer(INFO, archive=archive)
    outputs = []
    for envelope in envelopes:
        outputs.append((envelope, list(normalizer.normalize(envelope))))
        assert not any(live.book.crossed for live in normalizer._books.values())
    return normalizer, outputs


@pytest.fixture(scope="module")
def envelopes(fixtures: Path) -> list[Envelope]:
    return list(capture(fixtures))


@pytest.fixture(scope="module")
def started(envelopes: list[Envelope]) -> tuple[Normalizer, Run]:
    return start(envelopes, archive=False)


@pytest.fixture(scope="module")
def live(started: tuple[Normalizer, Run]) -> Run:
    return started[1]


@pytest.fixture(scope="module")
def archive(envelopes: list[Envelope]) -> Run:
    return run(envelopes, archive=True)


def messages(outputs: Run, schema: str) -> list[Message]:
    return [m for _, found in outputs for m in found if isinstance(m, Message) and m.schema == schema]


@pytest.mark.parametrize("mode", ["live", "archive"])
def test_every_frame_is_understood_and_nothing_is_missing(mode, request):
    """No frame is refused, no gap declared, no resync asked for: the recording is whole."""
    outputs = request.getfixturevalue(mode)
    assert len(outputs) == 1031
    assert all(isinstance(message, Message) for _, found in outputs for message in found)
    assert [gap for _, found in outputs for gap in gaps(found)] == []


def test_frames_are_data_or_control(envelopes):
    """Each frame falls under a schema or is control; numbers run from 0 to 1029 over all of them."""
    kinds = Counter(INFO.schema_of(envelope.channel) for envelope in envelopes)
    assert kinds == {"MBO": 775, "MBP_1": 160, "TRADES": 59, "STATISTICS": 6, "SYSTEM": 30, "DEFINITION": 1}
    numbers = [json.loads(e.payload)["sequence_num"] for e in envelopes if e.connection]
    assert numbers == list(range(1030))


def test_channels_are_named_as_subscribed(envelopes):
    """Each data frame of the recording is of one product, and its channel says which."""
    counts = Counter(channel_of(envelope.payload) for envelope in envelopes if envelope.connection)
    assert counts["control"] == 5
    assert counts["heartbeats"] == 25
    assert {name for name in counts if "." not in name} == {"control", "heartbeats"}
    assert sum(counts.values()) == 1030


def test_two_runs_are_byte_identical(envelopes, live):
    """The same envelopes give the same bytes."""
    assert [found for _, found in run(envelopes, archive=False)] == [found for _, found in live]


def test_output_is_dbn(archive):
    """Databento's decoder reads everything that was published, and finds F_LAST where it belongs."""
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    total = 0
    for _, found in archive:
        for message in found:
            assert isinstance(message, Message)
            decoder.write(message.data)
            decoded = decoder.decode()
            total += len(decoded)
            assert len(decoded) == len(list(records(message.data)))
            if message.schema in ("MBO", "TRADES"):
                flags = [int(record.flags) & F_LAST for record in decoded]
                assert flags == [0] * (len(flags) - 1) + [F_LAST]
    assert total > 80_000


class NaiveBook:
    """What the venue's documentation says, word by word, on decimals."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "offer": {}}

    def apply(self, event: dict[str, object]) -> None:
        if event["type"] == "snapshot":
            self.sides = {"bid": {}, "offer": {}}
        for update in event["updates"]:  # type: ignore[attr-defined]
            price, quantity = Decimal(update["price_level"]), Decimal(update["new_quantity"])
            side = self.sides[update["side"]]
            if quantity:
                side[price] = quantity
            else:
                side.pop(price, None)


class RecordBook:
    """What a subscriber makes of MBO records: orders by id, summed by price."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.sizes: defaultdict[tuple[str, int], int] = defaultdict(int)

    def apply(self, data: bytes) -> None:
        for record in mbo(data):
            if record.action == CLEAR:
                self.orders.clear()
                self.sizes.clear()
                continue
            side = "bid" if record.side == BID else "offer"
            assert (record.order_id in self.orders) == (record.action != ADD)
            if record.order_id in self.orders:
                old_side, old_price, old = self.orders.pop(record.order_id)
                assert (old_side, old_price) == (side, record.price)
                self.sizes[side, record.price] -= old
            if record.action != CANCEL:
                self.orders[record.order_id] = (side, record.price, record.size)
                self.sizes[side, record.price] += record.size

    def level(self, side: str, price: Decimal) -> Decimal:
        return self.sizes.get((side, int(price / TICK)), 0) * LOT

    def whole(self) -> dict[str, dict[Decimal, Decimal]]:
        found: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "offer": {}}
        for (side, price), size in self.sizes.items():
            if size:
                found[side][price * TICK] = size * LOT
        return found


def test_books_equal_a_naive_book_after_every_message(live):
    """The book rebuilt from records is the venue's book: touched levels each time, all levels often; never crossed."""
    naive, rebuilt, frames = defaultdict(NaiveBook), defaultdict(RecordBook), 0
    for envelope, found in live:
        if not envelope.channel.startswith("level2."):
            continue
        frames += 1
        (event,) = json.loads(envelope.payload)["events"]
        name = event["product_id"]
        naive[name].apply(event)
        for message in found:
            assert message.channel == f"level2.{name}"
            assert not any(record.flags & F_MAYBE_BAD_BOOK for record in mbo(message.data))
            rebuilt[name].apply(message.data)
        for update in event["updates"]:
            price = Decimal(update["price_level"])
            expected = naive[name].sides[update["side"]].get(price, Decimal(0))
            assert rebuilt[name].level(update["side"], price) == expected
        if event["type"] == "snapshot" or frames % 150 == 0:
            assert rebuilt[name].whole() == naive[name].sides
            assert max(naive[name].sides["bid"]) < min(naive[name].sides["offer"])
    assert frames == 775
    for name, book in naive.items():
        assert rebuilt[name].whole() == book.sides


def test_both_modes_publish_the_same_books(live, archive):
    """On one whole recording hot and cold agree on all but the trades from before it."""
    for schema in ("MBO", "MBP_1", "STATISTICS", "STATUS", "DEFINITION"):
        assert messages(live, schema) == messages(archive, schema)


def trades_of(envelopes: list[Envelope], kinds: tuple[str, ...]) -> dict[str, dict[int, dict[str, str]]]:
    found: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
    for envelope in envelopes:
        if envelope.channel.startswith("market_trades."):
            for event in json.loads(envelope.payload)["events"]:
                for trade in event["trades"] if event["type"] in kinds else ():
                    found[trade["product_id"]][int(trade["trade_id"])] = trade
    return found


@pytest.mark.parametrize(("mode", "kinds"), [("live", ("update",)), ("archive", ("snapshot", "update"))])
def test_trades_are_exact(mode, kinds, envelopes, request):
    """Every distinct trade is published once in rising id: price, quantity and side exact, the aggressor's side."""
    expected = trades_of(envelopes, kinds)
    got: dict[str, list[tuple[int, Decimal, Decimal, bytes]]] = defaultdict(list)
    for message in messages(request.getfixturevalue(mode), "TRADES"):
        (record,) = [TRADE.unpack(record) for _, record in records(message.data)]
        name = message.channel.removeprefix("market_trades.")
        got[name].append((record[13], record[5] * TICK, record[6] * LOT, record[8]))
    for name, trades in expected.items():
        assert got[name] == [
            (number, Decimal(trade["price"]), Decimal(trade["size"]), b"A" if trade["side"] == "BUY" else b"B")
            for number, trade in sorted(trades.items())
        ]
    assert {name: len(trades) for name, trades in got.items()} == (
        {"BTC-USD": 147, "ETH-USD": 132} if mode == "archive" else {"BTC-USD": 47, "ETH-USD": 32}
    )


def test_side_is_the_makers(live):
    """The recording itself shows it: trades the venue calls BUY happen at the bid, SELL at the ask."""
    naive, agreed = NaiveBook(), Counter[bool]()
    for envelope, _ in live:
        if envelope.channel == "level2.BTC-USD":
            naive.apply(json.loads(envelope.payload)["events"][0])
        elif envelope.channel == "market_trades.BTC-USD" and naive.sides["bid"]:
            for trade in json.loads(envelope.payload)["events"][0]["trades"]:
                middle = (max(naive.sides["bid"]) + min(naive.sides["offer"])) / 2
                agreed[(Decimal(trade["price"]) < middle) == (trade["side"] == "BUY")] += 1
    assert agreed[True] > 5 * agreed[False]


def test_definitions_of_every_product(archive):
    """920 products, each with its lot and tick; 8 delisted ones are said not to trade."""
    definitions = messages(archive, "DEFINITION")
    assert len({message.channel for message in definitions}) == len(definitions) == 920
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(definitions[0].data)
    (btc,) = decoder.decode()
    assert (btc.raw_symbol, btc.group, btc.exchange) == ("BTC-USD", "BTC/USD", "CBSE")
    assert (btc.unit_of_measure_qty, btc.min_price_increment, btc.min_lot_size) == (10, 10_000_000, 1)
    states = Counter(message.data[24:26] for message in messages(archive, "STATUS"))
    assert states == {b"\x07\x00": 912, b"\x0f\x00": 8}


def test_tickers_become_top_of_book_and_statistics(live):
    """One MBP_1 message for each ticker; statistics less often, because only changes and refreshes are published."""
    assert len(messages(live, "MBP_1")) == 160
    statistics = messages(live, "STATISTICS")
    assert 10 < len(statistics) <= 160
    kinds = {int.from_bytes(record[56:58], "little") for m in statistics for _, record in records(m.data)}
    assert kinds == {4, 5, 6, 20005}


def test_merge_keys_do_not_depend_on_the_connection(envelopes):
    """Another connection's number and clock leave the key of a data frame as it is; other events change it."""
    keys = set()
    for envelope in envelopes:
        if not envelope.connection or INFO.schema_of(envelope.channel) == "SYSTEM":
            continue
        frame = json.loads(envelope.payload)
        other = frame | {"sequence_num": frame["sequence_num"] + 7, "timestamp": "2026-08-09T22:00:00.1Z"}
        payload = json.dumps(other, separators=(",", ":")).encode()
        key = merge_key(envelope.channel, envelope.payload)
        assert merge_key(envelope.channel, payload) == key
        assert (key.ts_event > 0) == (envelope.channel.split(".")[0] in ("level2", "market_trades"))
        assert (key.sequence > 0) == envelope.channel.startswith("market_trades")
        keys.add(key.identity)
    assert len(keys) == 998  # of 1,000 frames: two tickers were sent twice, word for word


def test_images_are_the_books(started):
    """A late joiner's snapshot is the whole book, clear first."""
    normalizer, _ = started
    images = {message.channel: mbo(message.data) for message in normalizer.images(1)}
    assert set(images) == {"level2.BTC-USD", "level2.ETH-USD"}
    for name, found in images.items():
        assert found[0].action == CLEAR
        assert all(record.flags & F_SNAPSHOT for record in found)
        book = normalizer._books[name.removeprefix("level2.")].book
        assert len({record.price for record in found[1:]}) == len(book.bids) + len(book.asks)
    assert len(list(normalizer.definitions(1))) == 920
