"""Deribit's documentation read a second time, as plainly as possible, to judge the normalizer by. For tests only.

https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval (read 2026-11): the first message is the
whole book; each later one names in `prev_change_id` the `change_id` before it and gives the new amounts of levels, 0
removing one. https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval: `direction` is the taker's.
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
        self._change_ids: dict[str, int] = {}
        self._seen: set[tuple[str, str, int]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame of a raw channel. Quantities are the venue's amounts."""
        del ts_recv
        kind = channel.split(".")[0]
        if kind not in {"book", "trades"}:
            return
        data = json.loads(payload, parse_float=Decimal)["params"]["data"]
        if kind == "trades":
            for trade in sorted(data, key=lambda trade: int(trade["trade_seq"])):
                self._trade(channel, trade)
        elif "type" not in data or data["type"] == "snapshot":
            self.books[channel] = ({}, {})
            self._levels(channel, data)
        elif self._change_ids.get(channel) == data["prev_change_id"]:
            self._levels(channel, data)
        else:
            self.books.pop(channel, None)
            self._change_ids.pop(channel, None)

    def _levels(self, channel: str, data: dict[str, Any]) -> None:
        self._change_ids[channel] = data["change_id"]
        for levels, side in zip((data["bids"], data["asks"]), self.books[channel], strict=True):
            for *_, price, amount in levels:
                if Decimal(amount):
                    side[Decimal(price)] = Decimal(amount)
                else:
                    side.pop(Decimal(price), None)

    def _trade(self, channel: str, trade: dict[str, Any]) -> None:
        symbol = trade["instrument_name"]
        name = f"trades.{symbol}.{channel.split('.')[-1]}"
        if (key := (name, symbol, trade["trade_seq"])) in self._seen:
            return
        self._seen.add(key)
        aggressor = "B" if trade["direction"] == "buy" else "A"
        ts_event = trade["timestamp"] * 1_000_000
        self.trades.append((name, symbol, Decimal(trade["price"]), Decimal(trade["amount"]), aggressor, ts_event))
