"""Recorded REST answers of eight venues, each read by a source file of a few lines."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import providers
from providers.rest.source import Source
from tests.unit.rest_sources import Reader, shipped

HEAD = """
name: v
title: A venue
base_url: https://v.example
limits: {count: 100, per_s: 1}
instruments: [{symbol: X, base: BTC, quote: USD, lot: "0.00000001", tick: "0.01"}]
endpoints:
"""


def coinbase() -> Source:
    found: Source = providers.info("rest").sources[0]  # type: ignore[attr-defined]
    return found


def load(path: Path) -> Any:
    """The recorded body with exact numbers, read by other code."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(data, parse_float=Decimal)


def lots(value: object, lot: str = "0.00000001") -> int:
    return int(Decimal(str(value)) / Decimal(lot))


def fixed(value: object) -> int:
    return int(Decimal(str(value)) * 10**9)


def read(folder: Path, source: str, raw: str, body: bytes) -> list[tuple[Any, ...]]:
    return Reader(shipped(folder, HEAD + source), archive=True).body(f"rest/v/{raw}/X", body)[1:]


def test_coinbase(fixtures: Path):
    """Products, trades and the top of the shipped source: the maker's side is turned round."""
    place = fixtures / "coinbase" / "nautilus"
    cold = Reader(coinbase(), archive=True)
    ((_, _, definition),) = cold.body("rest/coinbase/products", (place / "http_products.json").read_bytes())
    assert (definition.raw_symbol, definition.unit_of_measure_qty, definition.min_price_increment) == (
        "coinbase/BTC-USD", 10, 10_000_000,
    )  # fmt: skip
    body = load(place / "http_ticker.json")
    raw = (place / "http_ticker.json").read_bytes()
    trades = [fact[2] for fact in cold.body("rest/coinbase/trades/BTC-USD", raw)]
    assert [(r.sequence, r.price, r.size, str(r.side)) for r in trades] == [
        (int(t["trade_id"]), fixed(t["price"]), lots(t["size"]), "A" if t["side"] == "BUY" else "B")
        for t in reversed(body["trades"])
    ]
    assert trades[-1].ts_event == 1_775_521_738_544_778_000
    ((_, _, top),) = cold.body("rest/coinbase/quotes/BTC-USD", raw)
    assert (top.levels[0].bid_px, top.levels[0].ask_px) == (fixed(body["best_bid"]), fixed(body["best_ask"]))


def test_binance_trades(fixtures: Path, tmp_path: Path):
    """Consecutive ids as JSON numbers, milliseconds, a truth value that says whether the buyer was the maker."""
    source = """
  - {name: t, schema: TRADES, path: /t, items: "[*]", order: oldest_first, fields: {id: {path: id, consecutive: true},
     price: price, size: qty, time: {path: time, unit: ms},
     side: {path: isBuyerMaker, of: maker, buy: ["true"], sell: ["false"]}}}
"""
    raw = (fixtures / "binance_spot" / "nautilus" / "trades_response.json").read_bytes()
    ((_, _, trade),) = read(tmp_path, source, "t", raw)
    assert (trade.sequence, trade.price, trade.size, str(trade.side), trade.ts_event) == (
        28457, 4_000_001_000, 12 * 10**8, "A", 1_499_865_549_590_000_000,
    )  # fmt: skip


def test_deribit_trades(fixtures: Path, tmp_path: Path):
    """Prices and amounts as JSON numbers, ids as text."""
    source = """
  - {name: t, schema: TRADES, path: /t, items: "result.trades[*]", order: oldest_first, fields: {id: {path: trade_id},
     price: price, size: amount, time: {path: timestamp, unit: ms},
     side: {path: direction, of: aggressor, buy: [buy], sell: [sell]}}}
"""
    path = fixtures / "deribit" / "nautilus" / "http_get_last_trades_perpetual_with_combo_tags.json"
    expected = load(path)["result"]["trades"]
    found = [fact[2] for fact in read(tmp_path, source, "t", path.read_bytes())]
    assert [(r.sequence, r.price, r.size) for r in found] == [
        (int(t["trade_id"]), fixed(t["price"]), lots(t["amount"])) for t in expected
    ]


def test_dydx_trades_and_ticker(fixtures: Path, tmp_path: Path):
    """Ids that are text, newest first; a ticker that stands under its symbol."""
    place = fixtures / "dydx" / "nautilus"
    source = """
  - {name: t, schema: TRADES, path: /t, items: "result.trades[*]", fields: {id: {path: id}, price: price, size: size,
     time: {path: createdAt, unit: iso8601}, side: {path: side, of: aggressor, buy: [BUY], sell: [SELL]}}}
"""
    expected = load(place / "http_get_trades.json")["result"]["trades"]
    found = [fact[2] for fact in read(tmp_path, source, "t", (place / "http_get_trades.json").read_bytes())]
    assert [(r.price, r.size) for r in found] == [(fixed(t["price"]), lots(t["size"])) for t in reversed(expected)]
    assert len({r.sequence for r in found}) == len(found)
    source = """
  - {name: s, schema: STATISTICS, path: /s, items: "result.markets.BTC-USD",
     fields: {values: {open_interest: openInterest, index_price: oraclePrice}}}
"""
    market = load(place / "http_get_perpetual_markets.json")["result"]["markets"]["BTC-USD"]
    raw = (place / "http_get_perpetual_markets.json").read_bytes()
    values = {fact[2].stat_type: fact[2] for fact in read(tmp_path, source, "s", raw)}
    assert (values[9].quantity, values[10].price) == (lots(market["openInterest"]), fixed(market["oraclePrice"]))


def test_kraken_bars(fixtures: Path, tmp_path: Path):
    """Lists in a list under the pair's own name; the last bar is not finished."""
    source = """
  - {name: b, schema: OHLCV_1M, path: /b, items: "result.XBTUSDT[*]", fields: {start: {path: "[0]", unit: s}, open: "[1]",
     high: "[2]", low: "[3]", close: "[4]", volume: "[6]"}}
"""
    path = fixtures / "kraken" / "nautilus" / "http_ohlc.json.gz"
    expected = load(path)["result"]["XBTUSDT"]
    found = [fact[2] for fact in read(tmp_path, source, "b", gzip.decompress(path.read_bytes()))]
    assert [(r.ts_event, r.open, r.high, r.low, r.close, r.volume) for r in found] == [
        (bar[0] * 10**9, *(fixed(bar[n]) for n in (1, 2, 3, 4)), lots(bar[6])) for bar in expected[:-1]
    ]
    assert len(found) > 100


def test_kraken_futures_and_hyperliquid_books(fixtures: Path, tmp_path: Path):
    """Levels as lists of JSON numbers, and as objects of texts in two lists without names."""
    futures = """
  - {name: b, schema: MBO, path: /b, items: orderBook, fields: {bids: "bids[*]", asks: "asks[*]", price: "[0]", size: "[1]",
     time: {path: $.serverTime, unit: iso8601}}}
"""
    liquid = """
  - {name: b, schema: MBO, path: /b, fields: {bids: "levels[0][*]", asks: "levels[1][*]", price: px, size: sz,
     time: {path: time, unit: ms}}}
"""
    body = load(fixtures / "kraken_futures" / "nautilus" / "http_futures_orderbook.json")["orderBook"]
    sides = [[(price, size) for price, size in body[side]] for side in ("bids", "asks")]
    raw = (fixtures / "kraken_futures" / "nautilus" / "http_futures_orderbook.json").read_bytes()
    assert levels(read(tmp_path, futures, "b", raw)) == exact(sides)
    body = load(fixtures / "hyperliquid" / "nautilus" / "http_l2_book_btc.json")["levels"]
    raw = (fixtures / "hyperliquid" / "nautilus" / "http_l2_book_btc.json").read_bytes()
    assert levels(read(tmp_path, liquid, "b", raw)) == exact(
        [[(one["px"], one["sz"]) for one in side] for side in body]
    )


def levels(found: list[tuple[Any, ...]]) -> list[tuple[str, int, int]]:
    return [(str(fact[2].side), fact[2].price, fact[2].size) for fact in found[1:]]


def exact(sides: list[list[tuple[object, object]]]) -> list[tuple[str, int, int]]:
    bids, asks = ([(fixed(price), lots(size)) for price, size in side] for side in sides)
    return [("B", *one) for one in sorted(bids, reverse=True)] + [("A", *one) for one in sorted(asks)]
