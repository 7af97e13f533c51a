"""DBN records as rows of Arrow tables: DBN's own column names, signed integers, plus symbol and venue channel."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import databento_dbn as dbn
import pyarrow as pa

from penstock.dbn import RECORD_BYTES

_CLASSES: Final = {
    "TRADES": dbn.TradeMsg, "MBO": dbn.MBOMsg, "MBP_1": dbn.MBP1Msg, "MBP_10": dbn.MBP10Msg, "TBBO": dbn.MBP1Msg,
    "BBO_1S": dbn.BBOMsg, "BBO_1M": dbn.BBOMsg, "OHLCV_1S": dbn.OHLCVMsg, "OHLCV_1M": dbn.OHLCVMsg,
    "OHLCV_1H": dbn.OHLCVMsg, "OHLCV_1D": dbn.OHLCVMsg, "DEFINITION": dbn.InstrumentDefMsg, "STATISTICS": dbn.StatMsg,
    "STATUS": dbn.StatusMsg,
}  # fmt: skip

# SQL engines have signed integers, and some misread Parquet's unsigned ones: Trino, and so Athena, refuses the statistics
# of UINT_32 columns above 2³¹ (https://github.com/trinodb/trino/issues/27274, read 2026-11), Spark makes decimals of
# UINT_64. So each unsigned field has the next wider signed type; 64 bits keep their bits, 2⁶⁴−1 (undefined) reads −1.
_INTEGERS: Final = {
    "u1": ("B", pa.int16()), "u2": ("H", pa.int32()), "u4": ("I", pa.int64()), "u8": ("q", pa.int64()),
    "i1": ("b", pa.int8()), "i2": ("h", pa.int16()), "i4": ("i", pa.int32()), "i8": ("q", pa.int64()),
}  # fmt: skip


class Column(NamedTuple):
    """One field of a record: where `struct` puts it, and whether it is text in bytes."""

    name: str
    place: int
    kind: Any
    text: bool


class Layout:
    """How the records of one channel schema (`MBP_1`) become columns."""

    def __init__(self, schema: str) -> None:
        described: Any = _CLASSES[schema]
        codes, places = [], {}
        for place, (name, dtype) in enumerate(described._dtypes):  # noqa: SLF001 # what databento's own reader uses
            text = dtype[0] == "S"
            code, kind = (f"{dtype[1:]}s", pa.string()) if text else _INTEGERS[dtype]
            codes.append(code)
            places[name] = Column(name, place, kind, text)
        self._struct = struct.Struct("<" + "".join(codes))
        assert self._struct.size in RECORD_BYTES.values()
        self._columns = [places[name] for name in described._ordered_fields]  # noqa: SLF001
        self._instrument = places["instrument_id"].place
        fields = [(column.name, column.kind) for column in self._columns]
        self.schema = pa.schema([*fields, ("symbol", pa.string()), ("channel", pa.string())])

    def table(self, data: bytes, venue_channels: list[str], symbols: Mapping[int, str]) -> pa.Table:
        """Whole records of this schema as a table; `venue_channels` has one name for each record."""
        rows = list(zip(*self._struct.iter_unpack(data), strict=True))
        columns = [_array(rows[column.place], column) for column in self._columns]
        ids = rows[self._instrument]
        columns.append(pa.array([symbols.get(number, "") for number in ids], pa.string()))
        columns.append(pa.array(venue_channels, pa.string()))
        return pa.table(columns, schema=self.schema)


def _array(values: tuple[Any, ...], column: Column) -> pa.Array:
    if column.text:
        return pa.array([value.rstrip(b"\0").decode("ascii", "replace") for value in values], column.kind)
    return pa.array(values, column.kind)
