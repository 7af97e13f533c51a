"""Deribit's JSON as the venue writes it, for the simulator and the replay server: text from market facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from penstock import clock
from simulator.market import Event, Fill, LevelChange, Listing, Statistics, decimal

TOKEN: Final = {
    "access_token": "simulated", "refresh_token": "simulated", "expires_in": 900, "scope": "connection mainaccount",
    "token_type": "bearer",
}  # fmt: skip
VERSION: Final = {"version": "1.2.26"}

Levels = Sequence[tuple[int, int]]


def reply(number: object, result: object) -> str:
    """The reply to a call."""
    return _answer(number, "result", result)


def error(number: object, code: int, message: str) -> str:
    """The error reply to a call."""
    return _answer(number, "error", {"code": code, "message": message})


def _answer(number: object, key: str, value: object) -> str:
    now_us = clock.time_ns() // 1000
    body: dict[str, object] = {"jsonrpc": "2.0"}
    if number is not None:
        body["id"] = number
    body |= {key: value, "usIn": now_us, "usOut": now_us, "usDiff": 0, "testnet": False}
    return msgspec.json.encode(body).decode()


def heartbeat(kind: str) -> str:
    """A heartbeat or test_request."""
    return f'{{"jsonrpc":"2.0","method":"heartbeat","params":{{"type":"{kind}"}}}}'


def notification(channel: str, data: str) -> str:
    """A message of a channel."""
    return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'


def book_change(
    channel: str, symbol: str, timestamp: int, change_id: int, previous: int, changes: Iterable[LevelChange]
) -> str:
    """A `book.*` change; a level that was not there is new, one that is gone is delete."""
    sides: dict[str, list[str]] = {"bid": [], "ask": []}
    for side, price, quantity, existed in changes:
        word = "delete" if not quantity else "change" if existed else "new"
        sides[side].append(f'["{word}",{decimal(price, 1)},{decimal(quantity, 1)}]')
    return notification(
        channel,
        f'{{"type":"change","timestamp":{timestamp},"prev_change_id":{previous},"instrument_name":"{symbol}",'
        f'"change_id":{change_id},"bids":[{",".join(sides["bid"])}],"asks":[{",".join(sides["ask"])}]}}',
    )


def book_snapshot(channel: str, symbol: str, timestamp: int, change_id: int, bids: Levels, asks: Levels) -> str:
    """The first message of a `book.*` subscription."""
    return notification(
        channel,
        f'{{"type":"snapshot","timestamp":{timestamp},"instrument_name":"{symbol}","change_id":{change_id},'
        f'"bids":[{_levels(bids, '"new",')}],"asks":[{_levels(asks, '"new",')}]}}',
    )


def _levels(levels: Levels, word: str = "") -> str:
    return ",".join(f"[{word}{decimal(price, 1)},{decimal(quantity, 1)}]" for price, quantity in levels)


def trade(listing: Listing, timestamp: int, trade_id: int, fill: Fill, figures: Statistics) -> str:
    """One element of a `trades.*` message."""
    return (
        f'{{"trade_seq":{fill.trade_id},"trade_id":"{trade_id}","timestamp":{timestamp},"tick_direction":0,'
        f'"price":{decimal(fill.price, 1)},"mark_price":{decimal(figures.mark, 1)},'
        f'"instrument_name":"{listing.symbol}","index_price":{decimal(figures.index, 1)},'
        f'"direction":"{fill.aggressor}","contracts":{decimal(fill.quantity * 10**9 // listing.lot, 1)},'
        f'"amount":{decimal(fill.quantity, 1)}}}'
    )


def quote(channel: str, symbol: str, timestamp: int, bid: tuple[int, int], ask: tuple[int, int]) -> str:
    """A `quote.*` message."""
    return notification(channel, f'{{"timestamp":{timestamp},"instrument_name":"{symbol}",{_best(bid, ask)}}}')


def candle(channel: str, minute: int, figures: tuple[int, int, int, int], volume: int, coins: int) -> str:
    """A `chart.trades.*.1` message: `minute` since 1970, `figures` open, high, low, close."""
    first, high, low, last = (decimal(value, 1) for value in figures)
    return notification(
        channel,
        f'{{"volume":{decimal(coins, 1)},"tick":{minute * 60_000},"open":{first},"low":{low},"high":{high},'
        f'"cost":{decimal(volume, 1)},"close":{last}}}',
    )


def _best(bid: tuple[int, int], ask: tuple[int, int]) -> str:
    return (
        f'"best_bid_price":{decimal(bid[0], 1)},"best_bid_amount":{decimal(bid[1], 1)},'
        f'"best_ask_price":{decimal(ask[0], 1)},"best_ask_amount":{decimal(ask[1], 1)}'
    )


def ticker(symbol: str, timestamp: int, bid: tuple[int, int], ask: tuple[int, int], figures: Statistics) -> str:
    """The data of a `ticker.*` message, and of public/ticker."""
    coins = figures.volume * 10**9 // figures.last
    return (
        f'{{"timestamp":{timestamp},"stats":{{"volume_usd":{decimal(figures.volume, 1)},"volume":{decimal(coins, 1)},'
        f'"price_change":0.0,"low":{decimal(figures.low, 1)},"high":{decimal(figures.high, 1)}}},"state":"open",'
        f'"settlement_price":{decimal(figures.open, 1)},"open_interest":{decimal(figures.open_interest)},'
        f'"mark_price":{decimal(figures.mark, 1)},"last_price":{decimal(figures.last, 1)},'
        f'"instrument_name":"{symbol}","index_price":{decimal(figures.index, 1)},'
        f'"funding_8h":{decimal(figures.funding, 1)},"estimated_delivery_price":{decimal(figures.index, 1)},'
        f'"current_funding":{decimal(figures.funding, 1)},{_best(bid, ask)}}}'
    )


def ticker_values(figures: Statistics) -> dict[str, int]:
    """What a ticker states, for the ledger: values at 1e-9, named as in the frame."""
    return {
        "volume_usd": figures.volume, "low": figures.low, "high": figures.high, "open_interest": figures.open_interest,
        "mark_price": figures.mark, "last_price": figures.last, "index_price": figures.index,
        "funding_8h": figures.funding, "current_funding": figures.funding, "estimated_delivery_price": figures.index,
    }  # fmt: skip


def order_book(ticker_data: str, change_id: int, bids: Levels, asks: Levels) -> msgspec.Raw:
    """The result of public/get_order_book: a ticker and the levels."""
    levels = f'"change_id":{change_id},"bids":[{_levels(bids)}],"asks":[{_levels(asks)}]'
    return msgspec.Raw(f"{ticker_data[:-1]},{levels}}}".encode())


def instrument(listing: Listing, number: int) -> dict[str, object]:
    """One element of the result of public/get_instruments: an inverse perpetual."""
    lot, tick = msgspec.Raw(decimal(listing.lot, 1).encode()), msgspec.Raw(decimal(listing.tick, 1).encode())
    return {
        "price_index": f"{listing.base.lower()}_usd", "kind": "future", "instrument_name": listing.symbol,
        "instrument_type": "reversed", "future_type": "reversed", "expiration_timestamp": 32503708800000,
        "creation_timestamp": 1534167754000, "is_active": True, "state": "open", "tick_size": tick,
        "contract_size": lot, "instrument_id": number, "min_trade_amount": lot, "settlement_currency": listing.base,
        "settlement_period": "perpetual", "base_currency": listing.base, "counter_currency": listing.quote,
        "quote_currency": listing.quote, "tick_size_steps": [],
    }  # fmt: skip


def milliseconds(event: Event) -> int:
    """The venue's time of an event: it writes milliseconds."""
    return event.ts_ns // 1_000_000
