"""Closed chunks on their way to the object store: waiting on disk, uploaded by a few threads, never given up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock import clock, telemetry
from penstock.errors import ConnectionLost, Terminal
from penstock.objectstore import ConflictError, ObjectStore, Outcome, StoreFailed

_BACKOFF_S: Final = (0.2, 10.0)

_bytes = telemetry.counter("batch_processor", "stored_bytes")
_objects = telemetry.counter("batch_processor", "stored_objects")
_records = telemetry.counter("batch_processor", "stored_records")
_conflicts = telemetry.counter("batch_processor", "conflicting_objects")
_failures = telemetry.counter("batch_processor", "upload_failures")


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to store. `body` is its file, which is removed when it is stored, or its bytes; `done` is called then."""

    key: str
    body: Path | bytes
    sha256: str
    rows: int
    done: Callable[[], None]


class Uploads:
    """The queue of uploads."""

    def __init__(self, store: ObjectStore, threads: int) -> None:
        self._store = store
        self._queue: asyncio.Queue[Upload] = asyncio.Queue()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._since_s: dict[Upload, float] = {}
        self._calls: set[Future[None]] = set()

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

    @property
    def running(self) -> bool:
        """Whether a call of the store has not come back."""
        return any(not call.done() for call in self._calls)

    async def drained(self) -> None:
        """Return when everything queued is stored."""
        await self._queue.join()

    async def _work(self) -> None:
        delay, limit = _BACKOFF_S
        while True:
            upload = await self._queue.get()
            while (kind := await self._attempt(upload)) is not None:
                _failures.labels(kind).inc()
                await asyncio.sleep(random.uniform(delay / 2, delay))
                delay = min(delay * 2, limit)
                if kind == "refused":
                    # It may be this object alone that is refused: the others have their turn before it is tried again.
                    self._queue.put_nowait(upload)
                    break
            else:
                delay = _BACKOFF_S[0]
                del self._since_s[upload]
                upload.done()
            self._queue.task_done()

    async def _attempt(self, upload: Upload) -> str | None:
        """Try to store it; what kind of failure that was, None where it is stored."""
        call = self._pool.submit(self._put, upload)
        self._calls = {call, *(other for other in self._calls if not other.done())}
        try:
            await asyncio.wrap_future(call)
        except (ConnectionLost, Terminal, ConflictError, ValueError, OSError) as error:
            kind = _kind(error)
            telemetry.logger().warning("upload_failed", key=upload.key, kind=kind, reason=str(error)[:300])
            return kind
        return None

    def _put(self, upload: Upload) -> None:
        body, key = upload.body, upload.key
        size = body.stat().st_size if isinstance(body, Path) else len(body)
        try:
            outcome = self._store.put_if_absent(key, body, upload.sha256)
        except ConflictError as error:
            # Two owners of one epoch, or a damaged spool. Nothing is lost: readers take both and compare row by row.
            _conflicts.inc()
            telemetry.logger().error("object_conflicted", key=key, reason=str(error))
            key = f"{key.removesuffix('.csv.gz')}.conflict-{upload.sha256[:16]}.csv.gz"
            outcome = self._store.put_if_absent(key, body, upload.sha256)
        if isinstance(body, Path):
            body.unlink()
        if outcome is Outcome.CREATED:
            _bytes.inc(size)
            _objects.inc()
            _records.inc(upload.rows)


def _kind(error: Exception) -> str:
    if isinstance(error, StoreFailed):
        return error.kind
    if isinstance(error, OSError):
        return "disk"
    # A refusal too (expired credentials, say) may be put right while the spool holds everything.
    return "connection" if isinstance(error, ConnectionLost) else "refused"
