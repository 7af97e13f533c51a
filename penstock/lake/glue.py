"""Tables as Glue knows them: one description, from which DDL and Terraform's tables are made alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from penstock.lake.projection import properties
from penstock.lake.tables import Column, Table

STORES: Final = ("intermediate", "final")

_CSV: Final = {
    "serde": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
    # No payload holds U+0001 (penstock/objectstore_raw.py): without an escape character of its own the SerDe takes the
    # backslash, and JSON's \" loses it.
    "serde_parameters": {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\x01"},
    "input_format": "org.apache.hadoop.mapred.TextInputFormat",
    "output_format": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "parameters": {"EXTERNAL": "TRUE", "classification": "csv", "skip.header.line.count": "1"},
}
_PARQUET: Final = {
    "serde": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    "serde_parameters": {"serialization.format": "1"},
    "input_format": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "output_format": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
}
_FORMATS: Final[dict[str, dict[str, Any]]] = {"csv": _CSV, "parquet": _PARQUET}


def described(tables: Iterable[Table], roots: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Glue's description of each table, by name, as plain data. `roots` has the URL of either store
    (`s3://bucket/prefix`, or a placeholder of the reader's own)."""
    return {table.name: _described(table, roots[table.store].rstrip("/")) for table in tables}


def _described(table: Table, root: str) -> dict[str, Any]:
    form = _FORMATS[table.format]
    location = f"{root}/{table.folder}/" if table.folder else f"{root}/"
    return {
        "comment": table.comment,
        "store": table.store,
        "location": location,
        "columns": [_column(column) for column in table.columns],
        "partition_keys": [{"name": key.name, "type": key.type} for key in table.keys],
        **{name: form[name] for name in ("serde", "serde_parameters", "input_format", "output_format")},
        "parameters": {**form["parameters"], **properties(table.keys, f"{location}{table.template}")},
    }


def _column(column: Column) -> dict[str, str]:
    return {"name": column.name, "type": column.type, "comment": column.comment}
