"""One client's connection, as a venue sees it: subscriptions, a bounded way out, and its faults."""

from __future__ import annotations

import struct
from asyncio import BaseTransport, Transport
from typing import Final

from aiohttp import web

from penstock import clock
from simulator.tampering import Record, Tampering

SLOW_BYTES: Final = 8 << 20
"""A connection that is this far behind is closed as a slow consumer."""

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """A whole, unmasked WebSocket frame (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


class Connection:
    """What a provider's simulator is handed in `on_open` and `on_text`.

    Frames are written straight to the transport, many at a time: a frame is encoded once for all connections, and
    nothing ever waits for a client. They leave with the next `Venue.flush`, which runs after every callback.
    """

    def __init__(
        self,
        number: int,
        request: web.Request | None,
        record: Record,
        entries: list[int],
        transport: BaseTransport | None = None,
    ) -> None:
        self.number = number
        """Counts the venue's connections from 1."""
        self._request = request
        self.opened_ns = clock.monotonic_ns()
        self.pong_ns = self.opened_ns
        """When the client's last pong arrived, monotonic ns."""
        self.subscriptions: set[str] = set()
        """Channels by `Venue.subscribe`; read it, do not change it."""
        self.closed = False
        self.tampering = Tampering(record)
        transport = transport if request is None else request.transport
        self._transport = transport if isinstance(transport, Transport) else None
        self._queue: list[bytes] = []
        self._last_entry = entries
        self._counter = -1

    @property
    def request(self) -> web.Request:
        """The upgrade request: path, query, headers. Raises LookupError where the connection is no WebSocket."""
        if self._request is None:
            raise LookupError(f"connection {self.number} has no upgrade request")
        return self._request

    @staticmethod
    def framed(payload: bytes, opcode: int = _TEXT) -> bytes:
        """What goes over the wire for a frame of this kind; b"" where the protocol has none."""
        return frame(payload, opcode)

    def count(self) -> int:
        """0, 1, 2, …: for venues that number the messages of a connection."""
        self._counter += 1
        return self._counter

    def send(self, text: str | bytes) -> None:
        """A frame that carries no market data: acknowledgements, heartbeats, errors."""
        framed = self.framed(text.encode() if isinstance(text, str) else text)
        if self.tampering.active:
            self._queue.extend(self.tampering.control(framed, self._last_entry[0]))
        else:
            self._queue.append(framed)

    def deliver(self, channel: str, framed: bytes, entry: int) -> None:
        """Called by `Venue.broadcast` with a finished frame that carries ledger line `entry`."""
        if self.tampering.active:
            self._queue.extend(self.tampering.data(channel, framed, entry))
        else:
            self._queue.append(framed)

    def ping(self, payload: bytes = b"") -> None:
        """A WebSocket ping; the answer shows in `pong_ns`."""
        self._queue.append(self.framed(payload, _PING))

    def pong(self, payload: bytes) -> None:
        self._queue.append(self.framed(payload, _PONG))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what is queued and a close frame, then end the TCP connection without waiting for the client's."""
        if not self.closed:
            self._queue.append(self.framed(struct.pack("!H", code) + reason.encode(), _CLOSE))
            self.flush()
            self.closed = True
            if self._transport is not None:
                self._transport.close()

    def abort(self) -> None:
        """End the TCP connection at once; what is queued is lost."""
        self.closed = True
        self._queue.clear()
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> int:
        """Hand the queue to the transport; returns how many bytes the client is behind."""
        transport = self._transport
        if transport is None or self.closed or transport.is_closing():
            self._queue.clear()
            return 0
        if self._queue:
            transport.write(b"".join(self._queue))
            self._queue.clear()
        return transport.get_write_buffer_size()


class RawConnection(Connection):
    """A connection without frames of its own, such as bare TCP: what is sent goes out byte for byte."""

    @staticmethod
    def framed(payload: bytes, opcode: int = _TEXT) -> bytes:
        return payload if opcode == _TEXT else b""
