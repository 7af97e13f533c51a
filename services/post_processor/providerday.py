"""One provider's day from raw objects to a published dataset."""

from __future__ import annotations

import datetime as dt
import resource
from pathlib import Path
from typing import Any

import providers
from penstock import telemetry
from penstock.errors import Terminal
from penstock.objectstore import ObjectStore
from penstock.objectstore_raw import SESSION
from services.post_processor import engine, outcome, publication, reports
from services.post_processor.coverage import Coverage
from services.post_processor.engine import Engine, Gather, Merge, Run
from services.post_processor.filling import Filling
from services.post_processor.intervals import Interval
from services.post_processor.lanes import Hour
from services.post_processor.publication import Manifest, Published, Shelf, read_manifest
from services.post_processor.report import completeness
from services.post_processor.settings import Settings
from services.post_processor.source import FILLED, RawChannel, Source
from services.post_processor.workfolder import work_folder

_TODAY, _BEFORE = 0, 1


class ProviderDay:
    """The run of one provider, by its folder's name."""

    def __init__(self, settings: Settings, provider: str) -> None:
        self._settings, self._name = settings, provider
        self._info = providers.info(provider)
        self._target: ObjectStore = publication.writable(settings.target)
        self._source = Source(publication.readable(settings.source), self._info.segment, settings.day)

    def run(self) -> Manifest | None:
        """Publish the day; None where there is nothing to publish. A day already published from the same objects is left
        as it is. Raises Terminal where it was published from others."""
        provider, day = self._info.segment, self._settings.day
        made_from = publication.Source(len(self._source.keys), self._source.digest)
        existing, _ = read_manifest(self._target, provider, day)
        if existing is not None:
            # None left: they were cleaned away after the day was verified.
            if made_from.objects and existing.source != made_from:
                raise Terminal(
                    f"{provider} {day} is published from {existing.source.objects} raw objects and there are "
                    f"{made_from.objects} now: coalesce it again into a new target"
                )
            telemetry.logger().info("already_done", provider=provider, day=day.isoformat(), dataset=existing.digest)
            return existing
        if not made_from.objects:
            telemetry.logger().info("nothing_found", provider=provider, day=day.isoformat())
            return None
        with work_folder(self._settings.work_dir) as folder:
            work = engine.start(self._settings, folder)
            try:
                return self._publish(work, folder, made_from)
            finally:
                work.close()

    def _publish(self, work: Engine, folder: Path, made_from: publication.Source) -> Manifest:
        provider, day = self._info.segment, self._settings.day
        shelf = Shelf(self._settings.target, day, made_from.sha256)
        before, run_up = read_manifest(self._target, provider, day - dt.timedelta(days=1))
        gaps = {} if before is None else self._run_up(work, before)
        coverage = Coverage(self._source.session())
        channels, whole = self._filled(shelf)
        merged = work.merge(Merge(_TODAY, self._name, self._settings.source, tuple(channels), shelf))
        hours: dict[tuple[str, str], list[Hour]] = {}
        for one in merged:
            if (one.schema, one.channel) != ("SYSTEM", SESSION):
                coverage.add(one.channel, (seen for seen in one.connections if seen.lane != FILLED))
                hours[one.schema, one.channel] = one.hours
        for name in coverage.channels:
            hours.setdefault((self._info.schema_of(name), name), [])
        # Where the numbering is whole, time that no lane covered holds no trade: the normalizer need not doubt.
        for channel in {channel for _, channel in hours} - whole:
            gaps[channel] = [*gaps.get(channel, ()), *coverage.gaps(channel)]
        run = Run(self._name, day, _TODAY, None if before is None else _BEFORE, gaps, shelf)
        (normalized,) = work.normalize([run])
        report = completeness(provider, day, coverage, hours, normalized, whole)
        objects = [*(one.raw for one in merged), *normalized.objects, *reports.store(shelf, report, folder)]
        manifest = publication.publish(self._target, provider, day, made_from, run_up, objects)
        outcome.published(self._info.name, report)
        self._log(manifest, report)
        return manifest

    def _filled(self, shelf: Shelf) -> tuple[list[RawChannel], set[str]]:
        """The day's channels, with what REST has of trades that both lanes missed where that is wanted."""
        if self._settings.fill == "off":
            return self._source.channels, set()
        rest = self._info.endpoints.rest if self._settings.fill == "venue" else self._settings.fill
        return Filling(self._name, self._settings.source, shelf, rest).channels(self._source.channels)

    def _run_up(self, work: Engine, before: Manifest) -> dict[str, list[Interval]]:
        """Gather the frames of the day before, as published; when neither lane covered its channels."""
        work.gather([Gather(_BEFORE, self._name, self._settings.target, coalesced(before))])
        return uncovered(reports.load(self._target, before))

    def _log(self, manifest: Manifest, report: dict[str, Any]) -> None:
        telemetry.logger().info(
            "coalesced", provider=manifest.provider, day=manifest.day, objects=manifest.source.objects,
            frames=report["frames"], records=report["records"], quarantined=report["quarantined"],
            gaps=len(report["gaps"]), uncovered=sum(len(channel["uncovered"]) for channel in report["channels"]),
            dataset=manifest.digest, peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        )  # fmt: skip


def coalesced(manifest: Manifest) -> tuple[Published, ...]:
    """The objects of a published day that hold frames."""
    return tuple(item for item in manifest.objects if item.key.startswith("raw/") and item.channel != SESSION)


def uncovered(report: dict[str, Any]) -> dict[str, list[Interval]]:
    """When neither lane covered a channel, by a published report, unless its numbering is whole all the same."""
    return {
        channel["channel"]: [Interval(gap["start"], gap["end"]) for gap in channel["uncovered"]]
        for channel in report["channels"]
        if not channel.get("whole")
    }
