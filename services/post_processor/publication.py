"""What a run puts into the target, and the manifest that makes it visible: readers trust nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from penstock.errors import Terminal
from penstock.objectstore import ConflictError, ObjectStore
from penstock.objectstore_raw import day_path


class Manifest(msgspec.Struct, frozen=True):
    """`objects` are all of a provider's day. `source` is of the raw objects it was made from; `run_up` the SHA-256 of
    the manifest of the day before, where that was there to begin from."""

    provider: str
    day: str
    source: Source
    run_up: str
    objects: tuple[Published, ...]


class Source(msgspec.Struct, frozen=True):
    """Number of raw objects, and the SHA-256 of their keys."""

    objects: int
    sha256: str


class Published(msgspec.Struct, frozen=True):
    """One object: `sha256` is of its stored bytes, `rows` counts rows, records or channels. `schema` and `channel` are
    empty where it is of all."""

    key: str
    bytes: int
    sha256: str
    rows: int
    schema: str = ""
    channel: str = ""


def manifest_key(provider: str, day: dt.date) -> str:
    """Where a provider's manifest of a day is."""
    return f"manifests/provider={provider}/{day_path(day)}/manifest.json"


def read_manifest(store: ObjectStore, provider: str, day: dt.date) -> tuple[Manifest | None, str]:
    """The manifest and the SHA-256 of its bytes; None and "" where the day is not published."""
    try:
        data = store.get(manifest_key(provider, day))
    except KeyError:
        return None, ""
    return msgspec.json.decode(data, type=Manifest), hashlib.sha256(data).hexdigest()


class Publication:
    """Collects the objects of one provider's day and publishes them."""

    def __init__(self, store: ObjectStore, provider: str, day: dt.date, source: Source, run_up: str) -> None:
        self._store, self._provider, self._day = store, provider, day
        self._source, self._run_up = source, run_up
        self._objects: list[Published] = []

    def put(self, folder: str, name: str, path: Path, rows: int, schema: str = "", channel: str = "") -> None:
        """Store a file as `<folder>/year=/month=/day=/<name>`."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        key = f"{folder}/{day_path(self._day)}/{name}"
        try:
            self._store.put_if_absent(key, path)
        except ConflictError:
            # A run that was killed before its manifest had other raw objects to work from; nobody reads what it left.
            key = f"{folder}/{day_path(self._day)}/{self._source.sha256[:12]}-{name}"
            self._store.put_if_absent(key, path)
        self._objects.append(Published(key, path.stat().st_size, digest.hexdigest(), rows, schema, channel))

    def put_json(self, folder: str, name: str, value: Any, rows: int, scratch: Path) -> None:
        """Store plain data as JSON."""
        path = scratch / name
        path.write_bytes(pretty(value))
        self.put(folder, name, path, rows)

    def finish(self) -> Manifest:
        """Write the manifest: from here on the day exists. Raises Terminal where it exists with other content."""
        objects = tuple(sorted(self._objects, key=lambda published: published.key))
        manifest = Manifest(self._provider, self._day.isoformat(), self._source, self._run_up, objects)
        key = manifest_key(self._provider, self._day)
        try:
            self._store.put_if_absent(key, pretty(manifest))
        except ConflictError:
            raise Terminal(f"{key} was written by another run with other content") from None
        return manifest


def pretty(value: Any) -> bytes:
    """JSON that a person can read too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
