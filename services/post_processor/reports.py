"""The report as objects of the dataset, and back: JSON with all of it, tables for SQL, a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq

from penstock.objectstore import ObjectStore
from penstock.timestamps import day_start_ns
from services.post_processor.hourly import cells
from services.post_processor.page import page
from services.post_processor.publication import Manifest, Published, Shelf, pretty
from services.post_processor.reporttables import completeness_table, missing_table

_JSON: Final = "completeness.json"


def store(shelf: Shelf, report: dict[str, Any], scratch: Path) -> list[Published]:
    """Store a report, in all its forms."""
    provider, channels, start = report["provider"], len(report["channels"]), day_start_ns(shelf.day)
    path = scratch / _JSON
    path.write_bytes(pretty(report))
    stored = [shelf.put(f"reports/provider={provider}", path, channels)]
    for name, table in (("completeness", completeness_table(report)), ("missing", missing_table(report))):
        path = scratch / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd")
        stored.append(shelf.put(f"{name}/provider={provider}", path, table.num_rows))
    path = scratch / "completeness.html"
    path.write_text(page(report, list(cells(report, start)), start), "utf-8")
    stored.append(shelf.put(f"pages/provider={provider}", path, channels))
    return stored


def load(lake: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """The report of a published day, as plain data."""
    (key,) = (item.key for item in manifest.objects if item.key.startswith("reports/") and item.key.endswith(_JSON))
    report: dict[str, Any] = msgspec.json.decode(lake.get(key))
    return report
