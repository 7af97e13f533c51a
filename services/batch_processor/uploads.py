"""Closed chunks on their way to the object store: waiting on disk, uploaded by a few threads, never given up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock import clock, telemetry
from penstock.errors import ConnectionLost, Terminal
from penstock.objectstore import ConflictError, ObjectStore, Outcome

_BACKOFF_S: Final = (0.2, 10.0)

_bytes = telemetry.counter("batch_processor", "stored_bytes")
_objects = telemetry.counter("batch_processor", "stored_objects")
_records = telemetry.counter("batch_processor", "stored_records")
_conflicts = telemetry.counter("batch_processor", "conflicting_objects")
_failures = telemetry.counter("batch_processor", "upload_failures")


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to store. `path` holds its bytes and is removed when they are stored; `done` is called then."""

    key: str
    path: Path
    sha256: str
    rows: int
    done: Callable[[], None]


class Uploads:
    """The queue of uploads. Its bytes lie on disk, so a store that is down for hours takes no memory."""

    def __init__(self, store: ObjectStore, threads: int) -> None:
        self._store = store
        self._queue: asyncio.Queue[Upload] = asyncio.Queue()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._since_s: dict[Upload, float] = {}

    @property
    def waiting(self) -> int:
        """Objects that are not stored yet."""
        return len(self._since_s)

    @property
    def lag_s(self) -> float:
        """Since when the oldest of them waits; 0 where there is none."""
        return clock.monotonic_s() - next(iter(self._since_s.values())) if self._since_s else 0.0

    def add(self, upload: Upload) -> None:
        """Queue one object."""
        self._since_s[upload] = clock.monotonic_s()
        self._queue.put_nowait(upload)

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """The workers, as tasks of `tasks`; they run until cancelled."""
        return [tasks.create_task(self._work(), name=f"upload-{n}") for n in range(self._threads)]

    async def drained(self) -> None:
        """Return when everything queued is stored."""
        await self._queue.join()

    async def _work(self) -> None:
        while True:
            upload = await self._queue.get()
            await self._store_one(upload)
            del self._since_s[upload]
            upload.done()
            self._queue.task_done()

    async def _store_one(self, upload: Upload) -> None:
        delay, limit = _BACKOFF_S
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, self._put, upload)
                return
            except (ConnectionLost, Terminal, OSError) as error:
                # A refusal too (expired credentials, say) may be put right while the spool holds everything.
                _failures.inc()
                telemetry.logger().warning("upload_failed", key=upload.key, reason=str(error)[:300])
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(delay * 2, limit)

    def _put(self, upload: Upload) -> None:
        size, key = upload.path.stat().st_size, upload.key
        try:
            outcome = self._store.put_if_absent(key, upload.path, upload.sha256)
        except ConflictError as error:
            # Two owners of one epoch, or a damaged spool. Nothing is lost: readers take both and compare row by row.
            _conflicts.inc()
            telemetry.logger().error("object_conflicted", key=key, reason=str(error))
            key = f"{key.removesuffix('.csv.gz')}.conflict-{upload.sha256[:16]}.csv.gz"
            outcome = self._store.put_if_absent(key, upload.path, upload.sha256)
        upload.path.unlink()
        if outcome is Outcome.CREATED:
            _bytes.inc(size)
            _objects.inc()
            _records.inc(upload.rows)
