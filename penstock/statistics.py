"""Statistics as DBN states them: which values are to be told now, and how a text becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from penstock.dbn import UNDEF_PRICE, UNDEF_STAT_QUANTITY
from penstock.errors import PayloadError
from penstock.lots import fixed_signed, lots
from penstock.numbers import expanded

REPEAT_NS: Final = 10_000_000_000
"""All statistics are published again with the first message in each such span of venue time, for late joiners."""

Value = tuple[int, int]
"""(price at 1e-9, quantity), either undefined."""

Reader = Callable[[str, int], Value]
"""A decimal text and the lot at 1e-9 to what is published: `as_price`, `as_quantity` or `as_rate`."""

_REMEMBERED: Final = 65_536
_UNSTATABLE: Final = {"number_precision", "number_range", "not_whole_lots"}


class Told[V]:
    """What was last published of one channel's statistics, by stat_type."""

    def __init__(self) -> None:
        self._values: dict[int, V] = {}
        self._span = -1

    def is_due(self, ts_event: int) -> bool:
        """True where a message of this time (UNIX ns) tells everything again."""
        return ts_event // REPEAT_NS != self._span

    def news(self, values: Iterable[tuple[int, V]], ts_event: int) -> list[tuple[int, V]]:
        """Those of `values` that are to be told, which then count as told: what changed, or all where they are due."""
        told = self._values
        if self.is_due(ts_event):
            fresh = list(values)
        else:
            fresh = [(kind, value) for kind, value in values if told.get(kind) != value]
        self._span = ts_event // REPEAT_NS
        told.update(fresh)
        return fresh

    def forget(self) -> None:
        """Messages were lost: what comes next is told whether it is known or not."""
        self._values.clear()


@lru_cache(maxsize=_REMEMBERED)
def as_price(text: str, lot: int) -> Value:
    """A signed price. Raises PayloadError for what is no decimal."""
    del lot
    return exact(lambda: fixed_signed(text), UNDEF_PRICE), UNDEF_STAT_QUANTITY


@lru_cache(maxsize=_REMEMBERED)
def as_quantity(text: str, lot: int) -> Value:
    """A quantity in lots; undefined where it does not fit i64. Raises PayloadError as above."""
    amount = exact(lambda: lots(text, lot, "quantity"), UNDEF_STAT_QUANTITY)
    return UNDEF_PRICE, min(amount, UNDEF_STAT_QUANTITY)


@lru_cache(maxsize=_REMEMBERED)
def as_rate(text: str, lot: int) -> Value:
    """A rate at 1e-9 as price and at 1e-18 as quantity: averages need more than nine decimals. Raises as above."""
    del lot
    fine = exact(lambda: fixed_signed(expanded(f"{text}e9")), UNDEF_STAT_QUANTITY)
    return exact(lambda: fixed_signed(text, "rate"), UNDEF_PRICE), fine


def exact(convert: Callable[[], int], undefined: int) -> int:
    """What `convert` gives, or `undefined` for a number that DBN cannot hold exactly (finer than 1e-9, no whole lots).

    It is never rounded, and it is no reason to refuse the prices beside it.
    """
    try:
        return convert()
    except PayloadError as error:
        if error.reason in _UNSTATABLE:
            return undefined
        raise
