"""Kraken Futures' JSON as the venue writes it, for the simulator and the replay server: text from market facts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from simulator.market import ONE, Fill, LevelChange, Listing, Statistics, decimal

INFO: Final = '{"event":"info","version":1}'

LIQUIDATED_EVERY: Final = 50
"""One in so many of the simulated trades is a liquidation."""

Levels = Sequence[tuple[int, int]]


def number(value: int) -> str:
    """A double as the venue prints it: one decimal at least."""
    return decimal(value, 1)


def iso(ms: int) -> str:
    """A time of REST answers."""
    seconds, rest = divmod(ms, 1000)
    return f"{dt.datetime.fromtimestamp(seconds, tz=dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


# --- control ------------------------------------------------------------------------------------------------------


def answer(event: str, feed: str, product: str = "") -> str:
    """What a request is answered with, for each product."""
    body: dict[str, object] = {"event": event, "feed": feed}
    if product:
        body["product_ids"] = [product]
    return msgspec.json.encode(body).decode()


def error(message: str) -> str:
    """A refusal, which names no request."""
    return msgspec.json.encode({"event": "error", "message": message}).decode()


def heartbeat(ms: int) -> str:
    """A message of the heartbeat feed."""
    return f'{{"feed":"heartbeat","time":{ms}}}'


# --- data ---------------------------------------------------------------------------------------------------------


def book_snapshot(product: str, ms: int, seq: int, bids: Levels, asks: Levels) -> str:
    """The first message of a `book` subscription."""
    return (
        f'{{"feed":"book_snapshot","product_id":"{product}","timestamp":{ms},"seq":{seq},"tickSize":null,'
        f'"bids":[{_levels(bids)}],"asks":[{_levels(asks)}]}}'
    )


def _levels(levels: Levels) -> str:
    return ",".join(f'{{"price":{number(price)},"qty":{number(quantity)}}}' for price, quantity in levels)


def book(product: str, ms: int, seq: int, change: LevelChange) -> str:
    """One level."""
    side = "buy" if change.side == "bid" else "sell"
    return (
        f'{{"feed":"book","product_id":"{product}","side":"{side}","seq":{seq},"price":{number(change.price)},'
        f'"qty":{number(change.quantity)},"timestamp":{ms}}}'
    )


def trade(product: str, ms: int, seq: int, fill: Fill) -> str:
    """One trade."""
    kind = "liquidation" if seq % LIQUIDATED_EVERY == 0 else "fill"
    return (
        f'{{"feed":"trade","product_id":"{product}","uid":"{uid(seq)}","side":"{fill.aggressor}","type":"{kind}",'
        f'"seq":{seq},"time":{ms},"qty":{number(fill.quantity)},"price":{number(fill.price)}}}'
    )


def uid(seq: int) -> str:
    """A trade's identifier in the form of the venue's."""
    return f"{seq & 0xFFFFFFFF:08x}-0000-4000-8000-{seq:012x}"


def trade_snapshot(product: str, trades: Iterable[str]) -> str:
    """The first message of a `trade` subscription, newest first."""
    return f'{{"feed":"trade_snapshot","product_id":"{product}","trades":[{",".join(trades)}]}}'


def ticker(listing: Listing, ms: int, bid: tuple[int, int], ask: tuple[int, int], figures: Statistics) -> str:
    """A message of the `ticker` feed, which leaves a funding rate of 0 out."""
    funding, settled = "", (ms // 3_600_000 + 1) * 3_600_000
    if figures.funding:
        funding = f'"funding_rate":{number(figures.funding)},"relative_funding_rate":{number(figures.funding)},'
    return (
        f'{{"time":{ms},"product_id":"{listing.symbol}",{funding}"next_funding_rate_time":{settled},'
        f'"feed":"ticker","bid":{number(bid[0])},"ask":{number(ask[0])},"bid_size":{number(bid[1])},'
        f'"ask_size":{number(ask[1])},"volume":{number(figures.volume)},"dtm":0,"leverage":"50x",'
        f'"index":{number(figures.index)},"premium":-0.0,"last":{number(figures.last)},"change":0.0,"suspended":false,'
        f'"tag":"perpetual","pair":"{listing.base}:{listing.quote}","openInterest":{number(figures.open_interest)},'
        f'"markPrice":{number(figures.mark)},"maturityTime":0,"post_only":false,'
        f'"volumeQuote":{number(figures.turnover)},"open":{number(figures.open)},"high":{number(figures.high)},'
        f'"low":{number(figures.low)}}}'
    )


def ticker_values(figures: Statistics) -> dict[str, int]:
    """What a ticker states, for the ledger: values at 1e-9, named as in the frame."""
    return {
        "volume": figures.volume, "index": figures.index, "last": figures.last, "openInterest": figures.open_interest,
        "markPrice": figures.mark, "high": figures.high, "low": figures.low, "relative_funding_rate": figures.funding,
    }  # fmt: skip


# --- REST ---------------------------------------------------------------------------------------------------------


def instrument(listing: Listing) -> dict[str, object]:
    """One element of /instruments: inverse where the name says so, else linear."""
    inverse = listing.symbol.startswith("PI_")
    body: dict[str, object] = {"symbol": listing.symbol, "type": "futures_inverse" if inverse else "flexible_futures"}
    if inverse:
        body["underlying"] = f"rr_{listing.symbol.removeprefix('PI_').lower()}"
    tick = msgspec.Raw(number(listing.tick).encode())
    return body | {
        "tickSize": tick, "contractSize": 1, "tradeable": True, "impactMidSize": 1.0, "maxPositionSize": 1000000.0,
        "openingDate": "2022-03-22T13:18:45Z", "marginLevels": [], "fundingRateCoefficient": 24,
        "maxRelativeFundingRate": 0.0025, "contractValueTradePrecision": precision(listing), "postOnly": False,
        "feeScheduleUid": "a6cbc326-9477-4a6c-911a-d4cb3ed7481e", "mtf": True, "base": listing.base,
        "quote": listing.quote, "pair": f"{listing.base}:{listing.quote}",
    }  # fmt: skip


def precision(listing: Listing) -> int:
    """Decimals of quantities: 0 for whole contracts, 3 for thousandths."""
    places, lot = 0, listing.lot
    while lot < ONE:
        places, lot = places + 1, lot * 10
    return places


def index(symbol: str) -> dict[str, object]:
    """An index, which is in /instruments as well and is no instrument."""
    return {"symbol": symbol, "type": "spot index", "tradeable": False}


def past_trade(ms: int, seq: int, fill: Fill) -> dict[str, object]:
    """One element of /history."""
    price, quantity = (msgspec.Raw(number(value).encode()) for value in (fill.price, fill.quantity))
    return {
        "time": iso(ms), "trade_id": seq, "price": price, "size": quantity, "side": fill.aggressor, "type": "fill",
        "uid": uid(seq),
    }  # fmt: skip


def rest(key: str, items: list[dict[str, object]], ms: int) -> str:
    """A REST answer."""
    return msgspec.json.encode({"result": "success", key: items, "serverTime": iso(ms)}).decode()
