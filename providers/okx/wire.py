"""OKX's JSON as the venue writes it, for the simulator and the replay server: text from market facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from simulator.market import ONE, Fill, LevelChange, Listing, Statistics, decimal

CONNECTION: Final = "a4d3ae55"

CONTRACTS: Final[Mapping[str, int]] = {"BTC": ONE // 100, "ETH": ONE // 10}
"""ctVal of a USDT perpetual in its base currency, at 1e-9."""

FUNDING_PERIOD_MS: Final = 8 * 3600 * 1000

Levels = Sequence[tuple[int, int]]


def event(name: str, number: str, **words: object) -> str:
    """An event: the answer to a request, whose id comes back, or a notice."""
    body: dict[str, object] = {"id": number} if number else {}
    return msgspec.json.encode(body | {"event": name, **words, "connId": CONNECTION}).decode()


def error(number: str, code: str, message: str) -> str:
    """The refusal of a request."""
    return event("error", number, code=code, msg=message)


def push(arg: Mapping[str, str], data: str, action: str = "") -> str:
    """A data frame; `data` is the JSON of its elements."""
    words = ",".join(f'"{key}":"{value}"' for key, value in arg.items())
    middle = f'"action":"{action}",' if action else ""
    return f'{{"arg":{{{words}}},{middle}"data":[{data}]}}'


def size(listing: Listing, quantity: int) -> str:
    """A quantity of base currency at 1e-9 in the venue's unit: contracts, of spot as it is."""
    return decimal(quantity if listing.kind == "spot" else quantity * ONE // CONTRACTS[listing.base])


def levels(listing: Listing, side: Levels) -> str:
    """Levels of a book with an order each."""
    return ",".join(f'["{decimal(price)}","{size(listing, quantity)}","0","1"]' for price, quantity in side)


def book(listing: Listing, bids: Levels, asks: Levels, ts_ms: int, ids: str) -> str:
    """An element of a book channel or of GET /api/v5/market/books; `ids` is the rest of it."""
    return f'{{"asks":[{levels(listing, asks)}],"bids":[{levels(listing, bids)}],"ts":"{ts_ms}",{ids}}}'


def sides(changes: Iterable[LevelChange]) -> tuple[Levels, Levels]:
    """The bids and asks among level changes."""
    listed = list(changes)
    return (
        [(price, quantity) for side, price, quantity, _ in listed if side == "bid"],
        [(price, quantity) for side, price, quantity, _ in listed if side == "ask"],
    )


def trade(listing: Listing, fills: Sequence[Fill], ts_ms: int, sequence: int) -> str:
    """What one taker order matched at one price, as one element of `trades`."""
    last, total = fills[-1], sum(fill.quantity for fill in fills)
    return (
        f'{{"instId":"{listing.symbol}","tradeId":"{last.trade_id}","px":"{decimal(last.price)}",'
        f'"sz":"{size(listing, total)}","side":"{last.aggressor}","ts":"{ts_ms}","count":"{len(fills)}","source":"0",'
        f'"seqId":{sequence}}}'
    )


def ticker(listing: Listing, bid: tuple[int, int], ask: tuple[int, int], figures: Statistics, ts_ms: int) -> str:
    """An element of `tickers`."""
    return (
        f'{{"instType":"{kind(listing)}","instId":"{listing.symbol}","last":"{decimal(figures.last)}","lastSz":"1",'
        f'"askPx":"{decimal(ask[0])}","askSz":"{size(listing, ask[1])}","bidPx":"{decimal(bid[0])}",'
        f'"bidSz":"{size(listing, bid[1])}","open24h":"{decimal(figures.open)}","high24h":"{decimal(figures.high)}",'
        f'"low24h":"{decimal(figures.low)}","volCcy24h":"{decimal(figures.turnover)}",'
        f'"vol24h":"{size(listing, figures.volume)}","sodUtc0":"{decimal(figures.open)}",'
        f'"sodUtc8":"{decimal(figures.open)}","ts":"{ts_ms}"}}'
    )


def mark_price(listing: Listing, figures: Statistics, ts_ms: int) -> str:
    """An element of `mark-price`."""
    return f'{{"instType":"{kind(listing)}","instId":"{listing.symbol}","markPx":"{decimal(figures.mark)}","ts":"{ts_ms}"}}'


def index_ticker(index: str, figures: Statistics, ts_ms: int) -> str:
    """An element of `index-tickers`."""
    price = decimal(figures.index)
    return (
        f'{{"instId":"{index}","idxPx":"{price}","high24h":"{price}","low24h":"{price}","open24h":"{price}",'
        f'"sodUtc0":"{price}","sodUtc8":"{price}","ts":"{ts_ms}"}}'
    )


def open_interest(listing: Listing, figures: Statistics, ts_ms: int) -> str:
    """An element of `open-interest`."""
    return (
        f'{{"instId":"{listing.symbol}","instType":"{kind(listing)}","oi":"{size(listing, figures.open_interest)}",'
        f'"oiCcy":"{decimal(figures.open_interest)}","oiUsd":"0","ts":"{ts_ms}"}}'
    )


def funding_rate(listing: Listing, figures: Statistics, ts_ms: int) -> str:
    """An element of `funding-rate`."""
    settled = (ts_ms // FUNDING_PERIOD_MS + 1) * FUNDING_PERIOD_MS
    return (
        f'{{"formulaType":"withRate","fundingRate":"{decimal(figures.funding)}","fundingTime":"{settled}",'
        f'"impactValue":"20000","instId":"{listing.symbol}","instType":"SWAP","interestRate":"0.0001",'
        f'"maxFundingRate":"0.00375","method":"current_period","minFundingRate":"-0.00375","nextFundingRate":"",'
        f'"nextFundingTime":"{settled + FUNDING_PERIOD_MS}","premium":"0","settFundingRate":"0",'
        f'"settState":"settled","ts":"{ts_ms}"}}'
    )


def liquidation(listing: Listing, fill: Fill, ts_ms: int) -> str:
    """An element of `liquidation-orders`: the taker of this fill was closed by force."""
    position = "long" if fill.aggressor == "sell" else "short"
    return (
        f'{{"details":[{{"bkLoss":"0","bkPx":"{decimal(fill.price)}","ccy":"","posSide":"{position}",'
        f'"side":"{fill.aggressor}","sz":"{size(listing, fill.quantity)}","ts":"{ts_ms}"}}],'
        f'"instFamily":"{family(listing)}","instId":"{listing.symbol}","instType":"SWAP","uly":"{family(listing)}"}}'
    )


def instrument(listing: Listing, number: int) -> dict[str, object]:
    """An element of GET /api/v5/public/instruments and of `instruments`."""
    spot = listing.kind == "spot"
    lot = size(listing, listing.lot)
    return {
        "alias": "", "auctionEndTime": "", "baseCcy": listing.base if spot else "", "category": "1", "contTdSwTime": "",
        "ctMult": "" if spot else "1", "ctType": "" if spot else "linear",
        "ctVal": "" if spot else decimal(CONTRACTS[listing.base]), "ctValCcy": "" if spot else listing.base, "expTime": "",
        "futureSettlement": False, "groupId": "1", "instCategory": "1", "instFamily": "" if spot else family(listing),
        "instId": listing.symbol, "instIdCode": number, "instType": kind(listing), "lever": "10",
        "listTime": "1606468572000", "lotSz": lot, "maxLmtSz": "9999999999", "maxMktSz": "1000000", "minSz": lot,
        "openType": "", "optType": "", "preMktSwTime": "", "quoteCcy": listing.quote if spot else "", "ruleType": "normal",
        "settleCcy": "" if spot else listing.quote, "state": "live", "stk": "", "tickSz": decimal(listing.tick),
        "tradeQuoteCcyList": [], "uly": "" if spot else family(listing), "upcChg": [],
    }  # fmt: skip


def answer(data: str, code: str = "0", message: str = "") -> str:
    """The body of a REST answer; `data` is the JSON of its elements."""
    return f'{{"code":"{code}","msg":"{message}","data":[{data}]}}'


def status(ts_ms: int, state: str) -> str:
    """An element of `status`: maintenance of the WebSocket service."""
    return (
        f'{{"begin":"{ts_ms}","end":"{ts_ms}","href":"","preOpenBegin":"","scheDesc":"","serviceType":"0",'
        f'"state":"{state}","system":"unified","maintType":"1","env":"1","title":"WebSocket system upgrade","ts":"{ts_ms}"}}'
    )


def kind(listing: Listing) -> str:
    """The instType of a listing."""
    return "SPOT" if listing.kind == "spot" else "SWAP"


def family(listing: Listing) -> str:
    """The family and the index of a listing."""
    return f"{listing.base}-{listing.quote}"
