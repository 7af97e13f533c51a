"""Instrument definitions as they come in the stream, and records of older DBN versions in today's form.

InstrumentDefMsg: https://databento.com/docs/schemas-and-data-formats/instrument-definitions; sizes of the versions:
https://github.com/databento/dbn rust/dbn/src/v1.rs, v2.rs and record.rs, v0.54 (read 2026-11).
"""

from __future__ import annotations

from typing import Final

import databento_dbn

from penstock.dbn import RECORD_BYTES, RTYPE_DEFINITION, RTYPE_STATISTICS
from penstock.errors import PayloadError
from penstock.framing import MBO

_VERSION_OF: Final = {(RTYPE_DEFINITION, 360): 1, (RTYPE_DEFINITION, 400): 2, (RTYPE_STATISTICS, 64): 1}
_RAW_SYMBOL: Final = slice(238, 309)
_ACTION_AT: Final = 493


def checked(frame: bytes) -> bytes:
    """The frame's records as DBN 3, unchanged where they are. Raises PayloadError for what cannot be whole records."""
    size, rtype = frame[0] * 4, frame[1]
    if rtype not in RECORD_BYTES:
        raise PayloadError("unknown_frame", "rtype", rtype, "a record type that this provider publishes")
    if rtype == MBO:
        first = frame[:8]
        if len(frame) % size or any(frame[at : at + 8] != first for at in range(size, len(frame), size)):
            raise PayloadError("shape", "length", len(frame), "whole MBO records of one instrument")
    elif len(frame) != size:
        raise PayloadError("shape", "length", len(frame), f"one record of {size} bytes")
    return frame if size == RECORD_BYTES[rtype] else _upgraded(frame, rtype, size)


def _upgraded(frame: bytes, rtype: int, size: int) -> bytes:
    version = _VERSION_OF.get((rtype, size))
    if version is None:
        raise PayloadError("shape", "length", size, f"{RECORD_BYTES[rtype]} bytes")
    # Without a policy the decoder upgrades to version 3.
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=version)
    try:
        decoder.write(frame)
        (record,) = decoder.decode()
    except (databento_dbn.DBNError, ValueError) as error:
        raise PayloadError("shape", "record", frame[:16], f"a record of DBN {version} ({error})") from None
    return bytes(record)


def raw_symbol(record: bytes) -> str:
    """The symbol a definition (DBN 3) is of. Raises PayloadError where it has none."""
    return symbol(record[_RAW_SYMBOL], "raw_symbol")


def symbol(field: bytes, name: str) -> str:
    """A symbol from its zero-terminated field. Raises PayloadError for an empty one or one that cannot be printed."""
    text = field.split(b"\0", 1)[0]
    if not text or not text.isascii() or not (found := text.decode("ascii")).isprintable():
        raise PayloadError("symbol", name, text, "printable ASCII")
    return found


def is_deletion(record: bytes) -> bool:
    """Whether a definition (DBN 3) says that its instrument is gone."""
    return record[_ACTION_AT] == ord("D")
