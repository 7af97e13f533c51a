"""Payloads on disk, beside a table whose rows only say where theirs is.

A sort or join that carries payloads needs memory for them, however they spill; one that carries places does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import Final

import zstandard

_BLOCK_BYTES: Final = 64 << 10
"""What is compressed together: payloads are read nearly in the order in which they were added, from many channels."""

_CACHE_BYTES: Final = 16 << 20
_PLACE: Final = Struct("<IQII")
_SIZE: Final = Struct("<I")


class PayloadWriter:
    """Appends payloads to a new file; `number` tells it from others that are read together with it."""

    def __init__(self, path: Path, number: int) -> None:
        self._file, self._number = path.open("wb"), number
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._block = bytearray()
        self._offset = 0

    def add(self, payload: bytes) -> bytes:
        """Where it is: file, block, start, length. The same for payloads of any length."""
        place = _PLACE.pack(self._number, self._offset, len(self._block), len(payload))
        self._block += payload
        if len(self._block) >= _BLOCK_BYTES:
            self._flush()
        return place

    def close(self) -> None:
        """Now it can be read."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        packed = self._compressor.compress(self._block)
        self._offset += self._file.write(_SIZE.pack(len(packed)) + packed)
        self._block.clear()


class PayloadReader:
    """Payloads by their places in the files of these numbers. It keeps the blocks used last, up to _CACHE_BYTES."""

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._paths = paths
        self._decompressor = zstandard.ZstdDecompressor()
        self._blocks: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._held = 0

    def get(self, place: bytes) -> bytes:
        """The payload that was added there."""
        number, offset, start, length = _PLACE.unpack(place)
        block = self._blocks.get((number, offset))
        if block is None:
            block = self._read(number, offset)
        else:
            self._blocks.move_to_end((number, offset))
        return block[start : start + length]

    def _read(self, number: int, offset: int) -> bytes:
        # Opened for each block: a day has more files than a process may hold open.
        with self._paths[number].open("rb") as file:
            file.seek(offset)
            (size,) = _SIZE.unpack(file.read(_SIZE.size))
            block = self._decompressor.decompress(file.read(size))
        self._blocks[number, offset] = block
        self._held += len(block)
        while self._held > _CACHE_BYTES and len(self._blocks) > 1:
            _, oldest = self._blocks.popitem(last=False)
            self._held -= len(oldest)
        return block
