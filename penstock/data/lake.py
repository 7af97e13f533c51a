"""A dataset's published days: what their manifests name, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from penstock.data.span import Span
from penstock.errors import ConfigError, ConnectionLost, Terminal
from penstock.objectstore import open_store

type WhenUnpublished = Literal["refuse", "warn"]

_DAY: Final = re.compile(r"/year=([0-9]{4})/month=([0-9]{2})/day=([0-9]{2})/manifest\.json$")
_NAMED: Final = 5
_READERS: Final = 16


class Unpublished(Terminal):
    """Days that were asked for have no manifest: they may be half-written, or not there at all. `days` names them."""

    def __init__(self, message: str, days: Sequence[dt.date]) -> None:
        super().__init__(message)
        self.days = tuple(days)


class Stored(msgspec.Struct, frozen=True):
    """One object as its manifest names it. `bytes` are stored bytes; `schema` is empty where it is of all."""

    key: str
    bytes: int
    sha256: str
    rows: int
    schema: str = ""


class Day(NamedTuple):
    """One published day of a provider."""

    day: dt.date
    objects: tuple[Stored, ...]

    def canonical(self, schema: str, folder: Literal["canonical", "parquet"]) -> list[Stored]:
        """The objects of a schema (`MBP_1`): DBN in `canonical/`, the same records as Parquet in `parquet/`."""
        return [item for item in self.objects if item.schema == schema and item.key.startswith(f"{folder}/")]


class _Manifest(msgspec.Struct):
    objects: tuple[Stored, ...]


class Lake:
    """The dataset at `file:///folder`, `s3://bucket/prefix` or a local path. S3's endpoint, region and credentials are
    those of the AWS SDK, at the first read: where they have expired since, load again."""

    def __init__(self, source: str | Path) -> None:
        self.url = source if isinstance(source, str) and "://" in source else Path(source).resolve().as_uri()
        self._store = open_store(self.url)

    def days(self, provider: str, span: Span, unpublished: WhenUnpublished) -> list[Day]:
        """The published days of `span`, in order.

        Where some have no manifest: raises Unpublished, or warns where `unpublished` is "warn" and at least one day is
        left. Raises ConfigError where nothing of `provider` was ever published here.
        """
        if unpublished not in ("refuse", "warn"):
            raise ConfigError(f"unpublished is {unpublished!r}, expected 'refuse' or 'warn'")
        prefix = f"manifests/provider={provider}/"
        keys = {_day_of(key): key for key in self._store.list(prefix)}
        keys.pop(None, None)
        if not keys:
            known = ", ".join(name.removeprefix("provider=") for name in self._store.folders("manifests/")) or "nothing"
            raise ConfigError(f"provider is {provider!r}, and {self.url} has {known}")
        wanted = span.days()
        if missing := [day for day in wanted if day not in keys]:
            message = f"{self.url} has no manifest of {provider} for {_named(missing)}: not published, or not finished"
            if unpublished == "refuse" or len(missing) == len(wanted):
                hint = f"`penstock coalesce --day {missing[0]}` publishes a day"
                also = "" if len(missing) == len(wanted) else ", unpublished='warn' reads the others"
                raise Unpublished(f"{message} ({hint}{also})", missing)
            warnings.warn(message, stacklevel=3)
        found = [day for day in wanted if day in keys]
        with ThreadPoolExecutor(_READERS) as readers:
            objects = readers.map(self._manifest, (keys[day] for day in found))
            return [Day(*pair) for pair in zip(found, objects, strict=True)]

    def get(self, item: Stored) -> bytes:
        """The stored bytes of a small object. Raises Terminal where it is gone."""
        try:
            return self._store.get(item.key)
        except KeyError:
            raise Terminal(f"{self.url}: {item.key} is in its manifest and not there") from None

    def files(self, items: Iterable[Stored]) -> tuple[Any, list[str]]:
        """pyarrow's file system and the paths in it. Raises Terminal where an object is gone or not of its size,
        ConnectionLost where the store cannot be reached."""
        wanted = list(items)
        filesystem, root = self._reached
        paths = [f"{root}/{item.key}" for item in wanted]
        try:
            found = filesystem.get_file_info(paths)
        except OSError as error:
            raise ConnectionLost(f"{self.url}: {error}") from None
        for item, info in zip(wanted, found, strict=True):
            if info.size != item.bytes:
                there = "is not there" if info.size is None else f"has {info.size} bytes"
                raise Terminal(f"{self.url}: {item.key} {there}, its manifest says {item.bytes} bytes")
        return filesystem, paths

    @cached_property
    def _reached(self) -> tuple[Any, str]:
        return _filesystem(self.url)

    def _manifest(self, key: str) -> tuple[Stored, ...]:
        try:
            return msgspec.json.decode(self._store.get(key), type=_Manifest).objects
        except msgspec.DecodeError as error:
            raise Terminal(f"{self.url}: {key} is no manifest: {error}") from None


def _day_of(key: str) -> dt.date | None:
    found = _DAY.search(key)
    return dt.date(*map(int, found.groups())) if found else None


def _named(days: Sequence[dt.date]) -> str:
    more = f" and {len(days) - _NAMED} more days" if len(days) > _NAMED else ""
    return ", ".join(day.isoformat() for day in days[:_NAMED]) + more


def _filesystem(url: str) -> tuple[Any, str]:
    # pyarrow's file systems take 0.1 s to import: a completeness report needs none.
    from pyarrow import fs

    parts = urlsplit(url)
    if parts.scheme == "file":
        return fs.LocalFileSystem(), unquote(parts.path).rstrip("/")
    import boto3

    session = boto3.session.Session()
    client, credentials = session.client("s3"), session.get_credentials()
    options = {"region": client.meta.region_name}
    endpoint = urlsplit(client.meta.endpoint_url)
    if not (endpoint.hostname or "").endswith(".amazonaws.com"):
        options |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        options |= {"access_key": frozen.access_key, "secret_key": frozen.secret_key, "session_token": frozen.token}
    return fs.S3FileSystem(**options), "/".join(part for part in (parts.netloc, parts.path.strip("/")) if part)
