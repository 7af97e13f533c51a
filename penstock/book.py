"""One instrument's price-level book, kept as MBO records with F_MBP: what normalizers publish deltas from.

Prices are at 1e-9, sizes in lots. Times are handed in. Nothing here knows a venue's sequence rule: the normalizer
decides when a book is broken and says so with `flags`.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from penstock.dbn import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_SNAPSHOT,
    MODIFY,
    NONE,
    RECORD_BYTES,
    RTYPE_MBO,
    UNDEF_PRICE,
    MboPart,
    mbo_message,
)
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, split

Level = tuple[int, int]
"""(price at 1e-9, size in lots)."""

Change = tuple[bytes, int, int]
"""(side BID or ASK, price at 1e-9, new absolute size in lots; 0 removes the level)."""

_PART: Final = 1 << 63
_MBO_BYTES: Final = RECORD_BYTES[RTYPE_MBO]
_FLAGS_OFFSET: Final = 36


def order_id(side: bytes, price: int, part: int = 0) -> int:
    """The u64 id of a price level, `price << 1 | (1 for asks)`, so both lanes give a level the same id.

    A level beyond u32 lots has further parts (65,000 BTC bid at 0.04 USD, as seen on Coinbase, has 1,514). Their ids
    set the top bit, then 3 bits say how many nibbles (8 to 15) the level's own id takes at the low end; the part stands
    between. Raises PayloadError("size_range") where it has no room: beyond 255 further parts above 140,000 units of
    price, 15 above 2.2 million, none above 36 million.
    """
    key = price << 1 | (side == ASK)
    if not part:
        return key
    nibbles = max(8, (key.bit_length() + 3) // 4)
    if nibbles > 15 or part >> (60 - 4 * nibbles):
        raise PayloadError("size_range", "price", price, "a lower price for a level of so many lots")
    return _PART | (nibbles - 8) << 60 | part << 4 * nibbles | key


def check_room(side: bytes, price: int, size: int) -> None:
    """Raises PayloadError("size_range") for a level of more parts than it has ids, before a book is half changed."""
    order_id(side, price, len(split(size)) - 1)


def doubtful(message: bytes) -> bytes:
    """A message of MBO records with F_MAYBE_BAD_BOOK set in each."""
    marked = bytearray(message)
    for offset in range(_FLAGS_OFFSET, len(marked), _MBO_BYTES):
        marked[offset] |= F_MAYBE_BAD_BOOK
    return bytes(marked)


class Book:
    """Bids and asks of one instrument. Methods return the bytes of one whole message, b"" where nothing changed."""

    __slots__ = ("_ask_heap", "_bid_heap", "asks", "bids", "instrument_id", "publisher_id")

    def __init__(self, publisher_id: int, instrument_id: int) -> None:
        self.publisher_id = publisher_id
        self.instrument_id = instrument_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        # Heaps of every price seen, tops discarded when their level is gone: best prices without scanning the book.
        self._bid_heap: list[int] = []
        self._ask_heap: list[int] = []

    def update(self, changes: Iterable[Change], ts_event: int, ts_recv: int, sequence: int, flags: int = 0) -> bytes:
        """Apply absolute level sizes and return their records: A, M or C each, F_LAST on the last.

        Removing an unknown level changes nothing, as venues document that it happens. Several changes of one level are
        applied in the order given.
        """
        bids, asks = self.bids, self.asks
        parts: list[MboPart] = []
        for side, price, size in changes:
            is_bid = side == BID
            levels = bids if is_bid else asks
            old = levels.get(price)
            if size == 0:
                if old is None:
                    continue
                del levels[price]
                if old <= MAX_SIZE:
                    parts.append((price << 1 if is_bid else price << 1 | 1, price, old, CANCEL, side))
                    continue
            else:
                levels[price] = size
                if old is None:
                    self._remember(side, price)
                    if size <= MAX_SIZE:
                        parts.append((price << 1 if is_bid else price << 1 | 1, price, size, ADD, side))
                        continue
                elif size <= MAX_SIZE and old <= MAX_SIZE:
                    parts.append((price << 1 if is_bid else price << 1 | 1, price, size, MODIFY, side))
                    continue
            parts.extend(_resize(side, price, old or 0, size))
        return self._pack(parts, ts_event, ts_recv, sequence, flags | F_MBP)

    def replace(
        self, bids: Iterable[Level], asks: Iterable[Level], ts_event: int, ts_recv: int, sequence: int, flags: int = 0
    ) -> bytes:
        """Take a snapshot as the whole book and return it as records: R, then A for each level, all F_SNAPSHOT."""
        self.bids = {price: size for price, size in bids if size}
        self.asks = {price: size for price, size in asks if size}
        self._bid_heap = sorted(-price for price in self.bids)
        self._ask_heap = sorted(self.asks)
        return self.image(ts_event, ts_recv, sequence, flags)

    def image(self, ts_event: int, ts_recv: int, sequence: int, flags: int = 0) -> bytes:
        """The present book as a snapshot message: R, then bids from the best down, then asks from the best up."""
        flags |= F_MBP | F_SNAPSHOT
        parts: list[MboPart] = [(0, UNDEF_PRICE, 0, CLEAR, NONE)]
        for side, levels in ((BID, sorted(self.bids.items(), reverse=True)), (ASK, sorted(self.asks.items()))):
            low_bit = side == ASK
            for price, size in levels:
                if size <= MAX_SIZE:
                    parts.append((price << 1 | low_bit, price, size, ADD, side))
                else:
                    parts.extend(_resize(side, price, 0, size))
        return self._pack(parts, ts_event, ts_recv, sequence, flags)

    @property
    def best_bid(self) -> int | None:
        """Price at 1e-9 of the highest bid, None where there is none."""
        heap, levels = self._bid_heap, self.bids
        while heap and -heap[0] not in levels:
            heappop(heap)
        return -heap[0] if heap else None

    @property
    def best_ask(self) -> int | None:
        """Price at 1e-9 of the lowest ask, None where there is none."""
        heap, levels = self._ask_heap, self.asks
        while heap and heap[0] not in levels:
            heappop(heap)
        return heap[0] if heap else None

    @property
    def crossed(self) -> bool:
        """True where the best bid is at or above the best ask: no venue here has such a book in continuous trading."""
        bid_heap, ask_heap = self._bid_heap, self._ask_heap
        # The best_* properties, when a top is gone, do what takes longer.
        bid = -bid_heap[0] if bid_heap and -bid_heap[0] in self.bids else self.best_bid
        ask = ask_heap[0] if ask_heap and ask_heap[0] in self.asks else self.best_ask
        return bid is not None and ask is not None and bid >= ask

    def _remember(self, side: bytes, price: int) -> None:
        heap, key, levels = (self._bid_heap, -price, self.bids) if side == BID else (self._ask_heap, price, self.asks)
        heappush(heap, key)
        if len(heap) > 2 * len(levels) + 1024:
            # A level that comes and goes leaves a key each time; rebuild before they outweigh the book.
            heap[:] = sorted(-price for price in levels) if side == BID else sorted(levels)

    def _pack(self, parts: list[MboPart], ts_event: int, ts_recv: int, sequence: int, flags: int) -> bytes:
        if not parts:
            return b""
        return mbo_message(self.publisher_id, self.instrument_id, ts_event, parts, flags, ts_recv, sequence)


def _resize(side: bytes, price: int, old: int, new: int) -> list[MboPart]:
    """The records that take a level from `old` to `new` lots where either needs more than one part."""
    before, after = split(old) if old else [], split(new) if new else []
    changes = []
    for part in range(max(len(before), len(after))):
        key = order_id(side, price, part)
        if part >= len(after):
            changes.append((key, price, before[part], CANCEL, side))
        elif part >= len(before):
            changes.append((key, price, after[part], ADD, side))
        elif before[part] != after[part]:
            changes.append((key, price, after[part], MODIFY, side))
    return changes
