"""What was accepted, on disk until it is stored: append-only segment files of checksummed records.

A record is on the disk platter before anybody is told of it. A record torn by a crash is cut off at the next start; it
was never acknowledged. Segments go only from the front, once everything in them is stored.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from penstock import telemetry
from services.batch_processor.chunks import ChunkId, Position

BATCH: Final = b"B"
"""A serialized PushRequest."""
CUT: Final = b"C"
"""Every chunk that was open here was closed: the process was asked to stop."""
_POSITION: Final = b"P"

# Length (with the kind's byte, so never 0: zero-filled blocks after a crash are no record) and CRC-32 of kind and body.
_HEAD: Final = struct.Struct("<II")
_MAX_RECORD: Final = 256 * 1024 * 1024

_torn = telemetry.counter("batch_processor", "spool_torn_bytes")


@dataclass(slots=True)
class Segment:
    """One file. `start` is the chunker's position before its first batch, `end` (epoch, sequence) of its last."""

    number: int
    path: Path
    start: Position
    size: int
    end: tuple[int, int]


class Spool:
    """The spool of one provider in `folder`. Not for several threads at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self._file = -1
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.segments)

    def stored(self) -> list[ChunkId]:
        """The objects that are stored although batches of theirs are still here."""
        try:
            return msgspec.json.decode((self.folder / "stored.json").read_bytes(), type=list[ChunkId])
        except FileNotFoundError:
            return []

    def start(self) -> Position:
        """Find the segments; the position before the oldest batch. Call first."""
        paths = sorted(self.folder.glob("*.segment"))
        for n, path in enumerate(paths):
            if any(int(later.stem) != int(path.stem) + k for k, later in enumerate(paths[n:])):
                # What is before a missing segment was being deleted when the power went: it is stored.
                path.unlink()
                continue
            for position in self._positions(path):
                self.segments.append(
                    Segment(int(path.stem), path, position, path.stat().st_size, (position.epoch, position.sequence))
                )
        return self.segments[0].start if self.segments else Position()

    def records(self) -> Iterator[tuple[Segment, bytes, bytes]]:
        """Every whole record as (segment, kind, body), oldest first. Damaged ends are cut off."""
        for segment in self.segments:
            data = segment.path.read_bytes()
            offset = 0
            for kind, body, end in _records(data):
                offset = end
                if kind != _POSITION:
                    yield segment, kind, body
            if offset < len(data):
                self._cut(segment, data, offset)

    def roll(self, position: Position) -> None:
        """Begin a new segment; the former ones can now go once stored."""
        number = self.segments[-1].number + 1 if self.segments else 1
        path = self.folder / f"{number:012d}.segment"
        record = _record(_POSITION, msgspec.json.encode(position))
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _write_all(file, record)
            os.fsync(file)
            _sync(self.folder)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self.segments.append(Segment(number, path, position, len(record), (position.epoch, position.sequence)))

    def append(self, records: Sequence[tuple[bytes, bytes]], end: tuple[int, int]) -> None:
        """Make (kind, body) records durable. Raises OSError with nothing appended, so that it can be tried again."""
        segment = self.segments[-1]
        data = b"".join(_record(kind, body) for kind, body in records)
        try:
            _write_all(self._file, data)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, segment.size)
            raise
        segment.size += len(data)
        segment.end = max(segment.end, end)

    def release(self, oldest: tuple[int, int] | None, stored: list[ChunkId]) -> bool:
        """Delete the front segments that end before `oldest`, the first (epoch, sequence) not stored (None: all are).

        The newest segment stays, for its position. `stored` is written down first: those of its objects that reach into
        what may stay. True where something was deleted.
        """
        gone = 0
        while gone < len(self.segments) - 1 and (oldest is None or self.segments[gone].end < oldest):
            gone += 1
        if not gone:
            return False
        # Killed before the first deletion, or between two, any of these segments may be the oldest that is left.
        start = self.segments[0].start
        stored[:] = [chunk for chunk in stored if (chunk.epoch, chunk.last) > (start.epoch, start.sequence)]
        self._write("stored.json", msgspec.json.encode(stored))
        for segment in self.segments[:gone]:
            segment.path.unlink()
        _sync(self.folder)
        del self.segments[:gone]
        return True

    def close(self) -> None:
        """Give the file back; everything in it is durable already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _positions(self, path: Path) -> Iterator[Position]:
        with path.open("rb") as file:
            kind, body, _ = next(_records(file.read(4096)), (b"", b"", 0))
        if kind == _POSITION:
            yield msgspec.json.decode(body, type=Position)
        else:
            # Killed while its first record was being written: there never was anything in it.
            path.unlink()

    def _cut(self, segment: Segment, data: bytes, offset: int) -> None:
        _torn.inc(len(data) - offset)
        telemetry.logger().warning(
            "spool_cut", segment=str(segment.path), bytes=len(data) - offset, newest=segment is self.segments[-1]
        )
        if segment is not self.segments[-1]:
            # Not the end that a crash leaves but damage in what was durable: keep it for whoever can read it.
            segment.path.with_suffix(".damaged").write_bytes(data)
        with segment.path.open("r+b") as file:
            file.truncate(offset)
            os.fsync(file.fileno())
        segment.size = offset

    def _write(self, name: str, data: bytes) -> None:
        fresh = self.folder / f"{name}.new"
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / name)
        _sync(self.folder)


def _record(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(len(body) + 1, zlib.crc32(body, zlib.crc32(kind))) + kind + body


def _records(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Whole records as (kind, body, end), up to the first that is not whole."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        start, end = offset + _HEAD.size, offset + _HEAD.size + length
        if not 0 < length <= _MAX_RECORD or end > len(data) or zlib.crc32(data[start:end]) != checksum:
            return
        yield data[start : start + 1], data[start + 1 : end], end
        offset = end


def _write_all(file: int, data: bytes) -> None:
    # A disk with less room than asked for takes what fits, and says so with the next call only.
    while data:
        data = data[os.write(file, data) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
