"""One venue order book channel: its continuity, and the MBO messages it becomes."""

from __future__ import annotations

from typing import Final

from penstock.book import Book, Change, check_room, doubtful
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S, from_ms
from providers.bybit.definitions import Known
from providers.bybit.payloads import BookMessage
from providers.bybit.stream import Stream

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for a new snapshot at most this often, of receive time."""

CONSECUTIVE: Final = frozenset({"25", "50", "100", "200", "1000"})
"""Depths whose `u` counts every message. "In general this id is consecutive" is in the venue's Chinese pages only
(https://bybit-exchange.github.io/doc-v3-offline/zh-TW/copy-trade/ws-public/orderbook, read 2026-11); the English ones say
"is a sequence". Depth 200 did so in 2,142 deltas of a recording. A depth taken out of this set is held to rising ids."""

RESTARTED: Final = 1
"""`u` of the snapshot after the service restarted: overwrite the book with it."""


class BookStream(Stream):
    """The book of one channel: a snapshot is the whole book, a delta new absolute sizes of levels.

    `u` rises by 1 with each message of a channel and `seq`, the venue's own count across depths and connections, never
    falls. Where that does not hold, or where there is no snapshot yet, a gap is declared, messages carry
    F_MAYBE_BAD_BOOK and a snapshot is asked for. What `seq` and time show to be no newer than the book is a copy, skipped.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, depth: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._consecutive = depth in CONSECUTIVE
        self._book = Book(publisher.publisher_id, known.id)
        self._u: int | None = None
        self._seq = 0
        self._ts_event = 0
        self._doubtful = False
        self._ask_again_at = 0

    def take(self, message: BookMessage, ts_recv: int) -> list[Output]:
        """Raises PayloadError with nothing changed."""
        if message.type == "delta":
            return self._delta(message, ts_recv)
        if message.type == "snapshot":
            return self._snapshot(message, ts_recv)
        raise PayloadError("shape", "type", message.type, "snapshot or delta")

    def _snapshot(self, message: BookMessage, ts_recv: int) -> list[Output]:
        data, ts_event = message.data, time_of(message)
        bids, asks = self._levels(BID, data.b), self._levels(ASK, data.a)
        if self._old(data.seq, ts_event) and not self._renews(data.seq, data.u):
            return []
        sides = ([level[1:] for level in bids], [level[1:] for level in asks])
        content = self._book.replace(*sides, ts_event, ts_recv, data.seq)
        self._u, self._seq, self._ts_event, self._doubtful = data.u, data.seq, ts_event, False
        return self._checked(content, ts_recv)

    def _delta(self, message: BookMessage, ts_recv: int) -> list[Output]:
        data, ts_event = message.data, time_of(message)
        changes = self._levels(BID, data.b) + self._levels(ASK, data.a)
        if self._old(data.seq, ts_event):
            return []
        outputs: list[Output] = []
        if not self._doubtful and (broken := self._break(data.u, data.seq)) is not None:
            outputs += self.doubt(broken, ts_event)
        flags = F_MAYBE_BAD_BOOK if self._doubtful else 0
        content = self._book.update(changes, ts_event, ts_recv, data.seq, flags)
        self._u, self._seq, self._ts_event = data.u if self._u is not None else None, data.seq, ts_event
        if not self._doubtful:
            return outputs + self._checked(content, ts_recv)
        if content:
            outputs.append(Message("MBO", self.channel, content))
        return outputs + self.ask(ts_recv)

    def doubt(self, marker: Gap, ts_event: int) -> list[Output]:
        """Something is missing: declare it, and flag what follows until the next snapshot."""
        self._doubtful = True
        return [self.gap("MBO", marker, ts_event)]

    def ask(self, ts_recv: int) -> list[Output]:
        """Ask for a snapshot, unless that was done a moment ago."""
        if ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + RESYNC_SPACING_NS
        return [Resync(self.channel)]

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message; None while it is doubtful."""
        if self._u is None or self._doubtful:
            return None
        return Message("MBO", self.channel, self._book.image(self._ts_event, ts_recv, self._seq))

    def _old(self, seq: int, ts_event: int) -> bool:
        """True for a copy: no newer by sequence and by time. A lower one at a later time is a venue that restarted."""
        return self._u is not None and seq <= self._seq and ts_event <= self._ts_event

    def _renews(self, seq: int, u: int) -> bool:
        """True for a snapshot of just the present state: it ends doubt, and live it is what somebody asked for."""
        return seq == self._seq and (self._doubtful or not self.archive or (u == RESTARTED != self._u))

    def _break(self, u: int, seq: int) -> Gap | None:
        """What is wrong with a delta's ids, None where it follows."""
        if self._u is None:
            return Gap("no_snapshot", 0, u)
        if seq < self._seq:
            return Gap("seq", self._seq, seq)
        if u == self._u + 1 or (u > self._u and not self._consecutive):
            return None
        return Gap("u", self._u + 1, u)

    def _checked(self, content: bytes, ts_recv: int) -> list[Output]:
        """The message; where it crossed the book, flagged, declared and with a request for a snapshot."""
        if not self._book.crossed:
            return [Message("MBO", self.channel, content)] if content else []
        outputs = self.doubt(Gap("crossed", self._seq, self._seq), self._ts_event)
        return [*outputs, Message("MBO", self.channel, doubtful(content)), *self.ask(ts_recv)]

    def _levels(self, side: bytes, levels: list[tuple[str, str]]) -> list[Change]:
        prices, sizes = self.prices, self.sizes
        changes = [(side, prices[price], sizes[size]) for price, size in levels]
        for _, price, size in changes:
            if not price:
                raise PayloadError("zero_price", "price", price, "a price above 0")
            if size > MAX_SIZE:
                check_room(side, price, size)
        return changes


def time_of(message: BookMessage) -> int:
    """The matching engine's time where the message has it (older ones do not), else the push's, in UNIX ns."""
    return from_ms(message.ts, "ts") if message.cts is None else from_ms(message.cts, "cts")
