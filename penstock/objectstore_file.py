"""Objects as files of a local folder."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from penstock.objectstore import (
    ConflictError,
    ObjectInfo,
    Outcome,
    check_key,
    content_sha256,
    size_of,
)

_INCOMING: Final = ".incoming"
"""Where objects are written before they get their name; no key can start with a dot, so none is ever listed."""


class FileStore:
    """An ObjectStore in `root`, which is created with its first object."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sweep()

    def put_if_absent(self, key: str, data: bytes | Path, sha256: str | None = None) -> Outcome:
        size_of(data)
        target = self._path(key)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._link(data, target):
                return Outcome.CREATED
        if content_sha256(key, target) != (sha256 or content_sha256(key, data)):
            raise ConflictError(f"{key} exists with different content")
        return Outcome.IDENTICAL

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(key) from None

    def download(self, key: str, path: Path) -> None:
        try:
            shutil.copyfile(self._path(key), path)
        except (FileNotFoundError, IsADirectoryError):
            raise KeyError(key) from None

    def head(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        return ObjectInfo(key, path.stat().st_size, content_sha256(key, path)) if path.is_file() else None

    def folders(self, prefix: str) -> list[str]:
        folder = self.root / prefix
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def list(self, prefix: str) -> Iterator[str]:
        # A prefix may end inside a name: walk its folder, keep what starts with the rest.
        return iter(sorted(key for key in self._walk(prefix.rpartition("/")[0]) if key.startswith(prefix)))

    def remove(self, key: str) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        # A folder exists as long as it has keys, as in S3.
        for folder in path.parents:
            if folder == self.root or not folder.is_dir():
                return
            with suppress(OSError):
                folder.rmdir()

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _walk(self, folder: str) -> Iterator[str]:
        for path, folders, files in (self.root / folder).walk():
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from ((path / name).relative_to(self.root).as_posix() for name in files)

    def _link(self, data: bytes | Path, target: Path) -> bool:
        """Give `data` its name all at once; False where the name was taken first."""
        incoming = self.root / _INCOMING / uuid4().hex
        incoming.parent.mkdir(exist_ok=True)
        with incoming.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                _fill(file, data)
                # link() fails where the name exists, rename() would replace it.
                os.link(incoming, target)
            except FileExistsError:
                return False
            finally:
                incoming.unlink(missing_ok=True)
        _sync_folders(target.parent, self.root)
        return True

    def _sweep(self) -> None:
        """Remove what writers that were killed left behind: nobody holds its lock any more."""
        for path in (self.root / _INCOMING).glob("*"):
            # Gone or locked: its writer is alive. Created and not yet locked: then nothing is written yet.
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_size:
                    path.unlink(missing_ok=True)


def _fill(file: IO[bytes], data: bytes | Path) -> None:
    if isinstance(data, bytes):
        file.write(data)
    else:
        with data.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
    file.flush()
    os.fsync(file.fileno())


def _sync_folders(folder: Path, root: Path) -> None:
    # New folders are entries of their parents: each must reach the disk, or the object is lost with its folder.
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == root or folder == folder.parent:
            return
        folder = folder.parent
