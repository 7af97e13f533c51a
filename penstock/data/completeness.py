"""The completeness reports of published days as tables: what was seen, by whom, and what nobody saw."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from penstock.channels import INSTANCES
from penstock.data.lake import Day, Lake, WhenUnpublished
from penstock.data.span import Moment, Span
from penstock.errors import Terminal

_COUNTS: Final = ("primary", "replica", "merged", "both", "primary_only", "replica_only")
_COVERED: Final = (*INSTANCES, "EITHER")

_OF: Final = [("day", pa.date32()), ("schema", pa.string()), ("channel", pa.string())]
_HOURS: Final = pa.schema(
    [
        *_OF, ("hour", pa.uint8()), *((name, pa.uint64()) for name in _COUNTS),
        *((f"covered_{name.lower()}_ns", pa.uint64()) for name in _COVERED),
    ]
)  # fmt: skip
_UNCOVERED: Final = pa.schema([*_OF, ("start", pa.uint64()), ("end", pa.uint64())])
_GAPS: Final = pa.schema(
    [*_OF, ("ts_event", pa.uint64()), ("reason", pa.string()), ("expected", pa.uint64()), ("got", pa.uint64())]
)
_RECORDS: Final = pa.schema([*_OF[:2], ("records", pa.uint64())])
_QUARANTINED: Final = pa.schema([_OF[0], ("reason", pa.string()), ("frames", pa.uint64())])


def completeness(
    provider: str,
    start: Moment,
    end: Moment | None = None,
    *,
    source: str | Path,
    unpublished: WhenUnpublished = "refuse",
) -> Completeness:
    """The reports of every UTC day that has a part in the span from `start` until just before `end` (without it: of
    `start`'s day). `source` as in `load`.

    Raises Unpublished where a day has no manifest: nothing is known of it (`unpublished="warn"`: warns and leaves it
    out). Raises Terminal where a published day has no report.
    """
    lake, name = Lake(source), provider.upper().replace("-", "_")
    days = lake.days(name, Span.of(start, end), unpublished)
    return Completeness(name, {day.day: _report(lake, day) for day in days})


@dataclass(frozen=True)
class Completeness:
    """Reports by day. `reports` is their JSON as plain data; the methods are pyarrow.Tables over all days.

    Times are UNIX ns, durations ns, counts messages where nothing else is said.
    """

    provider: str
    reports: dict[dt.date, dict[str, Any]] = field(repr=False)

    def hours(self) -> Any:
        """One row per channel and hour: messages seen by each lane, merged, from both, from one alone; and how long each
        lane and either of them covered the channel (`covered_primary_ns`, `covered_replica_ns`, `covered_either_ns`)."""
        return _table(
            _HOURS,
            (
                _hour((day, schema, channel), row)
                for day, schema, channel, found in self._channels()
                for row in found["hours"]
            ),
        )

    def uncovered(self) -> Any:
        """One row per interval in which neither lane covered a channel that was open: `start` and `end`."""
        return _table(
            _UNCOVERED,
            (
                (day, *of, gap["start"], gap["end"])
                for day, *of, channel in self._channels()
                for gap in channel["uncovered"]
            ),
        )

    def gaps(self) -> Any:
        """One row per gap that the normalizer found in the venue's own numbering: when, why, the number it expected and
        the one it got."""
        names = _GAPS.names[1:]
        return _table(
            _GAPS, ((day, *(gap[name] for name in names)) for day, one in self.reports.items() for gap in one["gaps"])
        )

    def holes(self) -> list[dict[str, Any]]:
        """Envelopes lost between one lane's processes: `day`, `lane`, and what the report says of each. The other lane may
        have what is missing."""
        return [{"day": day, **hole} for day, report in self.reports.items() for hole in report["holes"]]

    def records(self) -> Any:
        """One row per day and schema: how many canonical records there are."""
        return _table(
            _RECORDS, ((day, *pair) for day, report in self.reports.items() for pair in report["records"].items())
        )

    def quarantined(self) -> Any:
        """One row per day and reason: frames that the normalizer refused."""
        return _table(
            _QUARANTINED,
            ((day, *pair) for day, report in self.reports.items() for pair in report["quarantined"].items()),
        )

    def _channels(self) -> Iterator[tuple[dt.date, str, str, dict[str, Any]]]:
        for day, report in self.reports.items():
            for channel in report["channels"]:
                yield day, channel["schema"], channel["channel"], channel


def _report(lake: Lake, day: Day) -> dict[str, Any]:
    for item in day.objects:
        if item.key.startswith("reports/") and item.key.endswith("completeness.json"):
            report: dict[str, Any] = msgspec.json.decode(lake.get(item))
            return report
    raise Terminal(f"{lake.url}: the manifest of {day.day} names no completeness report")


def _hour(of: tuple[dt.date, str, str], row: dict[str, Any]) -> tuple[Any, ...]:
    covered = (row["covered_ns"][name] for name in _COVERED)
    return (*of, row["hour"], *(row[name] for name in _COUNTS), *covered)


def _table(schema: Any, rows: Iterable[tuple[Any, ...]]) -> Any:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema=schema)
