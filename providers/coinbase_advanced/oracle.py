"""Coinbase Advanced Trade's documentation read a second time, as plainly as possible. For tests only.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels (read 2026-11): a snapshot is
the whole book; `new_quantity` of an update is a level's new size, 0 removes it; `sequence_num` rises by one with each
frame of a connection. `side` of a trade is the maker's.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

Side = dict[Decimal, Decimal]


class Oracle:
    """Reads every frame in order, of one connection at a time. `books` holds synchronized books only."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        """Stays 0: the venue sends none."""
        self._number = -1
        self._seen: set[tuple[str, str]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame of a raw channel. Quantities are in the base currency."""
        del ts_recv
        if channel.startswith("rest/"):
            return
        frame = json.loads(payload)
        number = frame.get("sequence_num")
        if number is None:
            return
        if number not in {0, self._number + 1}:
            self.books.clear()
        self._number = number
        for event in frame["events"]:
            if frame["channel"] == "l2_data":
                self._book(event)
            elif frame["channel"] == "market_trades":
                for trade in sorted(event["trades"], key=lambda trade: int(trade["trade_id"])):
                    self._trade(trade)

    def _book(self, event: dict[str, Any]) -> None:
        name = f"level2.{event['product_id']}"
        if event["type"] == "snapshot":
            self.books[name] = ({}, {})
        if name not in self.books:
            return
        bids, asks = self.books[name]
        for update in event["updates"]:
            side = bids if update["side"] == "bid" else asks
            price, quantity = Decimal(update["price_level"]), Decimal(update["new_quantity"])
            if quantity:
                side[price] = quantity
            else:
                side.pop(price, None)

    def _trade(self, trade: dict[str, str]) -> None:
        product = trade["product_id"]
        if (product, trade["trade_id"]) in self._seen:
            return
        self._seen.add((product, trade["trade_id"]))
        aggressor = "A" if trade["side"] == "BUY" else "B"
        price, size = Decimal(trade["price"]), Decimal(trade["size"])
        self.trades.append((f"market_trades.{product}", product, price, size, aggressor, _nanoseconds(trade["time"])))


def _nanoseconds(text: str) -> int:
    """`2026-08-09T21:05:42.514318Z` in UNIX ns."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)
