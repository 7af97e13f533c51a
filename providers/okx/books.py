"""One venue book channel: the proof that it is whole, and the MBO messages it becomes."""

from __future__ import annotations

from typing import Final

from penstock.book import Book, Change, check_room, doubtful
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, Fixed, Lots
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S, from_ms
from providers.okx.checksums import Entry, Ladder
from providers.okx.definitions import Known
from providers.okx.events import gap
from providers.okx.payloads import BookData, Level

SPACING_NS: Final = 2 * NS_PER_S
LONGEST_SPACING_NS: Final = 64 * NS_PER_S
"""A channel asks for a new snapshot after 2 s, 4 s, … 64 s of receive time while none comes that mends it: asking costs two
of the 480 requests that a connection has in an hour."""


class BookStream:
    """The book of one channel.

    An update must name as prevSeqId the seqId before it; a lower seqId than prevSeqId is a sequence reset, and an equal
    one a sign of life (https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel, 2026-06).
    Without sequence ids, as recordings of 2021 and 2022 are, the checksum must be that of the book after the update. Where
    the proof fails a gap is declared, messages carry F_MAYBE_BAD_BOOK and a snapshot is asked for. What id and time show
    to be no newer than the book is a copy, skipped.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._book = Book(publisher.publisher_id, known.id)
        self._ladder = Ladder()
        self._prices, self._sizes = Fixed(), Lots(known.unit)
        self._has_snapshot = self._doubtful = False
        self._last = self._ts_event = 0
        self._spacing = SPACING_NS
        self._ask_again_at = 0

    def snapshot(self, data: BookData, ts_recv: int, *, may_cross: bool) -> list[Output]:
        """Take the whole book. Raises PayloadError with nothing changed."""
        ts_event = from_ms(int(data.ts), "ts")
        bids, asks = self._levels(BID, data.bids), self._levels(ASK, data.asks)
        sequence = data.seqId or 0
        if self._old(sequence, ts_event) and not self._renews(sequence):
            return []
        content = self._book.replace([bid[1:] for bid in bids], [ask[1:] for ask in asks], ts_event, ts_recv, sequence)
        self._ladder.clear()
        self._last, self._ts_event, self._has_snapshot, self._doubtful = sequence, ts_event, True, False
        outputs = self._proven(data, content, ts_recv, may_cross=may_cross)
        if not self._doubtful:
            self._spacing, self._ask_again_at = SPACING_NS, 0
        return outputs

    def update(self, data: BookData, ts_recv: int, *, may_cross: bool) -> list[Output]:
        """Apply absolute sizes. Raises PayloadError with nothing changed."""
        ts_event = from_ms(int(data.ts), "ts")
        if data.seqId is None and data.checksum is None:
            raise PayloadError("shape", "seqId", None, "a seqId, or the checksum of former years, in every update")
        if data.seqId is not None and data.prevSeqId is None:
            raise PayloadError("shape", "prevSeqId", None, "the seqId before, in every update")
        changes = self._levels(BID, data.bids) + self._levels(ASK, data.asks)
        sequence, follows = data.seqId or 0, self._follows(data)
        if not follows and self._old(sequence, ts_event):
            return []
        outputs: list[Output] = []
        if not self._doubtful and not follows:
            reason = "seq_id" if self._has_snapshot else "no_snapshot"
            outputs += self.doubt(Gap(reason, self._last, max(0, data.prevSeqId or 0)), ts_event)
        flags = F_MAYBE_BAD_BOOK if self._doubtful else 0
        content = self._book.update(changes, ts_event, ts_recv, sequence, flags)
        self._last, self._ts_event = sequence, ts_event
        if self._doubtful:
            if content:
                outputs.append(Message("MBO", self._channel, content))
            return outputs + self.ask(ts_recv)
        return outputs + self._proven(data, content, ts_recv, may_cross=may_cross)

    def doubt(self, marker: Gap, ts_event: int) -> list[Output]:
        """Something is missing: declare it, and flag what follows until the next snapshot."""
        self._doubtful = True
        return [gap(self._publisher, self.known.id, "MBO", self._channel, marker, ts_event)]

    def ask(self, ts_recv: int) -> list[Output]:
        """Ask for a snapshot, unless that was done a moment ago."""
        if ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + self._spacing
        self._spacing = min(2 * self._spacing, LONGEST_SPACING_NS)
        return [Resync(self._channel)]

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message; None while it is doubtful."""
        if not self._has_snapshot or self._doubtful:
            return None
        return Message("MBO", self._channel, self._book.image(self._ts_event, ts_recv, self._last))

    def _old(self, sequence: int, ts_event: int) -> bool:
        """True for a copy: no newer by id and by time. A lower id at a later time is a venue that started over."""
        return self._has_snapshot and sequence <= self._last and ts_event <= self._ts_event

    def _renews(self, sequence: int) -> bool:
        """True for a snapshot of just the present state: it ends doubt, and live it is what somebody asked for."""
        return sequence == self._last and (self._doubtful or not self._archive)

    def _follows(self, data: BookData) -> bool:
        if not self._has_snapshot:
            return False
        if data.seqId is None:
            # Nothing to compare before it is applied; what is older than the book is a copy from another connection.
            return from_ms(int(data.ts), "ts") >= self._ts_event
        return data.prevSeqId == self._last

    def _proven(self, data: BookData, content: bytes, ts_recv: int, *, may_cross: bool) -> list[Output]:
        """The message; where it is proven wrong or crossed the book, flagged, declared and with a request for a snapshot."""
        marker = None
        if data.seqId is None and data.checksum is not None:
            self._ladder.apply(self._entries(data))
            found = self._ladder.checksum()
            if found != data.checksum:
                marker = Gap("checksum", data.checksum, found)
        if marker is None and not may_cross and self._book.crossed:
            marker = Gap("crossed", self._last, self._last)
        if marker is None:
            return [Message("MBO", self._channel, content)] if content else []
        outputs = self.doubt(marker, self._ts_event)
        if content:
            outputs.append(Message("MBO", self._channel, doubtful(content)))
        return [*outputs, *self.ask(ts_recv)]

    def _entries(self, data: BookData) -> list[Entry]:
        prices, sizes = self._prices, self._sizes
        return [
            (side, prices[price], f"{price}:{size}" if sizes[size] else "")
            for side, levels in ((BID, data.bids), (ASK, data.asks))
            for price, size, _, _ in levels
        ]

    def _levels(self, side: bytes, levels: list[Level]) -> list[Change]:
        prices, sizes = self._prices, self._sizes
        changes = [(side, prices[price], sizes[size]) for price, size, _, _ in levels]
        for _, at, amount in changes:
            if not at:
                raise PayloadError("zero_price", "price", "0", "a price above 0")
            if amount > MAX_SIZE:
                check_room(side, at, amount)
        return changes
