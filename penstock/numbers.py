"""JSON numbers as exact integers, by way of the plain decimal text that penstock.lots reads. No float is involved.

Messages keep them as msgspec.Raw: the bytes that were printed, `2500.5` or `1e-08`. The functions remember, because most
numbers of a message are those of the message before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from penstock.lots import fixed, lots

_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})")
_REMEMBERED: Final = 65_536


def present(raw: bytes) -> bool:
    """False for a field that is missing or null."""
    return raw not in {b"", b"null"}


def number(raw: bytes) -> str:
    """The text of a JSON number, an exponent written out, all other text as it is: penstock.lots then refuses it."""
    text = raw.decode("ascii", "replace")
    return expanded(text) if "e" in text or "E" in text else text


def expanded(text: str) -> str:
    """A decimal with its exponent (at most two digits) written out, digit for digit: `6.55e-6` is `0.00000655`.

    Other text is unchanged.
    """
    match = _EXPONENT.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4])
    digits, point = whole + fraction, len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


@lru_cache(maxsize=_REMEMBERED)
def price(raw: bytes, field: str = "price") -> int:
    """A price at 1e-9. Raises PayloadError as penstock.lots.fixed."""
    return fixed(number(raw), field)


@lru_cache(maxsize=_REMEMBERED)
def size(raw: bytes, lot: int, field: str = "size") -> int:
    """A quantity in whole lots of `lot` at 1e-9. Raises PayloadError as penstock.lots.lots."""
    return lots(number(raw), lot, field)


class Remembered(dict[bytes, int]):
    """`read` of the numbers of a book's levels, remembered. What it refuses with a PayloadError is not."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[bytes], int]) -> None:
        self._read = read

    def __missing__(self, raw: bytes) -> int:
        value = self._read(raw)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[raw] = value
        return value
