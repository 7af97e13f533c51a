"""Tops, books, tickers, bars and definitions of polled sources, and what becomes of them when nobody answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import providers
from penstock import dbn
from penstock.errors import ConfigError, PayloadError
from penstock.provider import load_info
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, KIND_HEARTBEAT
from providers.rest.normalizer import Normalizer
from tests.unit.rest_sources import SECOND, T0, TRADES, Reader, source, trade

QUOTES: dict[str, Any] = {
    "name": "top", "schema": "MBP_1", "path": "/top", "items": "data",
    "fields": {"bid": "b", "ask": "a", "bid_size": "B", "ask_size": "A", "time": {"path": "t", "unit": "ms"}},
}  # fmt: skip
BOOK: dict[str, Any] = {
    "name": "book", "schema": "MBO", "path": "/book",
    "fields": {"bids": "b[*]", "asks": "a[*]", "price": "[0]", "size": "[1]"},
}  # fmt: skip
TICKER: dict[str, Any] = {
    "name": "ticker", "schema": "STATISTICS", "path": "/ticker",
    "fields": {"values": {"last_price": "last", "open_interest": "oi", "funding_rate": "f", "mark_price": "m"}},
}  # fmt: skip
BARS: dict[str, Any] = {
    "name": "bars", "schema": "OHLCV_1M", "path": "/bars", "items": "[*]",
    "fields": {
        "start": {"path": "[0]", "unit": "s"}, "open": "[1]", "high": "[2]", "low": "[3]", "close": "[4]", "volume": "[5]",
    },
}  # fmt: skip
PRODUCTS: dict[str, Any] = {
    "name": "products", "schema": "DEFINITION", "path": "/products", "items": "[*]",
    "fields": {"symbol": "s", "lot": "l", "tick": "k"},
}  # fmt: skip
UNSAID = [{"symbol": "BTC-USD", "base": "BTC", "quote": "USD"}]


def top(bid: object, ask: object, *, bid_size: object = 1, ask_size: object = 2, ms: int = 0) -> dict[str, Any]:
    return {"data": {"b": bid, "a": ask, "B": bid_size, "A": ask_size, "t": 1_790_000_000_000 + ms}}


# --- tops ------------------------------------------------------------------------------------------------------------


def test_a_top_is_published_when_it_changed():
    """With the venue's time; the definition comes first, once."""
    hot = Reader(source(QUOTES))
    first = hot.body("rest/desk/top/BTC-USD", top("9.5", "10"))
    assert [fact[0] for fact in first] == ["DEFINITION", "MBP_1"]
    record = first[1][2]
    assert (record.levels[0].bid_px, record.levels[0].ask_px) == (9_500_000_000, 10_000_000_000)
    assert (record.levels[0].bid_sz, record.levels[0].ask_sz) == (1000, 2000)
    assert (record.ts_event, record.ts_recv, int(record.flags)) == (T0, T0, 128)
    assert hot.body("rest/desk/top/BTC-USD", top("9.5", "10", ms=5)) == []
    assert len(hot.body("rest/desk/top/BTC-USD", top("9.5", "10", ask_size=3, ms=6))) == 1
    assert hot.body("rest/desk/top/BTC-USD", top("9", "10", ms=1)) == [], "an older one, from a cache"


def test_one_absurd_time_does_not_silence_a_channel():
    """The third older top in a row shows that the newer one's time was wrong; without a venue's time nothing is older."""
    hot = Reader(source(QUOTES))
    hot.body("rest/desk/top/BTC-USD", top(9, 10, ms=10**12))
    assert [len(hot.body("rest/desk/top/BTC-USD", top(8, 10 + n, ms=n))) for n in range(5)] == [0, 0, 1, 1, 1]
    hot = Reader(source(QUOTES | {"items": "", "fields": {"bid": "b", "ask": "a"}}))
    hot.body("rest/desk/top/BTC-USD", {"b": 9, "a": 10})
    hot.now -= SECOND
    assert len(hot.body("rest/desk/top/BTC-USD", {"b": 9, "a": 11})) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (top("9", "10", bid_size=0), (dbn.UNDEF_PRICE, 10 * 10**9, 0, 2000)),
        (top(None, "10"), (dbn.UNDEF_PRICE, 10 * 10**9, 0, 2000)),
        (top("9", ""), (9 * 10**9, dbn.UNDEF_PRICE, 1000, 0)),
        (top("9", "10", bid_size="5000000"), (9 * 10**9, 10 * 10**9, dbn.UNDEF_ORDER_SIZE, 2000)),
    ],
)
def test_an_empty_side_and_a_size_without_room(content, expected):
    """Undefined, and said so."""
    level = Reader(source(QUOTES)).body("rest/desk/top/BTC-USD", content)[-1][2].levels[0]
    assert (level.bid_px, level.ask_px, level.bid_sz, level.ask_sz) == expected


def test_a_top_without_sizes_and_time():
    """UNDEF_ORDER_SIZE with F_PUBLISHER_SPECIFIC; the time of receipt."""
    hot = Reader(source(QUOTES | {"items": "", "fields": {"bid": "b", "ask": "a"}}))
    record = hot.body("rest/desk/top/BTC-USD", {"b": 9, "a": 10})[-1][2]
    assert (record.levels[0].bid_sz, int(record.flags), record.ts_event) == (dbn.UNDEF_ORDER_SIZE, 130, T0)


@pytest.mark.parametrize(
    "content", [top("10", "10"), top("11", "10"), {"data": {}}, {"data": []}, {}, [], top("0", "10")]
)
def test_a_top_that_is_none_is_refused(content):
    """Crossed, incomplete, of another shape."""
    with pytest.raises(PayloadError):
        Reader(source(QUOTES)).body("rest/desk/top/BTC-USD", content)


# --- books -----------------------------------------------------------------------------------------------------------


def test_a_book_is_a_snapshot_each_time_it_changed_and_an_image_for_late_joiners():
    """R, bids from the best down, asks from the best up; all of it is there each time."""
    hot = Reader(source(BOOK))
    content = {"b": [[9, 1], [9.5, 2], [8, 0]], "a": [[11, 4], ["10", 3]]}
    records = [fact[2] for fact in hot.body("rest/desk/book/BTC-USD", content)[1:]]
    assert [(str(r.action), str(r.side), r.price // 10**7, r.size) for r in records[1:]] == [
        ("A", "B", 950, 2000), ("A", "B", 900, 1000), ("A", "A", 1000, 3000), ("A", "A", 1100, 4000),
    ]  # fmt: skip
    assert str(records[0].action) == "R"
    assert {int(r.flags) & 48 for r in records} == {48}
    assert hot.body("rest/desk/book/BTC-USD", content) == []
    (image,) = hot.normalizer.images(T0)
    assert image.channel == "desk.book.BTC-USD"
    assert len(list(dbn.records(image.data))) == 5
    with pytest.raises(PayloadError) as refused:
        hot.body("rest/desk/book/BTC-USD", {"b": [[10, 1]], "a": [[10, 1]]})
    assert refused.value.reason == "crossed"
    with pytest.raises(PayloadError, match="each price once"):
        hot.body("rest/desk/book/BTC-USD", {"b": [[9, 1], ["9.0", 1]], "a": []})


# --- tickers ---------------------------------------------------------------------------------------------------------


def test_a_statistic_is_published_when_it_changed_and_all_every_ten_seconds():
    """Prices, quantities in lots, rates in both resolutions; null is not known now."""
    hot = Reader(source(TICKER))
    found = hot.body("rest/desk/ticker/BTC-USD", {"last": 1.5, "oi": "2", "f": "-0.0001", "m": None})[1:]
    values = {fact[2].stat_type: (fact[2].price, fact[2].quantity) for fact in found}
    assert values[20005] == (1_500_000_000, dbn.UNDEF_STAT_QUANTITY)
    assert values[9] == (dbn.UNDEF_PRICE, 2000)
    assert values[20002] == (-100_000, -100_000_000_000_000)
    assert len(values) == 3
    hot.now += SECOND
    again = hot.body("rest/desk/ticker/BTC-USD", {"last": 1.6, "oi": "2", "f": "-0.0001", "m": 7})
    assert [fact[2].stat_type for fact in again] == [20005, 20001]
    for _ in range(9):
        hot.now += SECOND
        again = hot.body("rest/desk/ticker/BTC-USD", {"last": 1.6, "oi": "2", "f": "-0.0001", "m": 7})
    assert len(again) == 4


# --- bars ------------------------------------------------------------------------------------------------------------


def bar(minute: int, close: object = 2) -> list[object]:
    return [1_790_000_040 + 60 * minute, 1, 3, 1, close, "0.5"]


def test_a_bar_is_published_once_when_a_later_one_is_listed():
    """Oldest first, whatever the order of the list; an archive begins with what the first list has."""
    hot, cold = (Reader(source(BARS), archive=archive) for archive in (False, True))
    assert [fact[0] for fact in hot.body("rest/desk/bars/BTC-USD", [bar(2), bar(1), bar(0)])] == ["DEFINITION"]
    assert len(cold.body("rest/desk/bars/BTC-USD", [bar(2), bar(1), bar(0)])) == 3
    found = hot.body("rest/desk/bars/BTC-USD", [bar(4), bar(3), bar(2, close=3)])
    assert [(fact[2].ts_event, fact[2].close) for fact in found] == [
        (1_790_000_160_000_000_000, 3 * 10**9),
        (1_790_000_220_000_000_000, 2 * 10**9),
    ]
    assert hot.body("rest/desk/bars/BTC-USD", [bar(4), bar(3)]) == []
    late = hot.body("rest/desk/bars/BTC-USD", [bar(9), bar(8), bar(7)])
    assert [fact[0] for fact in late] == ["gap", "OHLCV_1M", "OHLCV_1M"]
    for bad in (
        [[1_790_000_041, 1, 3, 1, 2, 1]],
        [bar(0), bar(70)],
        [bar(1), bar(1)],
        [bar(0), [1_790_000_100, 1, 2, 1, 3, 1]],
    ):
        with pytest.raises(PayloadError):
            hot.body("rest/desk/bars/BTC-USD", bad)


# --- definitions -----------------------------------------------------------------------------------------------------


def test_what_a_source_publishes_of_its_instruments_is_followed():
    """Added, modified with a new start of its channels, deleted; data in between is declared and dropped."""
    hot = Reader(source(PRODUCTS, TRADES, QUOTES, instruments=UNSAID))
    early = hot.body("rest/desk/top/BTC-USD", top(9, 10))
    assert early == [("gap", "desk.top.BTC-USD", "no_definition", 0, 0), ("resync", "rest/desk/products")]
    assert hot.body("rest/desk/top/BTC-USD", top(9, 10)) == []
    listing = [{"s": "ETH-USD", "l": "x", "k": "y"}, {"s": "BTC-USD", "l": "0.001", "k": "0.5"}]
    ((_, channel, record),) = hot.body("rest/desk/products", listing)
    assert (channel, record.raw_symbol, str(record.security_update_action)) == (
        "definition.desk/BTC-USD",
        "desk/BTC-USD",
        "A",
    )
    assert (record.unit_of_measure_qty, record.min_price_increment, record.group) == (1_000_000, 500_000_000, "BTC/USD")
    assert hot.body("rest/desk/products", listing) == []
    assert [fact[0] for fact in hot.body("rest/desk/top/BTC-USD", top(9, 10))] == ["MBP_1"]
    listing[1]["l"] = "0.01"
    changed = hot.body("rest/desk/products", listing)
    assert [str(changed[0][2].security_update_action), changed[1][:3]] == [
        "M",
        ("gap", "desk.top.BTC-USD", "definition"),
    ]
    assert hot.body("rest/desk/top/BTC-USD", top(9, 10))[0][2].levels[0].bid_sz == 100
    assert len(list(hot.normalizer.definitions(T0))) == 1
    gone = hot.body("rest/desk/products", [])
    assert [str(gone[0][2].security_update_action), gone[1][2]] == ["D", "definition"]
    assert hot.body("rest/desk/top/BTC-USD", top(9, 11))[0][2] == "no_definition"
    assert list(hot.normalizer.definitions(T0)) == []
    with pytest.raises(PayloadError):
        hot.body("rest/desk/products", [{"s": "BTC-USD", "l": "0", "k": "1"}])


# --- nobody answers --------------------------------------------------------------------------------------------------


def beat(hot: Reader, *channels: str) -> list[tuple[Any, ...]]:
    hot.now += SECOND
    return hot.tell(KIND_HEARTBEAT, {"connections": {"1": channels}})


def test_a_channel_that_is_no_longer_vouched_for_is_declared_once_until_its_next_body():
    """Whatever it carries; others go on, and one that never had data has nothing to declare."""
    hot = Reader(source(TRADES, QUOTES | {"conditional": True}, TICKER))
    channels = ["desk.trades.BTC-USD", "desk.top.BTC-USD", "desk.ticker.BTC-USD"]
    hot.body("rest/desk/trades/BTC-USD", [trade(1)])
    hot.body("rest/desk/trades/BTC-USD", [trade(2)])
    hot.body("rest/desk/top/BTC-USD", top(9, 10))
    assert beat(hot, *channels) == []
    assert beat(hot, channels[1]) == [("gap", channels[0], "unanswered", 0, 0)]
    assert beat(hot) == [("gap", channels[1], "unanswered", 0, 0)]
    assert beat(hot) == []
    found = hot.body("rest/desk/trades/BTC-USD", [trade(2), trade(3)])
    assert [fact[0] for fact in found] == ["TRADES"], "declared already, and proved to be whole"
    assert len(hot.body("rest/desk/top/BTC-USD", top(9, 10))) == 1, "the same top again, for what was doubtful"


def test_the_whole_body_is_wished_for_where_only_304_would_come():
    """A normalizer that has just started, and one that lost a body: paced, and only for conditional endpoints."""
    hot = Reader(source(TRADES, QUOTES | {"conditional": True}))
    channels = ["desk.trades.BTC-USD", "desk.top.BTC-USD"]
    assert beat(hot, *channels) == [("resync", "desk.top.BTC-USD")]
    assert [beat(hot, *channels) for _ in range(4)] == [[]] * 4
    assert beat(hot, *channels) == [("resync", "desk.top.BTC-USD")]
    hot.body("rest/desk/top/BTC-USD", top(9, 10))
    assert [beat(hot, *channels) for _ in range(9)] == [[]] * 9
    dropped = hot.tell(KIND_DROPPED, {"first": 1, "last": 2, "count": 2}, channel="rest/desk/top/BTC-USD")
    assert dropped == [("gap", "desk.top.BTC-USD", "dropped", 0, 0)]
    assert list(hot.normalizer.images(T0)) == []
    assert beat(hot, *channels) == [("resync", "desk.top.BTC-USD")]


def test_without_heartbeats_an_absence_shows_afterwards_where_every_poll_has_a_body():
    """In stored data: more than `misses` periods between two bodies."""
    for conditional, expected in ((False, ["gap", "MBP_1"]), (True, ["MBP_1"])):
        cold = Reader(source(QUOTES | {"conditional": conditional}), archive=True)
        cold.body("rest/desk/top/BTC-USD", top(9, 10))
        cold.now += 4 * SECOND
        assert [fact[0] for fact in cold.body("rest/desk/top/BTC-USD", top(9, 11))] == ["MBP_1"]
        cold.now += 4 * SECOND + 1
        assert [fact[0] for fact in cold.body("rest/desk/top/BTC-USD", top(9, 12))] == expected


def test_the_end_of_a_connection_is_declared_once_however_it_is_told():
    """By its end, or by the next one where the process died without a word."""
    hot = Reader(source(QUOTES))
    connected = {"url": "poll:desk", "channels": ["desk.top.BTC-USD"]}
    assert hot.tell(KIND_CONNECTED, connected, connection=1) == []
    hot.body("rest/desk/top/BTC-USD", top(9, 10))
    gap = hot.tell(KIND_DISCONNECTED, {"reason": "x"}, connection=1)
    assert gap == [("gap", "desk.top.BTC-USD", "disconnected", 0, 0)]
    assert hot.tell(KIND_CONNECTED, connected, connection=2) == []
    hot.body("rest/desk/top/BTC-USD", top(9, 11))
    assert hot.tell(KIND_CONNECTED, connected, connection=3) == [("gap", "desk.top.BTC-USD", "reconnected", 0, 0)]
    assert hot.tell(KIND_DISCONNECTED, {"reason": "late"}, connection=2) == []


@pytest.mark.parametrize(
    "channel", ["rest/desk/other/BTC-USD", "rest/desk/top/ETH-USD", "rest/desk/top", "control", "x"]
)
def test_what_nobody_asked_for_is_refused(channel):
    """By its channel."""
    with pytest.raises(PayloadError) as refused:
        Reader(source(QUOTES)).send(channel, b"{}", KIND_FRAME)
    assert refused.value.reason == "unknown_channel"


@pytest.mark.parametrize("kind", [KIND_CONNECTED, KIND_HEARTBEAT])
def test_markers_that_are_none_are_payload_errors(kind):
    """Never another error."""
    for payload in (b"", b"[]", b'{"connections":1}', b"[" * 5000):
        with pytest.raises(PayloadError):
            Reader(source(QUOTES)).send("session", payload, kind)


def test_facts_without_sources_are_refused():
    """provider.yaml alone says nothing of what to poll."""
    path = Path(providers.__path__[0]) / "rest" / "provider.yaml"
    with pytest.raises(ConfigError, match="without sources"):
        Normalizer(load_info(path))
