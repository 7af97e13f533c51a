"""JSON numbers as the plain decimal text that penstock.lots reads. No float is involved."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Raw

_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})")


def present(raw: Raw) -> bool:
    """False for a field that is missing or null."""
    return bool(raw) and bytes(raw) != b"null"


def number(raw: Raw) -> str:
    """The text of a JSON number, an exponent written out (`6.55e-6` is `0.00000655`), all other text as it is.

    Deribit's own frames held no exponent in any recording; its REST answers hold some (`1.0e-5` as a tick size).
    """
    text = bytes(raw).decode("ascii", "replace")
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
