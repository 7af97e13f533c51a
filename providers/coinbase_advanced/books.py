"""One product's book with what decides whether it can be believed: which connection feeds it, and what was lost."""

from __future__ import annotations

from typing import Final

from penstock.book import Book, Change
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.timestamps import NS_PER_S
from providers.coinbase_advanced.readings import Levels

RESYNC_EVERY: Final = 3 * NS_PER_S
"""A new snapshot takes well under a second; one that did not come by now is asked for again."""


class LiveBook:
    """`synced` after the first snapshot; `bad` from a loss until the next one. Times are UNIX ns.

    `connection` delivered the snapshot: updates of another one continue another snapshot and are not applied. The venue
    numbers no book, so MBO records have sequence 0: `sequence_num` counts frames of one connection, of any channel.
    """

    __slots__ = ("_changes", "bad", "book", "connection", "resync_at", "synced", "ts_event")

    def __init__(self, publisher_id: int, instrument_id: int) -> None:
        self.book = Book(publisher_id, instrument_id)
        self.connection = -1
        self.synced = False
        self.bad = False
        self.resync_at = 0
        self.ts_event = 0
        self._changes: list[Change] | None = None

    def replace(self, levels: Levels, connection: int, ts_event: int, ts_recv: int) -> bytes:
        """Take the snapshot `levels` and return its message."""
        changes = levels.changes or []
        self.connection, self.synced, self.bad, self.resync_at, self.ts_event = connection, True, False, 0, ts_event
        self._changes = None
        bids = [(price, size) for side, price, size in changes if side == BID]
        asks = [(price, size) for side, price, size in changes if side == ASK]
        return self.book.replace(bids, asks, ts_event, ts_recv, 0)

    def update(self, levels: Levels, ts_event: int, ts_recv: int) -> bytes:
        """Apply the update `levels` and return its message, b"" where it changes nothing."""
        self.ts_event, self._changes = ts_event, levels.changes
        flags = F_MAYBE_BAD_BOOK if self.bad else 0
        return self.book.update(levels.changes or [], ts_event, ts_recv, 0, flags)

    def repeats(self, levels: Levels, ts_event: int) -> bool:
        """Whether `levels` is the last update once more."""
        return ts_event == self.ts_event and levels.changes == self._changes

    def image(self, ts_recv: int) -> bytes:
        """The present book as a snapshot message."""
        return self.book.image(self.ts_event, ts_recv, 0)

    def wants_resync(self, ts_recv: int) -> bool:
        """Whether a new snapshot is to be asked for now; it is then taken as asked for."""
        if not self.bad or self.resync_at <= ts_recv < self.resync_at + RESYNC_EVERY:
            return False
        self.resync_at = ts_recv
        return True

    def await_connection(self, ts_recv: int) -> None:
        """The feeding connection ended; the next one begins with a snapshot of itself."""
        self.connection, self.bad, self.resync_at = -1, True, ts_recv
