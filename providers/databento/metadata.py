"""The DBN metadata at the start of a session or file, read with bounds: Databento's own decoder panics on damaged bytes.

Layout (little endian): `DBN`, version u8, length u32; dataset 16 bytes, schema u16, start, end and limit u64; in version 1
a record count u64; stype_in, stype_out and ts_out u8; from version 2 the length of symbols u16; reserved up to 100 bytes;
a schema definition's length u32; then lists: symbols, partly found, not found, mappings, each after its count u32. A mapping
is a symbol, a count of intervals, and of each the first date and the last, u32, and the symbol in stype_out.
https://github.com/databento/dbn rust/dbn/src/encode/dbn/sync.rs and metadata.rs, v0.54, read 2026-11.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from penstock.errors import PayloadError

_PRELUDE: Final = 8
_FIXED: Final = 100
_STYPES_AT: Final = {1: 50, 2: 42, 3: 42}  # behind the prelude
_SYMBOL_BYTES: Final = {1: 22, 2: 71, 3: 71}
_INSTRUMENT_ID, _RAW_SYMBOL = 0, 1  # DBN's SType
_DATASET, _START = slice(8, 24), slice(26, 34)
_U32: Final = struct.Struct("<I")


class Metadata(NamedTuple):
    """`start` is the UNIX ns from which on the stream is complete; `symbols` who an instrument_id is, where it says so."""

    version: int
    dataset: str
    start: int
    ts_out: bool
    symbols: dict[int, str]


def read(payload: bytes) -> Metadata:
    """Raises PayloadError where the bytes are no whole metadata of DBN 1 to 3."""
    version = payload[3] if len(payload) >= _PRELUDE + _FIXED else 0
    if version not in _STYPES_AT:
        raise PayloadError("shape", "metadata", payload[:_PRELUDE], "DBN metadata of version 1, 2 or 3")
    stype_in, stype_out, ts_out = payload[_PRELUDE + _STYPES_AT[version] :][:3]
    size = _SYMBOL_BYTES[version]
    mapped = stype_in == _RAW_SYMBOL and stype_out == _INSTRUMENT_ID
    try:
        symbols = _mappings(payload, size) if mapped else {}
    except (struct.error, ValueError):
        raise PayloadError("shape", "metadata", payload[:_PRELUDE], "lists of symbols as long as they say") from None
    dataset = payload[_DATASET].split(b"\0", 1)[0].decode("ascii", "replace")
    return Metadata(version, dataset, int.from_bytes(payload[_START], "little"), bool(ts_out), symbols)


def _mappings(payload: bytes, size: int) -> dict[int, str]:
    at = _PRELUDE + _FIXED
    at += 4 + _count(payload, at)
    for _ in range(3):
        at += 4 + size * _count(payload, at)
    found: dict[int, str] = {}
    count, at = _count(payload, at), at + 4
    for _ in range(count):
        symbol, intervals, at = _text(payload, at, size), _count(payload, at + size), at + size + 4
        for _ in range(intervals):
            number, at = _text(payload, at + 8, size), at + 8 + size
            if number:
                found[int(number)] = symbol
    return found


def _count(payload: bytes, at: int) -> int:
    value: int = _U32.unpack_from(payload, at)[0]
    if value > len(payload):
        raise ValueError(f"{value} entries in {len(payload)} bytes")
    return value


def _text(payload: bytes, at: int, size: int) -> str:
    field = payload[at : at + size]
    if len(field) < size:
        raise ValueError("a symbol is cut off")
    return field.split(b"\0", 1)[0].decode("ascii")
