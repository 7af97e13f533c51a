"""What a run puts into the target, and the manifest that makes it visible: readers trust nothing else."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.errors import Terminal
from penstock.objectstore import ConflictError, ObjectStore, open_store
from penstock.objectstore_raw import day_path


class Manifest(msgspec.Struct, frozen=True):
    """`objects` are all of a provider's day. `source` is of the raw objects it was made from; `run_up` the SHA-256 of
    the manifest of the day before, where that was there to begin from."""

    provider: str
    day: str
    source: Source
    run_up: str
    objects: tuple[Published, ...]

    @property
    def digest(self) -> str:
        """One SHA-256 in hex for the dataset of the day: of its objects' keys and hashes, whoever made them."""
        lines = "".join(f"{item.sha256}  {item.key}\n" for item in self.objects)
        return hashlib.sha256(lines.encode()).hexdigest()


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


class Shelf(NamedTuple):
    """Where a day's objects go; any process may put some there. `source` is the SHA-256 that the day is made from."""

    url: str
    day: dt.date
    source: str

    def put(self, folder: str, path: Path, rows: int, schema: str = "", channel: str = "") -> Published:
        """Store a file as `<folder>/year=/month=/day=/<its name>`."""
        store = writable(self.url)
        key = f"{folder}/{day_path(self.day)}/{path.name}"
        try:
            store.put_if_absent(key, path)
        except ConflictError:
            # A run that was killed before its manifest had other raw objects to work from; nobody reads what it left.
            key = f"{folder}/{day_path(self.day)}/{self.source[:12]}-{path.name}"
            store.put_if_absent(key, path)
        return Published(key, path.stat().st_size, file_sha256(path), rows, schema, channel)


@lru_cache(maxsize=8)
def readable(url: str) -> ObjectStore:
    """The store to read from, one for all of this process."""
    return open_store(url)


@lru_cache(maxsize=8)
def writable(url: str) -> ObjectStore:
    """The store to write to, one for all of this process."""
    return open_store(url, writable=True)


def file_sha256(path: Path) -> str:
    """SHA-256 in hex of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_key(provider: str, day: dt.date) -> str:
    """Where a provider's manifest of a day is."""
    return f"manifests/provider={provider}/{day_path(day)}/manifest.json"


def read_manifest(store: ObjectStore, provider: str, day: dt.date) -> tuple[Manifest | None, str]:
    """The manifest and the SHA-256 of its bytes; None and "" where the day is not published.

    Raises Terminal where it is no manifest.
    """
    key = manifest_key(provider, day)
    try:
        data = store.get(key)
    except KeyError:
        return None, ""
    try:
        return msgspec.json.decode(data, type=Manifest), hashlib.sha256(data).hexdigest()
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Terminal(f"{key} is no manifest: {error}") from None


def publish(
    store: ObjectStore, provider: str, day: dt.date, source: Source, run_up: str, objects: Iterable[Published]
) -> Manifest:
    """Write the manifest: from here on the day exists. Raises Terminal where it exists with other content."""
    manifest = Manifest(provider, day.isoformat(), source, run_up, tuple(sorted(objects, key=lambda item: item.key)))
    key = manifest_key(provider, day)
    try:
        store.put_if_absent(key, pretty(manifest))
    except ConflictError:
        raise Terminal(f"{key} was written by another run with other content") from None
    return manifest


def pretty(value: Any) -> bytes:
    """JSON that a person can read too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
