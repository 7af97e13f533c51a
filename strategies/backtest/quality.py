"""What the completeness reports say of the data a backtest ran on."""

from __future__ import annotations

from typing import Any, NamedTuple

from strategies.feed.dataset import Dataset, Part
from strategies.feed.loader import Window


class Uncovered(NamedTuple):
    """A time (UNIX ns) at which neither lane received a venue channel."""

    channel: str
    start: int
    end: int


class Quality(NamedTuple):
    """One provider's day. Frames are those merged from both lanes; `alone` of them only one lane brought. `gaps` the
    venue's own numbering shows within the window; `uncovered` within the window, longest first. `holes` are envelopes lost
    between processes, `quarantined` frames the normalizer refused, both of the whole day. `reported` is False where the
    data has no report, and then nothing is known of its losses."""

    provider: str
    day: str
    reported: bool
    frames: int = 0
    alone: int = 0
    gaps: int = 0
    uncovered: tuple[Uncovered, ...] = ()
    holes: int = 0
    quarantined: int = 0

    @property
    def name(self) -> str:
        """Whose day it is."""
        return f"{self.provider} {self.day}".strip()

    @property
    def clean(self) -> bool:
        """Whether nothing is known to be missing."""
        return self.reported and not (self.gaps or self.uncovered or self.holes or self.quarantined)

    @property
    def sentence(self) -> str:
        """What is known to be missing, in words."""
        if not self.reported:
            return "no completeness report: what is missing is unknown"
        longest = max((gap.end - gap.start for gap in self.uncovered), default=0) / 1e9
        said = [
            _counted(self.gaps, "gap", "gaps") + " in the venue's numbering" if self.gaps else "",
            _counted(len(self.uncovered), "time", "times") + f" without coverage (longest {longest:,.1f} s)"
            if longest
            else "",
            _counted(self.holes, "hole", "holes") + " between processes" if self.holes else "",
            _counted(self.quarantined, "frame", "frames") + " refused" if self.quarantined else "",
        ]
        return ", ".join(part for part in said if part) or "nothing known to be missing"


def noted(dataset: Dataset, parts: list[Part], window: Window) -> list[Quality]:
    """The notes on every part."""
    return [_quality(part, dataset.report(part), window) for part in parts]


def _quality(part: Part, report: dict[str, Any] | None, window: Window) -> Quality:
    day = part.day.isoformat() if part.day else ""
    if report is None:
        return Quality(part.provider, day, reported=False)
    uncovered = [
        Uncovered(channel["channel"], max(gap["start"], window.start), min(gap["end"], window.end))
        for channel in report["channels"]
        for gap in channel["uncovered"]
        if gap["start"] < window.end and gap["end"] > window.start
    ]
    hours = [hour for channel in report["channels"] for hour in channel["hours"]]
    return Quality(
        part.provider,
        day,
        reported=True,
        frames=sum(hour["merged"] for hour in hours),
        alone=sum(hour["primary_only"] + hour["replica_only"] for hour in hours),
        gaps=sum(window.start <= gap["ts_event"] < window.end for gap in report["gaps"]),
        uncovered=tuple(sorted(uncovered, key=lambda gap: gap.start - gap.end)),
        holes=len(report["holes"]),
        quarantined=sum(report["quarantined"].values()),
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
