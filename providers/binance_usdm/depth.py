"""`@depth` and the REST snapshots of it to MBO: the venue's rule for keeping a book.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly
(2025-11): buffer updates; take a snapshot; drop updates with `u` < `lastUpdateId`; the first one used has `U` <=
`lastUpdateId` <= `u`; from then on each `pu` is the last `u`, else begin anew. Ids are those of the whole venue: between
two updates of a symbol there are others, so only `pu` tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from penstock.book import Book, Change, check_room, doubtful
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.normalizing import Message, Output, Resync
from penstock.streams import Units
from penstock.timestamps import NS_PER_S, from_ms
from providers.binance_usdm.payloads import Combined, DepthUpdate, Level
from providers.binance_usdm.rest import DepthSnapshot
from providers.binance_usdm.stream import Stream

_UPDATE: Final = msgspec.json.Decoder(Combined[DepthUpdate])
_SNAPSHOT: Final = msgspec.json.Decoder(DepthSnapshot)

BUFFERED: Final = 1000
"""Updates kept for a snapshot: 100 s of `@depth@100ms`. Where they do not suffice the next snapshot is asked for."""

PATIENCE_NS: Final = 5 * NS_PER_S
"""How long a snapshot may take before it is asked for again."""

_RECENT: Final = 1024


class Update(NamedTuple):
    """A depth update in DBN's numbers: update ids `first` to `last`, after `previous`."""

    previous: int
    first: int
    last: int
    ts_event: int
    changes: list[Change]

    def follows(self, snapshot: int) -> bool:
        """Whether a book of update `snapshot` is continued by this one, which does not end before it.

        The venue asks for `U` <= `lastUpdateId`: no update of the symbol may lie between. `pu` is the update before, so
        that is the case exactly where `pu` is not after the snapshot: also on a quiet market, where both are the same,
        and where `lastUpdateId` is an id between two updates. One that ends with the snapshot is used as well: it may
        name levels farther from the top than a snapshot has.
        """
        return self.previous <= snapshot


class Depth(Stream):
    """The book of one instrument.

    Nothing is published before the first snapshot. When updates are lost, a Gap is; the updates that follow still are,
    with F_MAYBE_BAD_BOOK, and are kept: the next snapshot is followed by those it does not contain (in an archive it
    contains them), which take its time of receipt, so that order by `ts_recv` is order of publication.
    """

    schema = "MBO"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self.book = Book(self.publisher_id, self.instrument_id)
        self.started = False
        """A snapshot was published."""
        self.synchronized = False
        self.ask_at = 0
        """Receive time (ns) from which a missing snapshot is asked for (again)."""
        self._last = 0
        self._snapshot = 0
        self._ts_event = 0
        self._waiting: deque[Update] = deque(maxlen=BUFFERED)
        self._recent: deque[int] = deque(maxlen=_RECENT)

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_UPDATE, payload)
        depth = message.data
        self.check(message.stream, depth.s)
        previous, first, last = depth.pu, depth.U, depth.u
        if not previous < first <= last:
            raise PayloadError("update_id", "U", f"{previous} {first} {last}", "pu below U, U up to u")
        prices, sizes = self.prices, self.sizes
        changes = [(BID, prices[price], sizes[size]) for price, size in depth.b]
        changes += [(ASK, prices[price], sizes[size]) for price, size in depth.a]
        for change in changes:
            if change[2] > MAX_SIZE:
                check_room(*change)
        return self._advance(Update(previous, first, last, from_ms(depth.T, "T"), changes), ts_recv)

    def snapshot(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """Take the body of GET /fapi/v1/depth. One that comes while the book is whole changes nothing."""
        snapshot = decode(_SNAPSHOT, payload)
        bids, asks = self._side(BID, snapshot.bids), self._side(ASK, snapshot.asks)
        if bids and asks and max(bids) >= min(asks):
            raise PayloadError("crossed", "bids", f"{max(bids)} {min(asks)}", "a best bid below the best ask")
        last, ts_event = snapshot.lastUpdateId, from_ms(snapshot.T, "T")
        if self.synchronized:
            return ()
        newer = [update for update in self._waiting if update.last >= last]
        if newer and not newer[0].follows(last):
            return self._ask(ts_recv)
        data = self.book.replace(bids.items(), asks.items(), ts_event, ts_recv, last)
        joined = self.archive and self.started
        self._begin(last, ts_event)
        if joined:
            return self._joined(newer, ts_recv)
        outputs: list[Output] = [Message("MBO", self.channel, data)]
        for update in newer:
            outputs += self._advance(update, ts_recv)
        return outputs

    def _joined(self, newer: list[Update], ts_recv: int) -> Sequence[Output]:
        """In an archive each update stands once. The newer ones do already, flagged: they go into the snapshot."""
        for update in newer:
            self._apply(update, ts_recv, 0)
        data = self.book.image(self._ts_event, ts_recv, self._last)
        if not self.book.crossed:
            return (Message("MBO", self.channel, data),)
        self.synchronized = False
        return (self.gap("crossed", ts_recv), Message("MBO", self.channel, doubtful(data)), *self._ask(ts_recv))

    def _begin(self, last: int, ts_event: int) -> None:
        """The book is that of update `last`."""
        self.started = self.synchronized = True
        self._last = self._snapshot = last
        self._ts_event = ts_event
        self._waiting.clear()
        self._recent.clear()

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Doubtful until the next snapshot, which the session fetches by itself when it is connected again."""
        self._waiting.clear()
        self.synchronized = False
        self.ask_at = ts_recv + PATIENCE_NS
        return (self.gap(reason, ts_recv),) if self.started else ()

    def due(self, ts_recv: int) -> Sequence[Output]:
        """Ask for a snapshot that is missing for too long."""
        return () if self.synchronized or ts_recv < self.ask_at else self._ask(ts_recv)

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message, None while it is doubtful."""
        if not self.synchronized:
            return None
        return Message("MBO", self.channel, self.book.image(self._ts_event, ts_recv, self._last))

    def _advance(self, update: Update, ts_recv: int) -> Sequence[Output]:
        if not self.synchronized:
            return self._wait(update, ts_recv)
        last = self._last
        if update.previous != last:
            if update.last < self._snapshot or update.last in self._recent:
                return ()
            if last != self._snapshot or not update.follows(last):
                data = self._apply(update, ts_recv, F_MAYBE_BAD_BOOK)
                return self._broken("update_id", last, update, data, ts_recv)
        data = self._apply(update, ts_recv, 0)
        if self.book.crossed:
            return self._broken("crossed", last, update, doubtful(data), ts_recv)
        return (Message("MBO", self.channel, data),) if data else ()

    def _apply(self, update: Update, ts_recv: int, flags: int) -> bytes:
        self._last = update.last
        self._ts_event = update.ts_event
        self._recent.append(update.last)
        return self.book.update(update.changes, update.ts_event, ts_recv, update.last, flags)

    def _broken(self, reason: str, expected: int, update: Update, data: bytes, ts_recv: int) -> Sequence[Output]:
        """The book is doubtful from this update on, whose records `data` say so."""
        self.synchronized = False
        self._waiting.clear()
        self._waiting.append(update)
        outputs: list[Output] = [self.gap(reason, ts_recv, expected, update.previous)]
        if data:
            outputs.append(Message("MBO", self.channel, data))
        return [*outputs, *self._ask(ts_recv)]

    def _wait(self, update: Update, ts_recv: int) -> Sequence[Output]:
        """Keep an update for the snapshot to come; what is kept has no hole."""
        waiting = self._waiting
        expected = waiting[-1].last if waiting else update.previous
        if update.last in self._recent or update.last <= expected:
            return self.due(ts_recv)
        outputs: list[Output] = []
        if update.previous != expected:
            waiting.clear()
            if self.started:
                outputs.append(self.gap("update_id", ts_recv, expected, update.previous))
        waiting.append(update)
        if self.started:
            data = self._apply(update, ts_recv, F_MAYBE_BAD_BOOK)
            if data:
                outputs.append(Message("MBO", self.channel, data))
        return [*outputs, *self.due(ts_recv)]

    def _ask(self, ts_recv: int) -> Sequence[Output]:
        self.ask_at = ts_recv + PATIENCE_NS
        return (Resync(self.channel),)

    def _side(self, side: bytes, levels: Iterable[Level]) -> dict[int, int]:
        prices, sizes = self.prices, self.sizes
        found = {prices[price]: sizes[size] for price, size in levels}
        for price, size in found.items():
            if size > MAX_SIZE:
                check_room(side, price, size)
        return found
