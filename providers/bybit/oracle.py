"""Bybit's documentation read a second time, as plainly as possible, to judge the normalizer by. For tests only.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook (read 2026-11): a snapshot is the whole book; a delta
gives sizes of levels, 0 deletes the entry; `u` is a sequence and 1 in the snapshot after a restart; level 1 is snapshots
only. https://bybit-exchange.github.io/docs/v5/websocket/public/trade: `S` is the side of the taker.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

Side = dict[Decimal, Decimal]


class Oracle:
    """Reads every frame in order. `books` holds synchronized books only; `checksums` stays 0: the venue sends none."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._u: dict[str, int] = {}
        self._listed: set[str] = set()
        self._seen: set[tuple[str, str]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame of a raw channel. Quantities are the venue's sizes; instruments without a definition are left out."""
        del ts_recv
        if channel.startswith("rest/instruments-info/"):
            category = channel.split("/")[2]
            for item in json.loads(payload)["result"]["list"]:
                self._listed.add(f"{item['symbol']}-{category.upper()}")
            return
        parts = channel.split(".")
        if len(parts) < 3 or parts[0] not in {"linear", "inverse", "spot", "option"}:
            return
        message = json.loads(payload)
        if parts[1] == "publicTrade":
            for trade in message["data"]:
                self._trade(parts[0], trade)
        elif parts[1] == "orderbook" and parts[2] != "1" and f"{parts[3]}-{parts[0].upper()}" in self._listed:
            self._book(channel, message["type"], message["data"])

    def _book(self, channel: str, kind: str, data: dict[str, Any]) -> None:
        if kind == "snapshot":
            self.books[channel] = ({}, {})
        elif data["u"] != self._u.get(channel, -1) + 1:
            self.books.pop(channel, None)
            self._u.pop(channel, None)
            return
        self._u[channel] = data["u"]
        for levels, side in zip((data["b"], data["a"]), self.books[channel], strict=True):
            for price, size in levels:
                if Decimal(size):
                    side[Decimal(price)] = Decimal(size)
                else:
                    side.pop(Decimal(price), None)

    def _trade(self, category: str, trade: dict[str, Any]) -> None:
        name = f"{trade['s']}-{category.upper()}"
        if name not in self._listed or (name, trade["i"]) in self._seen:
            return
        self._seen.add((name, trade["i"]))
        aggressor = {"Buy": "B", "Sell": "A"}[trade["S"]]
        channel = f"{category}.publicTrade.{trade['s']}"
        ts_event = trade["T"] * 1_000_000
        self.trades.append((channel, name, Decimal(trade["p"]), Decimal(trade["v"]), aggressor, ts_event))
