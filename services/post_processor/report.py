"""The completeness report of one provider and day: what was seen, by whom, and what nobody saw."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from penstock.channels import INSTANCES
from penstock.timestamps import NS_PER_S, day_start_ns
from services.post_processor.coverage import Coverage, Hole
from services.post_processor.engine import Normalized
from services.post_processor.intervals import Interval, length, union
from services.post_processor.lanes import Hour

_HOUR_NS = 3600 * NS_PER_S


def completeness(
    provider: str,
    day: dt.date,
    coverage: Coverage,
    hours: dict[tuple[str, str], list[Hour]],
    normalized: Normalized,
    whole: Collection[str] = (),
) -> dict[str, Any]:
    """The report as plain data; times are UNIX ns, counts are messages. `hours` is by (schema, channel); `whole` names the
    channels whose numbering shows, since REST was asked, that no trade is missing, whatever time was uncovered."""
    start = day_start_ns(day)
    return {
        "provider": provider,
        "day": day.isoformat(),
        **canonical_part(normalized),
        "holes": [_hole(hole) for hole in coverage.holes],
        "channels": [
            _channel(schema, channel, hours.get((schema, channel), []), coverage, start)
            | ({"whole": True} if channel in whole else {})
            for schema, channel in sorted(hours)
        ],
    }


def canonical_part(normalized: Normalized) -> dict[str, Any]:
    """What the report says of the canonical day."""
    return {
        "frames": normalized.frames,
        "records": normalized.records,
        "quarantined": normalized.quarantined,
        "gaps": [gap._asdict() for gap in normalized.gaps],
    }


def _channel(schema: str, channel: str, hours: list[Hour], coverage: Coverage, start: int) -> dict[str, Any]:
    covered = [coverage.covered(lane, channel) for lane in range(len(INSTANCES))]
    counted = {hour.hour: hour for hour in hours}
    rows = []
    for number in range(24):
        within = Interval(start + number * _HOUR_NS, start + (number + 1) * _HOUR_NS)
        lengths = [length(intervals, within) for intervals in covered]
        if number in counted or any(lengths):
            row: dict[str, Any] = (counted.get(number) or Hour(number, 0, 0, 0, 0, 0, 0))._asdict()
            row["covered_ns"] = dict(zip(INSTANCES, lengths, strict=True))
            row["covered_ns"]["EITHER"] = length(union(*covered), within)
            rows.append(row)
    return {
        "schema": schema,
        "channel": channel,
        "hours": rows,
        "uncovered": [gap._asdict() for gap in coverage.gaps(channel)],
    }


def _hole(hole: Hole) -> dict[str, Any]:
    return {**hole._asdict(), "lane": INSTANCES[hole.lane]}
