"""Athena's SQL on DuckDB: the text is transpiled, and what DuckDB does not have stands here as macros.

DuckDB is set to divide integers as Athena does, and to take UTC for the session's time zone.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import sqlglot
from sqlglot import exp

from penstock.errors import ConfigError

_MACROS: Final = (
    "from_unixtime_nanos(ns) AS make_timestamp_ns(ns::BIGINT)",
    "at_timezone(moment, zone) AS timezone(zone, moment)",
    "to_utf8(text) AS encode(text)",
    "is_nan(x) AS isnan(x)",
    "truncate(x) AS trunc(x)",
)


def prepare(database: Any) -> None:
    """Make a DuckDB connection understand what `to_duckdb` writes."""
    database.execute("SET integer_division = true")
    database.execute("SET TimeZone = 'UTC'")
    for macro in _MACROS:
        database.execute(f"CREATE MACRO {macro}")


def to_duckdb(sql: str) -> str:
    """One statement of Athena's SQL as DuckDB's. Raises ConfigError where it is no such statement."""
    # sqlglot warns through logging of what it passes on as it is; DuckDB's own answer says more.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        parsed = sqlglot.parse(sql, read="athena")
    except sqlglot.errors.ParseError as error:
        found = error.errors[0] if error.errors else {}
        where = f"line {found['line']}, column {found['col']}: {found['description']}" if found else str(error)
        raise ConfigError(f"the SQL cannot be read, {where}") from None
    except sqlglot.errors.TokenError as error:
        raise ConfigError(f"the SQL cannot be read: {' '.join(str(error).split())}") from None
    statements = [statement for statement in parsed if statement is not None]
    if len(statements) != 1:
        raise ConfigError(f"the SQL has {len(statements)} statements, expected one")
    return str(statements[0].transform(_translated).sql(dialect="duckdb"))


def _translated(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.DateDiff):
        # Athena counts whole units that have passed, DuckDB's date_diff boundaries that were crossed.
        unit = exp.Literal.string(str(node.args.get("unit") or "day").strip("'").lower())
        return exp.Anonymous(this="date_sub", expressions=[unit, node.expression, node.this])
    if isinstance(node, exp.Cast) and node.to.is_type("timestamp") and node.to.expressions:
        # DuckDB has no way from nanoseconds to any other precision but through microseconds.
        node.set("this", exp.cast(node.this, "timestamp"))
        return node
    if isinstance(node, exp.Cast) and node.to.is_type("decimal") and not node.to.expressions and node.this.is_string:
        # DECIMAL '0.001' has the digits it is written with.
        return exp.Literal.number(node.this.name)
    if isinstance(node, exp.Decode):
        # Athena puts U+FFFD for what is no UTF-8, DuckDB a question mark.
        return exp.Anonymous(this="decode", expressions=[node.this, exp.Literal.string("replace")])
    return node
