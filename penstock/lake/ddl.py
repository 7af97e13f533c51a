"""Athena's CREATE EXTERNAL TABLE of each table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from penstock.lake.glue import described
from penstock.lake.tables import Table

_OF_GLUE: Final = {"EXTERNAL"}
"""Parameters that the statement itself stands for."""


def statements(tables: Iterable[Table], roots: Mapping[str, str]) -> dict[str, str]:
    """The statement for each table by its name; `roots` as in `described`."""
    return {name: _statement(name, table) for name, table in described(tables, roots).items()}


def _statement(name: str, table: Mapping[str, Any]) -> str:
    parameters = {key: value for key, value in table["parameters"].items() if key not in _OF_GLUE}
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS `{name}` (\n{_columns(table['columns'])}\n)\n"
        f"COMMENT {_text(table['comment'])}\n"
        f"PARTITIONED BY (\n{_columns(table['partition_keys'])}\n)\n"
        f"ROW FORMAT SERDE {_text(table['serde'])}\n"
        f"WITH SERDEPROPERTIES (\n{_pairs(table['serde_parameters'])}\n)\n"
        f"STORED AS INPUTFORMAT {_text(table['input_format'])}\nOUTPUTFORMAT {_text(table['output_format'])}\n"
        f"LOCATION {_text(table['location'])}\n"
        f"TBLPROPERTIES (\n{_pairs(parameters)}\n)"
    )


def _columns(columns: Iterable[Mapping[str, str]]) -> str:
    return ",\n".join(
        f"  `{column['name']}` {column['type']}"
        + (f" COMMENT {_text(column['comment'])}" if column.get("comment") else "")
        for column in columns
    )


def _pairs(pairs: Mapping[str, str]) -> str:
    return ",\n".join(f"  {_text(name)} = {_text(value)}" for name, value in pairs.items())


def _text(value: str) -> str:
    # Hive reads \u0001 and \' in its literals.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + "'"
