"""Stored `.dbn.zst` objects as databento_dbn's records, piece by piece."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple

import databento_dbn as dbn
import numpy as np

from penstock.dbn import VERSION
from penstock.errors import Terminal

_PIECE: Final = 1 << 20
_PRELUDE: Final = 8
"""`DBN`, the version, and the u32 length of what follows of the metadata."""


class Wanted(NamedTuple):
    """Which records of an object: of which `symbols` (None: all), from `start` until just before `end` (UNIX ns, None:
    the object's own)."""

    symbols: frozenset[str] | None
    start: int | None
    end: int | None


class DbnObject:
    """One stored object: its metadata, and the bytes of its wanted records. `file` is the stream of its uncompressed
    bytes, which is closed with the records' end or by `close`.

    Raises Terminal where it is not a whole DBN file.
    """

    def __init__(self, name: str, file: Any) -> None:
        self._name, self._file = name, file
        prelude = self._read(_PRELUDE)
        if prelude[:3] != b"DBN" or len(prelude) < _PRELUDE:
            raise Terminal(f"{name} starts with {prelude!r}, expected DBN metadata")
        if prelude[3] != VERSION:
            raise Terminal(f"{name} is DBN version {prelude[3]}, expected {VERSION}")
        rest = self._read(int.from_bytes(prelude[4:], "little"))
        self.metadata: Any = dbn.Metadata.decode(prelude + rest)

    def records(self, wanted: Wanted) -> Iterator[bytes]:
        """Pieces of up to 1 MiB that are whole records, in their stored order."""
        with self._file:
            ids = None if wanted.symbols is None else self._ids(wanted.symbols)
            head = self._read(1) if ids is None or ids else b""
            if not head:
                return
            size = head[0] * 4
            first = head + self._read(size - 1)
            keep, piece = _Filter(first, ids, wanted), first + self._read((_PIECE // size - 1) * size)
            while piece:
                if len(piece) % size:
                    raise Terminal(f"{self._name} ends inside a record")
                if kept := keep(piece):
                    yield kept
                piece = self._read(_PIECE // size * size)

    def close(self) -> None:
        """Read no further."""
        self._file.close()

    def _ids(self, symbols: Collection[str]) -> list[int]:
        return [
            int(interval["symbol"])
            for symbol, intervals in self.metadata.mappings.items()
            if symbol in symbols
            for interval in intervals
        ]

    def _read(self, count: int) -> bytes:
        # A stream of several Zstandard frames gives less than asked for at the end of each.
        parts: list[bytes] = []
        try:
            while count and (part := self._file.read(count)):
                parts.append(part)
                count -= len(part)
        except OSError as error:
            raise Terminal(f"{self._name} cannot be read: {error}") from None
        return b"".join(parts)


class _Filter:
    def __init__(self, first: bytes, ids: list[int] | None, wanted: Wanted) -> None:
        (record,) = _decoded(first)
        # The layout that Databento's own DBNStore.to_ndarray() reads with.
        self._dtype = np.dtype(type(record)._dtypes)  # noqa: SLF001 # it has no other name
        self._ids = None if ids is None else np.array(ids, np.uint32)
        self._time = "ts_recv" if "ts_recv" in (self._dtype.names or ()) else "ts_event"
        self._wanted = wanted

    def __call__(self, piece: bytes) -> bytes:
        start, end = self._wanted.start, self._wanted.end
        if self._ids is None and start is None and end is None:
            return piece
        rows = np.frombuffer(piece, self._dtype)
        keep = np.ones(len(rows), bool)
        if self._ids is not None:
            keep &= np.isin(rows["instrument_id"], self._ids)
        if start is not None:
            keep &= rows[self._time] >= np.uint64(start)
        if end is not None:
            keep &= rows[self._time] < np.uint64(end)
        return bytes(rows[keep].tobytes())


def in_order(objects: Iterable[Iterable[bytes]]) -> Iterator[Any]:
    """The databento_dbn records of one day's objects. Those of one object keep their order; several are merged by
    ts_recv (ts_event where the schema has none)."""
    streams = [itertools.chain.from_iterable(map(_decoded, pieces)) for pieces in objects]
    if len(streams) == 1:
        return iter(streams[0])
    return heapq.merge(*streams, key=_time)


def _time(record: Any) -> int:
    return int(getattr(record, "ts_recv", record.ts_event))


def _decoded(piece: bytes) -> list[Any]:
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=VERSION)
    decoder.write(piece)
    return decoder.decode()
