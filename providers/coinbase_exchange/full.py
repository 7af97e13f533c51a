"""`full` to MBO: every order of a product, and the venue's rule for keeping them.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#full-channel (read 2026-11): queue what comes; take a
snapshot of level 3; play back what is newer than its `sequence`; go on. Each message of a product has the sequence of
the one before + 1; a higher one shows that messages were lost, a lower one is old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec

from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK, F_SNAPSHOT, MboPart, mbo_message
from penstock.decoding import decode
from penstock.normalizing import Message, Output, Resync
from penstock.streams import Units
from penstock.timestamps import NS_PER_S
from providers.coinbase_exchange import payloads
from providers.coinbase_exchange.events import Event, Reader
from providers.coinbase_exchange.orders import Order, OrderBook, order_key
from providers.coinbase_exchange.payloads import Activate, Match
from providers.coinbase_exchange.stream import Stream

BUFFERED: Final = 20_000
"""Messages kept for a snapshot: some 20 s of BTC-USD. Where they do not suffice the next one is asked for."""

PATIENCE_NS: Final = 5 * NS_PER_S
"""How long a snapshot may take before it is asked for again."""

GRACE_NS: Final = NS_PER_S // 2
"""Heartbeats come each second on each connection; two of a product within this time are of two connections."""

WINDOW_NS: Final = NS_PER_S
"""How long a hole in an archive may last: the channels of a product are in step within far less."""

_RECENT: Final = 4096
_ORDER: Final[msgspec.json.Decoder[payloads.Order]] = msgspec.json.Decoder(payloads.Order)


class Full(Stream):
    """The orders of a product.

    Nothing is published before the first snapshot. When messages are lost, a Gap is; what follows still is, with
    F_MAYBE_BAD_BOOK, and is kept: the next snapshot is followed by what it does not contain (in an archive it contains
    that), which takes the snapshot's time of receipt, so that order by `ts_recv` is order of publication.
    """

    schema = "MBO"
    word = "full"

    def __init__(self, units: Units, *, archive: bool) -> None:
        super().__init__(units, archive=archive)
        self.book = OrderBook()
        self._read = Reader(units)
        self.synchronized = False
        """The book is whole; `started` says that a snapshot was published."""
        self.ask_at = 0
        """Receive time (ns) from which a missing snapshot is asked for (again)."""
        self._last = 0
        self._snapshot = 0
        self._ts_event = 0
        self._waiting: deque[Event] = deque(maxlen=BUFFERED)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._held: list[tuple[int, int, int, Event]] = []
        self._taken = 0
        self._newest = 0
        self._owed = 0
        self._owed_at = -GRACE_NS

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """What a frame of the channel becomes. Raises PayloadError."""
        message = decode(_ORDER, payload)
        self.check(message.product_id)
        if isinstance(message, Activate) or message.sequence is None:
            return ()  # of the client's own orders: not numbered, and nothing that the public sees
        return self.take(self._read.order(message, message.sequence), ts_recv)

    def event_of(self, match: Match) -> Event:
        """A match of `matches`, which is one of `full` as well, as its event. Raises PayloadError."""
        self.check(match.product_id)
        return self._read.match(match)

    def take(self, event: Event, ts_recv: int) -> Sequence[Output]:
        """What the next event of the product becomes."""
        return self._in_order(event, ts_recv) if self.archive else self._advance(event, ts_recv)

    def _in_order(self, event: Event, ts_recv: int) -> Sequence[Output]:
        """An archive is in order of time, channel by channel: what happened at once need not be in order of sequence."""
        self._taken += 1
        heappush(self._held, (event.sequence, self._taken, ts_recv, event))
        self._newest = max(self._newest, ts_recv)
        return self._drain()

    def _drain(self) -> list[Output]:
        outputs: list[Output] = []
        while self._held:
            sequence, _, received, event = self._held[0]
            waiting = self._waiting
            expected = self._last + 1 if self.synchronized else waiting[-1].sequence + 1 if waiting else sequence
            if sequence > expected and received > self._newest - WINDOW_NS:
                break
            heappop(self._held)
            outputs += self._advance(event, received)
        return outputs

    def _advance(self, event: Event, ts_recv: int) -> Sequence[Output]:
        if not self.synchronized:
            return self._wait(event, ts_recv)
        expected = self._last + 1
        if event.sequence != expected:
            if event.sequence <= self._snapshot or event.sequence in self._recent:
                return ()
            return self._broken("sequence", expected, event, ts_recv)
        if contradiction := self._contradiction(event):
            return self._broken(contradiction, 0, event, ts_recv)
        parts = self._apply(event)
        if not self.book.crossed:
            return self._message(parts, event, 0, ts_recv)
        records = self._message(parts, event, F_MAYBE_BAD_BOOK, ts_recv)
        return [self.gap("crossed", ts_recv), *records, *self._lost(event, ts_recv)]

    def snapshot(self, body: payloads.Book, ts_recv: int) -> Sequence[Output]:
        """Take GET /products/<id>/book?level=3. One that comes while the book is whole changes nothing.

        During an auction the venue's book is indicative and may be crossed: it is asked for until it is not.
        """
        book = OrderBook()
        book.replace((*self._read.resting(BID, body.bids), *self._read.resting(ASK, body.asks)))
        if self.synchronized or body.auction_mode:
            return ()
        last = body.sequence
        newer = [event for event in self._waiting if event.sequence > last]
        if book.crossed or (newer and newer[0].sequence > last + 1):
            return self._ask(ts_recv)
        self.book = book
        if self.archive and self.started:
            return [*self._joined(newer, last, ts_recv), *self._drain()]
        self._begin(last, ts_recv)
        outputs: list[Output] = [self._image(ts_recv)]
        for event in newer:
            outputs += self._advance(event, ts_recv)
        return [*outputs, *self._drain()]

    def heartbeat(self, sequence: int, ts_recv: int) -> Sequence[Output]:
        """The venue says which sequence was the last. What an earlier heartbeat named must have come by now."""
        if 0 <= ts_recv - self._owed_at < GRACE_NS:
            return ()
        certain, self._owed, self._owed_at = min(self._owed, sequence), sequence, ts_recv
        if not self.synchronized or certain <= self._last:
            return self.due(ts_recv)
        outputs = [self.gap("sequence", ts_recv, self._last + 1, certain + 1), *self._ask(ts_recv)]
        self.synchronized = False
        self._waiting.clear()
        return outputs

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Doubtful until the next snapshot, which the session fetches by itself when it is connected again."""
        self._waiting.clear()
        self.synchronized = False
        self.ask_at = ts_recv + PATIENCE_NS
        return (self.gap(reason, ts_recv),) if self.started else ()

    def dropped(self, ts_recv: int) -> Sequence[Output]:
        """Frames were lost before this consumer."""
        return [*self.interrupted("dropped", ts_recv), *self._ask(ts_recv)]

    def due(self, ts_recv: int) -> Sequence[Output]:
        """Ask for a snapshot that is missing for too long."""
        return () if self.synchronized or ts_recv < self.ask_at else self._ask(ts_recv)

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message, None while it is doubtful."""
        return self._image(ts_recv) if self.synchronized else None

    # --- the chain --------------------------------------------------------------------------------------------------

    def _broken(self, reason: str, expected: int, event: Event, ts_recv: int) -> Sequence[Output]:
        """The book is doubtful from this event on, whose records say so."""
        gap = self.gap(reason, ts_recv, expected, event.sequence)
        records = self._message(self._apply(event), event, F_MAYBE_BAD_BOOK, ts_recv)
        return [gap, *records, *self._lost(event, ts_recv)]

    def _lost(self, event: Event, ts_recv: int) -> Sequence[Output]:
        self.synchronized = False
        self._waiting.clear()
        self._waiting.append(event)
        return self._ask(ts_recv)

    def _wait(self, event: Event, ts_recv: int) -> Sequence[Output]:
        """Keep an event for the snapshot to come; what is kept has no hole."""
        waiting = self._waiting
        expected = waiting[-1].sequence + 1 if waiting else event.sequence
        if expected - BUFFERED < event.sequence < expected:
            return self.due(ts_recv)  # old; far below it is the one before that was absurd
        outputs: list[Output] = []
        if event.sequence != expected:
            waiting.clear()
            if self.started:
                outputs.append(self.gap("sequence", ts_recv, expected, event.sequence))
        waiting.append(event)
        if self.started:
            outputs += self._message(self._apply(event), event, F_MAYBE_BAD_BOOK, ts_recv)
        return [*outputs, *self.due(ts_recv)]

    def _joined(self, newer: list[Event], last: int, ts_recv: int) -> Sequence[Output]:
        """In an archive each message stands once. The newer ones do already, flagged: they go into the snapshot."""
        self._begin(last, ts_recv)
        for event in newer:
            self._apply(event)
        return (self._image(ts_recv),)

    def _begin(self, last: int, ts_recv: int) -> None:
        """The book is that of sequence `last`."""
        self.started = self.synchronized = True
        self._last = self._snapshot = last
        self._ts_event = ts_recv
        self._waiting.clear()
        self._recent.clear()

    def _ask(self, ts_recv: int) -> Sequence[Output]:
        self.ask_at = ts_recv + PATIENCE_NS
        return (Resync(self.channel),)

    # --- orders -----------------------------------------------------------------------------------------------------

    def _contradiction(self, event: Event) -> str:
        """Why a whole chain cannot have led to this event: the word of the gap, empty where it can."""
        order = self.book.orders.get(event.order_id)
        if event.kind == "open":
            return "order_known" if order is not None else ""
        if event.kind != "match":
            return ""
        if order is None:
            return "order_unknown"
        return "order_size" if event.taken > order.size or order.price != event.price else ""

    def _apply(self, event: Event) -> list[MboPart]:
        self._last = event.sequence
        self._ts_event = event.ts_event
        self._recent.append(event.sequence)
        book = self.book
        if event.kind == "open" and event.price is not None and event.size is not None:
            order = Order(order_key(event.order_id), event.side, event.price, event.size)
            return book.put(event.order_id, order)
        if event.kind == "done":
            return book.remove(event.order_id)
        resting = book.orders.get(event.order_id)
        if resting is None or event.kind == "received":
            return []  # orders that are not on the book yet change too
        if event.kind == "match":
            return book.put(event.order_id, resting._replace(size=max(0, resting.size - event.taken)))
        price = resting.price if event.price is None else event.price
        size = resting.size if event.size is None else event.size
        return book.put(event.order_id, resting._replace(price=price, size=size))

    def _message(self, parts: list[MboPart], event: Event, flags: int, ts_recv: int) -> Sequence[Message]:
        if not parts:
            return ()
        ids = self.publisher_id, self.instrument_id
        data = mbo_message(*ids, event.ts_event, parts, flags, ts_recv, event.sequence)
        return (Message("MBO", self.channel, data),)

    def _image(self, ts_recv: int) -> Message:
        ids = self.publisher_id, self.instrument_id
        data = mbo_message(*ids, self._ts_event, self.book.image(), F_SNAPSHOT, ts_recv, self._last)
        return Message("MBO", self.channel, data)
