"""What Spark's Python workers do with the batches of their partition. No state outlives a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import pyarrow as pa

from services.post_processor import plan, steps
from services.post_processor.database import tables
from services.post_processor.engine import Gather, Merge, Normalized, Run
from services.post_processor.frames import Frame
from services.post_processor.lanes import Kept, kept, keyed
from services.post_processor.publication import Published

type Batches = Iterator[pa.RecordBatch]

OBJECTS: Final = pa.schema(
    [("channel", pa.int64()), ("number", pa.int64()), ("lane", pa.int64()), ("key", pa.string())]
)
"""The raw objects of a day: their channel's number, their own, their lane and key."""

ITEMS: Final = pa.schema([("number", pa.int64())])
"""Published objects, by their place in Gather.objects."""

RESULTS: Final = pa.schema([("number", pa.int64()), ("result", pa.binary())])
"""Of a channel or run: what was stored, as msgpack."""

_ROW_BITS: Final = 32
"""A row's id: its object's number, and below that its place in the object."""


def arrived(task: Merge) -> Callable[[Batches], Batches]:
    """OBJECTS → plan.ARRIVED."""
    return partial(_batches, plan.ARRIVED, partial(_arrived, task))


def coalesced(task: Merge) -> Callable[[Batches], Batches]:
    """plan.KEPT, by channel and in order → RESULTS (Published)."""
    return partial(_batches, RESULTS, partial(_coalesced, task))


def merged_frames(task: Merge) -> Callable[[Batches], Batches]:
    """plan.KEPT, by channel and in order → plan.FRAMES."""
    return partial(_batches, plan.FRAMES, partial(_merged_frames, task))


def gathered(task: Gather) -> Callable[[Batches], Batches]:
    """ITEMS → plan.FRAMES."""
    return partial(_batches, plan.FRAMES, partial(_gathered, task))


def normalized(runs: Sequence[Run]) -> Callable[[Batches], Batches]:
    """plan.FED, by run and in order → RESULTS (Normalized)."""
    return partial(_batches, RESULTS, partial(_normalized, tuple(runs)))


def published(result: bytes) -> Published:
    """What `coalesced` said of a channel."""
    return msgspec.msgpack.decode(result, type=Published)


def result_of(result: bytes) -> Normalized:
    """What `normalized` said of a run."""
    return msgspec.msgpack.decode(result, type=Normalized)


def _batches(
    schema: pa.Schema, function: Callable[[Iterator[tuple[Any, ...]]], Iterable[tuple[object, ...]]], batches: Batches
) -> Batches:
    rows = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    for table in tables(schema, function(rows)):
        yield from table.to_batches()


def _arrived(task: Merge, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    for channel, number, lane, key in rows:
        held = task.channels[channel]
        received = steps.channel_rows(task, held, [(lane, key)])
        yield from keyed(steps.payloads_of(task, held), channel, held.channel, received, number << _ROW_BITS)


def _coalesced(task: Merge, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    for number, of_channel in groupby(rows, itemgetter(0)):
        with TemporaryDirectory(prefix="penstock-channel-") as folder:
            channel = steps.CoalescedChannel(task, task.channels[number], Path(folder))
            for _ in channel.rows(map(kept, of_channel)):
                pass
            yield number, msgspec.msgpack.encode(channel.store())


def _merged_frames(task: Merge, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    for number, of_channel in groupby(rows, itemgetter(0)):
        channel = task.channels[number]
        if not channel.observed:
            merged: Iterator[Kept] = map(kept, of_channel)
            yield from steps.merged_frames(task.part, channel, merged)


def _gathered(task: Gather, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    for (number,) in rows:
        yield from steps.gathered_frames(task, task.objects[number])


def _normalized(runs: Sequence[Run], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    for number, of_run in groupby(rows, itemgetter(0)):
        frames = (
            Frame(run_up == 1, channel, *received) for _, run_up, _, _, _, channel, _, *received in of_run
        )  # fmt: skip
        with TemporaryDirectory(prefix="penstock-run-") as folder:
            done = steps.normalize(runs[number], frames, Path(folder))
        yield number, msgspec.msgpack.encode(done)
