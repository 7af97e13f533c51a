"""Kraken Futures' JSON numbers as exact integers, by way of the plain decimal text that penstock.lots reads. No float.

The functions take the number's bytes and remember: most numbers of a message are the ones of the message before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.errors import PayloadError
from penstock.lots import fixed, lots

_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})")
_PLAIN: Final = re.compile(r"(-?)([0-9]{1,40})(?:\.([0-9]{1,40}))?")
_REMEMBERED: Final = 65_536


def present(raw: bytes) -> bool:
    """False for a field that is missing or null."""
    return raw not in {b"", b"null"}


def number(raw: bytes) -> str:
    """The text of a JSON number, an exponent written out, all other text as it is.

    The venue prints doubles: `1e-10` is a tick size, `-1.380384722222e-6` a funding rate, `20108.0` a quantity.
    """
    text = raw.decode("ascii", "replace")
    return expanded(text) if "e" in text or "E" in text else text


def expanded(text: str) -> str:
    """A decimal with its exponent (at most two digits) written out, digit for digit; other text unchanged."""
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


def scaled(raw: bytes) -> tuple[int, int]:
    """A number of any precision as (integer, decimals): its value is integer × 10^-decimals, without trailing zeros.

    Raises PayloadError("number_format") for anything but a plain decimal.
    """
    match = _PLAIN.fullmatch(number(raw))
    if match is None:
        raise PayloadError("number_format", "value", raw, "a decimal number")
    fraction = (match[3] or "").rstrip("0")
    return int(match[1] + match[2] + fraction), len(fraction)


class Prices(dict[bytes, int]):
    """`price`, remembered for the levels of books. Raises PayloadError and remembers no text that it refused.

    No order rests at a price of 0.
    """

    def __missing__(self, raw: bytes) -> int:
        value = fixed(number(raw))
        if not value:
            raise PayloadError("zero_price", "price", raw, "a price above 0")
        if len(self) >= _REMEMBERED:
            self.clear()
        self[raw] = value
        return value


class Sizes(dict[bytes, int]):
    """`size` in lots of `lot` at 1e-9, remembered like Prices."""

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
