"""What a post-processor run is told at start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from penstock.errors import ConfigError

UNSET_DAY: Final = dt.date.min


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How the work is done; it changes no byte of what comes out.

    `jobs`: processes on this machine, each with its part of `memory_mb`; with Spark, how many days at once.
    `spark_master`: empty leaves it to spark-submit.
    """

    engine: Literal["duckdb", "spark"] = "duckdb"
    jobs: int = 1
    memory_mb: int = 1024
    work_dir: str = ""
    spark_master: str = "local[2]"

    def check_work(self) -> None:
        """Raises ConfigError for a value that has no meaning."""
        if self.memory_mb < 128:
            raise ConfigError(f"--memory-mb is {self.memory_mb}, expected at least 128")
        if not 1 <= self.jobs <= 256:
            raise ConfigError(f"--jobs is {self.jobs}, expected 1 to 256")
        if self.work_dir and not Path(self.work_dir).is_dir():
            raise ConfigError(f"--work-dir is {self.work_dir!r}, expected a folder")


class Settings(Work, frozen=True, kw_only=True):
    """Merges both instances' raw objects of one UTC day into one exact dataset: python -m services.post_processor

    Example: --source file:///data/raw --target file:///data/lake --day 2026-08-09 --providers deribit

    fill: whom to ask over REST for trades that both lanes missed: off, venue (its public endpoint) or an http(s) URL.
    emf-s: other than 0 prints embedded metrics for CloudWatch, once, at the end.
    scheduled: instead of the day, when a scheduler meant the run to begin; the day before (UTC) is merged.
    """

    source: str
    target: str
    day: dt.date = UNSET_DAY
    scheduled: dt.datetime | None = None
    providers: tuple[str, ...] = ()
    fill: str = "off"
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def check(self) -> Settings:
        """Itself, with its day. Raises ConfigError for a value that has no meaning."""
        if (self.day == UNSET_DAY) == (self.scheduled is None):
            raise ConfigError("--day or --scheduled: exactly one of them says which day is merged")
        if self.scheduled is not None:
            if self.scheduled.tzinfo is None:
                raise ConfigError(f"--scheduled is {self.scheduled.isoformat()}, expected a zone such as Z behind it")
            before = self.scheduled.astimezone(dt.UTC).date() - dt.timedelta(days=1)
            return msgspec.structs.replace(self, day=before, scheduled=None).check()
        check_day("--day", self.day)
        if self.fill not in {"off", "venue"} and not self.fill.startswith(("http://", "https://")):
            raise ConfigError(f"--fill is {self.fill!r}, expected off, venue or the URL of a REST endpoint")
        self.check_work()
        return self


class BackfillSettings(Work, frozen=True, kw_only=True):
    """Normalizes published days again, from their coalesced raw, into a new target:
    python -m services.post_processor.backfill

    Example: --lake file:///data/lake --target file:///data/again --begin 2026-08-01 --end 2026-08-09 --providers deribit
    """

    lake: str
    target: str
    begin: dt.date
    end: dt.date
    providers: tuple[str, ...] = ()

    def check(self) -> BackfillSettings:
        """Itself. Raises ConfigError for a value that has no meaning."""
        check_day("--begin", self.begin)
        check_day("--end", self.end)
        if self.end < self.begin:
            raise ConfigError(f"--end is {self.end}, expected a day from {self.begin} on")
        if self.lake.rstrip("/") == self.target.rstrip("/"):
            raise ConfigError(f"--target is {self.target!r}, expected another place than --lake: published days stay")
        self.check_work()
        return self


def check_day(option: str, day: dt.date) -> None:
    """Raises ConfigError for a day that no time in ns can name."""
    if not 1970 <= day.year <= 2261:
        raise ConfigError(f"{option} is {day}, expected a day from 1970 to 2261")
