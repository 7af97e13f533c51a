"""Databento's files as the frames that a live gateway would have sent: the metadata, then events in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.framing import METADATA, Framer, captured_at

_START = slice(26, 34)  # in metadata


def is_dbn(head: bytes) -> bool:
    """Whether content that begins so is DBN, of version 1 to 3."""
    return head.startswith(METADATA) and head[3:4] in {b"\1", b"\2", b"\3"}


def read(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(UNIX ns, frame) of decompressed content in any chunks. A frame's time is when Databento captured it, never before
    the frame ahead of it; the metadata's is the first record's. Raises FramingError."""
    at = 0
    metadata = b""
    for frame in _frames(chunks):
        if frame.startswith(METADATA) and not at:
            metadata = frame
            continue
        at = max(at, captured_at(frame))
        if metadata:
            yield at, metadata
            metadata = b""
        yield at, frame
    if metadata:
        yield int.from_bytes(metadata[_START], "little"), metadata


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    framer = Framer()
    for chunk in chunks:
        yield from framer.feed(chunk)
    yield from framer.end()
