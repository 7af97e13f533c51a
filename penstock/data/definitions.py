"""What turns DBN's integers into exact prices and quantities: the definitions stored beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock.dbn import UNDEF_ORDER_SIZE, UNDEF_PRICE
from penstock.errors import ConfigError
from penstock.lots import SCALE, decimal_text

COLUMNS: Final = (
    "ts_recv", "instrument_id", "raw_symbol", "group", "instrument_class", "min_price_increment", "unit_of_measure_qty",
    "unit_of_measure",
)  # fmt: skip
"""What of a definition is read: the rest of its 70 columns is `load(…, "definition", …)`."""

PRICE: Final = pa.decimal128(19, 9)
"""The type of exact prices: every 64-bit integer at 1e-9 fits."""

_PRICES: Final = re.compile(r"(price|open|high|low|close|(bid|ask)_px_\d\d|min_price_increment|\w+_price)$")
_SIZES: Final = re.compile(r"(size|volume|(bid|ask)_sz_\d\d)$")
_UNDEF_64: Final = -1
"""DBN's undefined timestamp or volume, 2⁶⁴−1, in the signed columns of a table."""
_TIMES: Final = re.compile(r"(ts_recv|ts_event|ts_ref|expiration|activation)$")


def price(value: int) -> Decimal | None:
    """A price, rate or increment at 1e-9 as an exact decimal; None for DBN's undefined price."""
    return None if value == UNDEF_PRICE else Decimal(decimal_text(value))


class Definitions:
    """The instruments of a selection, as of each moment in it.

    `table` has one row for each definition, an instrument's oldest first: `ts_recv` (UNIX ns), `instrument_id`,
    `raw_symbol`, `group` (BASE/QUOTE, with :SETTLE for derivatives), `instrument_class`, `min_price_increment` (1e-9),
    `unit_of_measure_qty` (the lot at 1e-9) and `unit_of_measure` (what it is counted in).
    """

    def __init__(self, table: Any) -> None:
        self.table = table.sort_by([("instrument_id", "ascending"), ("ts_recv", "ascending")])
        ids, since = _numbers(self.table, "instrument_id"), _numbers(self.table, "ts_recv")
        lots = _numbers(self.table, "unit_of_measure_qty")
        # DBN's own meaning of a definition without a unit of measure: sizes count contracts or shares.
        lots = np.where((lots > 0) & (lots < UNDEF_PRICE), lots, SCALE)
        known, first = np.unique(ids, return_index=True)
        known, first = np.unique(ids, return_index=True)
        history = zip(np.split(since, first[1:]), np.split(lots, first[1:]), strict=True)
        self._lots = dict(zip(known.tolist(), history, strict=False))
        self._latest = {symbol: n for n, symbol in enumerate(self.table.column("raw_symbol").to_pylist())}

    @property
    def symbols(self) -> list[str]:
        """The raw symbols that are defined, sorted."""
        return sorted(self._latest)

    def lot(self, symbol: str) -> Decimal:
        """The quantity of one unit of size, in `unit(symbol)`, by the newest definition. Raises KeyError."""
        row = self._row(symbol)
        return Decimal(decimal_text(int(self._lots[row["instrument_id"]][1][-1])))

    def unit(self, symbol: str) -> str:
        """What a quantity of it counts: "BTC", or "USD" for inverse contracts; "" for contracts. Raises KeyError."""
        return str(self._row(symbol)["unit_of_measure"])

    def quantity(self, symbol: str, *sizes: int) -> Decimal | None:
        """The exact quantity, in `unit(symbol)`, of a size in lots, or of the several one large trade is split into.
        None where one of them is DBN's undefined size. Raises KeyError."""
        return None if UNDEF_ORDER_SIZE in sizes else sum(sizes) * self.lot(symbol)

    def readable(self, table: Any) -> Any:
        """`table` with what a person reads in the place of DBN's integers, nothing rounded:

        times as timestamp[ns, UTC], prices as decimal128(19, 9), sizes in lots as quantities in the instrument's unit
        (decimal, 9 decimals); DBN's undefined values as null. What has one meaning only as an integer stays one
        (`quantity` of statistics depends on its type). Needs the columns `instrument_id` and, for sizes, the time.
        Raises ConfigError where an instrument with sizes has no definition.
        """
        columns = [self._column(table, name) for name in table.column_names]
        return pa.table(columns, names=table.column_names)

    def _row(self, symbol: str) -> dict[str, Any]:
        row: dict[str, Any] = self.table.slice(self._latest[symbol], 1).to_pylist()[0]
        return row

    def _column(self, table: Any, name: str) -> Any:
        values = table.column(name).combine_chunks()
        if _TIMES.match(name):
            defined = pc.if_else(pc.equal(values, _UNDEF_64), None, values)
            return pc.cast(defined, pa.timestamp("ns", "UTC"))
        if _PRICES.match(name) and values.type == pa.int64():
            return decimals(values)
        if _SIZES.match(name):
            return self._quantities(name, values, table)
        return values

    def _quantities(self, name: str, sizes: Any, table: Any) -> Any:
        lots = decimals(pa.array(self._lots_of(table)))
        known = pc.if_else(pc.equal(sizes, _UNDEF_64 if name == "volume" else UNDEF_ORDER_SIZE), None, sizes)
        if name != "volume":
            return pc.multiply(pc.cast(pc.cast(known, pa.uint32()), pa.decimal128(10, 0)), lots)
        # 64 bits times 64 bits is more than decimal128 promises to hold.
        return pc.multiply(pc.cast(known, pa.decimal256(19, 0)), pc.cast(lots, pa.decimal256(19, 9)))

    def _lots_of(self, table: Any) -> Any:
        """The lot at 1e-9 of each row, by the definition that was the newest at its time."""
        ids = _numbers(table, "instrument_id")
        times = _numbers(table, "ts_recv" if "ts_recv" in table.column_names else "ts_event")
        found = np.empty(len(ids), np.int64)
        for one in np.unique(ids):
            if int(one) not in self._lots:
                raise ConfigError(f"instrument {one} has no definition on these days: its sizes stay lots, use arrow()")
            since, lots = self._lots[int(one)]
            rows = ids == one
            # What came before the first definition of the day is read by that one.
            found[rows] = lots[np.maximum(np.searchsorted(since, times[rows], "right") - 1, 0)]
        return found


def decimals(values: Any) -> Any:
    """An int64 Arrow array at 1e-9 as decimal128(19, 9), null where it is DBN's undefined price."""
    low = values.fill_null(0).to_numpy(zero_copy_only=False)
    # decimal128 is a little-endian 128-bit integer with its scale aside: sign extension is all there is to do.
    whole = np.stack((low, low >> 63), axis=1)
    found = pa.Array.from_buffers(PRICE, len(low), [None, pa.py_buffer(whole.astype("<i8").tobytes())])
    undefined = pc.or_kleene(pc.is_null(values), pc.equal(values, UNDEF_PRICE))
    return pc.if_else(undefined, pa.scalar(None, PRICE), found)


def needed(columns: Sequence[str], time: str) -> list[str]:
    """Columns, and those that `Definitions.readable` needs beside them for sizes; `time` is their schema's."""
    also = ["instrument_id", time] if any(map(_SIZES.match, columns)) else []
    return list(dict.fromkeys([*columns, *also]))


def _numbers(table: Any, name: str) -> Any:
    return table.column(name).to_numpy()
