"""DBN bytes to the few facts the checker compares, by databento_dbn's own decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import databento_dbn as dbn

BILLION = Decimal(10**9)

SIZES = {0x00: 48, 0x01: 80, 0x0A: 368, 0x12: 40, 0x13: 520, 0x15: 320, 0x17: 320, 0x18: 80, 0xA0: 56}


@dataclass(slots=True)
class Symbols:
    """instrument_id to (raw_symbol, lot as a quantity), learned from definition records."""

    known: dict[int, tuple[str, Decimal]]

    def learn(self, record: Any) -> None:
        lot = Decimal(record.unit_of_measure_qty) / BILLION
        self.known[record.instrument_id] = (record.raw_symbol, lot)


def decode(data: bytes) -> list[Any]:
    """The records of one message. Raises ValueError on bytes that are not whole DBN v3 records."""
    offset = 0
    while offset < len(data):
        size = data[offset] * 4
        if (
            offset + 16 > len(data)
            or SIZES.get(data[offset + 1], size) != size
            or size < 16
            or offset + size > len(data)
        ):
            raise ValueError(f"bad DBN framing at byte {offset} of {len(data)}")
        offset += size
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(data)
    return list(decoder.decode())


def read_file(path: Path) -> Iterator[Any]:
    """The records of a .dbn.zst file, metadata left out."""
    decoder = dbn.DBNDecoder(compression=dbn.Compression("zstd"))
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            decoder.write(block)
            yield from (record for record in decoder.decode() if not isinstance(record, dbn.Metadata))


def price(raw: int) -> Decimal:
    """A DBN price as an exact decimal."""
    return Decimal(raw) / BILLION


class Depth:
    """The resting orders of one book by level: a level's quantity is the sum of its orders'.

    A quantity beyond DBN's sizes stands there as several orders; an update has records only of those that changed.
    """

    def __init__(self) -> None:
        self._orders: dict[tuple[str, Decimal], dict[int, Decimal]] = {}

    def apply(self, records: Iterable[Any], lot: Decimal) -> dict[tuple[str, Decimal], Decimal]:
        """Take one MBO message; the absolute quantities of the levels it touched. R starts over."""
        touched: dict[tuple[str, Decimal], None] = {}
        for record in records:
            action = str(record.action)
            if action == "R":
                self._orders.clear()
                continue
            level = (str(record.side), price(record.price))
            orders = self._orders.setdefault(level, {})
            if action == "C":
                orders.pop(record.order_id, None)
            else:
                orders[record.order_id] = Decimal(record.size) * lot
            touched[level] = None
        return {level: sum(self._orders[level].values(), Decimal(0)) for level in touched}
