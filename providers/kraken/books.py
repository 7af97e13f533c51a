"""One pair's price-level book: proved by Kraken's checksum after every message, and the MBO messages it becomes."""

from __future__ import annotations

from functools import partial
from typing import Final

from penstock import numbers
from penstock.book import Book, Change, check_room
from penstock.dbn import ASK, BID, F_MAYBE_BAD_BOOK
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, MAX_QUANTITY, MAX_SIZE, fixed
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.numbers import Remembered, number
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.kraken.definitions import Known
from providers.kraken.events import gap
from providers.kraken.ladder import PROVEN, Ladder, Levels, checksum
from providers.kraken.readings import Book as Reading
from providers.kraken.readings import RawLevel

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for a new snapshot at most this often, of receive time: two requests of the venue's message rate each."""

DEPTHS: Final = (10, 25, 100, 500, 1000)
"""What a subscription can ask for (https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book, read 2026-11)."""


class BookStream:
    """The book of one channel.

    Kraken numbers nothing here: a message proves itself by the CRC32 of the ten best levels a side after it. Where it
    differs, or where there is no snapshot yet, a gap is declared, messages carry F_MAYBE_BAD_BOOK and a snapshot is asked
    for. Deeper levels, where a subscription has them, are kept but not published: nothing proves them.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._book = Book(publisher.publisher_id, known.id)
        self._bids, self._asks = Ladder(-1), Ladder(1)
        self._prices, self._sizes = Remembered(_price), Remembered(partial(numbers.size, lot=known.lot, field="qty"))
        self._decimals = (known.price_decimals, known.size_decimals)
        self._depth = PROVEN
        self._started = False
        self._doubtful = False
        self._ts_event = 0
        self._venue_time = 0
        self._ask_again_at = 0

    def take(self, reading: Reading, ts_recv: int) -> list[Output]:
        """Apply a message. Raises PayloadError with nothing changed."""
        levels = self._levels(reading.bids), self._levels(reading.asks)
        if self._old(reading):
            return []
        depth = reading.depth or (_depth(reading) if reading.snapshot else self._depth)
        fresh = reading.snapshot
        before = (Ladder(-1), Ladder(1)) if fresh else (self._bids, self._asks)
        bids, asks = (side.applied(new, depth) for side, new in zip(before, levels, strict=True))
        tops = bids.top(), asks.top()
        changes = self._changes(*tops)
        decimals = reading.printed or self._decimals
        # From here on nothing raises.
        self._bids, self._asks, self._depth, self._decimals = bids, asks, depth, decimals
        self._ts_event = ts_recv if reading.ts_event is None else reading.ts_event
        if reading.ordered:
            self._venue_time = self._ts_event
        outputs: list[Output] = []
        if fresh:
            self._started, self._doubtful = True, False
        if not self._doubtful and (marker := self._wrong(reading.checksum, *tops)) is not None:
            outputs.append(self.doubt(marker, self._ts_event))
        flags = F_MAYBE_BAD_BOOK if self._doubtful else 0
        if fresh:
            content = self._book.replace(*tops, self._ts_event, ts_recv, 0, flags)
        else:
            content = self._book.update(changes, self._ts_event, ts_recv, 0, flags)
        if content:
            outputs.append(Message("MBO", self._channel, content))
        return outputs + self.ask(ts_recv) if self._doubtful else outputs

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """Something is missing: declare it, and flag what follows until the next snapshot."""
        self._doubtful = True
        return gap(self._publisher, self.known.id, "MBO", self._channel, marker, ts_event)

    def ask(self, ts_recv: int) -> list[Output]:
        """Ask for a snapshot, unless that was done a moment ago."""
        if ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + RESYNC_SPACING_NS
        return [Resync(self._channel)]

    def image(self, ts_recv: int) -> Message | None:
        """The book as a snapshot message; None while it is doubtful."""
        if not self._started or self._doubtful:
            return None
        return Message("MBO", self._channel, self._book.image(self._ts_event, ts_recv, 0))

    def _wrong(self, sent: int | None, bids: Levels, asks: Levels) -> Gap | None:
        """What proves that something is missing, if anything does."""
        if not self._started:
            return Gap("no_snapshot")
        if sent is not None and (made := checksum(asks, bids, self.known.lot, self._decimals)) != sent:
            return Gap("checksum", sent, made)
        if bids and asks and bids[0][0] >= asks[0][0]:
            return Gap("crossed", bids[0][0], asks[0][0])
        return None

    def _old(self, reading: Reading) -> bool:
        """True for what is older than the book: out of order, or the other lane's copy in an archive.

        Such a message must not be applied, as its checksum may be right: that of a state which has passed. Were one left
        out that should not be, the checksum of the next would say so.
        """
        if not reading.ordered or reading.ts_event is None or reading.ts_event >= self._venue_time:
            return False
        return not reading.snapshot or (self._archive and not self._doubtful)

    def _changes(self, bids: Levels, asks: Levels) -> list[Change]:
        """What takes the published levels to these, removals first so that a book never crosses on the way.

        Raises PayloadError("number_range" | "size_range") for a price or quantity that DBN cannot hold.
        """
        removed: list[Change] = []
        changed: list[Change] = []
        for side, before, after in ((BID, self._book.bids, dict(bids)), (ASK, self._book.asks, dict(asks))):
            removed += [(side, price, 0) for price in before if price not in after]
            changed += [(side, price, size) for price, size in after.items() if before.get(price) != size]
        for side, price, size in changed:
            if not 0 < price <= MAX_FIXED:
                raise PayloadError("number_range", "price", price, "a price above 0, below 9.22e18 at 1e-9")
            if size > MAX_SIZE:
                check_room(side, price, size)
        return removed + changed

    def _levels(self, levels: list[RawLevel]) -> Levels:
        prices, sizes = self._prices, self._sizes
        return [(prices[price], sizes[size]) for price, size in levels]


def _depth(snapshot: Reading) -> int:
    """The smallest depth that can have given a snapshot: what a session here subscribes to is the smallest there is."""
    most = max(len(snapshot.bids), len(snapshot.asks))
    return next((depth for depth in DEPTHS if depth >= most), most)


def _price(raw: bytes) -> int:
    """Beyond DBN's prices too: a book of 2021 had an ask at 9,999,999,997 CHF, far from what is published of it."""
    return fixed(number(raw), limit=MAX_QUANTITY)
