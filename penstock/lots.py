"""Venue numbers to DBN integers, exactly: prices at 1e-9, sizes in whole lots. No float is ever involved."""

from __future__ import annotations

from penstock.errors import PayloadError

SCALE = 1_000_000_000
"""One unit at DBN's fixed-point scale of 1e-9."""

MAX_FIXED = 2**63 - 2
"""Largest fixed-point value; DBN reserves 2**63-1 as undefined."""

MAX_QUANTITY = MAX_FIXED * SCALE
"""Largest quantity at 1e-9 that is counted in lots: books of cheap coins hold more than 9.2e9 of them at one price."""

MAX_SIZE = 2**32 - 2
"""Largest size in one record, in lots; DBN reserves 2**32-1 as undefined."""

MAX_PARTS = 65_536
"""Most records one trade or book level is split into; a mutated quantity must not become gigabytes of records."""

_REMEMBERED = 32_768
"""Texts kept by Fixed and Lots: within minutes BTCUSDT's updates touch 45,000 prices; this many serve 4 in 5 of them."""

_EXPECTED = "a plain non-negative decimal with at most 9 decimals, a price below 9.22e9"
_ZEROS = "000000000"
_POWERS: list[int] = [10 ** (9 - digits) for digits in range(10)]


def fixed(text: str, field: str = "price", limit: int = MAX_FIXED) -> int:
    """`text` at 1e-9, exactly: `"0.1"` is 100_000_000. Values beyond `limit` (at 1e-9) are refused.

    Trailing zeros beyond nine decimals are accepted. Signs, exponents, spaces, underscores, other digits than 0-9 and
    values that do not fit raise PayloadError("number_format" | "number_precision" | "number_range").
    """
    whole, _, fraction = text.partition(".")
    digits = len(fraction)
    joined = whole + fraction
    if whole and 0 < digits <= 9 and joined.isdecimal() and joined.isascii() and len(joined) <= 18:
        # What venues send, in the fewest steps; all else takes the ones below.
        value = int(joined) * _POWERS[digits]
        if value <= limit:
            return value
    if digits > 9:
        if fraction[9:].strip("0"):
            raise PayloadError("number_precision", field, text, _EXPECTED)
        fraction = fraction[:9]
        digits = 9
    joined = whole + fraction
    # isdecimal() alone accepts other scripts' digits, isascii() alone accepts letters; a dot without digits on
    # either side is refused by the two lengths.
    if not (joined.isdecimal() and joined.isascii() and whole) or (digits == 0 and len(text) != len(whole)):
        raise PayloadError("number_format", field, text, _EXPECTED)
    # Length first: int() itself refuses thousands of digits, with another error.
    if len(joined) > 60 or (value := int(joined + _ZEROS[digits:])) > limit:
        raise PayloadError("number_range", field, text, _EXPECTED)
    return value


def fixed_signed(text: str, field: str = "value") -> int:
    """`fixed` with an optional leading minus: for funding rates, changes and greeks, never for prices of orders."""
    return -fixed(text[1:], field) if text.startswith("-") else fixed(text, field)


def lots(text: str, lot: int, field: str = "size") -> int:
    """The quantity `text` as a whole number of lots, `lot` being the lot at 1e-9 (`unit_of_measure_qty`).

    Raises PayloadError("not_whole_lots") where it does not divide exactly: a size is never rounded.
    """
    count, rest = divmod(fixed(text, field, MAX_QUANTITY), lot)
    if rest:
        raise PayloadError("not_whole_lots", field, text, f"a multiple of the lot {decimal_text(lot)}")
    return count


class Fixed(dict[str, int]):
    """Decimal text to 1e-9, remembered: most prices come again, and a look-up costs a tenth of the arithmetic.

    Raises PayloadError as `fixed` does, and remembers no text that it refused.
    """

    __slots__ = ("field",)

    def __init__(self, field: str = "price") -> None:
        self.field = field

    def __missing__(self, text: str) -> int:
        value = fixed(text, self.field)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = value
        return value


class Prices(Fixed):
    """Prices of orders and trades. Raises PayloadError("zero_price") too: there is none at zero."""

    __slots__ = ()

    def __missing__(self, text: str) -> int:
        value = super().__missing__(text)
        if not value:
            del self[text]
            raise PayloadError("zero_price", self.field, text, "a price above zero")
        return value


class Lots(dict[str, int]):
    """Quantity text to whole lots, remembered. Raises PayloadError as `lots` does."""

    __slots__ = ("field", "lot")

    def __init__(self, lot: int, field: str = "size") -> None:
        self.lot, self.field = lot, field

    def __missing__(self, text: str) -> int:
        value = lots(text, self.lot, self.field)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = value
        return value


def split(size: int) -> list[int]:
    """`size` lots as parts that each fit DBN's u32 size; one part where it fits.

    Raises PayloadError("size_range") beyond MAX_PARTS parts.
    """
    if size <= MAX_SIZE:
        return [size]
    if size > MAX_SIZE * MAX_PARTS:
        raise PayloadError("size_range", "size", size, f"at most {MAX_SIZE * MAX_PARTS} lots")
    whole, rest = divmod(size, MAX_SIZE)
    return [MAX_SIZE] * whole + ([rest] if rest else [])


def decimal_text(value: int) -> str:
    """A 1e-9 fixed-point value as the shortest plain decimal: 100_000_000 is `"0.1"`."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, fraction = divmod(value, SCALE)
    return f"{sign}{whole}.{fraction:09d}".rstrip("0").rstrip(".")
