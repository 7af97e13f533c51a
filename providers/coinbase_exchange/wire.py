"""The texts the simulated venue sends: frames, products and REST answers, as documented and recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from penstock.timestamps import NS_PER_S, NS_PER_US
from simulator.market import Listing, Statistics, decimal

SIDES: Final = {"bid": "buy", "ask": "sell"}

_ENCODE: Final = msgspec.json.Encoder().encode

Fields = dict[str, object]


def text(message: object) -> str:
    """A message as the text of a frame."""
    return _ENCODE(message).decode()


def level2_snapshot(product: str, levels: Mapping[str, Mapping[int, int]], ts_ns: int) -> str:
    """The book as it was last published."""
    sides = {
        name: [[decimal(price), decimal(size)] for price, size in levels[side].items()]
        for name, side in (("bids", "bid"), ("asks", "ask"))
    }
    return text({"type": "snapshot", "product_id": product, **sides, "time": time(ts_ns)})


def level2_update(product: str, changes: Iterable[tuple[str, int, int]], ts_ns: int) -> str:
    """What changed; `changes` are (side, price, quantity) at 1e-9."""
    rows = [[SIDES[side], decimal(price), decimal(quantity)] for side, price, quantity in changes]
    return text({"type": "l2update", "product_id": product, "changes": rows, "time": time(ts_ns)})


def match(match: Mapping[str, object], kind: str) -> str:
    """A match, or the last one as the first answer to a subscription."""
    return text({**match, "type": kind})


def ticker(
    product: str, figures: Statistics, top: tuple[tuple[int, int], tuple[int, int]], last: Mapping[str, object]
) -> str:
    """Top of book and figures after the match `last`; the side is the taker's."""
    (bid, bid_size), (ask, ask_size) = top
    volume = decimal(figures.volume)
    return text({
        "type": "ticker", "sequence": last["sequence"], "product_id": product, "price": decimal(figures.last),
        "open_24h": decimal(figures.open), "volume_24h": volume, "low_24h": decimal(figures.low),
        "high_24h": decimal(figures.high), "volume_30d": volume, "best_bid": decimal(bid),
        "best_bid_size": decimal(bid_size), "best_ask": decimal(ask), "best_ask_size": decimal(ask_size),
        "side": "buy" if last["side"] == "sell" else "sell", "time": last["time"], "trade_id": last["trade_id"],
        "last_size": last["size"],
    })  # fmt: skip


def heartbeat(product: str, sequence: int, last_trade_id: int, now_ns: int) -> str:
    """The venue's account of a product."""
    return text({
        "type": "heartbeat", "sequence": sequence, "last_trade_id": last_trade_id, "product_id": product,
        "time": time(now_ns),
    })  # fmt: skip


def product(listing: Listing) -> Fields:
    """A product, in the status channel and in the REST list."""
    return {
        "id": listing.symbol, "base_currency": listing.base, "quote_currency": listing.quote,
        "quote_increment": decimal(listing.tick), "base_increment": decimal(listing.lot),
        "display_name": f"{listing.base}-{listing.quote}", "min_market_funds": "1", "margin_enabled": False,
        "post_only": False, "limit_only": False, "cancel_only": False, "status": "online", "status_message": "",
        "trading_disabled": False, "fx_stablecoin": False, "max_slippage_percentage": "0.02000000",
        "auction_mode": False, "high_bid_limit_percentage": "",
    }  # fmt: skip


def status(listings: Iterable[Listing]) -> str:
    """All products; of the currencies nothing is read."""
    return text({"type": "status", "products": [product(each) for each in listings], "currencies": []})


def subscriptions(channels: Mapping[str, list[str]]) -> str:
    """Everything the connection is subscribed to."""
    rows = [{"name": name, "product_ids": products, "account_ids": None} for name, products in channels.items()]
    return text({"type": "subscriptions", "channels": rows})


def error(reason: str, message: str = "Failed to subscribe") -> str:
    """The frame that refuses a client's message."""
    return text({"type": "error", "message": message, "reason": reason})


def book(sequence: int, bids: list[list[object]], asks: list[list[object]], now_ns: int) -> Fields:
    """GET /products/<id>/book."""
    auction = {"auction_mode": False, "auction": None}
    return {"bids": bids, "asks": asks, "sequence": sequence, **auction, "time": time(now_ns)}


def micros(ts_ns: int) -> int:
    """UNIX ns cut to microseconds, as the venue's times are."""
    return ts_ns - ts_ns % NS_PER_US


def time(ts_ns: int) -> str:
    """UNIX ns as UTC text of six decimals."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{_second(seconds)}.{rest:09d}"[:26] + "Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
