"""Kraken's numbers as exact integers, by way of the plain decimal text that penstock.lots reads. No float is involved.

The API v2 sends JSON numbers at the precision of its engine, which may come with an exponent (`1e-08` in instruments); v1
and REST send text. Both arrive here as the bytes that were printed, quotes included or not.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.lots import MAX_QUANTITY, fixed, lots

_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})")
_REMEMBERED: Final = 65_536


def present(raw: bytes) -> bool:
    """False for a field that is missing or null."""
    return raw not in {b"", b"null"}


def number(raw: bytes) -> str:
    """The plain decimal text of a number: quotes gone, an exponent written out digit for digit, all else as it is."""
    text = raw.decode("ascii", "replace")
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
        text = text[1:-1]
    return _expanded(text) if "e" in text or "E" in text else text


def _expanded(text: str) -> str:
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


def decimals(raw: bytes) -> int:
    """How many decimals a number is printed with: 2 for `"354.10"`."""
    return len(number(raw).partition(".")[2])


class Prices(dict[bytes, int]):
    """Prices at 1e-9, remembered for the levels of books. Raises PayloadError and remembers no text that it refused.

    Prices beyond DBN's are read: a book of 2021 had an ask at 9,999,999,997 CHF, far from what is published of it.
    """

    def __missing__(self, raw: bytes) -> int:
        value = fixed(number(raw), limit=MAX_QUANTITY)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[raw] = value
        return value


class Sizes(dict[bytes, int]):
    """Quantities in lots of `lot` at 1e-9, remembered like Prices."""

    def __init__(self, lot: int) -> None:
        self.lot = lot

    def __missing__(self, raw: bytes) -> int:
        value = lots(number(raw), self.lot, "qty")
        if len(self) >= _REMEMBERED:
            self.clear()
        self[raw] = value
        return value


@lru_cache(maxsize=_REMEMBERED)
def price(raw: bytes, field: str = "price") -> int:
    """A price at 1e-9. Raises PayloadError as penstock.lots.fixed."""
    return fixed(number(raw), field)


@lru_cache(maxsize=_REMEMBERED)
def size(raw: bytes, lot: int, field: str = "qty") -> int:
    """A quantity in whole lots of `lot` at 1e-9. Raises PayloadError as penstock.lots.lots."""
    return lots(number(raw), lot, field)
