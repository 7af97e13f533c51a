"""Coalesced raw channels as files: written once in a day's run, read again by the next day's and by backfills."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from isal import isal_zlib

from penstock.channels import INSTANCES
from penstock.objectstore_raw import COALESCED_HEADER, Row, quoted, unquoted
from services.post_processor.lanes import Kept

_LEVEL: Final = 2
_LANES: Final = (*(name.encode() for name in INSTANCES), b"BACKFILL")
"""Column `instance`, by lane: BACKFILL is what neither instance received and the venue was asked for."""

_PIECE_BYTES: Final = 256 * 1024


def write(path: Path, rows: Iterable[Kept]) -> Iterator[Kept]:
    """Write rows to `path` (gzip CSV) while passing them on; the file is whole when this ends."""
    engine = isal_zlib.compressobj(_LEVEL, wbits=31)
    pending, size = [COALESCED_HEADER], len(COALESCED_HEADER)
    with path.open("wb") as file:
        for row in rows:
            line = b"%d,%b,%d,%d,%d,%b\n" % (
                row.ts_recv, _LANES[row.lane], row.epoch, row.connection, row.sequence, quoted(row.payload),
            )  # fmt: skip
            pending.append(line)
            size += len(line)
            # The cuts are a function of the rows: a compressor's output depends on how its input is cut.
            if size >= _PIECE_BYTES:
                file.write(engine.compress(b"".join(pending)))
                pending, size = [], 0
            yield row
        file.write(engine.compress(b"".join(pending)))
        file.write(engine.flush())


def read(path: Path) -> Iterator[Row]:
    """The rows of a coalesced raw file. Raises ValueError where it is not one."""
    with gzip.open(path, "rb") as file:
        if file.readline() != COALESCED_HEADER:
            raise ValueError(f"{path.name} does not start with {COALESCED_HEADER!r}")
        for line in file:
            ts_recv, _, epoch, connection, sequence, payload = line.rstrip(b"\n").split(b",", 5)
            yield Row(int(ts_recv), int(epoch), int(connection), int(sequence), unquoted(payload))
