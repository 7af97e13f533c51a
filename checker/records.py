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


def level_changes(records: Iterable[Any], lot: Decimal) -> dict[tuple[str, Decimal], Decimal]:
    """Absolute level quantities that one MBO message (not a snapshot) states, parts of one level summed."""
    levels: dict[tuple[str, Decimal], Decimal] = {}
    for record in records:
        key = (str(record.side), price(record.price))
        amount = Decimal(0) if str(record.action) == "C" else Decimal(record.size) * lot
        levels[key] = levels.get(key, Decimal(0)) + amount
    return levels
