"""Kraken Futures' documentation read a second time, as plainly as possible, to judge the normalizer by. For tests only.

https://docs.kraken.com/exchange/api-reference/futures-websocket/book.md (read 2026-11): the snapshot is the whole book; each
later message is one level's new quantity, 0 removing it, and its `seq` is the one before plus 1.
…/trade.md: `side` is the taker's.
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
        self._seqs: dict[str, int] = {}
        self._seen: set[tuple[str, int]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame of a raw channel. Quantities are the venue's."""
        del ts_recv
        kind = channel.split(".")[0]
        if kind not in {"book", "trade"}:
            return
        data = json.loads(payload, parse_float=Decimal)
        if data["feed"] == "book_snapshot":
            bids, asks = (
                {Decimal(one["price"]): Decimal(one["qty"]) for one in data[side]} for side in ("bids", "asks")
            )
            self.books[channel] = bids, asks
            self._seqs[channel] = data["seq"]
        elif data["feed"] == "book":
            self._delta(channel, data)
        else:
            for trade in reversed(data.get("trades", [data])):
                self._trade(channel, trade)

    def _delta(self, channel: str, data: dict[str, Any]) -> None:
        if self._seqs.get(channel) != data["seq"] - 1:
            self.books.pop(channel, None)
            self._seqs.pop(channel, None)
            return
        self._seqs[channel] = data["seq"]
        side = self.books[channel][0 if data["side"] == "buy" else 1]
        if Decimal(data["qty"]):
            side[Decimal(data["price"])] = Decimal(data["qty"])
        else:
            side.pop(Decimal(data["price"]), None)

    def _trade(self, channel: str, trade: dict[str, Any]) -> None:
        if (key := (channel, trade["seq"])) in self._seen:
            return
        self._seen.add(key)
        aggressor = "B" if trade["side"] == "buy" else "A"
        price, quantity = Decimal(trade["price"]), Decimal(trade["qty"])
        self.trades.append((channel, trade["product_id"], price, quantity, aggressor, trade["time"] * 1_000_000))
