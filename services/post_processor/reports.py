"""The report as objects of the dataset, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from penstock.objectstore import ObjectStore
from services.post_processor.publication import Manifest, Published, Shelf, pretty

_JSON = "completeness.json"


def store(shelf: Shelf, report: dict[str, Any], scratch: Path) -> list[Published]:
    """Store a report."""
    path = scratch / _JSON
    path.write_bytes(pretty(report))
    return [shelf.put(f"reports/provider={report['provider']}", path, len(report["channels"]))]


def load(lake: ObjectStore, manifest: Manifest) -> dict[str, Any]:
    """The report of a published day, as plain data."""
    (key,) = (item.key for item in manifest.objects if item.key.startswith("reports/") and item.key.endswith(_JSON))
    report: dict[str, Any] = msgspec.json.decode(lake.get(key))
    return report
