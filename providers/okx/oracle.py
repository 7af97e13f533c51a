"""OKX's documentation read a second time, as plainly as possible, to judge the normalizer in tests.

Books: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
Trades: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel
Sizes: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
"""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Any

Side = dict[Decimal, Decimal]


class Oracle:
    """What was published, in the venue's currencies: a derivative's sizes are contracts × ctVal × ctMult.

    `books` and `trades` leave out instruments whose tick is finer than 1e-9, which DBN prices cannot hold; `checksums`
    counts theirs too. A book is in `books` while its seqIds follow on each other, or, where frames have none, while its
    checksums are right; those must be right.
    """

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._units: dict[str, Decimal] = {}
        self._too_fine: set[str] = set()
        self._texts: dict[str, dict[str, dict[Decimal, str]]] = {}
        self._last: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """Every frame, in order."""
        del ts_recv
        name, _, symbol = channel.partition(".")
        if channel.startswith("rest/instruments/"):
            for item in json.loads(payload)["data"]:
                self._define(item)
        elif name in {"books", "books-l2-tbt", "books50-l2-tbt"}:
            frame = json.loads(payload)
            self._book(channel, symbol, frame["action"], frame["data"][0])
        elif name == "trades" and symbol in self._units and symbol not in self._too_fine:
            for item in json.loads(payload)["data"]:
                if (symbol, item["tradeId"]) not in self._seen:
                    self._seen.add((symbol, item["tradeId"]))
                    side = {"buy": "B", "sell": "A"}[item["side"]]
                    size = Decimal(item["sz"]) * self._units[symbol]
                    self.trades.append((channel, symbol, Decimal(item["px"]), size, side, int(item["ts"]) * 1_000_000))

    def _define(self, item: dict[str, Any]) -> None:
        symbol = item["instId"]
        if item["instType"] == "SPOT":
            self._units[symbol] = Decimal(1)
        else:
            self._units[symbol] = Decimal(item["ctVal"]) * Decimal(item["ctMult"])
        if Decimal(item["tickSz"]) < Decimal("0.000000001"):
            self._too_fine.add(symbol)

    def _book(self, channel: str, symbol: str, action: str, data: dict[str, Any]) -> None:
        if action == "snapshot":
            self._texts[channel] = {"bids": {}, "asks": {}}
        if channel not in self._texts:
            return
        whole = True
        if "seqId" in data:
            whole = data["prevSeqId"] == -1 or data["prevSeqId"] == self._last.get(channel)
            self._last[channel] = data["seqId"]
        if not whole:
            del self._texts[channel]
            self.books.pop(channel, None)
            return
        texts = self._texts[channel]
        for side in ("bids", "asks"):
            for level in data[side]:
                price, size = level[0], level[1]
                if Decimal(size) == 0:
                    texts[side].pop(Decimal(price), None)
                else:
                    texts[side][Decimal(price)] = price + ":" + size
        if "seqId" not in data:
            assert self._checksum(texts) == data["checksum"], f"{channel} at {data['ts']}"
            self.checksums += 1
        if symbol in self._units and symbol not in self._too_fine:
            self.books[channel] = (self._side(symbol, texts["bids"]), self._side(symbol, texts["asks"]))

    def _side(self, symbol: str, levels: dict[Decimal, str]) -> Side:
        return {price: Decimal(text.split(":")[1]) * self._units[symbol] for price, text in levels.items()}

    @staticmethod
    def _checksum(texts: dict[str, dict[Decimal, str]]) -> int:
        """25 bids and asks in turn; a side that has fewer is simply shorter."""
        bids = [texts["bids"][price] for price in sorted(texts["bids"], reverse=True)]
        asks = [texts["asks"][price] for price in sorted(texts["asks"])]
        words = []
        for rank in range(25):
            if rank < len(bids):
                words.append(bids[rank])
            if rank < len(asks):
                words.append(asks[rank])
        unsigned = zlib.crc32(":".join(words).encode())
        return unsigned if unsigned < 2147483648 else unsigned - 4294967296
