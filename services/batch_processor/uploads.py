"""Closed chunks on their way to the object store: waiting on disk, uploaded by a few threads, never given up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock import telemetry
from penstock.errors import ConnectionLost, Terminal
from penstock.objectstore import ConflictError, ObjectStore, Outcome

_BACKOFF_S: Final = (0.2, 10.0)

_bytes = telemetry.counter("stored_bytes", "Compressed bytes of the objects stored.")
_objects = telemetry.counter("stored_objects", "Objects stored.")
_records = telemetry.counter("stored_records", "Rows in the objects stored.")
_conflicts = telemetry.counter("conflicting_objects", "Objects whose key held different content: kept beside it.")
_failures = telemetry.counter("upload_failures", "Uploads that failed and were made again.")


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

    def add(self, upload: Upload) -> None:
        """Queue one object."""
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
