"""What is stored of which provider and day: a coalesced dataset, or a folder of DBN files.

A dataset is trusted by its manifests only (docs/lake.md). A folder without manifests may hold `*.dbn.zst` files, one per
schema, as `penstock normalize` writes them; their metadata say what they are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

import providers
from penstock.dbn import schema_name
from penstock.errors import ConfigError, Terminal
from penstock.objectstore import open_store
from penstock.timestamps import NS_PER_S, day_start_ns, utc_day
from strategies.feed.dbnfile import RTYPES, header

_SUFFIX: Final = ".dbn.zst"


class _Object(msgspec.Struct):
    key: str
    schema: str = ""


class _Manifest(msgspec.Struct):
    objects: tuple[_Object, ...]


class Part(NamedTuple):
    """What is stored of one provider (`DERIBIT`) for one UTC day: object keys by DBN schema (`mbp-1`), the key of the
    completeness report ("" where there is none). `day` is None for loose files, which may be of any time."""

    provider: str
    day: dt.date | None
    keys: dict[str, str]
    report: str


class Dataset:
    """A source of stored messages. Raises ConfigError for a URL that cannot be read."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        parts = urlsplit(url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._url = url
        loose = sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder else []
        self._loose = _loose_parts(loose) if loose else None

    def parts(self, wanted: Iterable[str], start: int, end: int) -> list[Part]:
        """The parts of each wanted provider that a window (UNIX ns, `end` exclusive) touches, in order of days.

        Raises Terminal where a provider has none, naming the days that it has.
        """
        found: list[Part] = []
        for provider in wanted:
            mine = [part for part in self._parts(provider) if part.day is None or _touches(part.day, start, end)]
            if not mine:
                raise Terminal(self._missing(provider))
            found += mine
        return sorted(found, key=lambda part: (part.day or dt.date.min, part.provider))

    def file(self, key: str, folder: Path) -> Path:
        """An object as a local file: in place where the dataset is local, else fetched into `folder`."""
        if self._folder is not None:
            return self._folder / key
        path = folder / key.replace("/", "_")
        if not path.exists():
            self._store.download(key, path)
        return path

    def report(self, part: Part) -> dict[str, Any] | None:
        """The completeness report of a part, None where there is none."""
        return dict(msgspec.json.decode(self._store.get(part.report))) if part.report else None

    def days(self, provider: str) -> list[dt.date]:
        """The UTC days published of a provider, sorted."""
        days = []
        prefix = f"manifests/provider={provider}/"
        for key in self._store.list(prefix):
            named = dict(piece.split("=", 1) for piece in key.removeprefix(prefix).split("/")[:-1])
            days.append(dt.date(int(named["year"]), int(named["month"]), int(named["day"])))
        return sorted(days)

    def _parts(self, provider: str) -> Iterator[Part]:
        if self._loose is not None:
            yield from (part for part in self._loose if part.provider == provider)
            return
        for day in self.days(provider):
            where = f"provider={provider}/year={day:%Y}/month={day:%m}/day={day:%d}"
            objects = msgspec.json.decode(self._store.get(f"manifests/{where}/manifest.json"), type=_Manifest).objects
            stored = {schema_name(o.schema): o.key for o in objects if o.key.endswith(_SUFFIX)}
            report = next((o.key for o in objects if o.key.startswith("reports/") and o.key.endswith(".json")), "")
            yield Part(provider, day, {schema: key for schema, key in stored.items() if schema in RTYPES}, report)

    def _missing(self, provider: str) -> str:
        days = [] if self._loose is not None else self.days(provider)
        if days:
            return f"--source {self._url} holds {provider} from {days[0]} to {days[-1]}: choose --from and --to there"
        return f"--source {self._url} holds nothing of {provider}: coalesce a day of it first, or name another source"


def _touches(day: dt.date, start: int, end: int) -> bool:
    # What arrived just after midnight may be filed under the day before, whose last events it is of.
    return utc_day(max(start - 900 * NS_PER_S, 0)) <= day and day_start_ns(day) < end


def _loose_parts(paths: list[Path]) -> list[Part]:
    names = {providers.info(name).publisher.dataset: name.upper() for name in providers.names()}
    keys: dict[str, dict[str, str]] = {}
    for path in paths:
        dataset, schema = header(path)
        if dataset not in names:
            raise ConfigError(f"{path.name} is of dataset {dataset!r}, expected one of {', '.join(sorted(names))}")
        mine = keys.setdefault(names[dataset], {})
        if schema in mine:
            raise ConfigError(f"{path.name} and {mine[schema]} both hold {schema} of {dataset}: keep one in the folder")
        if schema in RTYPES:
            mine[schema] = path.name
    return [Part(provider, None, schemas, "") for provider, schemas in sorted(keys.items())]
