"""Objects that are written once: one small protocol over a local folder and over S3.

Nothing here overwrites, and nothing but `remove` deletes. Two writers of one key either wrote the same content, which is
success, or one of them gets ConflictError. `.gz` objects are compared by what they hold, because two builds of a
compressor write the same content in different bytes; everything else by its stored bytes.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from penstock.errors import ConfigError, ConnectionLost, PenstockError

MAX_KEY_BYTES: Final = 1024
"""S3's limit (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html, 2026-08)."""

MAX_SEGMENT_BYTES: Final = 255
"""The longest file name of Linux's file systems: every key must also be a path."""

MAX_OBJECT_BYTES: Final = 5 * 1024**3
"""S3's limit for one PUT (https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html, 2026-08)."""

_PIECE: Final = 1 << 16


class ConflictError(PenstockError):
    """The key exists with different content: the caller keeps its own bytes under another key and says so."""


class StoreFailed(ConnectionLost):
    """The store gave no answer, or one that leaves open whether the call was done. `kind` is one of a closed list:
    throttled, server, conflict, timeout, connection."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Outcome(Enum):
    """What `put_if_absent` did: the object is new, or was there with the same content."""

    CREATED = "created"
    IDENTICAL = "identical"


class ObjectInfo(NamedTuple):
    """`size` is of the stored bytes; `sha256` is `content_sha256`, in hex."""

    key: str
    size: int
    sha256: str


class ObjectStore(Protocol):
    """A flat set of keys. Calls block; asyncio callers use threads. All methods may be called from several threads.

    Raises StoreFailed where the store could not be reached or kept failing: the same call may be made again.
    """

    def put_if_absent(self, key: str, data: bytes | Path, sha256: str | None = None) -> Outcome:
        """Store `data` (or a file's content) unless the key exists. `sha256` is `content_sha256` where already known.

        Atomic and durable on return. Raises ConflictError where the key holds something else.
        """
        ...

    def get(self, key: str) -> bytes:
        """The stored bytes. Raises KeyError."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Write the stored bytes to a local file, in bounded memory. Raises KeyError."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Size and content hash of an object, None where the key does not exist."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` (which ends in `/` or is empty) that hold further keys, sorted."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that starts with `prefix`, sorted."""
        ...

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error. Only for raw objects of a verified day."""
        ...


def open_store(url: str, patience_s: float = 60.0, *, writable: bool = False) -> ObjectStore:
    """The store at `file:///folder` or `s3://bucket[/prefix]`. S3 calls are repeated for up to `patience_s` seconds.
    A folder that is to be `writable` is created at once.

    The S3 endpoint, region and credentials come from the AWS SDK's own environment (AWS_ENDPOINT_URL and so on).
    Raises ConfigError for any other URL, and for a folder that cannot be read or written.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from penstock.objectstore_file import FileStore

        folder = Path(unquote(parts.path))
        try:
            if writable:
                folder.mkdir(parents=True, exist_ok=True)
            if folder.exists() and not os.access(folder, os.R_OK | os.X_OK | (os.W_OK if writable else 0)):
                raise PermissionError(0, "Permission denied")
            if folder.exists() and not folder.is_dir():
                raise NotADirectoryError(0, "Not a directory")
        except OSError as error:
            raise ConfigError(f"object store is {url!r}: {error.strerror}") from None
        return FileStore(folder)
    if parts.scheme == "s3" and parts.netloc:
        # boto3 takes 0.4 s and 50 MB to import: only who uses it pays.
        from penstock.objectstore_s3 import S3Store

        return S3Store(parts.netloc, parts.path.strip("/"), patience_s)
    raise ConfigError(f"object store is {url!r}, expected file:///folder or s3://bucket/prefix")


def check_key(key: str) -> str:
    """`key` itself. Raises ValueError where it could leave its prefix or is no path on every file system."""
    for segment in key.split("/"):
        if not segment or segment[0] in ".-" or len(segment.encode("utf-8", "surrogatepass")) > MAX_SEGMENT_BYTES:
            raise ValueError(
                f"key {key[:120]!r} has the part {segment[:40]!r}, expected 1 to {MAX_SEGMENT_BYTES} bytes "
                "that do not start with . or -"
            )
    if not key.isprintable() or "\\" in key:
        raise ValueError(f"key {key[:120]!r} has a character that is not printable, or a backslash")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"key {key[:120]!r}… has {len(key.encode())} bytes, expected at most {MAX_KEY_BYTES}")
    return key


def content_sha256(key: str, data: bytes | Path) -> str:
    """SHA-256 in hex: of the uncompressed bytes of a `.gz` key, of the stored bytes of any other.

    Raises ValueError where a `.gz` object is not whole gzip.
    """
    digest = hashlib.sha256()
    for piece in gunzip(_pieces(data)) if key.endswith(".gz") else _pieces(data):
        digest.update(piece)
    return digest.hexdigest()


def gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The uncompressed bytes of one or more gzip members, piece by piece. Raises ValueError where cut short."""
    engine = zlib.decompressobj(wbits=31)
    for piece in pieces:
        while piece:
            if engine.eof:
                engine = zlib.decompressobj(wbits=31)
            try:
                yield engine.decompress(piece)
            except zlib.error as error:
                raise ValueError(f"object is not gzip: {error}") from None
            piece = engine.unused_data
    if not engine.eof:
        raise ValueError("gzip object ends before its end mark")


def size_of(data: bytes | Path) -> int:
    """Bytes to be stored. Raises ValueError above MAX_OBJECT_BYTES."""
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > MAX_OBJECT_BYTES:
        raise ValueError(f"object has {size} bytes, expected at most {MAX_OBJECT_BYTES}")
    return size


def _pieces(data: bytes | Path) -> Iterator[bytes]:
    # Small pieces bound what one of them can inflate to: deflate reaches 1,032 to 1.
    if isinstance(data, bytes):
        yield from (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        return
    with data.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
