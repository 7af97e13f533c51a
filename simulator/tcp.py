"""A venue that speaks over bare TCP: lines of text come in, and what the venue sends goes out byte for byte.

A provider's `Simulator(TcpVenue)` has no paths; `on_text` gets each line with its line feed. Its printed stream URL is
`tcp://127.0.0.1:<port>`, a port of its own.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from simulator.connection import Connection, RawConnection
from simulator.venue import Router, Venue

_MAX_LINE: Final = 1 << 20


class TcpVenue(Venue):
    """See simulator.venue."""

    connection_type: ClassVar[type[Connection]] = RawConnection

    _listener: asyncio.Server | None = None

    def routes(self, router: Router) -> None:
        """None: it answers no HTTP."""

    async def listen(self) -> str:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_LINE)
        return f"tcp://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        self.traffic.add("connect", 0, "")
        if self.faults.refusal() is not None:
            writer.transport.abort()
            return
        connection = self._open(None, writer.transport)
        try:
            await self.on_open(connection)
            self.flush()
            while line := await reader.readline():
                text = line.decode("utf-8", "replace")
                self.traffic.add("message", connection.number, text)
                await self.on_text(connection, text)
                self.flush()
        except (OSError, ValueError):
            pass  # reset, or a line beyond all measure: this client is done with
        finally:
            connection.close()
            self._close(connection)
