"""The texts the simulated venue sends: frames, their events, and the product list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import msgspec

from penstock.timestamps import NS_PER_S, NS_PER_US
from providers.coinbase_advanced.channels import LEVEL2, STATUS
from simulator.connection import Connection
from simulator.market import Listing, Trade, decimal

_DELIVERED_AS: Final = {LEVEL2: "l2_data"}
_SIDES: Final = {"bid": "bid", "ask": "offer"}

encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


def numbered(connection: Connection, word: str, now_ns: int, events: bytes) -> bytes:
    """A frame with the connection's next number; `events` is JSON."""
    return b'{"channel":"%b","timestamp":"%b","sequence_num":%d,"events":%b}' % (
        _DELIVERED_AS.get(word, word).encode(), time(now_ns, 9).encode(), connection.count(), events,
    )  # fmt: skip


def level_event(kind: str, symbol: str, levels: Iterable[tuple[str, int, int]], ts_ns: int) -> object:
    """A book event; levels are (side, price, quantity) at 1e-9."""
    at = time(ts_ns, 6)
    updates = [
        {"side": _SIDES[side], "event_time": at, "price_level": decimal(price), "new_quantity": decimal(quantity)}
        for side, price, quantity in levels
    ]
    return {"type": kind, "product_id": symbol, "updates": updates}


def trade(symbol: str, trade: Trade) -> dict[str, str]:
    """A trade as the venue writes it: `side` is the maker's."""
    fill = trade.fill
    maker = "SELL" if fill.aggressor == "buy" else "BUY"
    return {
        "product_id": symbol, "trade_id": str(fill.trade_id), "price": decimal(fill.price),
        "size": decimal(fill.quantity), "time": time(trade.ts_ns, 6), "side": maker,
    }  # fmt: skip


def status(listing: Listing) -> dict[str, str]:
    """A product in a status frame."""
    return {
        "product_type": "SPOT", "id": listing.symbol, "base_currency": listing.base, "quote_currency": listing.quote,
        "base_increment": decimal(listing.lot), "quote_increment": decimal(listing.tick),
        "display_name": f"{listing.base}/{listing.quote}", "status": "online", "status_message": "",
        "min_market_funds": "1",
    }  # fmt: skip


def product(listing: Listing) -> dict[str, object]:
    """A product in the REST list."""
    return {
        "product_id": listing.symbol, "base_increment": decimal(listing.lot), "quote_increment": decimal(listing.tick),
        "price_increment": decimal(listing.tick), "base_min_size": decimal(listing.lot), "base_name": listing.base,
        "base_currency_id": listing.base, "quote_currency_id": listing.quote, "product_type": "SPOT",
        "status": "online", "is_disabled": False, "trading_disabled": False, "cancel_only": False, "post_only": False,
        "limit_only": False, "auction_mode": False,
    }  # fmt: skip


def subscriptions(connection: Connection, listings: Iterable[Listing]) -> object:
    """Everything the connection is subscribed to."""
    found: dict[str, list[str]] = {}
    for channel in sorted(connection.subscriptions):
        word, _, symbol = channel.partition(".")
        symbols = [symbol] if symbol else [each.symbol for each in listings] if word == STATUS else [word]
        found.setdefault(word, []).extend(symbols)
    return {"subscriptions": found}


def error(message: str) -> str:
    """The frame that refuses a client's message."""
    return text({"type": "error", "message": message})


def text(message: object) -> str:
    """A message as the text of a frame."""
    return encode(message).decode()


def micros(ts_ns: int) -> int:
    """UNIX ns cut to microseconds, as the times within events are."""
    return ts_ns - ts_ns % NS_PER_US


def time(ts_ns: int, decimals: int) -> str:
    """UNIX ns as UTC text of so many decimals."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{_second(seconds)}.{rest:09d}"[: 20 + decimals] + "Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
