"""What a post-processor run is told at start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import msgspec

from penstock.errors import ConfigError


class Settings(msgspec.Struct, frozen=True):
    """Merges both instances' raw objects of one UTC day into one exact dataset: python -m services.post_processor

    Example: --source file:///data/raw --target file:///data/lake --day 2026-08-09 --providers deribit

    emf-s: other than 0 prints embedded metrics for CloudWatch, once, at the end.
    """

    source: str
    target: str
    day: dt.date
    providers: tuple[str, ...] = ()
    memory_mb: int = 1024
    work_dir: str = ""
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def check(self) -> Settings:
        """Itself. Raises ConfigError for a value that has no meaning."""
        if not 1970 <= self.day.year <= 2261:
            raise ConfigError(f"--day is {self.day}, expected a day from 1970 to 2261")
        if self.memory_mb < 128:
            raise ConfigError(f"--memory-mb is {self.memory_mb}, expected at least 128")
        if self.work_dir and not Path(self.work_dir).is_dir():
            raise ConfigError(f"--work-dir is {self.work_dir!r}, expected a folder")
        return self
