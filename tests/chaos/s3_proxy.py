"""A proxy before an S3 server that fails as S3 and networks do: on request, by the dice, and counted.

It speaks HTTP/1.1 with whole requests: a request is read to its end, judged, and forwarded or not. What is forwarded
reaches the server even where its client has gone since: committed, and nobody told.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>made up</Message>'
    b"<RequestId>1</RequestId></Error>"
)
_WORDS = {200: b"OK", 500: b"Internal Server Error", 503: b"Service Unavailable"}
KINDS = ("500", "503", "200_error", "200_empty", "reset", "reset_in_body", "lost_reply", "garbage")
"""What a request may meet. `timeout`, an answer that never comes, costs 20 s each and is asked for by its own share."""


class Gone(Exception):
    """The client's connection is to be cut."""


@dataclass
class S3Proxy:
    """`share` of all requests meets one of KINDS, `timeouts` of them never gets an answer. While `down` connections are
    closed as they come, while `bytes_per_s` is not 0 bodies are read that slowly; `hold_s` is how long at most a PUT
    is kept open before it is forwarded."""

    upstream: int
    dice: random.Random
    share: float = 0.0
    timeouts: float = 0.0
    hold_s: float = 0.0
    bytes_per_s: float = 0.0
    down: bool = False
    puts_open: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while not self.down:
                if not await self._request(reader, writer):
                    break
        except (Gone, OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if self.down else writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        if self.down:
            raise Gone
        method = head.split(b" ", 1)[0].decode()
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        is_put = method == "PUT"
        self.puts_open += is_put
        try:
            await self._serve(method, head, fields, reader, writer)
        finally:
            self.puts_open -= is_put
        return True

    async def _serve(
        self, method: str, head: bytes, fields: dict[bytes, bytes], reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.counts[method] += 1
        roll = self.dice.random()
        fault = "timeout" if roll < self.timeouts else self.dice.choice(KINDS) if roll < self.share else ""
        if fault:
            self.counts[fault] += 1
        if b"100-continue" in fields.get(b"expect", b""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._body(fields, reader, cut=fault == "reset_in_body")
        if method == "PUT" and self.hold_s:
            await asyncio.sleep(self.dice.uniform(0, self.hold_s))
        if self.down:
            raise Gone
        if fault == "timeout":
            await asyncio.sleep(3600)
        if fault == "reset":
            raise Gone
        if fault in ("500", "503"):
            code = b"SlowDown" if fault == "503" else b"InternalError"
            return self._answer(writer, int(fault), _ERROR % code, method)
        if fault in ("200_error", "200_empty", "garbage"):
            text = {"200_error": _ERROR % b"InternalError", "200_empty": b"", "garbage": b"<html>no"}[fault]
            return self._answer(writer, 200, text, method)
        forwarding = asyncio.ensure_future(self._forward(head, body))
        answer = await asyncio.shield(forwarding)
        if fault == "lost_reply" or self.down:
            raise Gone
        writer.write(answer)
        await writer.drain()
        return None

    async def _body(self, fields: dict[bytes, bytes], reader: asyncio.StreamReader, *, cut: bool) -> bytes:
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            pieces = []
            while True:
                line = await reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                pieces.append(line + await reader.readexactly(size + 2))
                if size == 0:
                    return b"".join(pieces)
        left = int(fields.get(b"content-length", b"0"))
        if cut:
            await reader.readexactly(left // 2)
            raise Gone
        body = bytearray()
        while left:
            piece = await reader.read(min(left, 256 if self.bytes_per_s else 1 << 16))
            if not piece or self.down:
                raise Gone
            body += piece
            left -= len(piece)
            if self.bytes_per_s:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
        return bytes(body)

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith((b"expect:", b"connection:"))]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
            answer = await reader.read(-1)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return answer

    def _answer(self, writer: asyncio.StreamWriter, status: int, body: bytes, method: str) -> None:
        text = b"" if method == "HEAD" else body
        writer.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (status, _WORDS[status], len(body) if method != "HEAD" else 0, text)
        )
        raise Gone
