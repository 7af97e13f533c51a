"""Tops of book to MBP_1, where they changed since the poll before."""

from __future__ import annotations

from typing import Any

from penstock import dbn
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.normalizing import Message
from providers.rest import numbers
from providers.rest.path import Tree
from providers.rest.stream import Stream

Top = tuple[int, int, int, int]
"""bid, ask, bid size, ask size, as an MBP_1 record has them."""


class Quotes(Stream):
    """A poll sees one top of many: nothing between two of them can be known, or is promised."""

    schema = "MBP_1"

    def __init__(self, *arguments: Any, archive: bool) -> None:
        super().__init__(*arguments, archive=archive)
        fields = self.fields
        self._prices = self.path(fields.bid), self.path(fields.ask)
        self._sizes = (self.path(fields.bid_size), self.path(fields.ask_size)) if fields.bid_size else None
        self._top: Top | None = None

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        item = self.item(tree)
        (bid, bid_size), (ask, ask_size) = (self._level(tree, item, side) for side in (0, 1))
        if bid_size and ask_size and bid >= ask:
            raise PayloadError("crossed", "bid", f"{bid} {ask}", "a best bid below the best ask")
        ts_event = self.time(self.fields.time, tree, item, ts_recv)
        top = bid, ask, bid_size, ask_size
        if self.older(ts_event) or (top == self._top and not self.waiting):
            return []
        self._top = top
        flags = dbn.F_LAST
        if dbn.UNDEF_ORDER_SIZE in (bid_size, ask_size):
            flags |= dbn.F_PUBLISHER_SPECIFIC
        data = dbn.mbp_1(self.publisher_id, self.instrument_id, ts_event, flags, ts_recv, 0, *top)
        return [self.message(data)]

    def _level(self, tree: Tree, item: Tree, side: int) -> tuple[int, int]:
        """Price and size of a side; (UNDEF_PRICE, 0) where it is empty: null, an empty text, or no quantity."""
        value = self._prices[side].find(tree, item)
        size = dbn.UNDEF_ORDER_SIZE
        if self._sizes is not None and value not in (None, ""):
            size = numbers.quantity(self._sizes[side].find(tree, item), self.lot, "size")
            size = size if size <= MAX_SIZE else dbn.UNDEF_ORDER_SIZE
        if value in (None, "") or not size:
            return dbn.UNDEF_PRICE, 0
        return numbers.price(value, "bid" if side == 0 else "ask"), size
