"""The engine of one machine: DuckDB, in as many processes as there are jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from services.post_processor import database, plan, steps
from services.post_processor.database import FrameFile, FramesAt, MergedChannel
from services.post_processor.engine import Gather, Merge, Merged, Normalized, Run
from services.post_processor.frames import Frame
from services.post_processor.payloadfile import PayloadReader
from services.post_processor.settings import Work

_PIECES: Final = 4
"""Into how many groups per job a day's channels are dealt: they differ in size."""


class LocalEngine:
    """See engine.Engine. Each job has its part of the memory and its own files."""

    def __init__(self, work: Work, folder: Path) -> None:
        self._folder, self._jobs = folder, work.jobs
        self._memory_mb = max(64, work.memory_mb // work.jobs)
        self._files: dict[int, list[FramesAt]] = {}
        self._names = count()
        # Spawned, not forked: DuckDB, Arrow and boto3 have threads.
        self._pool = ProcessPoolExecutor(work.jobs, get_context("spawn")) if work.jobs > 1 else None

    def merge(self, task: Merge) -> list[Merged]:
        tasks = [
            (task._replace(channels=tuple(channels)), self._file(task.part), self._memory_mb)
            for channels in self._dealt(task.channels)
        ]
        found = {(one.schema, one.channel): one for group in self._map(_merge, tasks) for one in group}
        return [found[channel.schema, channel.channel] for channel in task.channels]

    def gather(self, tasks: Sequence[Gather]) -> None:
        pieces = [
            (task._replace(objects=tuple(objects)), self._file(task.part))
            for task in tasks
            for objects in self._dealt(task.objects)
        ]
        list(self._map(_gather, pieces))

    def normalize(self, runs: Sequence[Run]) -> list[Normalized]:
        tasks = []
        for run in runs:
            files = [file for part in (run.part, run.run_up) if part is not None for file in self._files[part]]
            tasks.append((run, files, self._folder, self._memory_mb))
        return list(self._map(_normalize, tasks))

    def forget(self, part: int) -> None:
        for file in self._files.pop(part, ()):
            file.table.unlink()
            file.payloads.unlink()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _file(self, part: int) -> FramesAt:
        at = FramesAt(self._folder, next(self._names))
        self._files.setdefault(part, []).append(at)
        return at

    def _dealt[T](self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        pieces = 1 if self._pool is None else min(len(items), self._jobs * _PIECES)
        return (items[n::pieces] for n in range(max(1, pieces)))

    def _map[T](self, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> Iterable[T]:
        if self._pool is None:
            return (function(*task) for task in tasks)
        return self._pool.map(function, *zip(*tasks, strict=True)) if tasks else ()


def _merge(task: Merge, at: FramesAt, memory_mb: int) -> list[Merged]:
    """One job: each channel merged in the database, written, stored, and its frames kept."""
    done = []
    with TemporaryDirectory(dir=at.folder, prefix="merge-") as name, FrameFile(at) as frames:
        folder = Path(name)
        work = database.connect(folder, memory_mb)
        try:
            for channel in task.channels:
                rows = steps.channel_rows(task, channel, steps.channel_objects(channel))
                merged = MergedChannel(work, folder, steps.payloads_of(task, channel), channel.channel, rows)
                coalesced = steps.CoalescedChannel(task, channel, folder)
                kept = coalesced.rows(merged.rows())
                if channel.observed:
                    deque(kept, maxlen=0)
                    published, hours, connections = coalesced.store(), [], []
                else:
                    frames.add(steps.merged_frames(task.part, channel, kept))
                    published, hours, connections = coalesced.store(), merged.hours(), merged.connections()
                done.append(Merged(channel.schema, channel.channel, hours, connections, published))
        finally:
            work.close()
    return done


def _gather(task: Gather, at: FramesAt) -> None:
    """One job: published channels read back."""
    with FrameFile(at) as frames:
        for item in task.objects:
            frames.add(steps.gathered_frames(task, item))


def _normalize(run: Run, files: list[FramesAt], parent: Path, memory_mb: int) -> Normalized:
    """One job: a day's frames sorted and fed to its normalizer."""
    with TemporaryDirectory(dir=parent, prefix="day-") as name:
        folder = Path(name)
        work = database.connect(folder, memory_mb)
        try:
            names = ", ".join("'" + str(file.table).replace("'", "''") + "'" for file in files)
            work.execute(f"CREATE VIEW frames AS SELECT * FROM read_parquet([{names}])")  # noqa: S608 # our own files
            database.create(work, "runs", plan.RUNS)
            for part, run_up in _parts(run):
                work.execute("INSERT INTO runs VALUES (0, ?, ?, ?)", [part, run_up, int(run.run_up is None)])
            payloads = PayloadReader({file.number: file.payloads for file in files})
            return steps.normalize(run, _frames(work, payloads), folder)
        finally:
            work.close()


def _parts(run: Run) -> list[tuple[int, int]]:
    return [(run.part, 0)] + ([] if run.run_up is None else [(run.run_up, 1)])


def _frames(work: Any, payloads: PayloadReader) -> Iterator[Frame]:
    for row in database.read(work, plan.ordered(plan.FED, plan.SEQUENCE)):
        _, run_up, _, _, _, channel, _, ts_recv, connection, sequence, place = row
        yield Frame(run_up == 1, channel, ts_recv, connection, sequence, payloads.get(place))
