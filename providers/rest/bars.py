"""Lists of one-minute bars to OHLCV_1M, each once, when it is finished."""

from __future__ import annotations

from typing import Any, Final

from penstock import dbn
from penstock.errors import PayloadError
from penstock.normalizing import Message
from penstock.timestamps import NS_PER_S
from providers.rest import numbers
from providers.rest.path import Tree
from providers.rest.stream import Stream

_MINUTE_NS: Final = 60 * NS_PER_S
_AHEAD_NS: Final = 60 * _MINUTE_NS
_MAX_VOLUME: Final = 2**64


class Bars(Stream):
    """A bar is finished when the list has a later one: the source's own word, where its clock would be a guess.

    Minutes between two bars may be missing because nothing was traded, so a loss shows only where no bar of one list is
    in the next.
    """

    schema = "OHLCV_1M"

    def __init__(self, *arguments: Any, archive: bool) -> None:
        super().__init__(*arguments, archive=archive)
        fields = self.fields
        self._prices = [self.path(text) for text in (fields.open, fields.high, fields.low, fields.close)]
        self._volume = self.path(fields.volume)
        self._last = -1
        """Start of the newest finished bar known."""

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        bars = sorted(self._bar(tree, item, ts_recv) for item in self.items(tree))
        finished = bars[:-1]
        if not finished:
            return []
        starts = [start for start, _ in bars]
        if len(set(starts)) != len(starts):
            raise PayloadError("shape", "start", starts[0], "one bar a minute")
        first, last = self._last < 0, self._last
        self._last = max(last, finished[-1][0])
        if first and not self.archive:
            return []
        messages = [self.message(data) for start, data in finished if start > last]
        overlaps = first or starts[0] <= last + _MINUTE_NS
        return messages if overlaps or not messages else [self.gap("no_overlap", ts_recv), *messages]

    def _bar(self, tree: Tree, item: Tree, ts_recv: int) -> tuple[int, bytes]:
        start = self.time(self.fields.start, tree, item, 0)
        # After one absurd start no bar would be new any more.
        if start % _MINUTE_NS or start > ts_recv + _AHEAD_NS:
            raise PayloadError("time_range", "start", start, "the beginning of a minute, and not an hour from now")
        prices = [numbers.price(path.find(tree, item), "price") for path in self._prices]
        opened, high, low, closed = prices
        if not low <= min(opened, closed) <= max(opened, closed) <= high:
            raise PayloadError("shape", "high", prices, "open and close between low and high")
        volume = numbers.quantity(self._volume.find(tree, item), self.lot, "volume")
        if volume >= _MAX_VOLUME:
            raise PayloadError("size_range", "volume", volume, "less than 2**64 lots")
        data = dbn.ohlcv(
            dbn.RTYPE_OHLCV_1M, self.publisher_id, self.instrument_id, start, opened, high, low, closed, volume
        )
        return start, data
