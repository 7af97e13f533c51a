"""Messages as databento_dbn's records and as numpy structured arrays."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

import databento_dbn as db
import numpy as np

from penstock.dbn import RECORD_BYTES, VERSION

_CLASSES: Final[dict[int, type[Any]]] = {
    0x00: db.TradeMsg, 0x01: db.MBP1Msg, 0x0A: db.MBP10Msg, 0x12: db.StatusMsg, 0x13: db.InstrumentDefMsg,
    0x15: db.ErrorMsg, 0x17: db.SystemMsg, 0x18: db.StatMsg, 0x20: db.OHLCVMsg, 0x21: db.OHLCVMsg, 0x22: db.OHLCVMsg,
    0x23: db.OHLCVMsg, 0xA0: db.MBOMsg, 0xC3: db.BBOMsg, 0xC4: db.BBOMsg,
}  # fmt: skip

DTYPES: Final[dict[int, np.dtype[np.void]]] = {
    # The layouts that Databento's own DBNStore.to_ndarray() reads with.
    rtype: np.dtype(kind._dtypes).newbyteorder("<")  # noqa: SLF001 # it has no other name
    for rtype, kind in _CLASSES.items()
}
"""Record type to numpy's layout of it, with DBN's column names: prices i8 at 1e-9, sizes u4 in lots, times u8 UNIX ns."""


class _Decoder(threading.local):
    # One for each thread, as a decoder buffers between write and decode; a new one per message costs ten times as much.
    def __init__(self) -> None:
        self.dbn = db.DBNDecoder(has_metadata=False, input_version=VERSION)


_decoder: Final = _Decoder()


def decode(data: bytes) -> list[Any]:
    """The databento_dbn records of whole, records (`penstock.dbn.records` checks that; what the feed delivers is)."""
    decoder = _decoder.dbn
    decoder.write(data)
    return decoder.decode()


def array(messages: Iterable[bytes]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The records of framed messages of one type as one structured array, shape (records,), read-only.

    One message is not copied. No messages at all, or messages of several record types, raise ValueError.
    """
    parts = list(messages)
    kinds = {data[1] for data in parts}
    if len(kinds) != 1:
        raise ValueError(f"{len(parts)} messages of {len(kinds)} record types, expected some of one type")
    (kind,) = kinds
    joined = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(joined) % RECORD_BYTES[kind]:
        raise ValueError(f"{len(joined)} bytes, expected whole records of {RECORD_BYTES[kind]}")
    return np.frombuffer(joined, DTYPES[kind])
