"""The venue's documentation read a second time, as plainly as possible; it shares no code with the normalizer.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels (read 2026-11). Used by tests only.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Side = dict[Decimal, Decimal]


class Oracle:
    """Books and trades as a client would keep them that follows the pages word for word.

    `books` has each synchronized book by its Message.channel, price → quantity; `trades` every trade once, in order of
    arrival, as (Message.channel, product, price, quantity, aggressor, ts_event in ns).
    """

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._known: set[tuple[str, int]] = set()
        self._orders: dict[str, dict[str, list[Any]]] = {}
        self._sequence: dict[str, int] = {}
        self._queued: dict[str, list[dict[str, Any]]] = {}

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame or REST answer, in order."""
        del ts_recv
        message = json.loads(payload, parse_float=Decimal)
        if channel.startswith("rest/"):
            if channel.startswith("rest/book/") and message["bids"] and isinstance(message["bids"][0][2], str):
                self._level3(channel.removeprefix("rest/book/"), message)
            return
        kind, product = message["type"], message.get("product_id", "")
        if kind == "snapshot":
            self.books[f"level2.{product}"] = (_side(message["bids"]), _side(message["asks"]))
        elif kind == "l2update":
            for side, price, size in message["changes"]:
                _set(self.books[f"level2.{product}"][side == "sell"], Decimal(price), Decimal(size))
        elif kind in ("match", "last_match"):
            self._trade(product, message)
        if kind in ("received", "open", "done", "match", "change"):
            self._full(product, message)

    def _trade(self, product: str, message: dict[str, Any]) -> None:
        if (product, message["trade_id"]) in self._known:
            return
        self._known.add((product, message["trade_id"]))
        # "side indicates the maker order side": the taker is on the other one.
        aggressor = {"buy": "A", "sell": "B"}[message["side"]]
        price, size = Decimal(message["price"]), Decimal(message["size"])
        self.trades.append((f"matches.{product}", product, price, size, aggressor, _ns(message["time"])))

    def _level3(self, product: str, book: dict[str, Any]) -> None:
        """ "Playback queued messages, discarding sequence numbers before or equal to the snapshot sequence number." """
        if f"full.{product}" in self.books:
            return
        self._orders[product] = {
            order_id: [side, Decimal(price), Decimal(size)]
            for side, rows in (("buy", book["bids"]), ("sell", book["asks"]))
            for price, size, order_id in rows
        }
        self._sequence[product] = book["sequence"]
        for message in self._queued.pop(product, []):
            if message["sequence"] > book["sequence"]:
                self._apply(product, message)
        self._total(product)

    def _full(self, product: str, message: dict[str, Any]) -> None:
        if "sequence" not in message:
            return
        if product not in self._orders:
            # A recording of `matches` alone never gets a snapshot; it must not be remembered for ever.
            if message["type"] != "match" or product in self._queued:
                self._queued.setdefault(product, []).append(message)
        elif message["sequence"] > self._sequence[product]:
            assert message["sequence"] == self._sequence[product] + 1, "a message is missing"
            self._apply(product, message)
            self._total(product)

    def _apply(self, product: str, message: dict[str, Any]) -> None:
        orders, order_id = self._orders[product], message.get("order_id", "")
        self._sequence[product] = message["sequence"]
        if message["type"] == "open":
            orders[order_id] = [message["side"], Decimal(message["price"]), Decimal(message["remaining_size"])]
        elif message["type"] == "done":
            orders.pop(order_id, None)
        elif message["type"] == "match":
            orders[message["maker_order_id"]][2] -= Decimal(message["size"])
        elif message["type"] == "change" and order_id in orders:
            if message.get("new_size") is not None:
                orders[order_id][2] = Decimal(message["new_size"])
            if message.get("new_price") is not None:
                orders[order_id][1] = Decimal(message["new_price"])

    def _total(self, product: str) -> None:
        bids: Side = {}
        asks: Side = {}
        for side, price, size in self._orders[product].values():
            if size:
                levels = bids if side == "buy" else asks
                levels[price] = levels.get(price, Decimal(0)) + size
        self.books[f"full.{product}"] = (bids, asks)


def _side(rows: list[list[str]]) -> Side:
    return {Decimal(price): Decimal(size) for price, size in rows if Decimal(size)}


def _set(levels: Side, price: Decimal, size: Decimal) -> None:
    if size:
        levels[price] = size
    else:
        levels.pop(price, None)


def _ns(text: str) -> int:
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)
