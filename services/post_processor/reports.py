"""The report as objects of the dataset, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from penstock.objectstore import ObjectStore
from services.post_processor.publication import Manifest, Published, Shelf, pretty
from services.post_processor.reporttables import completeness_table, missing_table

_JSON = "completeness.json"


def store(shelf: Shelf, report: dict[str, Any], scratch: Path) -> list[Published]:
    """Store a report: as JSON, and as the tables that SQL reads."""
    provider, path = report["provider"], scratch / _JSON
    path.write_bytes(pretty(report))
    stored = [shelf.put(f"reports/provider={provider}", path, len(report["channels"]))]
    for name, table in (("completeness", completeness_table(report)), ("missing", missing_table(report))):
        path = scratch / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd")
        stored.append(shelf.put(f"{name}/provider={provider}", path, table.num_rows))
    return stored


def load(lake: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """The report of a published day, as plain data."""
    (key,) = (item.key for item in manifest.objects if item.key.startswith("reports/") and item.key.endswith(_JSON))
    report: dict[str, Any] = msgspec.json.decode(lake.get(key))
    return report
