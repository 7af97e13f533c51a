"""The completeness report as tables for SQL: `completeness`, hour by hour, and `missing`, one row for whatever is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from penstock.channels import INSTANCES

_COUNTS: Final = ("primary", "replica", "merged", "both", "primary_only", "replica_only")
_COVERED: Final = (*INSTANCES, "EITHER")

COMPLETENESS: Final = pa.schema(
    [
        ("schema", pa.string()), ("channel", pa.string()), ("hour", pa.int32()),
        *((name, pa.int64()) for name in _COUNTS),
        *((f"covered_{name.lower()}_ns", pa.int64()) for name in _COVERED),
    ]
)  # fmt: skip
"""Messages by channel and hour, as docs/lake.md says of completeness.json."""

MISSING: Final = pa.schema(
    [
        ("kind", pa.string()), ("schema", pa.string()), ("channel", pa.string()), ("lane", pa.string()),
        ("ts_start", pa.int64()), ("ts_end", pa.int64()), ("reason", pa.string()), ("expected", pa.int64()),
        ("got", pa.int64()), ("frames", pa.int64()),
    ]
)  # fmt: skip
"""`kind` is uncovered, gap, hole or quarantined; what a kind does not say is null. Times are UNIX ns."""


def completeness_table(report: dict[str, Any]) -> Any:
    """One row per channel and hour."""
    rows = (
        (channel["schema"], channel["channel"], hour["hour"], *(hour[name] for name in _COUNTS),
         *(hour["covered_ns"][name] for name in _COVERED))
        for channel in report["channels"]
        for hour in channel["hours"]
    )  # fmt: skip
    return _table(COMPLETENESS, rows)


def missing_table(report: dict[str, Any]) -> Any:
    """One row per interval that neither lane covered, gap in a venue's numbering, hole between processes, and reason of
    quarantine."""
    return _table(MISSING, _missing(report))


def _missing(report: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for channel in report["channels"]:
        for gap in channel["uncovered"]:
            where = channel["schema"], channel["channel"], None
            yield "uncovered", *where, gap["start"], gap["end"], None, None, None, None
    for gap in report["gaps"]:
        at, numbers = gap["ts_event"], (_whole(gap["expected"]), _whole(gap["got"]))
        yield "gap", gap["schema"], gap["channel"], None, at, at, gap["reason"], *numbers, None
    for hole in report["holes"]:
        reason = "declared" if hole["declared"] else "undeclared"
        first, last = hole["first"], hole["last"]
        yield "hole", None, None, hole["lane"], hole["start"], hole["end"], reason, first, last, last - first + 1
    for reason, frames in sorted(report["quarantined"].items()):
        yield "quarantined", None, None, None, None, None, reason, None, None, frames


def _whole(number: int) -> int | None:
    """A venue's number, null where SQL's integers do not hold it."""
    return number if -(2**63) <= number < 2**63 else None


def _table(schema: Any, rows: Iterable[tuple[Any, ...]]) -> Any:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema=schema)
