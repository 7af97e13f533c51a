"""What is asked of an engine: merging channels, gathering published ones, and normalizing days. Two engines do it.

Both run the same plan (`plan`) and the same Python steps (`steps`), so both make the same bytes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from services.post_processor.canonical import DeclaredGap
from services.post_processor.intervals import Interval
from services.post_processor.lanes import Connection, Hour
from services.post_processor.publication import Published, Shelf
from services.post_processor.settings import Work
from services.post_processor.source import RawChannel


class Merge(NamedTuple):
    """Merge a day's channels, store them coalesced on `shelf`, and keep their frames as `part`."""

    part: int
    provider: str
    source: str
    channels: tuple[RawChannel, ...]
    shelf: Shelf


class Merged(NamedTuple):
    """What became of one channel; `raw` is its coalesced object."""

    schema: str
    channel: str
    hours: list[Hour]
    connections: list[Connection]
    raw: Published


class Gather(NamedTuple):
    """Keep the frames of a published day as `part`; `objects` are its coalesced channels at `lake`."""

    part: int
    provider: str
    lake: str
    objects: tuple[Published, ...]


class Run(NamedTuple):
    """Normalize a day, whose frames are `part` and those of the day before `run_up` (None where there is none).

    `gaps` are, by venue channel, when neither lane covered it.
    """

    provider: str
    day: dt.date
    part: int
    run_up: int | None
    gaps: Mapping[str, Sequence[Interval]]
    shelf: Shelf


class Normalized(NamedTuple):
    """A canonical day: its stored objects, records by schema, and what the normalizer said of it."""

    objects: tuple[Published, ...]
    records: dict[str, int]
    frames: int
    quarantined: dict[str, int]
    gaps: list[DeclaredGap]


class Engine(Protocol):
    """Runs in a folder of its own and forgets everything when closed."""

    def merge(self, task: Merge) -> list[Merged]:
        """One result per channel, in the order given."""
        ...

    def gather(self, tasks: Sequence[Gather]) -> None:
        """Several days at once."""
        ...

    def normalize(self, runs: Sequence[Run]) -> list[Normalized]:
        """Several days at once; results in the order given."""
        ...

    def forget(self, part: int) -> None:
        """The frames of `part` are not needed any more."""
        ...

    def close(self) -> None:
        """Give back everything."""
        ...


def start(work: Work, folder: Path) -> Engine:
    """The engine that was asked for, working in `folder`. Raises ConfigError where Spark is not installed."""
    if work.engine == "spark":
        from services.post_processor.spark import SparkEngine

        return SparkEngine(work, folder)
    from services.post_processor.local import LocalEngine

    return LocalEngine(work, folder)
