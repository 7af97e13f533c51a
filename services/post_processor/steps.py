"""The steps that both engines take with the rows their queries give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import providers
from penstock.errors import Terminal
from penstock.objectstore_raw import Row, segment
from penstock.payloads import Payloads
from services.post_processor import rawfiles
from services.post_processor.canonical import Canonical
from services.post_processor.engine import Gather, Merge, Normalized, Run
from services.post_processor.filling import filled_rows
from services.post_processor.frames import Frame, Timed, framed, timed
from services.post_processor.lanes import Kept
from services.post_processor.publication import Published, file_sha256, readable
from services.post_processor.source import FILLED, RawChannel, raw_rows


def payloads_of(task: Merge, channel: RawChannel) -> Payloads | None:
    """What knows copies of a message; None where there are none."""
    return None if channel.observed else providers.payloads(task.provider)


def channel_rows(task: Merge, channel: RawChannel, objects: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """The rows of some of a channel's (lane, key) objects, as (lane, row)."""
    for lane, key in objects:
        if lane == FILLED:
            yield from filled_rows(task.provider, readable(task.shelf.url), channel.channel, key)
        else:
            yield from raw_rows(readable(task.source), [(lane, key)])


def channel_objects(channel: RawChannel) -> list[tuple[int, str]]:
    """(lane, key) of everything that a channel is merged from."""
    return channel.objects + [(FILLED, key) for key in channel.filled]


class CoalescedChannel:
    """A merged channel on its way into its object: `rows` passes the rows on, then `store` puts the file."""

    def __init__(self, task: Merge, channel: RawChannel, folder: Path) -> None:
        self._task, self._channel = task, channel
        self._path = folder / "part-00000.csv.gz"
        self._count = 0

    def rows(self, kept: Iterable[Kept]) -> Iterator[Kept]:
        """Write the rows to the file."""
        for row in rawfiles.write(self._path, kept):
            self._count += 1
            yield row

    def store(self) -> Published:
        """The stored object."""
        provider = providers.info(self._task.provider).segment
        schema, channel = self._channel.schema, self._channel.channel
        folder = f"raw/provider={provider}/schema={schema}/channel={segment(channel)}"
        published = self._task.shelf.put(folder, self._path, self._count, schema, channel)
        self._path.unlink()
        return published


def merged_frames(part: int, channel: RawChannel, kept: Iterable[Kept]) -> Iterator[tuple[object, ...]]:
    """Merged rows as rows of plan.FRAMES."""
    rows = (Timed(row.at, row.venue_sequence, row.row) for row in kept)
    return framed(part, channel.schema, channel.channel, rows)


def gathered_frames(task: Gather, item: Published) -> Iterator[tuple[object, ...]]:
    """A published channel as rows of plan.FRAMES. Raises Terminal where its object is not what the manifest says."""
    with TemporaryDirectory(prefix="penstock-gather-") as folder:
        path = Path(folder) / "part.csv.gz"
        try:
            readable(task.lake).download(item.key, path)
        except KeyError:
            raise Terminal(f"{task.lake}: {item.key} is in its manifest and not there") from None
        if file_sha256(path) != item.sha256:
            raise Terminal(f"{task.lake}: {item.key} is not the object its manifest names: its SHA-256 differs")
        rows = timed(providers.payloads(task.provider), item.channel, rawfiles.read(path))
        yield from framed(task.part, item.schema, item.channel, rows)


def normalize(run: Run, frames: Iterable[Frame], folder: Path) -> Normalized:
    """A day's frames, in order, through the provider's own normalizer; its files are stored."""
    info = providers.info(run.provider)
    canonical = Canonical(info, providers.normalizer_class(run.provider)(info, archive=True), run.day, folder)
    canonical.normalize(frames, run.gaps)
    # Parquet apart, because Athena reads every object below a table's prefix.
    objects = tuple(
        run.shelf.put(f"{place}/provider={info.segment}/schema={schema}", path, file.records, schema)
        for schema, file in sorted(canonical.files.items())
        for place, path in (("canonical", file.dbn), ("parquet", file.parquet))
    )
    records = {schema: file.records for schema, file in sorted(canonical.files.items())}
    return Normalized(objects, records, canonical.frames, dict(sorted(canonical.quarantined.items())), canonical.gaps)
