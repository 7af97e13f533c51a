"""The checksum that proved OKX's books before they had sequence ids.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel describes it to this day, but the venue
sends 0 for it since 2026. CRC32, as a signed 32-bit number, of the 25 best bids and asks in turn as `price:size`, joined by
colons, each as the venue wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest, nsmallest
from typing import Final
from zlib import crc32

from penstock.dbn import BID

DEPTH: Final = 25

Entry = tuple[bytes, int, str]
"""(side BID or ASK, price at 1e-9, `price:size` as written; empty where the level is gone)."""


class Ladder:
    """The texts of one book's levels."""

    __slots__ = ("_asks", "_bids")

    def __init__(self) -> None:
        self._bids: dict[int, str] = {}
        self._asks: dict[int, str] = {}

    def clear(self) -> None:
        """Forget every level."""
        self._bids.clear()
        self._asks.clear()

    def apply(self, entries: Iterable[Entry]) -> None:
        """Take over absolute sizes."""
        for side, price, text in entries:
            levels = self._bids if side == BID else self._asks
            if text:
                levels[price] = text
            else:
                levels.pop(price, None)

    def checksum(self) -> int:
        """The venue's checksum of the present levels."""
        bids = [self._bids[price] for price in nlargest(DEPTH, self._bids)]
        asks = [self._asks[price] for price in nsmallest(DEPTH, self._asks)]
        turns: list[str] = []
        for rank in range(DEPTH):
            turns += bids[rank : rank + 1] + asks[rank : rank + 1]
        value = crc32(":".join(turns).encode())
        return value - 2**32 if value >= 2**31 else value
