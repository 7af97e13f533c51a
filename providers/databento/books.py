"""One instrument's orders, as its MBO records tell of them. The records are published as they came: this only knows
whether they can be whole, and can tell the book to who comes late.

What the actions do to a book: https://databento.com/docs/schemas-and-data-formats/mbo, read 2026-11. A cancel's size is what
it takes away, a modify's what remains; trades and fills (T, F) change nothing, the cancels behind them do.
"""

from __future__ import annotations

import struct
from typing import Final

from penstock.dbn import (
    ADD,
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
_ACTION: Final = slice(38, 39)
_IMAGE: Final = F_SNAPSHOT | F_BAD_TS_RECV  # as Databento marks its own

_Order = tuple[bytes, int, int, int, bytes, int]
"""header, price, size, channel_id, side, sequence"""


def is_start(frame: bytes) -> bool:
    """Whether an MBO frame tells the book from its beginning: a snapshot, or a clear as at the start of a session."""
    return bool(frame[_FLAGS_AT] & F_SNAPSHOT) or frame[_ACTION] == CLEAR


def doubted(frame: bytes) -> bytes:
    """The frame with F_MAYBE_BAD_BOOK on every record."""
    flagged = bytearray(frame)
    for at in range(_FLAGS_AT, len(flagged), MBO_BYTES):
        flagged[at] |= F_MAYBE_BAD_BOOK
    return bytes(flagged)


class OrderBook:
    """Orders by id, older ones first as far as they kept their place.

    `whole`: it began with a snapshot or clear, and no record since spoke of an order that is not there.
    """

    __slots__ = ("_last", "_orders", "whole")

    def __init__(self) -> None:
        self.whole = False
        self._orders: dict[int, _Order] = {}
        self._last = b""

    def apply(self, frame: bytes) -> bool:
        """Take one event. False where it cancels or changes an order that is not there, which proves a loss before."""
        if is_start(frame):
            self._orders.clear()
            self.whole = True
        orders, known = self._orders, True
        for head, number, price, size, _, channel, action, side, _, _, sequence in _RECORD.iter_unpack(frame):
            if action == ADD:
                orders[number] = head, price, size, channel, side, sequence
            elif action == CANCEL:
                held = orders.get(number)
                if held is None:
                    known = False
                elif held[2] > size:
                    orders[number] = head, price, held[2] - size, channel, side, sequence
                else:
                    del orders[number]
            elif action == MODIFY:
                held = orders.get(number)
                if held is None:
                    known = False
                elif held[1] != price or size > held[2]:
                    del orders[number]  # it goes to the end of the queue
                orders[number] = head, price, size, channel, side, sequence
            elif action == CLEAR:
                orders.clear()
        self._last = frame[-MBO_BYTES:]
        self.whole = self.whole and known
        return known

    def image(self, ts_recv: int) -> bytes:
        """The book as one snapshot message at `ts_recv` (UNIX ns)."""
        last = _RECORD.unpack(self._last)
        head, channel, sequence = last[0], last[5], last[10]
        pack = _RECORD.pack
        records = [pack(head, 0, UNDEF_PRICE, 0, _IMAGE, channel, CLEAR, NONE, ts_recv, 0, sequence)]
        records += [
            pack(head, number, price, size, _IMAGE, channel, ADD, side, ts_recv, 0, sequence)
            for number, (head, price, size, channel, side, sequence) in self._orders.items()
        ]
        image = bytearray(b"".join(records))
        image[_FLAGS_AT - MBO_BYTES] |= F_LAST
        return bytes(image)
