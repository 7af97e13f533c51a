"""Whether a published day is what its manifest says, object by object; and, only then, cleaning what it was made from."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec
import pyarrow.parquet as pq
import zstandard

from penstock.errors import Terminal
from penstock.objectstore import ConflictError, ObjectStore
from penstock.objectstore_raw import COALESCED_HEADER, day_path
from services.post_processor.publication import Manifest, Published, file_sha256, pretty
from services.post_processor.source import Source

_PIECE: Final = 1 << 20


class Verdict(NamedTuple):
    """What was found of one object; `fault` is empty where it is as its manifest says."""

    item: Published
    fault: str


def verified(lake: ObjectStore, manifest: Manifest) -> Iterator[Verdict]:
    """Every object of a day: there, of its size and SHA-256, and with as many rows as the manifest says."""
    with TemporaryDirectory(prefix="penstock-verify-") as folder:
        for item in manifest.objects:
            path = Path(folder) / item.key.rpartition("/")[2]
            try:
                lake.download(item.key, path)
            except KeyError:
                yield Verdict(item, "is not there")
                continue
            yield Verdict(item, _fault(item, path))
            path.unlink()


def _fault(item: Published, path: Path) -> str:
    if (size := path.stat().st_size) != item.bytes:
        return f"has {size} bytes"
    if (digest := file_sha256(path)) != item.sha256:
        return f"has SHA-256 {digest[:12]}…"
    try:
        rows = count_rows(path)
    except (ValueError, EOFError, OSError, KeyError, zstandard.ZstdError) as error:
        return f"cannot be read: {error}"
    return "" if rows in (item.rows, None) else f"has {rows} rows"


def count_rows(path: Path) -> int | None:
    """Rows of a coalesced raw channel, records of a canonical file, channels of a report; None of what has no rows.

    Raises ValueError and the like where the file is not what its name says.
    """
    if path.name.endswith(".csv.gz"):
        return _csv_rows(path)
    if path.name.endswith(".dbn.zst"):
        return _dbn_records(path)
    if path.name.endswith("completeness.json"):
        return len(msgspec.json.decode(path.read_bytes())["channels"])
    return int(pq.read_metadata(path).num_rows) if path.name.endswith(".parquet") else None


def _csv_rows(path: Path) -> int:
    with gzip.open(path) as file:
        if file.readline() != COALESCED_HEADER:
            raise ValueError(f"its first line is not {COALESCED_HEADER!r}")
        rows = 0
        while piece := file.read(_PIECE):
            rows += piece.count(b"\n")
    return rows


def _dbn_records(path: Path) -> int:
    # "DBN", the version, and the length of the metadata behind these 8 bytes; then records of one length, which their
    # first byte has in words of 4 bytes: https://databento.com/docs/standards-and-conventions/databento-binary-encoding
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        head = reader.read(8)
        if head[:3] != b"DBN" or len(head) != 8:
            raise ValueError("it does not start with DBN")
        reader.read(int.from_bytes(head[4:8], "little"))
        size, first = 0, 0
        while piece := reader.read(_PIECE):
            first = first or piece[0] * 4
            size += len(piece)
    if first and size % first:
        raise ValueError(f"{size} bytes are no whole records of {first}")
    return size // first if first else 0


class Cleaned(msgspec.Struct, frozen=True):
    """What stands in the lake before the first raw object goes: all that the day was made from."""

    provider: str
    day: str
    sha256: str
    keys: tuple[str, ...]


def clean(lake: ObjectStore, intermediate: ObjectStore, manifest: Manifest) -> int:
    """Remove the raw objects that a verified day was made from; returns how many there were.

    Killed in between, it goes on the next time: the list of keys is stored before. Raises Terminal, and removes nothing,
    where there are objects that the day was not made from.
    """
    day = dt.date.fromisoformat(manifest.day)
    found = Source(intermediate, manifest.provider, day)
    key = f"retention/provider={manifest.provider}/{day_path(day)}/intermediate.json"
    if found.digest == manifest.source.sha256:
        note = Cleaned(manifest.provider, manifest.day, found.digest, tuple(found.keys))
        try:
            lake.put_if_absent(key, pretty(note))
        except ConflictError:
            raise Terminal(f"{key} is there with other content: nothing was removed") from None
    known = _known(lake, key, manifest)
    if added := sorted(set(found.keys) - set(known)):
        raise Terminal(
            f"{manifest.provider} {manifest.day}: {len(added)} raw objects were added since it was published, such as "
            f"{added[0]}: nothing was removed"
        )
    for raw in found.keys:
        intermediate.remove(raw)
    return len(found.keys)


def _known(lake: ObjectStore, key: str, manifest: Manifest) -> tuple[str, ...]:
    try:
        note = msgspec.json.decode(lake.get(key), type=Cleaned)
    except KeyError:
        return ()
    return note.keys if note.sha256 == manifest.source.sha256 else ()
