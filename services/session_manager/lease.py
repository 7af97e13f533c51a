"""One owner of a provider and instance on this host, and the epoch that makes older owners recognizable.

The lock keeps a second process out; it ends with its process, however that dies. The epoch grows with every owner, so
that consumers can refuse what an owner sends that was paused while another took over. Owners on other hosts are kept out by
penstock.lease, which takes this lock as proof that an earlier owner on this host is dead.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from penstock import clock
from penstock.errors import ConfigError, Terminal

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_WIDTH: Final = 20  # digits; one fixed-width write is never torn in a way that shortens the number


class FileLease:
    """Context manager: enters with the epoch of this owner. Raises Terminal where another process holds the lease."""

    def __init__(self, directory: Path, provider: str, instance: str) -> None:
        self._path = directory / f"{provider}-{instance}.lease"
        self._who = f"{provider} {instance}"
        self._file = -1

    def __enter__(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}, expected a writable --state-dir") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise Terminal(f"{self._who} is already running on this host (lease {self._path})") from None
        return self._grow()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def host(self) -> str:
        """A name of the held lock that no other host, boot or state directory shares; "" where the system has none."""
        try:
            boot = _BOOT_ID.read_text("ascii").strip()
        except OSError:
            return ""
        file = os.fstat(self._file)
        return f"{boot}/{file.st_dev}/{file.st_ino}"

    def _grow(self) -> int:
        text = os.pread(self._file, _WIDTH, 0)
        stored = int(text) if text.isdigit() else 0
        epoch = max(stored + 1, clock.time_ns() // 10**9)
        os.pwrite(self._file, f"{epoch:0{_WIDTH}d}\n".encode(), 0)
        os.fsync(self._file)
        return epoch

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)  # closing ends the lock
            self._file = -1
