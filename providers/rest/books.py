"""Whole books to MBO: each poll that shows a change is a snapshot of its own."""

from __future__ import annotations

from typing import Any

from penstock.book import Book, Level
from penstock.errors import PayloadError
from penstock.lots import MAX_PARTS, MAX_SIZE
from penstock.normalizing import Message
from providers.rest import numbers
from providers.rest.path import Path, Tree
from providers.rest.stream import Stream


class Books(Stream):
    """Price levels. What happened between two polls cannot be known, or is promised; each snapshot stands for itself."""

    schema = "MBO"

    def __init__(self, *arguments: Any, archive: bool) -> None:
        super().__init__(*arguments, archive=archive)
        fields = self.fields
        self._sides = self.path(fields.bids), self.path(fields.asks)
        self._price, self._size = self.path(fields.price), self.path(fields.size)
        self._book = Book(self.publisher_id, self.instrument_id)

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        item = self.item(tree)
        bids, asks = (self._levels(tree, item, path) for path in self._sides)
        if bids and asks and max(bids) >= min(asks):
            raise PayloadError("crossed", "bids", f"{max(bids)} {min(asks)}", "a best bid below the best ask")
        ts_event = self.time(self.fields.time, tree, item, ts_recv)
        unchanged = bids == self._book.bids and asks == self._book.asks
        if self.older(ts_event) or (unchanged and not self.waiting):
            return []
        return [self.message(self._book.replace(bids.items(), asks.items(), ts_event, ts_recv, 0))]

    def image(self, ts_recv: int) -> Message | None:
        if self.waiting:
            return None
        return self.message(self._book.image(self.ts_event, ts_recv, 0))

    def _levels(self, tree: Tree, item: Tree, side: Path) -> dict[int, int]:
        levels: dict[int, int] = {}
        for level in side.all(tree, item):
            price, size = self._level(tree, level)
            if price in levels:
                raise PayloadError("shape", "price", price, "each price once a side")
            if size:
                levels[price] = size
        return levels

    def _level(self, tree: Tree, level: Tree) -> Level:
        size = numbers.quantity(self._size.find(tree, level), self.lot, "size")
        if size > MAX_SIZE * MAX_PARTS:
            raise PayloadError("size_range", "size", size, f"at most {MAX_SIZE * MAX_PARTS} lots")
        return numbers.price(self._price.find(tree, level), "price"), size
