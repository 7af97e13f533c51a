"""Values of a JSON body as exact integers and texts, whatever way a vendor writes them."""

from __future__ import annotations

import re
from typing import Final, Literal

from penstock.errors import PayloadError
from penstock.lots import MAX_QUANTITY, fixed, fixed_signed
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_S, NS_PER_US, from_iso8601
from providers.rest.path import Tree

Unit = Literal["s", "ms", "us", "ns", "iso8601"]

_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,2})")
_NS: Final = {"s": NS_PER_S, "ms": NS_PER_MS, "us": NS_PER_US, "ns": 1}
_OFFSET_OF_UTC: Final = "+00:00"


def text(value: Tree, field: str) -> str:
    """The text of a JSON text, number or truth value. Raises PayloadError("shape") for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise PayloadError("shape", field, value, "a text or a number")


def number(value: Tree, field: str) -> str:
    """The plain decimal text of a JSON number or of a text that is one; an exponent (`1e-05`) is written out."""
    if isinstance(value, bool):
        raise PayloadError("number_format", field, value, "a number")
    found = text(value, field)
    match = _EXPONENT.fullmatch(found)
    if match is None:
        return found
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4])
    digits, point = whole + fraction, len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def price(value: Tree, field: str) -> int:
    """A price at 1e-9, above zero. Raises PayloadError as penstock.lots.fixed, and "zero_price"."""
    found = fixed(number(value, field), field)
    if not found:
        raise PayloadError("zero_price", field, value, "a price above zero")
    return found


def quantity(value: Tree, lot: int, field: str) -> int:
    """A quantity in whole lots of `lot` at 1e-9. Raises PayloadError as penstock.lots.lots."""
    count, rest = divmod(fixed(number(value, field), field, MAX_QUANTITY), lot)
    if rest:
        raise PayloadError("not_whole_lots", field, value, f"a multiple of the lot of {lot}e-9")
    return count


def signed(value: Tree, field: str) -> int:
    """A number at 1e-9 that may be negative, such as a rate. Decimals beyond nine are refused."""
    return fixed_signed(number(value, field), field)


def instant(value: Tree, unit: Unit, field: str) -> int:
    """UNIX ns of a time in `unit`; counts may have decimals (`1762777020.5` s), which must be whole nanoseconds."""
    if unit == "iso8601":
        found = text(value, field)
        if found.endswith(_OFFSET_OF_UTC):
            found = found.removesuffix(_OFFSET_OF_UTC) + "Z"
        return from_iso8601(found, field)
    scaled = fixed(number(value, field), field, MAX_QUANTITY) * _NS[unit]
    ns, rest = divmod(scaled, NS_PER_S)
    if rest or ns > MAX_NS:
        raise PayloadError("time_range", field, value, f"a time in {unit} before the year 2262, in whole nanoseconds")
    return ns
