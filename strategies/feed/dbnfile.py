"""Stored DBN files as the messages they were published as, a block at a time: no file is too large for the memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import databento_dbn
import zstandard

from penstock.dbn import (
    F_LAST,
    RECORD_BYTES,
    RTYPE_DEFINITION,
    RTYPE_MBO,
    RTYPE_MBP_1,
    RTYPE_OHLCV_1D,
    RTYPE_OHLCV_1H,
    RTYPE_OHLCV_1M,
    RTYPE_OHLCV_1S,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
    RTYPE_TRADE,
    VERSION,
)
from penstock.errors import Terminal

RTYPES: Final = {
    "trades": RTYPE_TRADE,
    "mbo": RTYPE_MBO,
    "mbp-1": RTYPE_MBP_1,
    "ohlcv-1s": RTYPE_OHLCV_1S,
    "ohlcv-1m": RTYPE_OHLCV_1M,
    "ohlcv-1h": RTYPE_OHLCV_1H,
    "ohlcv-1d": RTYPE_OHLCV_1D,
    "statistics": RTYPE_STATISTICS,
    "status": RTYPE_STATUS,
    "definition": RTYPE_DEFINITION,
}
"""The DBN schemas a backtest reads, and the one record type each of their files consists of."""

_FLAGS_AT: Final = {RTYPE_TRADE: 30, RTYPE_MBP_1: 30, RTYPE_MBO: 36}
"""Where F_LAST ends a message. Records of the other schemas have no flags: each is a message of its own."""

_BLOCK_RECORDS: Final = 16_384
_HEAD: Final = 8


class Header(NamedTuple):
    """What a file says of itself."""

    dataset: str
    schema: str


def header(path: Path) -> Header:
    """Dataset and schema of a DBN file. Raises Terminal for what is none, or holds several schemas."""
    with _opened(path) as file:
        metadata: Any = databento_dbn.Metadata.decode(_metadata(path, file))
    if metadata.schema is None:
        raise Terminal(f"{path.name} holds several schemas, expected one DBN file per schema")
    return Header(metadata.dataset, str(metadata.schema))


def messages(path: Path, schema: str) -> Iterator[bytes]:
    """The messages of a Zstandard DBN file of one schema (DBN's name, `mbp-1`), in the file's order.

    Raises Terminal where the file is cut short or its records are not of that schema.
    """
    rtype = RTYPES[schema]
    size, flags_at = RECORD_BYTES[rtype], _FLAGS_AT.get(rtype)
    length, rest = bytes((size // 4, rtype)), b""
    with _opened(path) as file:
        _metadata(path, file)
        while data := _read(path, file, size * _BLOCK_RECORDS):
            count, torn = divmod(len(data), size)
            if torn or data[::size] != length[:1] * count or data[1::size] != length[1:] * count:
                raise Terminal(f"{path.name} is not whole {schema} records: store it again")
            if flags_at is None:
                yield from (data[at : at + size] for at in range(0, len(data), size))
                continue
            data, start = rest + data, 0
            for number, flags in enumerate(data[flags_at::size], 1):
                if flags & F_LAST:
                    yield data[start : number * size]
                    start = number * size
            rest = data[start:]
    if rest:
        yield rest


def _opened(path: Path) -> Any:
    return zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)


def _metadata(path: Path, file: IO[bytes]) -> bytes:
    head = _read(path, file, _HEAD)
    if head[:3] != b"DBN" or head[3:4] != bytes((VERSION,)):
        raise Terminal(f"{path.name} is no DBN version {VERSION} file")
    return head + _read(path, file, int.from_bytes(head[4:8], "little"))


def _read(path: Path, file: IO[bytes], size: int) -> bytes:
    parts, wanted = [], size
    try:
        while wanted and (part := file.read(wanted)):
            parts.append(part)
            wanted -= len(part)
    except zstandard.ZstdError as error:
        raise Terminal(f"{path.name} is no whole Zstandard file: {error}") from None
    return b"".join(parts)
