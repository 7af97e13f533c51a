"""Kraken's normalizer: checksums, continuity, instruments and boundaries, on messages in the venue's form."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import databento_dbn as dbn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import providers
from penstock.dbn import F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT, UNDEF_ORDER_SIZE, UNDEF_PRICE
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap, parse
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from providers.kraken import payloads
from providers.kraken.level3 import order_key
from providers.kraken.normalizer import Normalizer

INFO = providers.info("kraken")
SECOND = 10**9
BTC = {
    "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online", "qty_precision": 8, "qty_increment": 1e-08,
    "price_precision": 1, "cost_precision": 5, "marginable": True, "has_index": True, "cost_min": 0.5,
    "price_increment": 0.1, "qty_min": 0.00005,
}  # fmt: skip
REST_BTC = {
    "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1, "lot_decimals": 8,
    "ordermin": "0.00005", "tick_size": "0.1", "status": "online",
}  # fmt: skip


def words(text: str) -> list[str]:
    return text.split()


# The example of https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 (read 2026-11).
GUIDE_BIDS = words(
    "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 "
    "45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"
)
GUIDE_ASKS = words(
    "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 "
    "45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"
)
GUIDE_CHECKSUM = 3310070434

# The example of https://docs.kraken.com/exchange/guides/websockets/l3-checksum-v2 (read 2026-11), price and quantity.
ORDER_BIDS = words(
    "44939.4 0.88968699 44939.4 0.45210000 44939.4 0.10000000 44939.4 0.14296323 44939.4 0.25000000 44939.4 0.10292988 "
    "44939.4 0.33880000 44939.4 1.28140860 44937.1 0.03346877 44934.7 0.35630000 44930.2 0.22734299 44930.2 0.01000000 "
    "44930.2 0.05550000 44930.2 0.70000000 44930.2 0.15000000 44928.0 0.00105240 44919.6 0.33870000 44919.5 0.07610000 "
    "44912.0 0.35630000 44909.7 0.06690000 44901.9 0.00088982"
)
ORDER_ASKS = words(
    "44939.5 4.52308393 44939.5 0.00111261 44939.5 0.00100000 44939.5 0.01000000 44950.0 0.10334926 44953.0 0.00064537 "
    "44955.0 0.00250000 44959.6 0.35630000 44959.6 0.35630000 44960.1 0.00338072 44960.2 0.88967575 44967.0 3.14392283 "
    "44978.5 0.06778960 44979.2 0.35630000"
)
ORDER_CHECKSUM = 1063832831


class Feed:
    """A normalizer and what reaches it. `ts_recv` moves 1 ms with every envelope."""

    def __init__(self, *pairs: dict[str, Any], archive: bool = False) -> None:
        self.normalizer = Normalizer(INFO, archive=archive)
        self.sequence = 0
        self.ts_recv = 1_700_000_000 * SECOND
        if pairs:
            self.instruments("snapshot", *pairs)

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

    def frame(self, payload: bytes | str) -> list[Output]:
        raw = payload if isinstance(payload, bytes) else payload.encode()
        return self.envelope(payloads.channel_of(raw), raw)

    def data(self, channel: str, kind: str, *items: object) -> list[Output]:
        return self.frame(json.dumps({"channel": channel, "type": kind, "data": items}))

    def instruments(self, kind: str, *pairs: dict[str, Any]) -> list[Output]:
        return self.frame(json.dumps({"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": pairs}}))

    def answer(self, **result: Any) -> list[Output]:
        body = json.dumps({"error": [], "result": result}).encode()
        return self.envelope("rest/AssetPairs", body, connection=0)

    def book(self, kind: str, bids: Sequence[str], asks: Sequence[str], checksum: int, **more: Any) -> list[Output]:
        return self.frame(book(kind, bids, asks, checksum, **more))


def rows(texts: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(texts[::2], texts[1::2], strict=True))


def book(kind: str, bids: Sequence[str], asks: Sequence[str], checksum: int, timestamp: str = "") -> str:
    """A book message with numbers exactly as given."""
    sides = [",".join(f'{{"price":{p},"qty":{q}}}' for p, q in rows(side)) for side in (bids, asks)]
    at = f',"timestamp":"{timestamp}"' if timestamp else ""
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{sides[0]}],"asks":[{sides[1]}],'
        f'"checksum":{checksum}{at}}}]}}'
    )


def crc(bids: dict[str, str], asks: dict[str, str]) -> int:
    """The checksum of levels as text at full precision."""
    levels = sorted(asks.items(), key=lambda x: Decimal(x[0]))[:10]
    levels += sorted(bids.items(), key=lambda x: -Decimal(x[0]))[:10]
    return zlib.crc32("".join(f"{Decimal(t):.{d}f}".replace(".", "").lstrip("0") for r in levels for t, d in
                              zip(r, (1, 8), strict=True)).encode())  # fmt: skip


def decoded(message: Message) -> list[Any]:
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


def gaps(outputs: Sequence[Output]) -> list[tuple[str, str, Gap]]:
    found = []
    for output in outputs:
        if isinstance(output, Message) and isinstance(record := decoded(output)[0], dbn.ErrorMsg):
            marker = parse(record.err)
            assert isinstance(marker, Gap)
            found.append((output.schema, output.channel, marker))
    return found


def content(outputs: Sequence[Output], schema: str) -> list[Any]:
    """The records of one schema, markers left out."""
    messages = [output for output in outputs if isinstance(output, Message) and output.schema == schema]
    return [record for message in messages for record in decoded(message) if not isinstance(record, dbn.ErrorMsg)]


def resyncs(outputs: Sequence[Output]) -> list[str]:
    return [output.channel for output in outputs if isinstance(output, Resync)]


# --- price-level books --------------------------------------------------------------------------------------------


def test_the_guides_book_proves_itself():
    """With trailing zeros cut, as JSON numbers are, and with numbers as text."""
    cut = [text.rstrip("0").rstrip(".") for text in GUIDE_BIDS], [text.rstrip("0").rstrip(".") for text in GUIDE_ASKS]
    quoted = [f'"{text}"' for text in GUIDE_BIDS], [f'"{text}"' for text in GUIDE_ASKS]
    for bids, asks in (cut, quoted, (GUIDE_BIDS, GUIDE_ASKS)):
        outputs = Feed(BTC).book("snapshot", bids, asks, GUIDE_CHECKSUM)
        assert not gaps(outputs)
        records = content(outputs, "MBO")
        assert [str(record.action) for record in records] == ["R", *"A" * 20]
        assert {record.flags & ~F_LAST for record in records} == {F_SNAPSHOT | F_MBP}
        assert records[1].price == 45283_500000000
        assert records[1].size == 10_000_000
        assert records[1].sequence == 0


def test_a_wrong_checksum_is_a_gap_flagged_and_asked_about_once_in_two_seconds():
    feed = Feed(BTC)
    feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    lost = feed.book("update", ["45283.5", "0.2"], [], 1)
    ((schema, channel, marker),) = gaps(lost)
    assert (schema, channel, marker.reason, marker.expected) == ("MBO", "book.BTC/USD", "checksum", 1)
    assert resyncs(lost) == ["book.BTC/USD"]
    assert all(record.flags & F_MAYBE_BAD_BOOK for record in content(lost, "MBO"))
    assert not list(feed.normalizer.images(feed.ts_recv))
    more = feed.book("update", ["45283.5", "0.3"], [], 2)
    assert not gaps(more)
    assert not resyncs(more)
    assert content(more, "MBO")[0].flags & F_MAYBE_BAD_BOOK
    feed.ts_recv += 2 * SECOND
    assert resyncs(feed.book("update", ["45283.5", "0.4"], [], 3)) == ["book.BTC/USD"]
    again = feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    assert not gaps(again)
    assert not content(again, "MBO")[0].flags & F_MAYBE_BAD_BOOK
    assert len(list(feed.normalizer.images(feed.ts_recv))) == 1


def test_a_snapshot_with_a_wrong_checksum_is_doubtful_too():
    outputs = Feed(BTC).book("snapshot", GUIDE_BIDS, GUIDE_ASKS, 7)
    assert [marker.reason for _, _, marker in gaps(outputs)] == ["checksum"]
    assert content(outputs, "MBO")[0].flags & F_MAYBE_BAD_BOOK
    assert resyncs(outputs) == ["book.BTC/USD"]


def test_an_update_before_any_snapshot_is_a_gap():
    outputs = Feed(BTC).book("update", ["45283.5", "0.2"], [], 1)
    assert [marker.reason for _, _, marker in gaps(outputs)] == ["no_snapshot"]
    assert resyncs(outputs) == ["book.BTC/USD"]


def test_a_crossed_book_is_declared_in_the_message_that_crosses():
    feed = Feed(BTC)
    bids, asks = {"100.0": "1.00000000"}, {"101.0": "1.00000000"}
    feed.book("snapshot", ["100.0", "1"], ["101.0", "1"], crc(bids, asks))
    outputs = feed.book("update", ["101.0", "1"], [], crc(bids | {"101.0": "1"}, asks))
    assert [marker.reason for _, _, marker in gaps(outputs)] == ["crossed"]
    assert content(outputs, "MBO")[0].flags & F_MAYBE_BAD_BOOK


def test_what_falls_out_of_the_depth_is_forgotten_without_being_told():
    feed = Feed(BTC)
    bids, asks = dict(rows(GUIDE_BIDS)), dict(rows(GUIDE_ASKS))
    feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    bids["45284.0"] = "0.5"
    outputs = feed.book("update", ["45284.0", "0.5"], [], crc(bids, asks))
    assert not gaps(outputs)
    actions = [(str(record.action), record.price // 10**8) for record in content(outputs, "MBO")]
    assert actions == [("C", 452766), ("A", 452840)]


def test_an_older_message_is_left_out_and_a_repeated_one_changes_nothing():
    feed = Feed(BTC)
    bids, asks = {"100.0": "1"}, {"101.0": "1"}
    times = [f"2026-01-01T00:00:00.00000{i}Z" for i in range(4)]
    feed.book("snapshot", ["100.0", "1"], ["101.0", "1"], crc(bids, asks), timestamp=times[0])
    new = {"100.0": "3"}
    assert content(feed.book("update", ["100.0", "3"], [], crc(new, asks), timestamp=times[2]), "MBO")
    assert not feed.book("update", ["100.0", "2"], [], crc({"100.0": "2"}, asks), timestamp=times[1])
    assert not feed.book("update", ["100.0", "3"], [], crc(new, asks), timestamp=times[2])
    assert not gaps(feed.book("update", ["100.0", "4"], [], crc({"100.0": "4"}, asks), timestamp=times[3]))


LEVELS = st.dictionaries(st.integers(1, 30), st.integers(0, 3), min_size=1, max_size=5)


@settings(max_examples=60)
@given(st.lists(st.tuples(LEVELS, LEVELS), min_size=1, max_size=15), st.sampled_from([10, 25]))
def test_books_equal_a_plain_book_of_the_venues_best_levels(changes: list[Any], depth: int):
    """The venue tells what changes within the depth, never what falls out of it. What is published is the best ten."""
    bids = {f"{1000 - i}.0": "1" for i in range(depth)}
    asks = {f"{1001 + i}.0": "1" for i in range(depth)}
    feed = Feed(BTC)
    flat = [text for level in bids.items() for text in level], [text for level in asks.items() for text in level]
    published: dict[tuple[str, int], int] = {}
    outputs = feed.book("snapshot", *flat, crc(bids, asks))
    market = {"B": dict(bids), "A": dict(asks)}
    for below, above in changes:
        _apply(published, outputs)
        seen = {side: _best(market[side], side, depth) for side in "BA"}
        for side, levels in (("B", below), ("A", above)):
            for rank, size in levels.items():
                price = f"{1000 - rank}.0" if side == "B" else f"{1001 + rank}.0"
                market[side][price] = str(size)
                if not size:
                    del market[side][price]
        told = []
        for side in "BA":
            now = _best(market[side], side, depth)
            gone = [text for p in seen[side] if p not in market[side] for text in (p, "0")]
            told.append(gone + [text for p, q in now.items() if seen[side].get(p) != q for text in (p, q)])
        outputs = feed.book("update", *told, crc(market["B"], market["A"]))
        assert not gaps(outputs)
    _apply(published, outputs)
    expected = {
        (side, int(Decimal(p) * 10**9)): int(Decimal(q) * 10**8)
        for side in "BA"
        for p, q in _best(market[side], side, 10).items()
    }
    assert published == expected


def _best(levels: dict[str, str], side: str, depth: int) -> dict[str, str]:
    ordered = sorted(levels, key=Decimal, reverse=side == "B")
    return {price: levels[price] for price in ordered[:depth]}


def _apply(published: dict[tuple[str, int], int], outputs: Sequence[Output]) -> None:
    for record in content(outputs, "MBO"):
        level = str(record.side), record.price
        if str(record.action) == "R":
            published.clear()
        elif str(record.action) == "C":
            del published[level]
        else:
            published[level] = record.size


def test_levels_that_cannot_be_published_are_no_matter_below_the_best_ten():
    """As an ask at 9,999,999,997 was in 2021; among the best ten it refuses the message, and nothing has changed."""
    asks = [f'["{price}.00000","1.00000000","1618678117.243818"]' for price in range(101, 112)]
    far = '["9999999997.00000","1.00000000","1618678117.243818"]'
    bid = '["100.00000","1.00000000","1618678117.243818"]'
    feed = Feed(BTC)
    outputs = feed.frame(f'[464,{{"as":[{",".join([*asks, far])}],"bs":[{bid}]}},"book-25","XBT/USD"]')
    assert not gaps(outputs)
    assert len(content(outputs, "MBO")) == 12
    with pytest.raises(PayloadError) as refused:
        feed.frame(f'[464,{{"as":[{far}],"bs":[{bid}]}},"book-25","XBT/USD"]')
    assert refused.value.reason == "number_range"
    assert len(content(list(feed.normalizer.images(feed.ts_recv)), "MBO")) == 12


# --- the API v1 ---------------------------------------------------------------------------------------------------


def test_two_parts_of_one_v1_update_are_one_message():
    feed = Feed(BTC)
    bids, asks = {"100.0": "1.00000000"}, {"101.0": "1.00000000", "102.0": "2.00000000"}
    snapshot = (
        '[320,{"as":[["101.00000","1.00000000","1622714245.847093"]],"bs":[["100.00000","1.00000000","1622714246.5"]]},'
        '"book-25","XBT/USD"]'
    )
    first = feed.frame(snapshot)
    assert content(first, "MBO")[0].ts_event == 1622714246_500000000
    text = "10100000" + "100000000" + "10200000" + "200000000" + "10000000" + "300000000"
    both = (
        '[320,{"a":[["102.00000","2.00000000","1622766170.577187"]]},'
        f'{{"b":[["100.00000","3.00000000","1622766170.577304","r"]],"c":"{zlib.crc32(text.encode())}"}},"book-25","XBT/USD"]'
    )
    outputs = feed.frame(both)
    del bids, asks
    assert not gaps(outputs)
    assert [(str(r.action), str(r.side), r.size) for r in content(outputs, "MBO")] == [
        ("M", "B", 300_000_000),
        ("A", "A", 200_000_000),
    ]
    assert content(outputs, "MBO")[0].ts_event == 1622766170_577304000


def test_v1_channels_have_the_names_of_v2():
    for frame, channel in (
        ('[321,[["57126.7","0.02","1616333924.737428","b","m",""]],"trade","XBT/USD"]', "trade.BTC/USD"),
        ('[1,{"a":[],"c":"1"},"book-1000","XDG/XBT"]', "book.DOGE/BTC"),
        ('[343,["1"],"ohlc-1","ETH/USD"]', "ohlc.ETH/USD"),
        ('[343,["1"],"ohlc-5","ETH/USD"]', "control"),
        ('[343,["1"],"spread","ETH/USD"]', "control"),
        ('{"channel":"book","type":"update","data":[{"symbol":"BTC/USD"}]}', "book.BTC/USD"),
        ('{"channel":"instrument","type":"update","data":{}}', "instrument"),
        ('{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}', "control"),
        ('{"channel":"heartbeat"}', "control"),
        ("nonsense", "control"),
    ):
        assert payloads.channel_of(frame.encode()) == channel


@pytest.mark.parametrize(
    "frame",
    [
        '[343,["1"],"ohlc-5","ETH/USD"]',
        '[343,["1"],"spread","ETH/USD"]',
        '{"feed":"trade","product_id":"PI_XBTUSD","seq":222737}',
        '{"channel":"executions","type":"update","data":[{}]}',
    ],
)
def test_what_is_out_of_scope_is_refused_by_name(frame: str):
    with pytest.raises(PayloadError) as refused:
        Feed(BTC).frame(frame)
    assert refused.value.reason == "unknown_frame"


def test_v1_trades_tickers_and_candles():
    feed = Feed(BTC)
    (trade,) = content(
        feed.frame('[321,[["57126.7","0.02","1616333924.737428","s","m",""]],"trade","XBT/USD"]'), "TRADES"
    )
    assert (trade.price, trade.size, str(trade.side), trade.sequence) == (57126_700000000, 2_000_000, "A", 0)
    assert trade.ts_event == 1616333924_737428000
    ticker = (
        '[340,{"a":["29938.6",12,"12.41074632"],"b":["29938.5",0,"0.08410000"],"c":["29938.6","0.1"],'
        '"v":["735.0","5243.60824494"],"p":["1.0","30272.79057"],"t":[1,2],"l":["2.0","29328.6"],"h":["3.0","31869.3"],'
        '"o":["1.0","1.0"]},"ticker","XBT/USD"]'
    )
    outputs = feed.frame(ticker)
    (top,) = content(outputs, "MBP_1")
    assert (top.levels[0].bid_px, top.levels[0].ask_sz) == (29938_500000000, 1_241_074_632)
    assert {int(r.stat_type): r.price for r in content(outputs, "STATISTICS") if r.price != UNDEF_PRICE} == {
        4: 29328_600000000, 5: 31869_300000000, 13: 30272_790570000, 20005: 29938_600000000,
    }  # fmt: skip
    candle = '[343,["1675209613.1","{end}.000000","1.0","4.0","1.0","2.0","1.5","0.39012812",7],"ohlc-1","XBT/USD"]'
    assert not feed.frame(candle.replace("{end}", "1675209660"))
    (bar,) = content(feed.frame(candle.replace("{end}", "1675209720")), "OHLCV_1M")
    assert (bar.ts_event, bar.high, bar.volume) == (1675209600 * SECOND, 4_000000000, 39_012_812)


# --- orders -------------------------------------------------------------------------------------------------------


def orders(texts: Sequence[str], side: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"order_id": f"O{side}{i}", "limit_price": p, "order_qty": q, "timestamp": "2024-01-08T12:26:39.5Z", **more}
        for i, (p, q) in enumerate(rows(texts))
    ]


def test_the_guides_orders_prove_themselves():
    feed = Feed(BTC)
    data = {
        "symbol": "BTC/USD",
        "checksum": ORDER_CHECKSUM,
        "bids": orders(ORDER_BIDS, "B"),
        "asks": orders(ORDER_ASKS, "A"),
    }
    outputs = feed.data("level3", "snapshot", data)
    assert not gaps(outputs)
    records = content(outputs, "MBO")
    assert [str(record.action) for record in records] == ["R", *"A" * 35]
    assert not any(record.flags & F_MBP for record in records)
    assert records[1].order_id == order_key("OB0")
    # The first two bids change places: levels and their sums are the same, the queue is not.
    swapped = data | {"bids": [data["bids"][1], data["bids"][0], *data["bids"][2:]]}
    assert [marker.reason for _, _, marker in gaps(Feed(BTC).data("level3", "snapshot", swapped))] == ["checksum"]


def test_orders_are_added_modified_deleted_and_forgotten():
    feed = Feed(BTC)
    one = {"order_id": "OA", "limit_price": 100.5, "order_qty": 1.0, "timestamp": "2024-01-08T12:26:39.5Z"}

    def update(kind: str, *bids: dict[str, Any], text: str) -> list[Output]:
        data = {"symbol": "BTC/USD", "checksum": zlib.crc32(text.encode()), "bids": bids, "asks": []}
        return feed.data("level3", kind, data)

    assert not gaps(update("snapshot", one, text="1005100000000"))
    two = one | {"order_id": "OB", "order_qty": 2.0, "event": "add"}
    assert not gaps(update("update", two, text="1005100000000" + "1005200000000"))
    outputs = update("update", one | {"event": "modify", "order_qty": 0.5}, text="100550000000" + "1005200000000")
    assert [(str(r.action), r.size, r.flags) for r in content(outputs, "MBO")] == [("M", 50_000_000, F_LAST)]
    outputs = update("update", one | {"event": "delete"}, text="1005200000000")
    assert [(str(r.action), r.order_id) for r in content(outputs, "MBO")] == [("C", order_key("OA"))]
    unknown = update("update", one | {"event": "delete", "order_id": "OZ"}, text="1005200000000")
    assert [marker.reason for _, _, marker in gaps(unknown)] == ["unknown_order"]


def test_mutated_orders_raise_nothing_but_payload_errors():
    data = {
        "symbol": "BTC/USD",
        "checksum": ORDER_CHECKSUM,
        "bids": orders(ORDER_BIDS, "B"),
        "asks": orders(ORDER_ASKS, "A"),
    }
    whole = json.dumps({"channel": "level3", "type": "snapshot", "data": [data]}).encode()
    small = data | {
        "bids": orders(ORDER_BIDS[:4], "B", event="modify"),
        "asks": orders(ORDER_ASKS[:2], "A", event="delete"),
    }
    update = json.dumps({"channel": "level3", "type": "update", "data": [small]}).encode()
    feed, dice, read = Feed(BTC), random.Random(3), 0
    for _ in range(3000):
        payload = bytearray(dice.choice((whole, update, update)))
        for _ in range(dice.randint(1, 2)):
            at = dice.randrange(len(payload))
            payload[at : at + dice.randrange(3)] = dice.choice(
                [b"9" * 12, b"0", b"-", b"e9", b'"', b"null", b"\xff", b""]
            )
        try:
            feed.envelope("level3.BTC/USD", bytes(payload))
            read += 1
        except PayloadError:
            assert len(list(feed.normalizer.images(0))) <= 1
    assert read > 100, "some are still messages"


# --- trades -------------------------------------------------------------------------------------------------------


def trade(number: int, **more: Any) -> dict[str, Any]:
    return {
        "symbol": "BTC/USD", "side": "buy", "price": 60000.5, "qty": 0.5, "ord_type": "market", "trade_id": number,
        "timestamp": f"2026-01-01T00:00:{number % 60:02d}.123456Z",
    } | more  # fmt: skip


def numbers(outputs: Sequence[Output]) -> list[int]:
    return [record.sequence for record in content(outputs, "TRADES")]


def test_a_hole_in_trade_ids_is_declared_and_filled_by_the_next_subscription():
    feed = Feed(BTC)
    assert not feed.data("trade", "snapshot", trade(5), trade(4)), "history"
    assert numbers(feed.data("trade", "update", trade(6))) == [6]
    outputs = feed.data("trade", "update", trade(9))
    assert numbers(outputs) == [9]
    assert gaps(outputs) == [("TRADES", "trade.BTC/USD", Gap("trade_id", 7, 9))]
    assert resyncs(outputs) == ["trade.BTC/USD"]
    outputs = feed.data("trade", "snapshot", *(trade(number) for number in range(3, 12)))
    assert numbers(outputs) == [7, 8, 10, 11]
    assert not gaps(outputs)
    assert not feed.data("trade", "update", trade(11))


def test_an_archive_has_every_distinct_trade_once():
    feed = Feed(BTC, archive=True)
    assert numbers(feed.data("trade", "snapshot", trade(5), trade(4))) == [4, 5]
    assert numbers(feed.data("trade", "snapshot", trade(5), trade(6), trade(3))) == [3, 6]


def test_a_trade_beyond_32_bits_of_lots_is_several_records():
    (first, second) = content(Feed(BTC).data("trade", "update", trade(1, qty=50.0, side="sell")), "TRADES")
    assert first.size + second.size == 5_000_000_000
    assert (first.size, first.flags & F_LAST, second.flags & F_LAST) == (MAX_SIZE, 0, F_LAST)
    assert str(first.side) == "A"


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"side": "hold"}, "direction"), ({"qty": 0.0}, "number_range"), ({"price": 0.0}, "zero_price"),
     ({"qty": 1e-09}, "not_whole_lots"), ({"timestamp": "noon"}, "time_format"), ({"symbol": "ETH/USD"}, "instrument")],
)  # fmt: skip
def test_trades_that_cannot_be_understood_are_refused(change: dict[str, Any], reason: str):
    feed = Feed(BTC)
    payload = json.dumps({"channel": "trade", "type": "update", "data": [trade(1) | change]}).encode()
    with pytest.raises(PayloadError) as refused:
        feed.envelope("trade.BTC/USD", payload)
    assert refused.value.reason == reason
    assert numbers(feed.data("trade", "update", trade(2))) == [2]


# --- tickers, candles ---------------------------------------------------------------------------------------------

TICKER = {
    "symbol": "BTC/USD", "bid": 60000.1, "bid_qty": 740.0, "ask": 60000.2, "ask_qty": 1.5, "last": 60000.1,
    "volume": 997038.98383185, "vwap": 60000.12345, "low": 59000.0, "high": 61000.0, "change": -17.5,
    "change_pct": -0.17, "timestamp": "2026-01-01T00:00:00.5Z",
}  # fmt: skip


def test_a_ticker_is_the_top_of_the_book_and_statistics_that_changed():
    feed = Feed(BTC)
    outputs = feed.data("ticker", "snapshot", TICKER)
    (top,) = content(outputs, "MBP_1")
    assert (top.levels[0].bid_sz, top.levels[0].ask_sz) == (UNDEF_ORDER_SIZE, 150_000_000)
    assert top.ts_event == 1767225600_500000000
    statistics = {int(record.stat_type): record for record in content(outputs, "STATISTICS")}
    assert statistics[12].price == -17_500000000
    assert statistics[6].quantity == 99_703_898_383_185
    assert set(statistics) == {4, 5, 6, 12, 13, 20005}
    again = feed.data("ticker", "update", TICKER | {"last": 60000.2, "timestamp": "2026-01-01T00:00:01.5Z"})
    assert [int(record.stat_type) for record in content(again, "STATISTICS")] == [20005]
    later = feed.data("ticker", "update", TICKER | {"timestamp": "2026-01-01T00:00:10.5Z"})
    assert len(content(later, "STATISTICS")) == 6


def candle(minute: int, trades: int, **more: Any) -> dict[str, Any]:
    return {
        "symbol": "BTC/USD", "open": 1.0, "high": 3.0, "low": 1.0, "close": 2.0, "trades": trades, "volume": float(trades),
        "vwap": 1.5, "interval_begin": f"2026-01-01T00:{minute:02d}:00.000000000Z", "interval": 1,
        "timestamp": f"2026-01-01T00:{minute + 1:02d}:00.000000Z",
    } | more  # fmt: skip


def test_a_candle_is_published_when_the_next_begins():
    feed = Feed(BTC)
    assert not feed.data("ohlc", "snapshot", candle(1, 5), candle(2, 3)), "history"
    assert not feed.data("ohlc", "update", candle(2, 4))
    assert not feed.data("ohlc", "update", candle(2, 3)), "out of order"
    (bar,) = content(feed.data("ohlc", "update", candle(4, 1)), "OHLCV_1M")
    assert (bar.volume, bar.ts_event) == (400_000_000, 1767225720 * SECOND)
    missed = content(feed.data("ohlc", "snapshot", candle(2, 4), candle(4, 9), candle(5, 1), candle(6, 1)), "OHLCV_1M")
    assert [bar.volume for bar in missed] == [900_000_000, 100_000_000]


# --- instruments --------------------------------------------------------------------------------------------------


def actions(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    return [(record.raw_symbol, str(record.security_update_action)) for record in content(outputs, "DEFINITION")]


def test_instruments_by_both_sources_are_the_same():
    feed = Feed()
    outputs = feed.answer(XXBTZUSD=REST_BTC)
    (record,) = content(outputs, "DEFINITION")
    assert (record.raw_symbol, record.group, record.unit_of_measure) == ("BTC/USD", "BTC/USD", "BTC")
    assert (record.unit_of_measure_qty, record.min_price_increment, record.min_lot_size) == (10, 100_000_000, 5000)
    assert [r.action for r in content(outputs, "STATUS")] == [7]
    assert not feed.instruments("snapshot", BTC)
    assert len(list(feed.normalizer.definitions(0))) == 1


def test_listing_change_and_delisting_are_followed():
    feed = Feed(BTC)
    eth = BTC | {"symbol": "ETH/USD", "base": "ETH"}
    assert actions(feed.instruments("update", eth)) == [("ETH/USD", "A")]
    assert actions(feed.instruments("update", eth | {"price_increment": 0.2})) == [("ETH/USD", "M")]
    halted = feed.instruments("update", eth | {"price_increment": 0.2, "status": "cancel_only"})
    assert [r.action for r in content(halted, "STATUS")] == [8]
    assert not feed.answer(XXBTZUSD=REST_BTC), "what the stream said stands over REST's list"
    gone = feed.instruments("update", eth | {"status": "delisted"})
    assert actions(gone) == [("ETH/USD", "D")]
    assert actions(feed.instruments("snapshot", eth)) == [("ETH/USD", "A"), ("BTC/USD", "D")]


def test_rest_alone_is_followed_where_nothing_streams():
    feed = Feed()
    feed.answer(
        XXBTZUSD=REST_BTC, XETHZUSD=REST_BTC | {"wsname": "ETH/USD"}, DARK={"pair_decimals": 1, "lot_decimals": 8}
    )
    assert actions(feed.answer(XXBTZUSD=REST_BTC | {"tick_size": "0.5"})) == [("BTC/USD", "M"), ("ETH/USD", "D")]


def test_another_precision_starts_the_book_anew():
    feed = Feed(BTC)
    feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    outputs = feed.instruments("update", BTC | {"price_precision": 2, "price_increment": 0.01})
    assert actions(outputs) == [("BTC/USD", "M")]
    assert [(channel, marker.reason) for _, channel, marker in gaps(outputs)] == [
        ("book.BTC/USD", "definition_changed")
    ]
    assert resyncs(outputs) == ["book.BTC/USD"]
    assert [marker.reason for _, _, marker in gaps(feed.book("update", ["45283.5", "1"], [], 1))] == ["no_snapshot"]


def test_an_instrument_that_cannot_be_stated_is_refused_alone():
    feed = Feed()
    fine = BTC | {"symbol": "MOG/USD", "base": "MOG", "price_increment": 1e-10, "price_precision": 10}
    outputs = feed.instruments("snapshot", fine, BTC)
    assert actions(outputs) == [("BTC/USD", "A")]
    assert [(c, m.reason) for _, c, m in gaps(outputs)] == [("definition.MOG/USD", "definition_number_precision")]
    assert not feed.instruments("snapshot", fine, BTC), "declared once"


def test_data_without_a_definition_is_declared_once_and_the_list_asked_for():
    feed = Feed()
    outputs = feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    assert [marker.reason for _, _, marker in gaps(outputs)] == ["no_definition"]
    assert resyncs(outputs) == ["rest/AssetPairs"]
    assert not feed.book("update", ["45283.5", "1"], [], 1)


def test_the_systems_state_stands_over_the_pairs():
    feed = Feed(BTC)
    status = '{"channel":"status","type":"update","data":[{"system":"%s","version":"2.0.0","api_version":"v2"}]}'
    assert not feed.frame(status % "online")
    assert [r.action for r in content(feed.frame(status % "maintenance"), "STATUS")] == [10]
    assert [r.action for r in content(feed.frame(status % "online"), "STATUS")] == [7]


# --- connections --------------------------------------------------------------------------------------------------


def test_a_lost_connection_and_dropped_envelopes_put_channels_in_doubt():
    feed = Feed(BTC)
    feed.envelope(
        "session", b'{"channels":["book.BTC/USD","trade.BTC/USD","ticker.BTC/USD","instrument"]}', KIND_CONNECTED
    )
    feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    lost = feed.envelope("session", b"{}", KIND_DISCONNECTED)
    assert {(schema, channel) for schema, channel, _ in gaps(lost)} == {
        ("MBO", "book.BTC/USD"), ("TRADES", "trade.BTC/USD"), ("MBP_1", "ticker.BTC/USD"), ("STATISTICS", "ticker.BTC/USD"),
    }  # fmt: skip
    feed.book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
    dropped = feed.envelope("book.BTC/USD", b'{"first":3,"last":9}', KIND_DROPPED)
    assert gaps(dropped) == [("MBO", "book.BTC/USD", Gap("dropped", 3, 9))]
    assert resyncs(dropped) == ["book.BTC/USD"]
    assert resyncs(feed.envelope("instrument", b'{"first":3,"last":9}', KIND_DROPPED)) == ["instrument"]
