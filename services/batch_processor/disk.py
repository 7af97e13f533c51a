"""How much of the disk all lanes together may take: refused before it is full, so that what must be written down can be."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 4 * 1024 * 1024
"""Left free for what makes room: segment heads and the list of stored objects."""


class Disk:
    """The disk below `folder`. `used` is what each lane has on it, in bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self.used: dict[str, int] = {}

    def check(self, more: int) -> None:
        """Raises OSError where `more` bytes would exceed --spool-bytes, or leave less than the reserve free."""
        used = sum(self.used.values())
        if used + more > self._limit:
            raise OSError(errno.EDQUOT, f"spool holds {used} bytes, and --spool-bytes is {self._limit}")
        free = shutil.disk_usage(self._folder).free
        if free < more + RESERVE_BYTES:
            raise OSError(errno.ENOSPC, f"disk of the spool has {free} bytes free, {more + RESERVE_BYTES} are needed")
