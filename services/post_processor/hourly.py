"""The completeness report by channel and hour, in one flat row each: what the page is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from penstock.channels import INSTANCES
from penstock.timestamps import NS_PER_S
from services.post_processor.intervals import Interval, length
from services.post_processor.lanes import Hour

HOUR_NS: Final = 3600 * NS_PER_S


class Cell(NamedTuple):
    """One channel and hour. Counts are messages as in lanes.Hour, durations ns.

    `gaps`: breaks in the venue's own numbering that the normalizer declared; `uncovered_ns`: how long neither lane
    covered the channel; `filled`: trades that both lanes missed and REST brought. What is still missing is behind `gaps`
    and `uncovered_ns`; a channel that only gaps are known of has no messages.
    """

    schema: str
    channel: str
    hour: int
    primary: int = 0
    replica: int = 0
    merged: int = 0
    both: int = 0
    primary_only: int = 0
    replica_only: int = 0
    covered_primary_ns: int = 0
    covered_replica_ns: int = 0
    covered_either_ns: int = 0
    uncovered_ns: int = 0
    gaps: int = 0
    filled: int = 0

    @property
    def alone(self) -> int:
        """Messages that one lane lacked and the other filled."""
        return self.primary_only + self.replica_only

    @property
    def state(self) -> str:
        """The worst that is to be said: missing, filled (by REST), alone (by one lane), whole, or silent."""
        if self.gaps or self.uncovered_ns:
            return "missing"
        if self.filled:
            return "filled"
        if self.alone:
            return "alone"
        return "whole" if self.merged or self.covered_either_ns else "silent"


def cells(report: dict[str, Any], start: int) -> Iterator[Cell]:
    """Every channel and hour of a report about which there is something to say, sorted. `start` is the day's, UNIX ns."""
    known: dict[tuple[str, str, int], Cell] = {}
    for channel in report["channels"]:
        where = channel["schema"], channel["channel"]
        missed = () if channel.get("whole") else channel["uncovered"]
        lost = [Interval(gap["start"], gap["end"]) for gap in missed]
        for row in channel["hours"]:
            known[*where, row["hour"]] = _cell(where, row)
        for hour in range(24):
            within = Interval(start + hour * HOUR_NS, start + (hour + 1) * HOUR_NS)
            if uncovered := length(lost, within):
                key = (*where, hour)
                known[key] = known.get(key, Cell(*key))._replace(uncovered_ns=uncovered)
    for gap in report["gaps"]:
        key = gap["schema"], gap["channel"], min(23, max(0, (gap["ts_event"] - start) // HOUR_NS))
        cell = known.get(key, Cell(*key))
        known[key] = cell._replace(gaps=cell.gaps + 1)
    return (known[key] for key in sorted(known))


def _cell(where: tuple[str, str], row: dict[str, Any]) -> Cell:
    covered = row["covered_ns"]
    cell = Cell(*where, row["hour"], *(row[name] for name in Hour._fields[1:-1]))._replace(filled=row["filled"])
    primary, replica = (covered[instance] for instance in INSTANCES)
    return cell._replace(covered_primary_ns=primary, covered_replica_ns=replica, covered_either_ns=covered["EITHER"])
