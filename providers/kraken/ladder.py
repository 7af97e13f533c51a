"""One side of a book in order, and the CRC32 that Kraken makes of the ten best levels of both.

https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final
from zlib import crc32

PROVEN: Final = 10
"""Levels a side that the checksum is made of, whatever depth is subscribed; also how many are published (see README)."""

_MOST_DECIMALS: Final = 9
"""Of values at 1e-9."""

Levels = list[tuple[int, int]]
"""(price at 1e-9, size in lots), the best first."""


class Ladder:
    """The levels of one side, best first. `sign` is 1 for asks and -1 for bids, whose best price is the highest."""

    __slots__ = ("_sign", "_sizes")

    def __init__(self, sign: int, sizes: dict[int, int] | None = None) -> None:
        self._sign = sign
        self._sizes = sizes or {}

    def applied(self, levels: Iterable[tuple[int, int]], depth: int) -> Ladder:
        """This side after absolute sizes, in the order given, 0 removing a level; without what is beyond `depth`.

        The venue does not say that a level fell out of the depth: it must be forgotten here as it is there.
        """
        sizes, sign = self._sizes.copy(), self._sign
        for price, size in levels:
            if size:
                sizes[price * sign] = size
            else:
                sizes.pop(price * sign, None)
        return Ladder(sign, {key: sizes[key] for key in sorted(sizes)[:depth]})

    def top(self) -> Levels:
        """The ten best levels."""
        sign = self._sign
        return [(key * sign, size) for key, size in islice(self._sizes.items(), PROVEN)]


def checksum(asks: Levels, bids: Levels, lot: int, decimals: tuple[int, int]) -> int:
    """CRC32 of the ten best asks, then bids: each price and quantity at `decimals`, without dot and leading zeros.

    `lot` is at 1e-9. Trailing zeros count, so that the decimals of the text, or the instrument's precision, must be known.
    """
    places, size_places = decimals
    rows = (*asks[:PROVEN], *bids[:PROVEN])
    if max(decimals) <= _MOST_DECIMALS and lot == 10 ** (_MOST_DECIMALS - size_places):
        # As v2 has it: sizes in lots are the digits themselves.
        unit = 10 ** (_MOST_DECIMALS - places)
        return crc32("".join([f"{price // unit}{size}" for price, size in rows]).encode())
    text = "".join([digits(price, places) + digits(size * lot, size_places) for price, size in rows])
    return crc32(text.encode())


def digits(value: int, decimals: int) -> str:
    """A value at 1e-9 as the digits of its text with so many decimals: 354.1 with 2 is `35410`."""
    if decimals <= _MOST_DECIMALS:
        return str(value // 10 ** (_MOST_DECIMALS - decimals))
    return str(value * 10 ** (decimals - _MOST_DECIMALS))
