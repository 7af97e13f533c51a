"""Views with real types, in Athena's SQL: prices and quantities as exact decimals, times as timestamps, NULL where DBN
says undefined. `trades_readable` reads `trades`, and so on; `frames` reads `raw`. `local` runs the same text on DuckDB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.dbn import UNDEF_ORDER_SIZE, UNDEF_PRICE
from penstock.lake.tables import RECORDS, Column, Table

UNDEF_64: Final = -1
"""DBN's undefined timestamp or volume, 2⁶⁴−1, in signed columns."""

_PRICE: Final = re.compile(
    r"price|open|high|low|close|(bid|ask)_px_\d\d|\w+_price|min_price_increment(_amount)?|display_factor|price_ratio"
    r"|max_price_variation|leg_delta"
)
_SIZE: Final = re.compile(r"size|volume|(bid|ask)_sz_\d\d")
_TIME: Final = re.compile(r"ts_recv|ts_event|ts_ref|expiration|activation")
_QUANTITY: Final = "decimal(38,9)"
_LOT: Final = "decimal(19,9)"
_TIMESTAMP: Final = "timestamp(3)"
_NANO: Final = "CAST('0.000000001' AS decimal(9,9))"
_WIDER: Final = {"string": "varchar", "int": "integer"}
_DAY: Final = ("provider", "year", "month", "day")

_STATISTICS: Final = {
    1: "opening_price", 3: "settlement_price", 4: "low_24h", 5: "high_24h", 6: "volume_24h", 9: "open_interest",
    10: "index_price", 11: "close_price", 12: "change_24h", 13: "vwap_24h", 14: "implied_volatility", 15: "delta",
    20001: "mark_price", 20002: "funding_rate", 20003: "estimated_delivery_price", 20004: "funding_rate_8h",
    20005: "last_price", 20006: "liquidation", 20035: "base_usd_price", 20036: "underlying_price",
}  # fmt: skip
"""Names of stat_type, as docs/normalization.md states them."""


class Output(NamedTuple):
    """A view's column: its name, Athena's type of it, and the expression."""

    name: str
    type: str
    sql: str


class View(NamedTuple):
    """`sql` is the SELECT; `columns` are (name, Athena type). `needs` are the tables and views that it reads."""

    name: str
    sql: str
    columns: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]

    @property
    def statement(self) -> str:
        """Athena's CREATE VIEW."""
        return f"CREATE OR REPLACE VIEW {self.name} AS\n{self.sql}"


def views(tables: Iterable[Table]) -> tuple[View, ...]:
    """Every view, in an order in which each may be made."""
    known = {table.name: table for table in tables}
    found = [_lots(), _frames("frames", "raw"), _frames("frames_intermediate", "raw_intermediate")]
    found += [_readable(table) for name, table in known.items() if name.upper() in RECORDS]
    return tuple(view for view in found if set(view.needs) - {"lots"} <= set(known))


def price(name: str) -> str:
    """A price at 1e-9 as an exact decimal."""
    return f"CAST(CAST(NULLIF({name}, {UNDEF_PRICE}) AS decimal(19,0)) * {_NANO} AS {_LOT})"


def _time(name: str) -> str:
    return f"CAST(from_unixtime_nanos(NULLIF({name}, {UNDEF_64})) AS {_TIMESTAMP})"


def _quantity(name: str) -> str:
    undefined, digits = (UNDEF_64, 19) if name == "volume" else (UNDEF_ORDER_SIZE, 10)
    return f"CAST(CAST(NULLIF(r.{name}, {undefined}) AS decimal({digits},0)) * l.lot AS {_QUANTITY})"


def _readable(table: Table) -> View:
    """A canonical table with its columns' names and order, of real types; `time_…` are the times of `ts_…`."""
    has = {column.name for column in table.columns}
    sized = any(_SIZE.fullmatch(column.name) for column in table.columns)
    outputs = [Output("provider", "varchar", "r.provider")]
    outputs += [
        Output(name.replace("ts_", "time_"), _TIMESTAMP, _time(f"r.{name}"))
        for name in ("ts_event", "ts_recv") if name in has
    ]  # fmt: skip
    outputs += [Output(name, "varchar", f"r.{name}") for name in ("symbol", "channel")]
    outputs += [out for column in table.columns if column.name not in {"symbol", "channel"} for out in _outputs(column)]
    if table.name == "statistics":
        outputs.append(Output("statistic", "varchar", _named()))
    if table.name == "definition":
        outputs.append(Output("lot", _LOT, _lot("r.unit_of_measure_qty")))
    if sized:
        outputs += [Output("lot", _LOT, "l.lot"), Output("unit", "varchar", "l.unit")]
    outputs += [Output(name, "integer", f"r.{name}") for name in _DAY[1:]]
    source = f"FROM {table.name} r"
    if sized:
        time = "ts_recv" if "ts_recv" in has else "ts_event"
        same = " AND ".join(f"l.{name} = r.{name}" for name in (*_DAY, "instrument_id"))
        source += f"\nLEFT JOIN lots l ON {same}\n  AND r.{time} >= l.valid_from AND r.{time} < l.valid_until"
    needs = (table.name, "lots") if sized else (table.name,)
    return _view(f"{table.name}_readable", outputs, source, needs)


def _outputs(column: Column) -> list[Output]:
    """What becomes of one column."""
    name, kind = column.name, _WIDER.get(column.type, column.type)
    quoted = f'r."{name}"' if name == "group" else f"r.{name}"
    if name == "ts_ref":
        return [Output(name, "bigint", f"NULLIF({quoted}, {UNDEF_64})")]
    if name in {"ts_event", "ts_recv"}:
        # Nanoseconds stay: timestamps that every client of Athena takes have milliseconds. And bare: row groups are left
        # out by the statistics of a column, not of an expression.
        return [Output(name, "bigint", quoted)]
    if _TIME.fullmatch(name):
        return [Output(name, _TIMESTAMP, _time(quoted))]
    if _PRICE.fullmatch(name) and column.type == "bigint":
        return [Output(name, _LOT, price(quoted))]
    if _SIZE.fullmatch(name):
        return [Output(name, _QUANTITY, _quantity(name))]
    if name == "quantity":
        return [Output(name, "bigint", f"NULLIF({quoted}, {UNDEF_PRICE})")]
    return [Output(name, kind, quoted)]


def _named() -> str:
    cases = " ".join(f"WHEN {number} THEN '{name}'" for number, name in _STATISTICS.items())
    return f"CASE r.stat_type {cases} ELSE CAST(r.stat_type AS varchar) END"


def _lot(name: str) -> str:
    # A definition without a unit of measure counts contracts or shares: DBN's own meaning.
    return f"CAST(CAST(IF({name} > 0 AND {name} < {UNDEF_PRICE}, {name}, 1000000000) AS decimal(19,0)) * {_NANO} AS {_LOT})"


def _lots() -> View:
    """The lot of each instrument and of each moment of a day: definitions repeat, and a few change."""
    day = ", ".join(_DAY)
    order = f"OVER (PARTITION BY {day}, instrument_id ORDER BY ts_recv)"
    outputs = [
        *(Output(name, "varchar" if name == "provider" else "integer", name) for name in _DAY),
        Output("instrument_id", "bigint", "instrument_id"), Output("symbol", "varchar", "symbol"),
        Output("unit", "varchar", "unit"), Output("lot", _LOT, "lot"),
        # What came before the first definition of the day is read by that one.
        Output("valid_from", "bigint", "IF(before IS NULL, 0, ts_recv)"),
        Output("valid_until", "bigint", f"lead(ts_recv, 1, {2**63 - 1}) {order}"),
    ]  # fmt: skip
    source = f"""FROM (
  SELECT *, lag(lot) {order} AS before
  FROM (
    SELECT {day}, instrument_id, raw_symbol AS symbol, unit_of_measure AS unit, ts_recv,
      {_lot("unit_of_measure_qty")} AS lot
    FROM definition
  )
)
WHERE before IS NULL OR before <> lot"""  # noqa: S608 # made of constants
    return _view("lots", outputs, source, ("definition",))


def _frames(name: str, table: str) -> View:
    """Raw rows with numbers and times; `channel_name` is the venue's own, which the key `channel` has percent-encoded."""
    body = "from_utf8(from_base64(substr(payload, 8)))"
    outputs = [
        Output("time_recv", _TIMESTAMP, "CAST(from_unixtime_nanos(CAST(ts_recv AS bigint)) AS timestamp(3))"),
        *(Output(column, "bigint", f"CAST({column} AS bigint)") for column in ("ts_recv", "epoch")),
        Output("connection", "integer", "CAST(connection AS integer)"),
        Output("sequence", "bigint", "CAST(sequence AS bigint)"),
        Output("payload", "varchar", f"IF(payload LIKE 'base64:%', {body}, payload)"),
        Output("channel_name", "varchar", "url_decode(channel)"),
        *(Output(key, "varchar", key) for key in ("instance", "provider", "schema", "channel")),
        *(Output(key, "integer", key) for key in _DAY[1:]),
    ]
    return _view(name, outputs, f"FROM {table}", (table,))


def _view(name: str, outputs: Iterable[Output], source: str, needs: tuple[str, ...]) -> View:
    outputs = list(outputs)
    selected = ",\n".join(
        f'  {out.sql} AS "{out.name}"' if out.sql != out.name else f'  "{out.name}"' for out in outputs
    )
    return View(name, f"SELECT\n{selected}\n{source}", tuple((out.name, out.type) for out in outputs), needs)
