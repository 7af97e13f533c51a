"""One provider's day from raw objects to a published dataset."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

import providers
from penstock import telemetry
from penstock.errors import Terminal
from penstock.normalizing import Normalizer
from penstock.objectstore import ObjectStore
from penstock.objectstore_raw import SESSION, Row, segment
from penstock.payloads import Payloads
from penstock.provider import ProviderInfo
from services.post_processor import database, outcome, publication, rawfiles
from services.post_processor.canonical import Canonical
from services.post_processor.coverage import Coverage
from services.post_processor.frames import Frames
from services.post_processor.intervals import Interval
from services.post_processor.lanes import Hour, Kept, MergedChannel
from services.post_processor.publication import Manifest, Publication, read_manifest
from services.post_processor.report import completeness
from services.post_processor.settings import Settings
from services.post_processor.source import RawChannel, Source


class ProviderDay:
    """The run of one provider. `payloads` and `normalizer` are the provider's own; tests bring small ones."""

    def __init__(
        self,
        settings: Settings,
        source: ObjectStore,
        target: ObjectStore,
        info: ProviderInfo,
        payloads: Payloads,
        normalizer: Callable[[], Normalizer],
    ) -> None:
        self._settings, self._target, self._info = settings, target, info
        self._payloads, self._normalizer = payloads, normalizer
        self._source = Source(source, info.segment, settings.day)
        self._coverage = Coverage(())
        self._hours: dict[tuple[str, str], list[Hour]] = {}

    @classmethod
    def of(cls, settings: Settings, source: ObjectStore, target: ObjectStore, name: str) -> ProviderDay:
        """The run of a provider of this project by its folder's name."""
        info, normalizer = providers.info(name), providers.normalizer_class(name)
        return cls(settings, source, target, info, providers.payloads(name), lambda: normalizer(info, archive=True))

    def run(self) -> Manifest | None:
        """Publish the day; None where there is nothing to publish. A day already published from the same objects is left
        as it is. Raises Terminal where it was published from others."""
        provider, day = self._info.segment, self._settings.day
        made_from = publication.Source(len(self._source.keys), self._source.digest)
        existing, _ = read_manifest(self._target, provider, day)
        if existing is not None:
            if existing.source != made_from:
                raise Terminal(
                    f"{provider} {day} is published from {existing.source.objects} raw objects and there are "
                    f"{made_from.objects} now: coalesce it again into a new target"
                )
            telemetry.logger().info("already_done", provider=provider, day=day.isoformat())
            return existing
        if not made_from.objects:
            telemetry.logger().info("nothing_found", provider=provider, day=day.isoformat())
            return None
        with tempfile.TemporaryDirectory(dir=self._settings.work_dir or None, prefix="penstock-") as folder:
            return self._publish(Path(folder), made_from)

    def _publish(self, folder: Path, made_from: publication.Source) -> Manifest:
        provider, day = self._info.segment, self._settings.day
        before, run_up = read_manifest(self._target, provider, day - dt.timedelta(days=1))
        out = Publication(self._target, provider, day, made_from, run_up)
        work = database.connect(folder, self._settings.memory_mb)
        try:
            frames = Frames(work, self._payloads)
            gaps = self._run_up(before, frames, folder) if before is not None else {}
            self._coalesce(work, frames, out, folder, lead=before is None)
            for channel in {channel for _, channel in self._hours}:
                gaps[channel] = [*gaps.get(channel, ()), *self._coverage.gaps(channel)]
            canonical = Canonical(self._info, self._normalizer(), day, folder)
            canonical.normalize(frames, gaps)
        finally:
            work.close()
        for schema, file in sorted(canonical.files.items()):
            # Apart, because Athena reads every object below a table's prefix.
            for folder_name, path in (("canonical", file.dbn), ("parquet", file.parquet)):
                out.put(f"{folder_name}/provider={provider}/schema={schema}", path.name, path, file.records, schema)
        report = completeness(self._settings, provider, self._coverage, self._hours, canonical)
        out.put_json(f"reports/provider={provider}", "completeness.json", report, len(self._hours), folder)
        manifest = out.finish()
        outcome.published(self._info.name, report)
        telemetry.logger().info(
            "coalesced", provider=provider, day=day.isoformat(), objects=made_from.objects, frames=canonical.frames,
            records=report["records"], quarantined=report["quarantined"], gaps=len(canonical.gaps),
            uncovered=sum(len(channel["uncovered"]) for channel in report["channels"]),
        )  # fmt: skip
        return manifest

    def _coalesce(self, work: Any, frames: Frames, out: Publication, folder: Path, *, lead: bool) -> None:
        """Merge every channel, write it, and gather its frames. What is said of connections is needed first."""
        session = [channel for channel in self._source.channels if _is_session(channel)]
        merged = MergedChannel(work, None, SESSION, (row for part in session for row in self._source.rows(part)))
        self._coverage = Coverage([(row.lane, _row(row)) for row in merged.rows()])
        for channel in self._source.channels:
            observed = _is_session(channel)
            payloads = None if observed else self._payloads
            merged = MergedChannel(work, payloads, channel.channel, self._source.rows(channel))
            path = folder / "part-00000.csv.gz"
            kept = rawfiles.write(path, merged.rows())
            rows = sum(1 for _ in kept) if observed else self._gather(frames, channel, kept, lead=lead)
            if not observed:
                self._coverage.add(channel.channel, merged.connections())
                self._hours[channel.schema, channel.channel] = merged.hours()
            self._put_raw(out, channel, path, rows)
        for name in self._coverage.channels:
            self._hours.setdefault((self._info.schema_of(name), name), [])

    def _gather(self, frames: Frames, channel: RawChannel, kept: Iterator[Kept], *, lead: bool) -> int:
        counted = 0

        def rows() -> Iterator[Row]:
            nonlocal counted
            for row in kept:
                counted += 1
                yield _row(row)

        first = lead and channel.schema == "DEFINITION"
        frames.add(channel.schema, channel.channel, rows(), run_up=False, lead=first)
        return counted

    def _put_raw(self, out: Publication, channel: RawChannel, path: Path, rows: int) -> None:
        folder = f"raw/provider={self._info.segment}/schema={channel.schema}/channel={segment(channel.channel)}"
        out.put(folder, path.name, path, rows, channel.schema, channel.channel)
        path.unlink()

    def _run_up(self, before: Manifest, frames: Frames, folder: Path) -> dict[str, list[Interval]]:
        """Gather the frames of the day before, as published; when neither lane covered its channels."""
        gaps: dict[str, list[Interval]] = {}
        for published in before.objects:
            if published.key.startswith("raw/") and published.channel != SESSION:
                path = folder / "before.csv.gz"
                self._target.download(published.key, path)
                frames.add(published.schema, published.channel, rawfiles.read(path), run_up=True)
            elif published.key.startswith("reports/"):
                report = msgspec.json.decode(self._target.get(published.key))
                for channel in report["channels"]:
                    gaps[channel["channel"]] = [Interval(gap["start"], gap["end"]) for gap in channel["uncovered"]]
        return gaps


def _is_session(channel: RawChannel) -> bool:
    return (channel.schema, channel.channel) == ("SYSTEM", SESSION)


def _row(kept: Kept) -> Row:
    return Row(kept.ts_recv, kept.epoch, kept.connection, kept.sequence, kept.payload)
