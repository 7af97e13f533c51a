"""Binance spot's messages as the venue writes them, for the simulator: text from market facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulator.conflation import Window
from simulator.market import Fill, LevelChange, Listing, Statistics, decimal

MS_PER_MINUTE: Final = 60_000
_MS_PER_DAY: Final = 86_400_000
_MAX_QUANTITY: Final = "9000.00000000"


@dataclass(slots=True)
class Bar:
    """The present minute of one listing: open, high, low, close, volume and turnover at 1e-9, and how many trades."""

    minute: int
    figures: tuple[int, int, int, int]
    volume: int = 0
    turnover: int = 0
    trades: int = 0
    first: int = -1
    last: int = -1

    def add(self, fill: Fill, number: int) -> None:
        """A trade. The first of a minute is what it opened with."""
        price = fill.price
        first, high, low, _ = self.figures if self.trades else (price, price, price, price)
        self.figures = first, max(high, price), min(low, price), price
        self.volume += fill.quantity
        self.turnover += price * fill.quantity // 10**9
        self.trades += 1
        self.first = number if self.first < 0 else self.first
        self.last = number


def combined(channel: str, data: str) -> str:
    """A message of the combined endpoint."""
    return f'{{"stream":"{channel}","data":{data}}}'


def trade(channel: str, symbol: str, ms: int, number: int, fill: Fill) -> str:
    """A `@trade` message."""
    maker = "true" if fill.aggressor == "sell" else "false"
    return combined(
        channel,
        f'{{"e":"trade","E":{ms},"s":"{symbol}","t":{number},"p":"{text(fill.price)}","q":"{text(fill.quantity)}",'
        f'"T":{ms},"m":{maker},"M":true}}',
    )


def old_trade(ms: int, number: int, fill: Fill) -> str:
    """An element of historicalTrades."""
    maker = "true" if fill.aggressor == "sell" else "false"
    turnover = fill.price * fill.quantity // 10**9
    return (
        f'{{"id":{number},"price":"{text(fill.price)}","qty":"{text(fill.quantity)}","quoteQty":"{text(turnover)}",'
        f'"time":{ms},"isBuyerMaker":{maker},"isBestMatch":true}}'
    )


def book_ticker(channel: str, symbol: str, update: int, bid: tuple[int, int], ask: tuple[int, int]) -> str:
    """A `@bookTicker` message."""
    return combined(
        channel,
        f'{{"u":{update},"s":"{symbol}","b":"{text(bid[0])}","B":"{text(bid[1])}","a":"{text(ask[0])}",'
        f'"A":"{text(ask[1])}"}}',
    )


def depth_update(channel: str, window: Window, ms: int, first: int, last: int) -> str:
    """A `@depth` message."""
    bids = _changes([change for change in window.changes if change.side == "bid"])
    asks = _changes([change for change in window.changes if change.side == "ask"])
    return combined(
        channel,
        f'{{"e":"depthUpdate","E":{ms},"s":"{window.listing.symbol}","U":{first},"u":{last},"b":{bids},"a":{asks}}}',
    )


def ticker(channel: str, symbol: str, ms: int, figures: Statistics) -> str:
    """A `@ticker` message."""
    return combined(
        channel,
        f'{{"e":"24hrTicker","E":{ms},"s":"{symbol}","c":"{text(figures.last)}","o":"{text(figures.open)}",'
        f'"h":"{text(figures.high)}","l":"{text(figures.low)}","v":"{text(figures.volume)}","q":"{text(figures.turnover)}",'
        f'"O":{ms - _MS_PER_DAY},"C":{ms}}}',
    )


def ticker_values(figures: Statistics) -> dict[str, int]:
    """What a ticker states, for the ledger: values at 1e-9, named as in the frame."""
    return {"c": figures.last, "l": figures.low, "h": figures.high, "v": figures.volume}


def kline(channel: str, symbol: str, ms: int, bar: Bar, *, finished: bool) -> str:
    """A `@kline_1m` message."""
    first, high, low, last = (text(value) for value in bar.figures)
    start = bar.minute * MS_PER_MINUTE
    return combined(
        channel,
        f'{{"e":"kline","E":{ms},"s":"{symbol}","k":{{"t":{start},"T":{start + MS_PER_MINUTE - 1},"s":"{symbol}",'
        f'"i":"1m","f":{bar.first},"L":{bar.last},"o":"{first}","c":"{last}","h":"{high}","l":"{low}",'
        f'"v":"{text(bar.volume)}","n":{bar.trades},"x":{"true" if finished else "false"},"q":"{text(bar.turnover)}"}}}}',
    )


def text(value: int) -> str:
    """A 1e-9 integer as the venue prints it: eight decimals."""
    return decimal(value, 8)


def _changes(changes: Sequence[LevelChange]) -> str:
    levels = [f'["{text(price)}","{text(quantity)}"]' for _, price, quantity, _ in changes]
    return f"[{','.join(levels)}]"


def listed(listing: Listing) -> dict[str, object]:
    """An entry of exchangeInfo."""
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": text(listing.tick), "tickSize": text(listing.tick)},
            {
                "filterType": "LOT_SIZE",
                "minQty": text(listing.lot),
                "maxQty": _MAX_QUANTITY,
                "stepSize": text(listing.lot),
            },
        ],
    }
