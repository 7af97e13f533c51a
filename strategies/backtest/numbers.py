"""Numbers and times as a person reads them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

NS: Final = 1_000_000_000
MINUS: Final = "\u2212"

_PREFIXES: Final = ((0, ""), (-3, "m"), (-6, "µ"), (-9, "n"))


def plain(value: Decimal, digits: int = 0) -> str:
    """A decimal without exponent or trailing zeros, with thousands separated; rounded to `digits` significant ones
    (0: exact), but never before the decimal point."""
    if digits and value:
        value = round(value, max(digits - 1 - value.adjusted(), 0))
    text = f"{abs(value):,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return (MINUS if value < 0 and text != "0" else "") + text


def signed(value: Decimal, digits: int = 0) -> str:
    """`plain` with a plus before what is above zero."""
    return ("+" if value > 0 else "") + plain(value, digits)


def utc(ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A UNIX time in ns as UTC, to the second (or as `form` says)."""
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=ns // 1_000)).strftime(form)


def lasting(ns: int) -> str:
    """A length of time in its two largest units: `2 h 5 min`, `41 s`, `0.3 s`."""
    seconds = ns / NS
    if seconds < 10:
        return f"{seconds:.1f} s"
    parts = []
    rest = round(seconds)
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {word}")
    return " ".join(parts[:2])


class Unit(NamedTuple):
    """A unit in which some amounts of a currency are short to read: `mBTC`, `µUSDT`, `USD`."""

    factor: Decimal
    name: str

    @classmethod
    def of(cls, currency: str, amounts: Iterable[Decimal]) -> Unit:
        """The unit for amounts of a currency, by the largest of them."""
        factor, prefix = scale_of(max((abs(float(amount)) for amount in amounts), default=0.0))
        return cls(Decimal(factor), prefix + currency)

    def text(self, amount: Decimal) -> str:
        """The amount without its unit, rounded to what matters, with a sign."""
        return signed(self.part(amount))

    def part(self, amount: Decimal) -> Decimal:
        """The amount in this unit, rounded to four decimals."""
        return round(amount * self.factor, 4)


def scale_of(largest: float) -> tuple[float, str]:
    """A factor and prefix under which numbers up to `largest` are neither tiny nor in exponents: (1e6, "µ") for 2e-5."""
    for power, prefix in _PREFIXES:
        if largest >= 0.1 * 10.0**power:
            return 10.0**-power, prefix
    return (1e9, "n") if largest else (1.0, "")
