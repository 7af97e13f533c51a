"""One instrument's orders, as its MBO records tell of them. The records are published as they came: this only knows
whether they can be whole, and can tell the book to who comes late.

What the actions do to a book: https://databento.com/docs/schemas-and-data-formats/mbo, read 2026-11. A cancel's size is what
it takes away, a modify's what remains; trades and fills (T, F) change nothing, the cancels behind them do.
"""

from __future__ import annotations

import struct
from heapq import heappop, heappush
from typing import Final

from penstock.dbn import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    MODIFY,
    NONE,
    UNDEF_PRICE,
)
from penstock.framing import MBO_BYTES

_RECORD: Final = struct.Struct("<16sQqIBBccQiI")
_FLAGS_AT: Final = 36
_ACTION_AT: Final = 38
_SIDE_AT: Final = 39
_ACTIONS, _SIDES = b"AMCRTFN", b"ABN"
_SPARE: Final = 64  # prices left over in a heap before it is made anew
_IMAGE: Final = F_SNAPSHOT | F_BAD_TS_RECV  # as Databento marks its own

_Order = tuple[int, int, bytes]
"""price, size, side"""


def is_start(frame: bytes) -> bool:
    """Whether an MBO frame tells the book from its beginning: a snapshot, or a clear as at the start of a session."""
    return bool(frame[_FLAGS_AT] & F_SNAPSHOT) or frame[_ACTION_AT] == ord(CLEAR)


def is_whole(frame: bytes) -> bool:
    """Whether an MBO frame ends where its event does."""
    return bool(frame[_FLAGS_AT - MBO_BYTES] & F_LAST)


def is_readable(frame: bytes) -> bool:
    """Whether every record's action and side are letters that DBN knows."""
    return not frame[_ACTION_AT::MBO_BYTES].strip(_ACTIONS) and not frame[_SIDE_AT::MBO_BYTES].strip(_SIDES)


def doubted(frame: bytes) -> bytes:
    """The frame with F_MAYBE_BAD_BOOK on every record."""
    flagged = bytearray(frame)
    for at in range(_FLAGS_AT, len(flagged), MBO_BYTES):
        flagged[at] |= F_MAYBE_BAD_BOOK
    return bytes(flagged)


class _Side:
    """How many orders there are at each price, and the best price; `sign` is -1 for bids, 1 for asks."""

    __slots__ = ("_heap", "_sign", "counts")

    def __init__(self, sign: int) -> None:
        self.counts: dict[int, int] = {}
        self._heap: list[int] = []
        self._sign = sign

    def add(self, price: int) -> None:
        count = self.counts.get(price, 0)
        self.counts[price] = count + 1
        if not count and price != UNDEF_PRICE:
            heappush(self._heap, price * self._sign)
            if len(self._heap) > _SPARE + 4 * len(self.counts):
                self._heap = sorted(each * self._sign for each in self.counts if each != UNDEF_PRICE)

    def remove(self, price: int) -> None:
        count = self.counts.pop(price) - 1
        if count:
            self.counts[price] = count

    def best(self) -> int | None:
        """The best price at 1e-9; None where there is no order."""
        heap, counts, sign = self._heap, self.counts, self._sign
        while heap and heap[0] * sign not in counts:
            heappop(heap)
        return heap[0] * sign if heap else None


class OrderBook:
    """Orders by id, older ones first as far as they kept their place.

    `whole`: it began with a snapshot or clear, and no record since spoke of an order that is not there.
    """

    __slots__ = ("_last", "_orders", "_sides", "whole")

    def __init__(self) -> None:
        self.whole = False
        self._last = b""
        self._clear()

    def _clear(self) -> None:
        self._orders: dict[int, _Order] = {}
        self._sides = {BID: _Side(-1), ASK: _Side(1)}

    @property
    def crossed(self) -> bool:
        """Whether somebody bids more than somebody asks."""
        bid, ask = self._sides[BID].best(), self._sides[ASK].best()
        return bid is not None and ask is not None and bid > ask

    def apply(self, frame: bytes) -> bool:
        """Take one event. False where it cancels or changes an order that is not there, which proves a loss before."""
        if is_start(frame):
            self._clear()
            self.whole = True
        known = True
        for _, number, price, size, _, _, action, side, _, _, _ in _RECORD.iter_unpack(frame):
            if action == ADD:
                self._take(number)
                self._put(number, (price, size, side))
            elif action == CANCEL:
                held = self._orders.get(number)
                if held is None:
                    known = False
                elif held[1] > size:
                    self._orders[number] = held[0], held[1] - size, held[2]
                else:
                    self._take(number)
            elif action == MODIFY:
                held = self._orders.get(number)
                known = known and held is not None
                if held is None or held[0] != price or held[2] != side or size > held[1]:
                    self._take(number)  # it goes to the end of the queue
                    self._put(number, (price, size, side))
                else:
                    self._orders[number] = price, size, side
            elif action == CLEAR:
                self._clear()
        self._last = frame[-MBO_BYTES:]
        self.whole = self.whole and known
        return known

    def _put(self, number: int, order: _Order) -> None:
        self._orders[number] = order
        if (side := self._sides.get(order[2])) is not None:
            side.add(order[0])

    def _take(self, number: int) -> None:
        order = self._orders.pop(number, None)
        if order is not None and (side := self._sides.get(order[2])) is not None:
            side.remove(order[0])

    def image(self) -> bytes:
        """The book as one snapshot message as of its last event: that is when and with which sequence it was so."""
        head, *_, channel, _, _, ts_recv, _, sequence = _RECORD.unpack(self._last)
        pack = _RECORD.pack
        records = [pack(head, 0, UNDEF_PRICE, 0, _IMAGE, channel, CLEAR, NONE, ts_recv, 0, sequence)]
        records += [
            pack(head, number, price, size, _IMAGE, channel, ADD, side, ts_recv, 0, sequence)
            for number, (price, size, side) in self._orders.items()
        ]
        image = bytearray(b"".join(records))
        image[_FLAGS_AT - MBO_BYTES] |= F_LAST
        return bytes(image)
