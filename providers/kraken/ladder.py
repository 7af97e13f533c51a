"""One side of a book in order, and the CRC32 that Kraken makes of the ten best levels of both.

https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 (read 2026-11)
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final, Self
from zlib import crc32

PROVEN: Final = 10
"""Levels a side that the checksum is made of, whatever depth is subscribed; also how many are published (see README)."""

Levels = list[tuple[int, int]]
"""(price at 1e-9, size in lots), the best first."""


class Ladder:
    """The levels of one side, best first. `sign` is 1 for asks and -1 for bids, whose best price is the highest."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int, sizes: dict[int, int] | None = None) -> None:
        self._sign = sign
        self._sizes = dict(sizes or ())
        self._keys = sorted(self._sizes)

    def copy(self) -> Self:
        """An independent copy: a message is applied to one, which replaces this only where nothing is wrong with it."""
        return type(self)(self._sign, self._sizes)

    def apply(self, levels: Iterable[tuple[int, int]], depth: int) -> None:
        """Set absolute sizes in the order given, 0 removing a level; then cut what is beyond `depth`."""
        keys, sizes, sign = self._keys, self._sizes, self._sign
        for price, size in levels:
            key = price * sign
            if size:
                if key not in sizes:
                    insort(keys, key)
                sizes[key] = size
            elif key in sizes:
                del sizes[key], keys[bisect_left(keys, key)]
        # The venue does not say that a level fell out of the depth: it must be forgotten here as it is there.
        for key in keys[depth:]:
            del sizes[key]
        del keys[depth:]

    def top(self) -> Levels:
        """The ten best levels."""
        sign, sizes = self._sign, self._sizes
        return [(key * sign, sizes[key]) for key in self._keys[:PROVEN]]

    def __len__(self) -> int:
        return len(self._keys)


def checksum(asks: Levels, bids: Levels, lot: int, decimals: tuple[int, int]) -> int:
    """CRC32 of the ten best asks, then bids: each price and quantity at `decimals`, without dot and leading zeros.

    `lot` is at 1e-9. Trailing zeros count, so that the decimals of the text, or the instrument's precision, must be known.
    """
    places, size_places = decimals
    text = "".join(
        [digits(price, places) + digits(size * lot, size_places) for price, size in (*asks[:PROVEN], *bids[:PROVEN])]
    )
    return crc32(text.encode())


def digits(value: int, decimals: int) -> str:
    """A value at 1e-9 as the digits of its text with so many decimals: 354.1 with 2 is `35410`."""
    return str(value // 10 ** (9 - decimals) if decimals <= 9 else value * 10 ** (decimals - 9))
