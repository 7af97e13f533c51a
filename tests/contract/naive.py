"""DBN records read as plainly as possible, sharing no code with what wrote them: layouts from rust/dbn/src/record.rs."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

MBO = struct.Struct("<BBHIQQqIBBccQiI")
TRADE = struct.Struct("<BBHIQqIccBBQiI")
DEFINITION, ERROR, SYSTEM = 0x13, 0x15, 0x17
F_LAST, F_SNAPSHOT, F_MAYBE_BAD_BOOK = 128, 32, 4
SCALE = Decimal(10) ** 9

Levels = dict[Decimal, Decimal]


def split(data: bytes) -> Iterator[bytes]:
    """The records of a message."""
    at = 0
    while at < len(data):
        size = data[at] * 4
        assert size >= 16, "a record has at least a header"
        assert at + size <= len(data), "records are whole"
        yield data[at : at + size]
        at += size


def flags(data: bytes) -> int:
    """The flags of an MBO message's last record."""
    return int(MBO.unpack(data[-56:])[8])


def is_gap(data: bytes) -> bool:
    return data[1] == ERROR


def gap_reason(data: bytes) -> str:
    text = data[16:318].rstrip(b"\0").decode()
    return text.split("reason=")[1].split(" ")[0]


class Trade(NamedTuple):
    instrument_id: int
    ts_event: int
    price: Decimal
    size: int
    side: str


def trades(data: bytes) -> Trade:
    """The one trade of a TRADES message, whose records are parts of one size."""
    parts = [TRADE.unpack(record) for record in split(data)]
    first = parts[0]
    assert all((part[3], part[4], part[5], part[8]) == (first[3], first[4], first[5], first[8]) for part in parts)
    return Trade(first[3], first[4], Decimal(first[5]) / SCALE, sum(part[6] for part in parts), first[8].decode())


class Definition(NamedTuple):
    raw_symbol: str
    lot: Decimal


def definition(data: bytes) -> tuple[int, Definition]:
    """instrument_id and facts of a DEFINITION message, by Databento's decoder."""
    import databento_dbn

    decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(data)
    (record,) = decoder.decode()
    return record.instrument_id, Definition(record.raw_symbol, Decimal(record.unit_of_measure_qty) / SCALE)


class Book:
    """Orders by id, and their sum by level. Sizes are in lots."""

    def __init__(self) -> None:
        self.instrument_id = 0
        self.bad = True
        """Before the first snapshot, and from a gap until the next one."""
        self._orders: dict[int, tuple[str, int, int]] = {}
        self._levels: defaultdict[tuple[str, int], int] = defaultdict(int)

    def apply(self, data: bytes) -> set[tuple[str, int]]:
        """Apply one MBO message; the (side, price) of each level it changes."""
        touched = set()
        last = b""
        for last in split(data):
            fields = MBO.unpack(last)
            order_id, price, size, action, side = fields[5], fields[6], fields[7], fields[10], fields[11].decode()
            if action == b"R":
                touched |= self._levels.keys()
                self._orders.clear()
                self._levels.clear()
                continue
            if action in {b"T", b"F", b"N"}:
                continue  # what a trade does to resting orders is told by the records behind it
            before = self._orders.pop(order_id, None)
            if before is not None:
                touched.add(self._add(before[0], before[1], -before[2]))
            if action in {b"A", b"M"}:
                self._orders[order_id] = (side, price, size)
                touched.add(self._add(side, price, size))
            elif action == b"C":
                doubtful = fields[8] & F_MAYBE_BAD_BOOK
                assert before is not None or doubtful, "only what is in the book can be cancelled"
                if before is not None and before[2] > size:
                    self._orders[order_id] = (before[0], before[1], before[2] - size)
                    self._add(before[0], before[1], before[2] - size)
        self.instrument_id = MBO.unpack(last)[3]
        assert MBO.unpack(last)[8] & F_LAST, "a message ends with F_LAST"
        self.bad = bool(flags(data) & F_MAYBE_BAD_BOOK)
        return touched

    def _add(self, side: str, price: int, size: int) -> tuple[str, int]:
        level = (side, price)
        self._levels[level] += size
        if not self._levels[level]:
            del self._levels[level]
        return level

    def level(self, side: str, price: int) -> int:
        """Lots at a price."""
        return self._levels.get((side, price), 0)

    def crossed(self) -> bool:
        """Somebody bids more than somebody asks."""
        bids = [price for side, price in self._levels if side == "B"]
        asks = [price for side, price in self._levels if side == "A"]
        return bool(bids and asks) and max(bids) > min(asks)

    def levels(self, lot: Decimal) -> tuple[Levels, Levels]:
        """Bids and asks: price → quantity in the venue's unit."""
        bids, asks = (
            {Decimal(price) / SCALE: size * lot for (side, price), size in self._levels.items() if side == wanted}
            for wanted in "BA"
        )
        return bids, asks
