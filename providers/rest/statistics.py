"""Tickers to STATISTICS: a value when it changed, and all of them every ten seconds."""

from __future__ import annotations

from typing import Any, Final

from penstock import dbn
from penstock.errors import PayloadError
from penstock.lots import SCALE
from penstock.normalizing import Message
from penstock.timestamps import NS_PER_S
from providers.rest import numbers
from providers.rest.path import Tree
from providers.rest.stream import Stream

_EVERY_NS: Final = 10 * NS_PER_S
_BEYOND: Final = dbn.UNDEF_STAT_QUANTITY

_PRICES: Final = {
    "index_price": dbn.STAT_FIXING_PRICE,
    "low_24h": dbn.STAT_LOW,
    "high_24h": dbn.STAT_HIGH,
    "mark_price": dbn.STAT_MARK_PRICE,
    "last_price": dbn.STAT_LAST_PRICE,
}
_QUANTITIES: Final = {"open_interest": dbn.STAT_OPEN_INTEREST, "volume_24h": dbn.STAT_CLEARED_VOLUME}
_FUNDING: Final = "funding_rate"
_E18_DECIMALS: Final = 18


class Statistics(Stream):
    """One ticker. A value that is null is not known now, and not published."""

    schema = "STATISTICS"

    def __init__(self, *arguments: Any, archive: bool) -> None:
        super().__init__(*arguments, archive=archive)
        self._paths = {name: self.path(text) for name, text in self.fields.values.items()}
        self._values: dict[str, tuple[int, int, int]] = {}
        self._all_ns = 0

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        item = self.item(tree)
        ts_event = self.time(self.fields.time, tree, item, ts_recv)
        found = {name: path.find(tree, item) for name, path in self._paths.items()}
        values = {name: self._value(name, value) for name, value in found.items() if value not in (None, "")}
        if self.older(ts_event):
            return []
        every = self.waiting or not 0 <= ts_event - self._all_ns < _EVERY_NS
        changed = {name: value for name, value in values.items() if every or self._values.get(name) != value}
        self._values = values
        self._all_ns = ts_event if every else self._all_ns
        return [
            self.message(
                dbn.statistic(
                    self.publisher_id, self.instrument_id, ts_event, ts_recv, kind, price=price, quantity=quantity
                )
            )
            for kind, price, quantity in changed.values()
        ]

    def _value(self, name: str, value: Tree) -> tuple[int, int, int]:
        """(stat_type, price, quantity) as the record has them."""
        if name in _PRICES:
            return _PRICES[name], numbers.signed(value, name), dbn.UNDEF_STAT_QUANTITY
        if name == _FUNDING:
            return dbn.STAT_FUNDING_RATE, *rate(value)
        # Sums of trades in the venue's own arithmetic need not be whole lots, and no record could hold the rest.
        quantity = numbers.quantity(value, self.lot, name)
        if quantity >= _BEYOND:
            raise PayloadError("size_range", name, quantity, "less than 2**63 - 1 lots")
        return _QUANTITIES[name], dbn.UNDEF_PRICE, quantity


def rate(value: Tree) -> tuple[int, int]:
    """A rate at 1e-9, cut off, and exactly at 1e-18: funding rates have more decimals than prices."""
    text = numbers.number(value, _FUNDING)
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, fraction = digits.partition(".")
    tail = fraction[_E18_DECIMALS:].strip("0")
    plain = (whole + fraction).isascii() and (whole + fraction).isdecimal() and bool(whole)
    if not plain or tail or len(whole) > 1 or (digits.endswith(".")):
        raise PayloadError("number_format", _FUNDING, text, "a rate below 10 with at most 18 decimals")
    exact = int(whole + fraction[:_E18_DECIMALS].ljust(_E18_DECIMALS, "0"))
    if exact >= dbn.UNDEF_STAT_QUANTITY:
        raise PayloadError("number_range", _FUNDING, text, "a rate below 9.2")
    return sign * (exact // SCALE), sign * exact
