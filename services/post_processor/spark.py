"""The engine of many machines: the same plan on Spark, the same steps in its Python workers.

Objects are read in parallel, rows dealt by channel for the merge and by day for normalizing. Sorts spill to Spark's disks,
and Python sees a partition as a stream of Arrow batches, so that nothing has to fit in memory. A task may run twice: all
that leaves it is written once and conditionally.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from penstock.errors import ConfigError, PenstockError, Terminal
from services.post_processor import plan, spark_steps, steps
from services.post_processor.engine import Gather, Merge, Merged, Normalized, Run
from services.post_processor.lanes import Connection, Hour
from services.post_processor.settings import Work

try:
    from pyspark import StorageLevel
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
except ModuleNotFoundError:
    raise ConfigError("--engine is 'spark', which needs the package pyspark (uv sync --group spark) and Java") from None

_ARROW_ROWS: Final = 2048
_TYPES: Final = {pa.int64(): "bigint", pa.string(): "string", pa.binary(): "binary"}


class SparkEngine:
    """See engine.Engine. Frames of a part stay on Spark's disks until they are forgotten."""

    def __init__(self, work: Work, folder: Path) -> None:
        builder: Any = SparkSession.builder
        settings = {
            "spark.app.name": "penstock post-processor", "spark.sql.session.timeZone": "UTC",
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(_ARROW_ROWS), "spark.ui.showConsoleProgress": "false",
        }  # fmt: skip
        if work.spark_master:
            settings |= {"spark.master": work.spark_master}
        if work.spark_master.startswith("local"):
            settings |= {
                "spark.driver.memory": f"{work.memory_mb}m", "spark.local.dir": str(folder), "spark.ui.enabled": "false",
                "spark.sql.shuffle.partitions": "8", "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
            }  # fmt: skip
        for name, value in settings.items():
            builder = builder.config(name, value)
        with _readable_errors():
            self._spark = builder.getOrCreate()
        self._spark.sparkContext.setLogLevel("OFF")
        if work.spark_master:
            # Under spark-submit its environment names the interpreter of the workers; else it is this one.
            self._spark.sparkContext.pythonExec = sys.executable
        self._frames: dict[int, Any] = {}

    def merge(self, task: Merge) -> list[Merged]:
        listed = [
            (number, *held) for number, channel in enumerate(task.channels) for held in steps.channel_objects(channel)
        ]
        objects = [(channel, number, lane, key) for number, (channel, lane, key) in enumerate(listed)]
        read = self._spread(spark_steps.OBJECTS, objects).mapInArrow(spark_steps.arrived(task), _ddl(plan.ARRIVED))
        hours: list[list[Hour]] = [[] for _ in task.channels]
        connections: list[list[Connection]] = [[] for _ in task.channels]
        with _readable_errors(), ExitStack() as views:
            views.enter_context(_view("arrived", read))
            views.enter_context(_view("matched", self._spark.sql(plan.MATCHED)))
            merged = views.enter_context(_view("merged", self._dealt(plan.KEPT, "channel", plan.ORDER)))
            for channel, *counted in self._spark.sql(plan.HOURS).collect():
                hours[channel].append(Hour.of(*counted))
            for channel, *seen in self._spark.sql(plan.CONNECTIONS).collect():
                connections[channel].append(Connection(*seen))
            stored = dict(merged.mapInArrow(spark_steps.coalesced(task), _ddl(spark_steps.RESULTS)).collect())
            self._keep(task.part, merged.mapInArrow(spark_steps.merged_frames(task), _ddl(plan.FRAMES)))
        return [
            Merged(channel.schema, channel.channel, hours[n], connections[n], spark_steps.published(bytes(stored[n])))
            for n, channel in enumerate(task.channels)
        ]

    def gather(self, tasks: Sequence[Gather]) -> None:
        with _readable_errors():
            for task in tasks:
                items = self._spread(spark_steps.ITEMS, [(number,) for number in range(len(task.objects))])
                self._keep(task.part, items.mapInArrow(spark_steps.gathered(task), _ddl(plan.FRAMES)))

    def normalize(self, runs: Sequence[Run]) -> list[Normalized]:
        fed = [
            (number, part, run_up, int(run.run_up is None))
            for number, run in enumerate(runs)
            for part, run_up in ((run.part, 0), (run.run_up, 1))
            if part is not None
        ]
        frames = self._spread(plan.FRAMES, [])
        for part in sorted({part for _, part, _, _ in fed}):
            frames = frames.union(self._frames[part])
        frames.createOrReplaceTempView("frames")
        self._spread(plan.RUNS, fed).createOrReplaceTempView("runs")
        # A day is one partition, which one worker sees in order; days are spread over the workers.
        ordered = self._dealt(plan.FED, "run", plan.SEQUENCE)
        with _readable_errors():
            done = dict(ordered.mapInArrow(spark_steps.normalized(runs), _ddl(spark_steps.RESULTS)).collect())
        nothing = Normalized((), {}, 0, {}, [])
        return [spark_steps.result_of(bytes(done[n])) if n in done else nothing for n in range(len(runs))]

    def forget(self, part: int) -> None:
        self._frames.pop(part).unpersist()

    def close(self) -> None:
        self._spark.stop()

    def _spread(self, schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> Any:
        """A small table of the driver's, spread over the workers."""
        columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        made = self._spark.createDataFrame(pa.table(arrays, schema=schema), _ddl(schema))
        return made.repartition(max(1, min(len(rows), self._spark.sparkContext.defaultParallelism * 4)))

    def _dealt(self, select: str, by: str, order: tuple[str, ...]) -> Any:
        """A query whose rows with one `by` are in one partition, in order."""
        return self._spark.sql(f"SELECT * FROM ({select}) DISTRIBUTE BY {by} SORT BY {', '.join(order)}")  # noqa: S608

    def _keep(self, part: int, frames: Any) -> None:
        self._frames[part] = frames.persist(StorageLevel.DISK_ONLY)
        frames.count()


@contextmanager
def _view(name: str, frame: Any) -> Iterator[Any]:
    """A table that several queries read: computed once, kept on disk."""
    frame.persist(StorageLevel.DISK_ONLY).createOrReplaceTempView(name)
    try:
        yield frame
    finally:
        frame.unpersist()


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Spark's errors hold a worker's traceback: what a person needs is its last line, or Spark's own first one."""
    try:
        yield
    except PenstockError:
        raise
    except PySparkException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("penstock.errors.")]
        raise Terminal(f"spark: {said[-1].partition(': ')[2] if said else lines[0][:300]}") from error


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"`{field.name}` {_TYPES[field.type]}" for field in schema)
