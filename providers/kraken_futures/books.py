"""One product's book: its chain of `seq`, and the MBO messages it becomes."""

from __future__ import annotations

from typing import Final

from penstock.book import Book, Change, order_id
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK, RECORD_BYTES, RTYPE_MBO
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, split
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S, from_ms
from providers.kraken_futures.definitions import Known
from providers.kraken_futures.events import gap
from providers.kraken_futures.numbers import Prices, Sizes
from providers.kraken_futures.payloads import BookDelta, BookSnapshot, Level

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for a new snapshot at most this often, of receive time."""

_SIDES: Final = {"buy": BID, "sell": ASK}
_FLAGS_OFFSET: Final = 36
_MBO_BYTES: Final = RECORD_BYTES[RTYPE_MBO]


class BookStream:
    """The book of one channel.

    `seq` counts a product's book messages, +1 each, and the snapshot names the last one it holds (7,014 recorded updates
    of ten products without a gap). What does not follow, or comes before a snapshot, is a gap: messages then carry
    F_MAYBE_BAD_BOOK and a snapshot is asked for. `seq` is the venue's, not the connection's: what both it and the time
    show to be no newer than the book is a copy, skipped.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._book = Book(publisher.publisher_id, known.id)
        self._prices, self._sizes = Prices(), Sizes(known.lot)
        self._last: int | None = None
        self._ts_event = 0
        self._doubtful = False
        self._ask_again_at = 0

    def snapshot(self, data: BookSnapshot, ts_recv: int) -> list[Output]:
        """Take the whole book. Raises PayloadError with nothing changed."""
        ts_event = from_ms(data.timestamp, "timestamp")
        bids, asks = self._levels(BID, data.bids), self._levels(ASK, data.asks)
        if self._old(data.seq, ts_event) and not self._renews(data.seq):
            return []
        sides = ([level[1:] for level in bids], [level[1:] for level in asks])
        content = self._book.replace(*sides, ts_event, ts_recv, data.seq)
        self._last, self._ts_event, self._doubtful = data.seq, ts_event, False
        return self._checked(content, ts_recv)

    def delta(self, data: BookDelta, ts_recv: int) -> list[Output]:
        """Apply one level's absolute quantity. Raises PayloadError as above."""
        ts_event = from_ms(data.timestamp, "timestamp")
        if data.side not in _SIDES:
            raise PayloadError("side", "side", data.side, "buy or sell")
        change = self._level(_SIDES[data.side], data)
        if self._old(data.seq, ts_event):
            return []
        outputs: list[Output] = []
        if not self._doubtful and (self._last is None or data.seq != self._last + 1):
            reason, expected = ("no_snapshot", 0) if self._last is None else ("seq", self._last + 1)
            outputs += self.doubt(Gap(reason, expected, data.seq), ts_event)
        flags = F_MAYBE_BAD_BOOK if self._doubtful else 0
        content = self._book.update((change,), ts_event, ts_recv, data.seq, flags)
        self._last, self._ts_event = data.seq, ts_event
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

    def _old(self, seq: int, ts_event: int) -> bool:
        """True for a copy: no newer by `seq` and by time. A lower one at a later time would be a venue that restarted."""
        return self._last is not None and seq <= self._last and ts_event <= self._ts_event

    def _renews(self, seq: int) -> bool:
        """True for a snapshot of just the present state: it ends doubt, and live it is what somebody asked for."""
        return seq == self._last and (self._doubtful or not self._archive)

    def _checked(self, content: bytes, ts_recv: int) -> list[Output]:
        """The message; where it crossed the book, flagged, declared and with a request for a snapshot."""
        if not self._book.crossed:
            return [Message("MBO", self._channel, content)] if content else []
        outputs = self.doubt(Gap("crossed", self._last or 0, self._last or 0), self._ts_event)
        if content:
            outputs.append(Message("MBO", self._channel, _flagged(content)))
        return [*outputs, *self.ask(ts_recv)]

    def _levels(self, side: bytes, levels: list[Level]) -> list[Change]:
        return [self._level(side, level) for level in levels]

    def _level(self, side: bytes, level: Level | BookDelta) -> Change:
        at, quantity = self._prices[bytes(level.price)], self._sizes[bytes(level.qty)]
        if quantity > MAX_SIZE:
            order_id(side, at, len(split(quantity)) - 1)  # refused here: the book would be half changed
        return side, at, quantity


def _flagged(content: bytes) -> bytes:
    """The MBO records of a message with F_MAYBE_BAD_BOOK set."""
    marked = bytearray(content)
    for offset in range(_FLAGS_OFFSET, len(marked), _MBO_BYTES):
        marked[offset] |= F_MAYBE_BAD_BOOK
    return bytes(marked)
