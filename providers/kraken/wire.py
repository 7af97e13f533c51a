"""Kraken's JSON as the venue writes it, for the simulator and the replay server: text from market facts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import msgspec

from penstock import clock
from simulator.market import Fill, Listing, Statistics, decimal

QTY_DECIMALS: Final = 8
DEPTH: Final = 10

MINUTE_NS: Final = 60_000_000_000

Levels = Sequence[tuple[int, int]]


@dataclass(slots=True)
class Bar:
    """A candle of one minute so far; prices and volume at 1e-9."""

    begin_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    trades: int = 0

    def add(self, fill: Fill) -> None:
        """Count a trade in."""
        self.high, self.low, self.close = max(self.high, fill.price), min(self.low, fill.price), fill.price
        self.volume += fill.quantity
        self.trades += 1


def price_decimals(listing: Listing) -> int:
    """Decimals of prices, as the tick has them."""
    return len(decimal(listing.tick).partition(".")[2])


def iso(ns: int, digits: int = 6) -> str:
    """RFC 3339 in UTC, cut to so many decimals."""
    seconds, rest = divmod(ns, 10**9)
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{rest:09d}'[:digits]}Z"


def number(value: int) -> str:
    """A number as the API v2 prints it: without trailing zeros, but one decimal at least."""
    return decimal(value, 1)


# --- control ------------------------------------------------------------------------------------------------------

HEARTBEAT: Final = '{"channel":"heartbeat"}'


def status() -> str:
    """What every connection starts with."""
    return (
        '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
        '"connection_id":13834774380200032777}]}'
    )


def answer(method: str, req_id: object, result: dict[str, object]) -> str:
    """The acknowledgement of one channel of a request."""
    return _stamped({"method": method, "req_id": req_id, "result": result, "success": True})


def error(method: object, req_id: object, text: str, symbol: str = "") -> str:
    """The refusal of a request, or of one symbol of it."""
    body: dict[str, object] = {"error": text, "method": method, "req_id": req_id, "success": False}
    return _stamped(body | ({"symbol": symbol} if symbol else {}))


def pong(req_id: object) -> str:
    """The answer to a ping."""
    return _stamped({"method": "pong", "req_id": req_id})


def _stamped(body: dict[str, object]) -> str:
    kept = {key: value for key, value in body.items() if value is not None}
    now = iso(clock.time_ns())
    return msgspec.json.encode(kept | {"time_in": now, "time_out": now}).decode()


# --- data ---------------------------------------------------------------------------------------------------------


def message(channel: str, kind: str, items: Iterable[str]) -> str:
    """A data message."""
    return f'{{"channel":"{channel}","type":"{kind}","data":[{",".join(items)}]}}'


def digits(value: int, decimals: int) -> str:
    """A number at a precision without dot and leading zeros, as checksums have it."""
    return str(value // 10 ** (9 - decimals))


def checksum(listing: Listing, rows: Iterable[tuple[int, int]]) -> int:
    """CRC32 over (price, quantity) rows, asks before bids, the best of each first."""
    places = price_decimals(listing)
    return crc32("".join(digits(price, places) + digits(quantity, QTY_DECIMALS) for price, quantity in rows).encode())


def book(listing: Listing, bids: Levels, asks: Levels, crc: int, ts_ns: int) -> str:
    """The element of a `book` message."""
    return (
        f'{{"symbol":"{listing.symbol}","bids":[{_levels(bids)}],"asks":[{_levels(asks)}],"checksum":{crc},'
        f'"timestamp":"{iso(ts_ns)}"}}'
    )


def _levels(levels: Levels) -> str:
    return ",".join(f'{{"price":{number(price)},"qty":{number(quantity)}}}' for price, quantity in levels)


def orders(listing: Listing, bids: Iterable[str], asks: Iterable[str], crc: int, ts_ns: int) -> str:
    """The element of a `level3` message."""
    return (
        f'{{"symbol":"{listing.symbol}","checksum":{crc},"bids":[{",".join(bids)}],"asks":[{",".join(asks)}],'
        f'"timestamp":"{iso(ts_ns, 9)}"}}'
    )


def order(event: str, name: str, price: int, quantity: int, ts_ns: int) -> str:
    """An order of a `level3` message; `event` is empty in snapshots."""
    head = f'"event":"{event}",' if event else ""
    return (
        f'{{{head}"order_id":"{name}","limit_price":{number(price)},"order_qty":{number(quantity)},'
        f'"timestamp":"{iso(ts_ns, 9)}"}}'
    )


def trade(symbol: str, ts_ns: int, trade_id: int, fill: Fill) -> str:
    """An element of a `trade` message."""
    return (
        f'{{"symbol":"{symbol}","side":"{fill.aggressor}","price":{number(fill.price)},"qty":{number(fill.quantity)},'
        f'"ord_type":"market","trade_id":{trade_id},"timestamp":"{iso(ts_ns)}"}}'
    )


def ticker(symbol: str, ts_ns: int, bid: tuple[int, int], ask: tuple[int, int], figures: Statistics) -> str:
    """The element of a `ticker` message."""
    return (
        f'{{"symbol":"{symbol}","bid":{number(bid[0])},"bid_qty":{number(bid[1])},"ask":{number(ask[0])},'
        f'"ask_qty":{number(ask[1])},"last":{number(figures.last)},"volume":{number(figures.volume)},'
        f'"vwap":{number(vwap(figures))},"low":{number(figures.low)},"high":{number(figures.high)},'
        f'"change":{number(figures.last - figures.open)},"change_pct":0.0,"timestamp":"{iso(ts_ns)}"}}'
    )


def vwap(figures: Statistics) -> int:
    """Volume-weighted average price at 1e-9."""
    return figures.turnover * 10**9 // figures.volume if figures.volume else figures.last


def ticker_values(figures: Statistics) -> dict[str, int]:
    """What a ticker states, for the ledger: values at 1e-9, named as in the frame."""
    return {
        "last": figures.last, "volume": figures.volume, "vwap": vwap(figures), "low": figures.low, "high": figures.high,
        "change": figures.last - figures.open,
    }  # fmt: skip


def candle(symbol: str, bar: Bar) -> str:
    """An element of an `ohlc` message; its `timestamp` is the end."""
    return (
        f'{{"symbol":"{symbol}","open":{number(bar.open)},"high":{number(bar.high)},"low":{number(bar.low)},'
        f'"close":{number(bar.close)},"trades":{bar.trades},"volume":{number(bar.volume)},"vwap":{number(bar.close)},'
        f'"interval_begin":"{iso(bar.begin_ns, 9)}","interval":1,"timestamp":"{iso(bar.begin_ns + MINUTE_NS)}"}}'
    )


def asset_pair(listing: Listing, name: str) -> dict[str, object]:
    """A value of the result of REST AssetPairs; `name` is the pair's altname."""
    base, quote = name[: len(name) - len(listing.quote)], listing.quote
    return {
        "altname": name, "wsname": f"{base}/{quote}", "aclass_base": "currency", "base": f"X{base}",
        "aclass_quote": "currency", "quote": f"Z{quote}", "lot": "unit", "cost_decimals": 5,
        "pair_decimals": price_decimals(listing), "lot_decimals": QTY_DECIMALS, "lot_multiplier": 1,
        "leverage_buy": [2, 3], "leverage_sell": [2, 3], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, "ordermin": "0.00000001", "costmin": "0.5",
        "tick_size": decimal(listing.tick), "status": "online", "long_position_limit": 80, "short_position_limit": 80,
    }  # fmt: skip


def rest_trade(ts_ns: int, trade_id: int, fill: Fill) -> list[object]:
    """A row of REST Trades."""
    seconds = msgspec.Raw(decimal(ts_ns // 100_000 * 100_000).encode())
    return [decimal(fill.price, 5), decimal(fill.quantity, 8), seconds, fill.aggressor[0], "m", "", trade_id]


def instruments(kind: str, pairs: Iterable[str]) -> str:
    """An `instrument` message."""
    return f'{{"channel":"instrument","type":"{kind}","data":{{"assets":[],"pairs":[{",".join(pairs)}]}}}}'


def pair(listing: Listing, state: str = "online") -> str:
    """A pair of an `instrument` message; its quantities come with exponents."""
    return (
        f'{{"symbol":"{listing.symbol}","base":"{listing.base}","quote":"{listing.quote}","status":"{state}",'
        f'"qty_precision":{QTY_DECIMALS},"qty_increment":1e-08,"price_precision":{price_decimals(listing)},'
        f'"cost_precision":5,"marginable":true,"has_index":true,"cost_min":0.5,'
        f'"price_increment":{number(listing.tick)},"qty_min":1e-08}}'
    )
