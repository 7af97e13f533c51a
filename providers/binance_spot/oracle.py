"""Binance spot's documentation read a second time, as plainly as possible. For tests only.

https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md#how-to-manage-a-local-order-book-correctly
(2026-07-21): buffer updates, take a snapshot, discard updates up to its `lastUpdateId`, apply the others; each begins
where the one before ended. `m` of a trade says that the buyer was the maker.
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
        self._last: dict[str, int] = {}
        self._buffered: dict[str, list[dict[str, Any]]] = {}
        self._seen: set[tuple[str, int]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame of a raw channel. Quantities are in the base asset."""
        del ts_recv
        symbol, _, kind = channel.partition("@")
        if channel.startswith("rest/depth/"):
            self._snapshot(f"{channel.rpartition('/')[2].lower()}@depth@100ms", json.loads(payload))
        elif kind in {"trade", "aggTrade"}:
            self._trade(channel, symbol.upper(), json.loads(payload)["data"])
        elif kind == "depth@100ms":
            self._update(channel, json.loads(payload)["data"])

    def _snapshot(self, channel: str, body: dict[str, Any]) -> None:
        if channel in self.books:
            return
        last = body["lastUpdateId"]
        newer = [update for update in self._buffered.get(channel, []) if update["u"] > last]
        if newer and newer[0]["U"] > last + 1:
            return
        self.books[channel] = _side(body["bids"]), _side(body["asks"])
        self._last[channel] = last
        self._buffered[channel] = []
        for update in newer:
            self._apply(channel, update)

    def _update(self, channel: str, update: dict[str, Any]) -> None:
        if channel in self.books and update["u"] <= self._last[channel]:
            return
        if channel in self.books and update["U"] <= self._last[channel] + 1:
            self._apply(channel, update)
            return
        self.books.pop(channel, None)
        buffered = self._buffered.setdefault(channel, [])
        if buffered and buffered[-1]["u"] + 1 != update["U"]:
            buffered.clear()
        buffered.append(update)

    def _apply(self, channel: str, update: dict[str, Any]) -> None:
        self._last[channel] = update["u"]
        for levels, side in zip((update["b"], update["a"]), self.books[channel], strict=True):
            for price, quantity in levels:
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
                else:
                    side.pop(Decimal(price), None)

    def _trade(self, channel: str, symbol: str, trade: dict[str, Any]) -> None:
        number = trade["t"] if trade["e"] == "trade" else trade["a"]
        if (channel, number) in self._seen:
            return
        self._seen.add((channel, number))
        aggressor = "A" if trade["m"] else "B"
        ts_event = trade["T"] * 1_000_000
        self.trades.append((channel, symbol, Decimal(trade["p"]), Decimal(trade["q"]), aggressor, ts_event))


def _side(levels: list[list[str]]) -> Side:
    return {Decimal(price): Decimal(quantity) for price, quantity in levels if Decimal(quantity)}
