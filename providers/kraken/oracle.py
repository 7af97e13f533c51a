"""Kraken's documentation read a second time, as plainly as possible, to judge the normalizer by. Tests only.

https://docs.kraken.com/exchange/api-reference/spot-websocket-v2, …/spot-websocket-v1 and the checksum guides (read 2026-11).
Shares no code with the normalizer. Keeps every level of a subscription; shows the ten best, which is what is published.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from decimal import Decimal

Side = dict[Decimal, Decimal]
Printed = tuple[int, int]


class Oracle:
    """See the brief of the contract suite: books by channel, distinct trades in order, checksums that came out equal."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._whole: dict[str, tuple[Side, Side]] = {}
        self._precision: dict[str, Printed] = {}
        self._seen: set[tuple[str, int]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """Every frame in order. Raises AssertionError where a checksum does not come out."""
        del ts_recv
        body = json.loads(payload, parse_float=Decimal)
        if channel == "rest/AssetPairs":
            for pair in body["result"].values():
                if "wsname" in pair:
                    self._precision[_symbol(pair["wsname"])] = pair["pair_decimals"], pair["lot_decimals"]
        elif channel == "instrument":
            for pair in body["data"]["pairs"]:
                self._precision[pair["symbol"]] = pair["price_precision"], pair["qty_precision"]
        elif channel.startswith("book."):
            self._book_v1(channel, body) if isinstance(body, list) else self._book_v2(channel, body)
            bids, asks = self._whole[channel]
            self.books[channel] = (
                {price: bids[price] for price in sorted(bids, reverse=True)[:10]},
                {price: asks[price] for price in sorted(asks)[:10]},
            )
        elif channel.startswith("trade."):
            self._trades_v1(channel, body) if isinstance(body, list) else self._trades_v2(channel, body)

    def _book_v1(self, channel: str, body: list) -> None:  # type: ignore[type-arg]
        depth = int(body[-2].split("-")[1])
        parts = body[1:-2]
        if "as" in parts[0]:
            bids, asks = ({Decimal(level[0]): Decimal(level[1]) for level in parts[0][side]} for side in ("bs", "as"))
            self._whole[channel] = bids, asks
            return
        bids, asks = self._whole[channel]
        texts = []
        for part in parts:
            for name, side in (("b", bids), ("a", asks)):
                for level in part.get(name, []):
                    _set(side, Decimal(level[0]), Decimal(level[1]))
                    texts.append((len(level[0].split(".")[1]), len(level[1].split(".")[1])))
        _cut(bids, asks, depth)
        sent = next(int(part["c"]) for part in parts if "c" in part)
        self._check(bids, asks, texts[0], sent)

    def _book_v2(self, channel: str, body: dict) -> None:  # type: ignore[type-arg]
        (data,) = body["data"]
        if body["type"] == "snapshot":
            self._whole[channel] = {}, {}
        bids, asks = self._whole[channel]
        for name, side in (("bids", bids), ("asks", asks)):
            for level in data[name]:
                _set(side, Decimal(level["price"]), Decimal(level["qty"]))
        _cut(bids, asks, 10)
        self._check(bids, asks, self._precision[data["symbol"]], data["checksum"])

    def _check(self, bids: Side, asks: Side, printed: Printed, sent: int) -> None:
        levels = [(price, asks[price]) for price in sorted(asks)[:10]]
        levels += [(price, bids[price]) for price in sorted(bids, reverse=True)[:10]]
        text = "".join(_digits(price, printed[0]) + _digits(quantity, printed[1]) for price, quantity in levels)
        made = zlib.crc32(text.encode())
        assert made == sent, f"checksum {made}, sent {sent}"
        self.checksums += 1

    def _trades_v1(self, channel: str, body: list) -> None:  # type: ignore[type-arg]
        for price, volume, time, side, *_ in body[1]:
            seconds, micros = time.split(".")
            at = int(seconds) * 10**9 + int(micros.ljust(9, "0"))
            aggressor = {"b": "B", "s": "A"}[side]
            self.trades.append((channel, _symbol(body[-1]), Decimal(price), Decimal(volume), aggressor, at))

    def _trades_v2(self, channel: str, body: dict) -> None:  # type: ignore[type-arg]
        for item in sorted(body["data"], key=lambda one: int(one["trade_id"])):
            if (channel, item["trade_id"]) in self._seen:
                continue
            self._seen.add((channel, item["trade_id"]))
            aggressor = {"buy": "B", "sell": "A"}[item["side"]]
            price, quantity = Decimal(item["price"]), Decimal(item["qty"])
            self.trades.append((channel, item["symbol"], price, quantity, aggressor, _time(item["timestamp"])))


def _symbol(wsname: str) -> str:
    names = {"XBT": "BTC", "XDG": "DOGE"}
    base, quote = wsname.split("/")
    return f"{names.get(base, base)}/{names.get(quote, quote)}"


def _set(side: Side, price: Decimal, quantity: Decimal) -> None:
    if quantity:
        side[price] = quantity
    else:
        side.pop(price, None)


def _cut(bids: Side, asks: Side, depth: int) -> None:
    for price in sorted(bids, reverse=True)[depth:]:
        del bids[price]
    for price in sorted(asks)[depth:]:
        del asks[price]


def _digits(value: Decimal, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", "").lstrip("0")


def _time(text: str) -> int:
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = dt.datetime.fromisoformat(f"{whole}+00:00")
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))
