"""Frames of a byte stream that begins with lines of text and goes on as DBN: what a Databento gateway or file sends.

A frame is a line with its line feed, the DBN metadata, or one event's records. MBO records of one instrument belong to one
event up to the one with F_LAST, whatever comes between them, so that two connections cut one stream into the same frames;
every other record is an event of its own. The framing is checked here, before anybody decodes: a wrong length byte panics
Databento's decoder, and behind one nothing can be read any more.
https://databento.com/docs/standards-and-conventions/databento-binary-encoding, read 2026-11.
"""

from __future__ import annotations

from typing import Final

MAX_EVENT_BYTES: Final = 40 * 1024 * 1024
"""Of one event, or of all that wait for their ends: with its envelope a frame must fit a gRPC message of 64 MiB."""

METADATA: Final = b"DBN"
"""What the metadata begins with; then its version, and its length in bytes without these eight."""

MBO: Final = 0xA0
MBO_BYTES: Final = 56
SIZES: Final[dict[int, tuple[int, ...]]] = {
    0x00: (48,), 0x01: (80,), 0x0A: (368,), 0x12: (40,), 0x13: (520, 400, 360), 0x14: (112,), 0x15: (320, 80),
    0x16: (176, 80), 0x17: (320, 80), 0x18: (80, 64), 0x20: (56,), 0x21: (56,), 0x22: (56,), 0x23: (56,), 0x24: (56,),
    MBO: (MBO_BYTES,), 0xB1: (80,), 0xC0: (80,), 0xC1: (80,), 0xC2: (80,), 0xC3: (80,), 0xC4: (80,),
}  # fmt: skip
"""Record type (rtype) → sizes in bytes, newest DBN version first; those with a `ts_out` appended are not among them."""

_TS_RECV_AT: Final[dict[int, int]] = {
    MBO: 40, 0x00: 32, 0x01: 32, 0x0A: 32, 0xC3: 32, 0xC4: 32, 0x12: 16, 0x13: 16, 0x14: 16, 0x18: 16
}  # fmt: skip
"""Where a record says when it was captured, which never runs backwards; bars have only their start, ts_event."""

_TS_EVENT_AT: Final = 8
_MAX_NS: Final = 2**63 - 1
_HEADER: Final = 16
_FLAGS_AT: Final = 36  # of an MBO record
_F_LAST: Final = 128
_MAX_LINE: Final = 64 * 1024
_NAMED: Final = 8  # bytes of metadata that say how long it is


def captured_at(frame: bytes) -> int:
    """UNIX ns at which the vendor had the last record of a frame of records; 0 where it does not say."""
    at = len(frame) - frame[0] * 4 + _TS_RECV_AT.get(frame[1], _TS_EVENT_AT)
    found = int.from_bytes(frame[at : at + 8], "little")
    return found if found <= _MAX_NS else 0


class FramingError(ValueError):
    """The stream cannot be cut into frames from here on; the text says where it broke."""


class Framer:
    """Cuts one stream. `feed` takes what was read and gives the frames that are now whole, in order of their ends."""

    def __init__(self) -> None:
        self.broken = ""
        """Where the stream broke; "" as long as it did not."""
        self._rest = b""
        self._text = True
        self._open: dict[bytes, list[bytes]] = {}
        self._open_bytes = 0

    def end(self) -> list[bytes]:
        """The stream is over: the events that never ended, as far as they came. Raises FramingError within a record."""
        if self.broken:
            raise FramingError(self.broken)
        if self._rest:
            raise FramingError(f"{len(self._rest)} bytes of an unfinished frame at the end")
        events = [b"".join(records) for records in self._open.values()]
        self._open.clear()
        self._open_bytes = 0
        return events

    def feed(self, data: bytes) -> list[bytes]:
        """Raises FramingError where the stream is broken and nothing whole came before the break."""
        frames: list[bytes] = []
        try:
            if self.broken:
                raise FramingError(self.broken)
            self._cut(self._rest + data if self._rest else data, frames)
        except FramingError as error:
            self.broken = str(error)
            if not frames:
                raise
        return frames

    def _cut(self, data: bytes, frames: list[bytes]) -> None:
        at = 0
        while self._text:
            end = _text_end(data, at)
            if not end:
                self._rest = data[at:]
                return
            frames.append(data[at:end])
            self._text = not data.startswith(METADATA, at)
            at = end
        self._records(data, at, frames)

    def _records(self, data: bytes, at: int, frames: list[bytes]) -> None:
        end, sizes = len(data), SIZES
        while end - at >= _HEADER:
            size, rtype = data[at] * 4, data[at + 1]
            known = sizes.get(rtype)
            if size < _HEADER or (known is not None and size not in known):
                raise FramingError(f"a record of type {rtype:#04x} says that it has {size} bytes")
            if end - at < size:
                break
            if rtype != MBO:
                frames.append(data[at : at + size])
            elif data[at + _FLAGS_AT] & _F_LAST:
                record = data[at : at + size]
                frames.append(self._close(record) if self._open else record)
            else:
                self._keep(data[at : at + size])
            at += size
        self._rest = data[at:]

    def _keep(self, record: bytes) -> None:
        self._open.setdefault(record[2:8], []).append(record)
        self._open_bytes += MBO_BYTES
        if self._open_bytes > MAX_EVENT_BYTES:
            raise FramingError(f"events of more than {MAX_EVENT_BYTES} bytes without an end")

    def _close(self, last: bytes) -> bytes:
        # Publisher and instrument: bytes 2 to 8 of the header.
        records = self._open.pop(last[2:8], None)
        if records is None:
            return last
        self._open_bytes -= len(records) * MBO_BYTES
        return b"".join((*records, last))


def _text_end(data: bytes, at: int) -> int:
    """Where the line or the metadata that begins at `at` ends; 0 where that is not known yet."""
    if data.startswith(METADATA, at):
        if len(data) - at < _NAMED:
            return 0
        end = at + _NAMED + int.from_bytes(data[at + 4 : at + _NAMED], "little")
        if end - at > MAX_EVENT_BYTES:
            raise FramingError(f"metadata of {end - at} bytes")
        return end if end <= len(data) else 0
    end = data.find(b"\n", at) + 1
    if not end and len(data) - at > _MAX_LINE:
        raise FramingError(f"a line of more than {_MAX_LINE} bytes")
    return end
