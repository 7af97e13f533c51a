"""The folder of one run, and of runs that were killed: nobody else would ever remove theirs."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

_PREFIX: Final = "penstock-day-"
_LOCK: Final = "lock"


@contextmanager
def work_folder(parent: str) -> Iterator[Path]:
    """A new folder in `parent` (empty: the system's), locked while the run lives, removed at its end."""
    root = Path(parent or gettempdir())
    _sweep(root)
    folder = Path(mkdtemp(dir=root, prefix=_PREFIX))
    with (folder / _LOCK).open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(b"x")
        lock.flush()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    for lock in root.glob(f"{_PREFIX}*/{_LOCK}"):
        # Locked: its run lives. Empty: it is about to be locked. Not ours or gone: somebody else's business.
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.stat().st_size:
                shutil.rmtree(lock.parent, ignore_errors=True)
