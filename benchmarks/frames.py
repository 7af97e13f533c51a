"""Frames of each venue's shape with rising ids, as many as asked for: the same on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope

T0_MS = 1_790_000_000_000
LEVELS = 8


def stream(provider: str, kind: str, count: int) -> tuple[list[Envelope], list[Envelope]]:
    """(what must come first: definitions and a snapshot; `count` envelopes of one kind)."""
    maker = {"binance_spot": _binance, "deribit": _deribit, "coinbase_advanced": _coinbase}[provider]
    first, frames = maker(kind, count)
    envelopes = [
        Envelope(
            sequence=i, ts_recv=(T0_MS + i) * 1_000_000, connection=0 if channel.startswith("rest/") else 1, channel=channel,
            kind=KIND_FRAME, payload=payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode(),
        )
        for i, (channel, payload) in enumerate([*first, *frames], 1)
    ]  # fmt: skip
    return envelopes[: len(first)], envelopes[len(first) :]


KINDS = {
    "binance_spot": ("trade", "depth", "bookTicker"),
    "deribit": ("trades", "book", "ticker"),
    "coinbase_advanced": ("market_trades", "level2", "ticker"),
}

Pair = tuple[str, Any]


def _levels(dice: random.Random, base: float, step: float) -> list[tuple[float, float]]:
    return [(round(base + step * dice.randrange(200), 2), round(dice.random() * 2 + 0.001, 3)) for _ in range(LEVELS)]


def _binance(kind: str, count: int) -> tuple[list[Pair], Iterator[Pair]]:
    dice = random.Random(1)
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
    ]
    symbol = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    first: list[Pair] = [("rest/exchangeInfo", {"timezone": "UTC", "serverTime": T0_MS, "symbols": [symbol]})]
    if kind == "depth":
        bids = [[f"{60000 - i}.00000000", "1.00000000"] for i in range(500)]
        asks = [[f"{60500 + i}.00000000", "1.00000000"] for i in range(500)]
        snapshot = {"lastUpdateId": 100, "bids": bids, "asks": asks}
        first += [
            ("btcusdt@depth@100ms", _binance_depth(dice, 100)),
            ("rest/depth/BTCUSDT", snapshot),
        ]

    def frames() -> Iterator[Pair]:
        for i in range(count):
            if kind == "trade":
                data = {
                    "e": "trade", "E": T0_MS + i, "s": "BTCUSDT", "t": 5_000_000_000 + i, "p": f"{60000 + i % 97}.{i % 100:02d}000000",
                    "q": f"0.{1 + i % 99999:05d}000", "T": T0_MS + i, "m": i % 2 == 0, "M": True,
                }  # fmt: skip
                yield "btcusdt@trade", {"stream": "btcusdt@trade", "data": data}
            elif kind == "depth":
                yield "btcusdt@depth@100ms", _binance_depth(dice, 101 + i)
            else:
                data = {
                    "u": 400_900_217 + i, "s": "BTCUSDT", "b": f"{60000 + i % 97}.35000000", "B": "31.21000000",
                    "a": f"{60100 + i % 97}.36000000", "A": f"{i % 90}.66000000",
                }  # fmt: skip
                yield "btcusdt@bookTicker", {"stream": "btcusdt@bookTicker", "data": data}

    return first, frames()


def _binance_depth(dice: random.Random, update_id: int) -> dict[str, Any]:
    bids = [[f"{price:.2f}000000", f"{size:.5f}000"] for price, size in _levels(dice, 59000, 1.0)[: LEVELS // 2]]
    asks = [[f"{price:.2f}000000", f"{size:.5f}000"] for price, size in _levels(dice, 60500, 1.0)[: LEVELS // 2]]
    data = {
        "e": "depthUpdate",
        "E": T0_MS + update_id,
        "s": "BTCUSDT",
        "U": update_id,
        "u": update_id,
        "b": bids,
        "a": asks,
    }
    return {"stream": "btcusdt@depth@100ms", "data": data}


def _deribit(kind: str, count: int) -> tuple[list[Pair], Iterator[Pair]]:
    dice = random.Random(2)
    instrument = {
        "price_index": "btc_usd", "kind": "future", "instrument_name": "BTC-PERPETUAL", "instrument_type": "reversed",
        "expiration_timestamp": 32503708800000, "creation_timestamp": 1534167754000, "is_active": True, "tick_size": 0.5,
        "contract_size": 10.0, "instrument_id": 124972, "min_trade_amount": 10.0, "future_type": "reversed",
        "settlement_currency": "BTC", "settlement_period": "perpetual", "base_currency": "BTC", "counter_currency": "USD",
        "quote_currency": "USD", "tick_size_steps": [],
    }  # fmt: skip
    first: list[Pair] = [("rest/get_instruments/BTC", {"jsonrpc": "2.0", "result": [instrument]})]

    def wrap(channel: str, data: Any) -> Pair:
        return channel, {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}

    if kind == "book":
        sides = {
            "bids": [["new", 60000.0 - i, 1000.0] for i in range(500)], "asks": [["new", 60500.0 + i, 1000.0] for i in range(500)],
        }  # fmt: skip
        data = {"type": "snapshot", "timestamp": T0_MS, "instrument_name": "BTC-PERPETUAL", "change_id": 100, **sides}
        first.append(wrap("book.BTC-PERPETUAL.raw", data))

    def frames() -> Iterator[Pair]:
        for i in range(count):
            if kind == "trades":
                trade = {
                    "trade_seq": 271_252_854 + i, "trade_id": str(403_691_824 + i), "timestamp": T0_MS + i, "tick_direction": 2,
                    "price": 60000.5 + i % 90, "mark_price": 60001.11, "instrument_name": "BTC-PERPETUAL",
                    "index_price": 60002.75, "direction": "sell" if i % 2 else "buy", "contracts": 1.0, "amount": 10.0 + 10 * (i % 50),
                }  # fmt: skip
                yield wrap("trades.BTC-PERPETUAL.raw", [trade])
            elif kind == "book":
                bids = [
                    ["change", price, 10.0 * int(size * 100)]
                    for price, size in _levels(dice, 59000, 1.0)[: LEVELS // 2]
                ]
                asks = [
                    ["change", price, 10.0 * int(size * 100)]
                    for price, size in _levels(dice, 60500, 1.0)[: LEVELS // 2]
                ]
                data = {
                    "type": "change", "timestamp": T0_MS + i, "prev_change_id": 100 + i, "instrument_name": "BTC-PERPETUAL",
                    "change_id": 101 + i, "bids": bids, "asks": asks,
                }  # fmt: skip
                yield wrap("book.BTC-PERPETUAL.raw", data)
            else:
                data = {
                    "timestamp": T0_MS + i, "state": "open", "stats": {"high": 93612.0, "low": 89277.5, "price_change": 2.3275, "volume": 11897.27640428},
                    "index_price": 60000.55 + i % 7, "instrument_name": "BTC-PERPETUAL", "last_price": 60000.5, "settlement_price": 60001.66,
                    "min_price": 59000.5, "max_price": 61000.5, "open_interest": 1132329370.0 + 10 * (i % 3), "mark_price": 60001.78 + i % 5,
                    "best_ask_price": 60010.0, "best_bid_price": 60009.5, "estimated_delivery_price": 60000.55,
                    "best_ask_amount": 186520.0, "best_bid_amount": 10.0 + 10 * (i % 1000), "current_funding": 0.0, "funding_8h": 0.00001742,
                }  # fmt: skip
                yield wrap("ticker.BTC-PERPETUAL.raw", data)

    return first, frames()


def _coinbase(kind: str, count: int) -> tuple[list[Pair], Iterator[Pair]]:
    dice = random.Random(3)
    product = {
        "product_id": "BTC-USD", "base_increment": "0.00000001", "quote_increment": "0.01", "price_increment": "0.01",
        "base_min_size": "0.00000001", "base_max_size": "3400", "status": "online", "trading_disabled": False, "product_type": "SPOT",
        "quote_currency_id": "USD", "base_currency_id": "BTC", "price": "60000", "cancel_only": False, "limit_only": False,
        "post_only": False, "auction_mode": False, "view_only": False, "is_disabled": False, "alias": "", "alias_to": [],
    }  # fmt: skip
    first: list[Pair] = [("rest/products", {"products": [product], "num_products": 1})]
    sequence = 0

    def wrap(channel: str, wire: str, events: list[Any]) -> Pair:
        nonlocal sequence
        body = {"channel": wire, "timestamp": _iso(sequence), "sequence_num": sequence, "events": events}
        sequence += 1
        return channel, body

    def update(side: str, price: float, size: float) -> dict[str, str]:
        return {
            "side": side,
            "event_time": _iso(sequence),
            "price_level": f"{price:.2f}",
            "new_quantity": f"{size:.5f}",
        }

    if kind == "level2":
        levels = [update("bid", 60000 - i, 1.0) for i in range(500)] + [
            update("offer", 60500 + i, 1.0) for i in range(500)
        ]
        first.append(
            wrap("level2.BTC-USD", "l2_data", [{"type": "snapshot", "product_id": "BTC-USD", "updates": levels}])
        )

    def frames() -> Iterator[Pair]:
        for i in range(count):
            if kind == "market_trades":
                trade = {
                    "product_id": "BTC-USD", "trade_id": str(1_068_572_091 + i), "price": f"{60000 + i % 90}.67",
                    "size": f"0.{1 + i % 9999:05d}", "time": _iso(i), "side": "SELL" if i % 2 else "BUY",
                }  # fmt: skip
                yield wrap("market_trades.BTC-USD", "market_trades", [{"type": "update", "trades": [trade]}])
            elif kind == "level2":
                bids = [update("bid", *level) for level in _levels(dice, 59000, 1.0)[: LEVELS // 2]]
                asks = [update("offer", *level) for level in _levels(dice, 60500, 1.0)[: LEVELS // 2]]
                events = [{"type": "update", "product_id": "BTC-USD", "updates": bids + asks}]
                yield wrap("level2.BTC-USD", "l2_data", events)
            else:
                ticker = {
                    "type": "ticker", "product_id": "BTC-USD", "price": f"{60000 + i % 90}.18", "volume_24_h": "2867.54532609",
                    "low_24_h": "64675.22", "high_24_h": "65252.99", "low_52_w": "57717.55", "high_52_w": "126296",
                    "price_percent_chg_24_h": "0.09601107287722", "best_bid": "60083.66", "best_ask": "60083.67",
                    "best_bid_quantity": "0.20371215", "best_ask_quantity": f"0.{1 + i % 9999:05d}",
                }  # fmt: skip
                yield wrap("ticker.BTC-USD", "ticker", [{"type": "update", "tickers": [ticker]}])

    return first, frames()


def _iso(i: int) -> str:
    seconds, ms = divmod(i, 1000)
    return f"2026-08-09T21:{5 + seconds // 60 % 50:02d}:{seconds % 60:02d}.{ms:03d}Z"
