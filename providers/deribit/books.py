"""One venue book channel: its chain of change ids, and the MBO messages it becomes."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec import Raw

from penstock.book import Book, Change, check_room, doubtful
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.numbers import Remembered, price, size
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S, from_ms
from providers.deribit.definitions import Known
from providers.deribit.events import gap
from providers.deribit.payloads import BookData, GroupedBookData

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for a new snapshot at most this often, of receive time: asking costs 3,000 credits of 30,000."""

Levels = list[tuple[str, Raw, Raw]] | list[tuple[Raw, Raw]]


class BookStream:
    """The book of one channel.

    A change must name as prev_change_id the change_id before it
    (https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval, read 2026-11). Where it does not, or
    where there is no snapshot yet, a gap is declared, messages carry F_MAYBE_BAD_BOOK and a snapshot is asked for. Ids
    are the venue's, not the connection's: what both id and time show to be no newer than the book is a copy, skipped.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._book = Book(publisher.publisher_id, known.id)
        self._prices = Remembered(price if known.is_combo else _above_zero)
        self._sizes = Remembered(partial(size, lot=known.lot, field="amount"))
        self._last: int | None = None
        self._ts_event = 0
        self._doubtful = False
        self._ask_again_at = 0

    def snapshot(self, data: BookData | GroupedBookData, ts_recv: int) -> list[Output]:
        """Take the whole book. Raises PayloadError with nothing changed."""
        ts_event = from_ms(data.timestamp, "timestamp")
        bids, asks = self._levels(BID, data.bids), self._levels(ASK, data.asks)
        if self._old(data.change_id, ts_event) and not self._renews(data.change_id):
            return []
        sides = ([level[1:] for level in bids], [level[1:] for level in asks])
        content = self._book.replace(*sides, ts_event, ts_recv, data.change_id)
        self._last, self._ts_event, self._doubtful = data.change_id, ts_event, False
        return self._checked(content, ts_recv)

    def change(self, data: BookData, ts_recv: int) -> list[Output]:
        """Apply absolute amounts; the words new, change and delete are not relied on. Raises PayloadError as above."""
        ts_event = from_ms(data.timestamp, "timestamp")
        if data.prev_change_id is None:
            raise PayloadError("shape", "prev_change_id", None, "the change_id before, in every change")
        changes = self._levels(BID, data.bids) + self._levels(ASK, data.asks)
        if self._old(data.change_id, ts_event):
            return []
        outputs: list[Output] = []
        if not self._doubtful and not self._follows(data.prev_change_id, data.change_id):
            reason = "no_snapshot" if self._last is None else "change_id"
            outputs += self.doubt(Gap(reason, self._last or 0, data.prev_change_id), ts_event)
        flags = F_MAYBE_BAD_BOOK if self._doubtful else 0
        content = self._book.update(changes, ts_event, ts_recv, data.change_id, flags)
        self._last, self._ts_event = data.change_id, ts_event
        if not self._doubtful:
            return self._checked(content, ts_recv)
        if content:
            outputs.append(Message("MBO", self._channel, content))
        return outputs + self.ask(ts_recv)

    def doubt(self, marker: Gap, ts_event: int) -> list[Output]:
        """Something is missing: declare it, and flag what follows until the next snapshot."""
        self._doubtful = True
        return [gap(self._publisher, self.known.id, "MBO", self._channel, marker, ts_event)]

    def ask(self, ts_recv: int) -> list[Output]:
        """Ask for a snapshot, unless that was done a moment ago."""
        if ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + RESYNC_SPACING_NS
        return [Resync(self._channel)]

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message; None while it is doubtful."""
        if self._last is None or self._doubtful:
            return None
        return Message("MBO", self._channel, self._book.image(self._ts_event, ts_recv, self._last))

    def _old(self, change_id: int, ts_event: int) -> bool:
        """True for a copy: no newer by id and by time. A lower id at a later time would be a venue that restarted."""
        return self._last is not None and change_id <= self._last and ts_event <= self._ts_event

    def _renews(self, change_id: int) -> bool:
        """True for a snapshot of just the present state: it ends doubt, and live it is what somebody asked for."""
        return change_id == self._last and (self._doubtful or not self._archive)

    def _follows(self, prev_change_id: int, change_id: int) -> bool:
        if self._last is None:
            return False
        if prev_change_id == self._last:
            return True
        # Two lanes cut the 100 ms channel at different points: amounts are absolute, so one that starts earlier and
        # ends later than what is applied loses nothing.
        return self._archive and prev_change_id < self._last < change_id

    def _checked(self, content: bytes, ts_recv: int) -> list[Output]:
        """The message; where it crossed the book, flagged, declared and with a request for a snapshot."""
        if not self._book.crossed:
            return [Message("MBO", self._channel, content)] if content else []
        outputs = self.doubt(Gap("crossed", self._last or 0, self._last or 0), self._ts_event)
        return [*outputs, Message("MBO", self._channel, doubtful(content)), *self.ask(ts_recv)]

    def _levels(self, side: bytes, levels: Levels) -> list[Change]:
        prices, sizes = self._prices, self._sizes
        changes = [(side, prices[bytes(level[-2])], sizes[bytes(level[-1])]) for level in levels]
        for _, at, amount in changes:
            if amount > MAX_SIZE:
                check_room(side, at, amount)
        return changes


def _above_zero(raw: bytes) -> int:
    """No order rests at a price of 0, except in a combo, whose price is the difference of its legs'."""
    at = price(raw)
    if not at:
        raise PayloadError("zero_price", "price", raw, "a price above 0")
    return at
