"""Normalizing published days again, into a new target: what an improved normalizer would have made of them.

A day is made from its coalesced raw and, as on its night, from that of the day before where its manifest says so. The
same code makes the same bytes, manifest included. Days are worked through `--jobs` at a time; manifests appear in the
order of days, because each names the one before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import providers
from penstock import config, telemetry
from penstock.errors import ConfigError, Terminal
from penstock.objectstore import ConflictError
from services.post_processor import engine, publication, reports
from services.post_processor.engine import Engine, Gather, Normalized, Run
from services.post_processor.providerday import coalesced, uncovered
from services.post_processor.publication import Manifest, Published, Shelf, file_sha256, read_manifest
from services.post_processor.report import canonical_part
from services.post_processor.settings import BackfillSettings
from services.post_processor.workfolder import work_folder

_COPIERS: Final = 8


class Stored(NamedTuple):
    """A published day of the lake; `provider` is the folder's name, `before` the manifest that it began from."""

    provider: str
    day: dt.date
    manifest: Manifest
    before: Manifest | None

    @property
    def part(self) -> int:
        """Its number as a part: a day's, the same for all providers, who are worked on one after another."""
        return self.day.toordinal()


class Backfill:
    """One run over a range of days."""

    def __init__(self, settings: BackfillSettings) -> None:
        self._settings = settings
        self._lake, self._target = publication.readable(settings.lake), publication.writable(settings.target)

    def run(self) -> int:
        """Publish every day of the range that is published in the lake; returns how many are new.

        Raises ConfigError where there is none, Terminal where the lake is not what its manifests say.
        """
        present = [name.removeprefix("provider=").lower() for name in self._lake.folders("manifests/")]
        names = self._settings.providers or tuple(present)
        found = {name: list(self._days(name)) for name in names}
        if not any(found.values()):
            raise ConfigError(
                f"--lake is {self._settings.lake!r}, expected one with a manifest of {', '.join(names) or 'a provider'} "
                f"from {self._settings.begin} to {self._settings.end}: none is published there"
            )
        done = 0
        for name, days in found.items():
            due = [day for day in days if not self._is_done(day)]
            telemetry.logger().info("backfilling", provider=name, days=len(days), due=len(due))
            if due:
                with work_folder(self._settings.work_dir) as folder:
                    done += self._provider(due, folder)
        return done

    def _days(self, provider: str) -> Iterable[Stored]:
        info, settings = providers.info(provider), self._settings
        for number in range((settings.end - settings.begin).days + 1):
            day = settings.begin + dt.timedelta(days=number)
            manifest, _ = read_manifest(self._lake, info.segment, day)
            if manifest is None:
                continue
            before, digest = None, ""
            if manifest.run_up:
                before, digest = read_manifest(self._lake, info.segment, day - dt.timedelta(days=1))
            if digest != manifest.run_up:
                raise Terminal(
                    f"{info.segment} {day} was made from a day before with manifest {manifest.run_up[:12]}…, and "
                    f"{settings.lake} has {digest[:12] or 'none'}"
                )
            yield Stored(provider, day, manifest, before)

    def _is_done(self, day: Stored) -> bool:
        existing, _ = read_manifest(self._target, day.manifest.provider, day.day)
        if existing is not None and existing.source != day.manifest.source:
            raise Terminal(f"{day.manifest.provider} {day.day} in {self._settings.target} is of other raw objects")
        return existing is not None

    def _provider(self, days: Sequence[Stored], folder: Path) -> int:
        work = engine.start(self._settings, folder)
        gathered: set[int] = set()
        try:
            for group in batched(days, self._settings.jobs):
                wanted = {day.part: day.manifest for day in group}
                wanted |= {day.part - 1: day.before for day in group if day.before is not None}
                for part in gathered - wanted.keys():
                    work.forget(part)
                missing = sorted(wanted.keys() - gathered)
                work.gather([self._gather(group[0].provider, part, wanted[part]) for part in missing])
                gathered = set(wanted)
                self._group(work, group, folder)
        finally:
            work.close()
        return len(days)

    def _gather(self, provider: str, part: int, manifest: Manifest) -> Gather:
        return Gather(part, provider, self._settings.lake, coalesced(manifest))

    def _group(self, work: Engine, group: Sequence[Stored], folder: Path) -> None:
        seen = [reports.load(self._lake, day.manifest) for day in group]
        runs = []
        for day, report in zip(group, seen, strict=True):
            gaps = {} if day.before is None else uncovered(reports.load(self._lake, day.before))
            for channel, intervals in uncovered(report).items():
                gaps[channel] = [*gaps.get(channel, ()), *intervals]
            shelf = Shelf(self._settings.target, day.day, day.manifest.source.sha256)
            runs.append(Run(day.provider, day.day, day.part, None if day.before is None else day.part - 1, gaps, shelf))
        for day, run, report, normalized in zip(group, runs, seen, work.normalize(runs), strict=True):
            raw = self._copied(day.manifest, folder)
            stored = reports.store(run.shelf, {**report, **canonical_part(normalized)}, folder)
            self._publish(day, [*raw, *normalized.objects, *stored], normalized)

    def _copied(self, manifest: Manifest, folder: Path) -> list[Published]:
        objects = [item for item in manifest.objects if item.key.startswith("raw/")]
        with ThreadPoolExecutor(_COPIERS) as copiers, TemporaryDirectory(dir=folder) as scratch:
            list(copiers.map(self._copy, objects, (Path(scratch) / str(n) for n in range(len(objects)))))
        return objects

    def _copy(self, item: Published, path: Path) -> None:
        try:
            self._lake.download(item.key, path)
        except KeyError:
            raise Terminal(f"{self._settings.lake}: {item.key} is in its manifest and not there") from None
        if file_sha256(path) != item.sha256:
            raise Terminal(f"{self._settings.lake}: {item.key} is not the object its manifest names")
        try:
            self._target.put_if_absent(item.key, path)
        except ConflictError:
            raise Terminal(f"{self._settings.target}: {item.key} is there with other content") from None
        path.unlink()

    def _publish(self, day: Stored, objects: list[Published], normalized: Normalized) -> None:
        manifest, run_up = day.manifest, day.manifest.run_up
        if run_up:
            # In the target the day before may be another one than in the lake: that is what normalizing again is for.
            _, digest = read_manifest(self._target, manifest.provider, day.day - dt.timedelta(days=1))
            run_up = digest or run_up
        made = publication.publish(self._target, manifest.provider, day.day, manifest.source, run_up, objects)
        telemetry.logger().info(
            "backfilled", provider=made.provider, day=made.day, frames=normalized.frames, records=normalized.records,
            gaps=len(normalized.gaps), dataset=made.digest, same=made.digest == manifest.digest,
        )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Normalize a range of days again."""
    settings = config.load(BackfillSettings, argv).check()
    telemetry.configure("post_processor", begin=settings.begin.isoformat(), end=settings.end.isoformat())
    done = Backfill(settings).run()
    telemetry.logger().info("finished", days=done)
    return 0


if __name__ == "__main__":
    config.run(main)
