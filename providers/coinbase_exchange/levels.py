"""`level2` and `level2_batch` to MBO: a book by price, and what can be said of its completeness without a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from penstock.book import Book, Change, check_room, doubtful
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.decoding import decode
from penstock.lots import MAX_SIZE
from penstock.normalizing import Message, Output, Resync
from penstock.streams import Units
from penstock.timestamps import NS_PER_S
from providers.coinbase_exchange.audit import Audit
from providers.coinbase_exchange.payloads import Book as RestBook
from providers.coinbase_exchange.payloads import LevelUpdate, Snapshot
from providers.coinbase_exchange.stream import Stream, time_of

RESYNC_EVERY: Final = 5 * NS_PER_S
"""A new snapshot takes well under a second; one that did not come by now is asked for again."""

SILENT_NS: Final = 5 * NS_PER_S
"""A trade takes from the book: where no update is as new as a trade this long after it, the channel is dead."""

_FRAME: Final[msgspec.json.Decoder[Snapshot | LevelUpdate]] = msgspec.json.Decoder(Snapshot | LevelUpdate)


class Levels(Stream):
    """The book of a product, as one connection tells it: updates of another one continue another snapshot.

    The venue promises delivery and numbers nothing. What shows a loss all the same: an update older than the one before,
    a crossed book, a trade that no update follows, and the venue's REST book (`audit.py`). In an archive, which may be
    two lanes merged, order and connections say nothing.
    """

    schema = "MBO"
    word = "level2"

    def __init__(self, units: Units, *, archive: bool) -> None:
        super().__init__(units, archive=archive)
        self.book = Book(self.publisher_id, self.instrument_id)
        self.connection = -1
        """The connection that feeds the book; -1 where none does."""
        self.bad = False
        """What is published is doubtful; `started` says that anything was."""
        self._resync_at = -RESYNC_EVERY
        self._ts_event = 0
        self._last: tuple[int, list[Change]] = (0, [])
        self._audit = Audit()

    def frame(self, payload: bytes, connection: int, ts_recv: int) -> Sequence[Output]:
        """What a frame of the channel becomes. Raises PayloadError."""
        frame = decode(_FRAME, payload)
        self.check(frame.product_id)
        if isinstance(frame, Snapshot):
            return self._replace(frame, connection, ts_recv)
        ts_event, changes = time_of(frame.time), self._changes(frame)
        if not self.archive and self.connection not in (connection, -1):
            return ()
        if (ts_event, changes) == self._last:
            return ()  # sent twice
        return self._update(ts_event, changes, ts_recv)

    def compare(self, book: RestBook, ts_recv: int) -> Sequence[Output]:
        """Hold the book against GET /products/<id>/book?level=2. Raises PayloadError."""
        bids, asks = self._side(BID, book.bids), self._side(ASK, book.asks)
        if self.started and not self.bad and not book.auction_mode:
            self._audit.compare(self.book.bids, self.book.asks, bids, asks, ts_recv)
        return self.due(ts_recv)

    def due(self, ts_recv: int, traded: int = 0) -> Sequence[Output]:
        """What time alone shows; `traded` is the venue's time of the last trade that must have changed the book."""
        if not self.bad and self.started:
            if wrong := self._audit.proved(ts_recv):
                return self._doubt("audit", ts_recv, 0, wrong)
            if traded > self._ts_event and not self.archive:
                return self._doubt("stale", ts_recv)
        return self._asked(ts_recv)

    def await_snapshot(self, ts_recv: int) -> None:
        """A connection that carries the channel began: its first frame is a snapshot, which is asked for if it stays out."""
        self.bad = self.bad or not self.started
        if self.bad:
            self._resync_at = ts_recv

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Doubtful until the next snapshot, for which the caller or the session asks."""
        self._audit.clear()
        if not self.started or self.bad:
            return ()
        self.bad = True
        return (self.gap(reason, ts_recv),)

    def disconnected(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """The feeding connection ended: the next one begins with a snapshot of itself."""
        self.connection, self._resync_at = -1, ts_recv
        return self.interrupted(reason, ts_recv)

    def dropped(self, ts_recv: int) -> Sequence[Output]:
        """Frames were lost before this consumer."""
        return [*self.interrupted("dropped", ts_recv), *self._asked(ts_recv)]

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message, None while it is doubtful."""
        if not self.started or self.bad:
            return None
        return Message("MBO", self.channel, self.book.image(self._ts_event, ts_recv, 0))

    def _replace(self, frame: Snapshot, connection: int, ts_recv: int) -> Sequence[Output]:
        bids, asks = self._side(BID, frame.bids), self._side(ASK, frame.asks)
        ts_event = time_of(frame.time) if frame.time else ts_recv
        data = self.book.replace(bids.items(), asks.items(), ts_event, ts_recv, 0)
        self.connection, self.started, self.bad, self._ts_event = connection, True, False, ts_event
        self._last = (0, [])
        self._audit.clear()
        if not self.book.crossed:
            return (Message("MBO", self.channel, data),)
        gap, *resync = self._doubt("crossed", ts_recv)
        return (gap, Message("MBO", self.channel, doubtful(data)), *resync)

    def _update(self, ts_event: int, changes: list[Change], ts_recv: int) -> Sequence[Output]:
        before = self._last[0]
        if ts_event < before and not self.archive:
            # Applied all the same: in doubt the book is anyhow, and the sizes are as good as any.
            outputs = [*self._doubt("out_of_order", ts_recv, before, ts_event)] if self.started and not self.bad else []
            return [*outputs, *self._apply(before, ts_event, changes, ts_recv), *self._asked(ts_recv)]
        if not self.started:
            self.started = True
            self._resync_at = ts_recv - RESYNC_EVERY
            gap, *resync = self._doubt("no_snapshot", ts_recv)
            return [gap, *self._apply(ts_event, ts_event, changes, ts_recv), *resync]
        return [*self._apply(ts_event, ts_event, changes, ts_recv), *self._asked(ts_recv)]

    def _apply(self, newest: int, ts_event: int, changes: list[Change], ts_recv: int) -> Sequence[Output]:
        self._last, self._ts_event = (newest, changes), ts_event
        self._audit.touch((side, price) for side, price, _ in changes)
        flags = F_MAYBE_BAD_BOOK if self.bad else 0
        data = self.book.update(changes, ts_event, ts_recv, 0, flags)
        if not self.bad and self.book.crossed:
            gap, *resync = self._doubt("crossed", ts_recv)
            return (gap, Message("MBO", self.channel, doubtful(data)), *resync) if data else (gap, *resync)
        return (Message("MBO", self.channel, data),) if data else ()

    def _doubt(self, reason: str, ts_recv: int, expected: int = 0, got: int = 0) -> Sequence[Output]:
        self.bad = True
        self._audit.clear()
        return (self.gap(reason, ts_recv, expected, got), *self._asked(ts_recv))

    def _asked(self, ts_recv: int) -> Sequence[Output]:
        """A request for a snapshot of a doubtful book, unless one was made a moment ago."""
        if not self.bad or self._resync_at <= ts_recv < self._resync_at + RESYNC_EVERY:
            return ()
        self._resync_at = ts_recv
        return (Resync(self.channel),)

    def _changes(self, frame: LevelUpdate) -> list[Change]:
        prices, sizes = self.prices, self.sizes
        changes = [(BID if side == "buy" else ASK, prices[price], sizes[size]) for side, price, size in frame.changes]
        for side, price, size in changes:
            if size > MAX_SIZE:
                check_room(side, price, size)
        return changes

    def _side(self, side: bytes, levels: Iterable[tuple[str, str] | tuple[str, str, int | str]]) -> dict[int, int]:
        prices, sizes = self.prices, self.sizes
        found = {prices[level[0]]: sizes[level[1]] for level in levels}
        for price, size in found.items():
            if size > MAX_SIZE:
                check_room(side, price, size)
        return {price: size for price, size in found.items() if size}
