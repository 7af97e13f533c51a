"""Bybit's JSON as the venue writes it, for the simulator and the replay server: text from market facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2s
from typing import Final
from uuid import UUID

import msgspec

from simulator.market import ONE, Fill, LevelChange, Listing, Statistics, decimal

FUNDING_MS: Final = 8 * 3_600_000

Levels = Iterable[tuple[int, int]]


def category_of(listing: Listing) -> str:
    """linear, inverse or spot: the last word of the listing's symbol."""
    return listing.symbol.rpartition("-")[2].lower()


def symbol_of(listing: Listing) -> str:
    """The venue's own symbol of a listing."""
    return listing.symbol.rpartition("-")[0]


def reply(op: str, req_id: str, text: str = "", *, success: bool = True) -> str:
    """The answer to a request of linear, inverse or spot."""
    body = {"success": success, "ret_msg": text, "conn_id": "simulated", "req_id": req_id, "op": op}
    return msgspec.json.encode(body).decode()


def book(
    topic: str, kind: str, symbol: str, bids: Levels, asks: Levels, u: int, seq: int, cts: int, ts: int
) -> str:  # fmt: skip
    """An `orderbook.*` message: `kind` is snapshot or delta."""
    return (
        f'{{"topic":"{topic}","type":"{kind}","ts":{ts},"data":{{"s":"{symbol}","b":[{_levels(bids)}],'
        f'"a":[{_levels(asks)}],"u":{u},"seq":{seq}}},"cts":{cts}}}'
    )


def sides(changes: Sequence[LevelChange]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The changes of a window as a delta's two lists; 0 removes a level."""
    bids = [(change.price, change.quantity) for change in changes if change.side == "bid"]
    return bids, [(change.price, change.quantity) for change in changes if change.side == "ask"]


def _levels(levels: Levels) -> str:
    return ",".join(f'["{decimal(price)}","{decimal(quantity)}"]' for price, quantity in levels)


def trade_id(listing: Listing, fill: Fill) -> str:
    """Spot counts its ids, derivatives have UUIDs."""
    if category_of(listing) == "spot":
        return str(2_290_000_001_000_000_000 + fill.trade_id)
    return str(UUID(bytes=blake2s(f"{listing.symbol}/{fill.trade_id}".encode(), digest_size=16).digest()))


def sequence(listing: Listing, fill: Fill, seq: int, index: int) -> int:
    """What tells a trade from others in 32 bits: spot's own number; else `seq`, and which of its trades, by twos."""
    if category_of(listing) == "spot":
        return int(trade_id(listing, fill))
    return seq * 2048 + 2 * index


def trade(listing: Listing, ts_ms: int, fill: Fill, seq: int) -> str:
    """One element of a `publicTrade.*` message."""
    side = "Buy" if fill.aggressor == "buy" else "Sell"
    return (
        f'{{"T":{ts_ms},"s":"{symbol_of(listing)}","S":"{side}","v":"{decimal(fill.quantity)}",'
        f'"p":"{decimal(fill.price)}","i":"{trade_id(listing, fill)}","BT":false,"RPI":false,"seq":{seq}}}'
    )


def trades(topic: str, ts_ms: int, items: Iterable[str]) -> str:
    """A `publicTrade.*` message."""
    return f'{{"topic":"{topic}","type":"snapshot","ts":{ts_ms},"data":[{",".join(items)}]}}'


def ticker_texts(
    listing: Listing, figures: Statistics, best: tuple[tuple[int, int], tuple[int, int]], ts_ms: int
) -> dict[str, str]:
    """Every field of a ticker, as a snapshot has them."""
    texts = {
        "symbol": symbol_of(listing), "lastPrice": decimal(figures.last), "highPrice24h": decimal(figures.high),
        "lowPrice24h": decimal(figures.low), "prevPrice24h": decimal(figures.open), "volume24h": decimal(figures.volume),
        "turnover24h": decimal(figures.turnover), "price24hPcnt": "0",
    }  # fmt: skip
    if category_of(listing) == "spot":
        return texts | {"usdIndexPrice": decimal(figures.index)}
    (bid, bid_size), (ask, ask_size) = best
    return texts | {
        "tickDirection": "PlusTick", "markPrice": decimal(figures.mark), "indexPrice": decimal(figures.index),
        "openInterest": decimal(figures.open_interest), "fundingIntervalHour": "8",
        "nextFundingTime": str((ts_ms // FUNDING_MS + 1) * FUNDING_MS), "fundingRate": decimal(figures.funding),
        "bid1Price": decimal(bid), "bid1Size": decimal(bid_size), "ask1Price": decimal(ask), "ask1Size": decimal(ask_size),
    }  # fmt: skip


def ticker(topic: str, kind: str, texts: dict[str, str], cs: int, ts_ms: int) -> str:
    """A `tickers.*` message."""
    data = msgspec.json.encode(texts).decode()
    return f'{{"topic":"{topic}","type":"{kind}","data":{data},"cs":{cs},"ts":{ts_ms}}}'


def ticker_values(category: str, figures: Statistics) -> dict[str, int]:
    """What a ticker states, for the ledger: values at 1e-9, named as in the frame."""
    values = {
        "lastPrice": figures.last, "highPrice24h": figures.high, "lowPrice24h": figures.low, "volume24h": figures.volume,
    }  # fmt: skip
    if category == "spot":
        return values | {"usdIndexPrice": figures.index}
    return values | {
        "markPrice": figures.mark, "indexPrice": figures.index, "openInterest": figures.open_interest,
        "fundingRate": figures.funding,
    }  # fmt: skip


def answer(result: object, now_ms: int, code: int = 0, text: str = "OK") -> str:
    """A REST answer."""
    body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now_ms}
    return msgspec.json.encode(body).decode()


def instrument(listing: Listing, number: int) -> dict[str, object]:
    """One element of an instruments-info answer."""
    category, lot = category_of(listing), decimal(listing.lot)
    common: dict[str, object] = {
        "symbol": symbol_of(listing), "symbolId": number, "status": "Trading", "baseCoin": listing.base,
        "quoteCoin": listing.quote, "symbolType": "", "priceFilter": {"tickSize": decimal(listing.tick)},
    }  # fmt: skip
    if category == "spot":
        return common | {"lotSizeFilter": {"basePrecision": lot, "quotePrecision": "0.0000001", "minOrderQty": lot}}
    kind = "InversePerpetual" if category == "inverse" else "LinearPerpetual"
    return common | {
        "contractType": kind, "launchTime": "1584230400000", "deliveryTime": "0", "fundingInterval": 480,
        "settleCoin": listing.base if category == "inverse" else listing.quote,
        "lotSizeFilter": {"minOrderQty": lot, "qtyStep": lot},
    }  # fmt: skip


def milliseconds(ts_ns: int) -> int:
    """The venue writes times in milliseconds."""
    return ts_ns // (ONE // 1000)
