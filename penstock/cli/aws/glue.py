"""python -m penstock.cli.aws.glue DATABASE FINAL SQL: Athena's SQL on DuckDB, over tables as Glue describes them.

Columns, partition keys, formats and places are what Terraform made in Glue; nothing is taken from our own description.
Prints JSON: columns and rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from penstock.lake.local import LocalLake
from penstock.lake.projection import Injected, Key, check
from penstock.lake.tables import Column, Table

_FORMATS: Final = {
    "org.apache.hadoop.hive.serde2.OpenCSVSerde": "csv",
    "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe": "parquet",
}


def table(described: Mapping[str, Any], final: str) -> Table:
    """One table of Glue's. Raises ValueError where its projection is wrong, KeyError for a SerDe that is none of ours."""
    storage, parameters = described["StorageDescriptor"], described["Parameters"]
    keys = [key["Name"] for key in described["PartitionKeys"]]
    if wrong := check(keys, parameters):
        raise ValueError(f"Glue's table {described['Name']}: {'; '.join(wrong)}")
    bucket, _, folder = storage["Location"].removeprefix("s3://").rstrip("/").partition("/")
    template = parameters["storage.location.template"].removeprefix(storage["Location"])
    return Table(
        described["Name"], str(described.get("Description") or ""),
        "final" if bucket == urlsplit(final).netloc else "intermediate",
        "csv" if _FORMATS[storage["SerdeInfo"]["SerializationLibrary"]] == "csv" else "parquet", folder, template,
        tuple(Column(column["Name"], column["Type"]) for column in storage["Columns"]),
        tuple(Key(key["Name"], key["Type"], Injected()) for key in described["PartitionKeys"]),
    )  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Run one statement; endpoint and credentials are the AWS SDK's own."""
    import boto3

    database, final, sql = argv
    pages = boto3.client("glue").get_paginator("get_tables").paginate(DatabaseName=database)
    tables = [table(one, final) for page in pages for one in page["TableList"]]
    with LocalLake(tables, final) as lake:
        columns, rows = lake.query(sql)
    print(json.dumps({"columns": columns, "rows": rows}, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
