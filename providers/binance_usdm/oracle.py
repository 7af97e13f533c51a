"""The venue's documentation read a second time, as plainly as possible, for the tests alone.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly
(2025-11). It shares no code with the normalizer.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

Levels = dict[Decimal, Decimal]


class Oracle:
    """See docs/adding_a_provider.md: books by channel, every distinct trade in order of arrival, checksums (none)."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[Levels, Levels]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._seen: set[tuple[str, int]] = set()
        self._buffers: dict[str, list[dict[str, Any]]] = {}
        self._last: dict[str, int] = {}
        self._first: set[str] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """Take the next frame."""
        del ts_recv
        if channel.startswith("rest/depth/"):
            self._snapshot(channel.rpartition("/")[2], json.loads(payload))
        elif "@depth" in channel and not channel.startswith("rest/"):
            self._depth(channel, json.loads(payload)["data"])
        elif channel.endswith(("@trade", "@aggTrade")):
            self._trade(channel, json.loads(payload)["data"])

    def _trade(self, channel: str, trade: dict[str, Any]) -> None:
        number = trade["t"] if trade["e"] == "trade" else trade["a"]
        if (channel, number) in self._seen:
            return
        self._seen.add((channel, number))
        if trade.get("X", "MARKET") == "MARKET":
            aggressor = "A" if trade["m"] else "B"
            price, quantity = Decimal(trade["p"]), Decimal(trade["q"])
            self.trades.append((channel, trade["s"], price, quantity, aggressor, trade["T"] * 1_000_000))

    def _snapshot(self, symbol: str, body: dict[str, Any]) -> None:
        prefix = f"{symbol.lower()}@depth"
        known = {name for name in (*self._buffers, *self.books) if name.split("@")[0] == symbol.lower()}
        for channel in known or {f"{prefix}@100ms"}:
            if channel in self.books:
                continue
            bids = {Decimal(price): Decimal(quantity) for price, quantity in body["bids"]}
            asks = {Decimal(price): Decimal(quantity) for price, quantity in body["asks"]}
            self.books[channel] = (bids, asks)
            self._last[channel] = body["lastUpdateId"]
            self._first.add(channel)
            for event in self._buffers.pop(channel, []):
                self._apply(channel, event)

    def _depth(self, channel: str, event: dict[str, Any]) -> None:
        if channel in self.books:
            self._apply(channel, event)
        else:
            self._buffers.setdefault(channel, []).append(event)

    def _apply(self, channel: str, event: dict[str, Any]) -> None:
        last = self._last[channel]
        if channel in self._first:
            if event["u"] < last:
                return
            in_order = event["U"] <= last <= event["u"] or event["pu"] == last
            self._first.discard(channel)
        else:
            in_order = event["pu"] == last
        if not in_order:
            del self.books[channel]
            self._buffers[channel] = [event]
            return
        for side, levels in zip("ba", self.books[channel], strict=True):
            for price, quantity in event[side]:
                if Decimal(quantity):
                    levels[Decimal(price)] = Decimal(quantity)
                else:
                    levels.pop(Decimal(price), None)
        self._last[channel] = event["u"]
