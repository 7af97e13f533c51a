"""RESP2, as far as publishing needs it: nodes, command bytes, and one pipelined connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import hiredis

from penstock import redisurl
from penstock.errors import ConnectionLost
from services.normalizer.routes import Route

_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """One Redis server. Its URL, user and password are never shown."""

    url: str = field(repr=False)
    host: str
    port: int
    tls: bool
    username: str = field(repr=False)
    password: str = field(repr=False)
    ca: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Node:
        """A redis:// or rediss:// URL. Raises ConfigError, without the URL because it may hold a password."""
        found = redisurl.parse(url, "--redis")
        return cls(url, found.host, found.port, found.tls, found.username, found.password, found.ca)


def command(*words: str | int) -> bytes:
    """One command as RESP2 bytes."""
    encoded = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def hello(node: Node) -> bytes:
    """The greeting: selects RESP2 and authenticates."""
    if not node.password:
        return command("HELLO", 2)
    return command("HELLO", 2, "AUTH", node.username or "default", node.password)


class Written(NamedTuple):
    """Commands written together: their size in bytes, and for each the route of its message (None: a heartbeat)."""

    size: int
    routes: list[Route | None]


class Link(asyncio.Protocol):
    """One connection: commands are written without waiting, answers are counted off against them in order.

    The first error answer ends the connection: what is unanswered then counts as lost.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.in_flight: deque[Written] = deque()
        self.in_flight_bytes = 0
        self.answered = 0
        self.room = asyncio.Event()
        self.room.set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._head = 0
        self._reader = hiredis.Reader()
        self._questions: deque[asyncio.Future[object]] = deque()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, node: Node, turn: int) -> Link:
        """Connect and greet. Of several addresses of the host, `turn` chooses.

        Raises OSError, or ConnectionLost with the server's own words.
        """
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM)
        host, port = addresses[turn % len(addresses)][4][:2]
        tls = redisurl.context(node.ca) if node.tls else None
        _, link = await loop.create_connection(
            cls, str(host), int(port), ssl=tls, server_hostname=node.host if node.tls else None
        )
        try:
            answer = await link.ask(hello(node))
        except BaseException:
            link.abort("greeting failed")
            raise
        if not isinstance(answer, list):
            link.abort("greeting refused")
            raise ConnectionLost(str(answer))
        return link

    async def ask(self, data: bytes) -> object:
        """Write one command and wait for its answer (an exception object where it is an error); before any `write`."""
        assert self._transport is not None
        assert not self.in_flight
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._questions.append(answer)
        self._transport.write(data)
        return await answer

    def write(self, parts: list[bytes], routes: list[Route | None], limit: int) -> None:
        """Write commands that answer with an integer each; more than `limit` unanswered bytes clear `room`."""
        assert self._transport is not None
        data = b"".join(parts)
        self.in_flight.append(Written(len(data), routes))
        self.in_flight_bytes += len(data)
        if self.in_flight_bytes > limit:
            self.room.clear()
        self.idle.clear()
        self._transport.write(data)

    def abort(self, why: str) -> None:
        """End the connection at once. What was in flight stays listed in `unanswered`.

        What the kernel still holds is thrown away: sent later, it would come after what the next connection sends. A
        server that wakes up answers what had reached it into a closed connection, and drops it.
        """
        self._end(why)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def unanswered(self) -> list[Route]:
        """The route of every message written and not answered."""
        routes = [route for written in self.in_flight for route in written.routes]
        return [route for route in routes[self._head :] if route is not None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.closed.done():
            return
        answers = 0
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                if type(answer) is int and not self._questions:
                    answers += 1
                elif self._questions:
                    question = self._questions.popleft()
                    if not question.done():
                        question.set_result(answer)
                else:
                    self._count_off(answers)
                    self.abort(f"refused: {answer}")
                    return
        except hiredis.ProtocolError as error:
            self.abort(f"not RESP: {error}")
            return
        self._count_off(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "closed by the server")

    def _count_off(self, answers: int) -> None:
        self.answered += answers
        head = self._head + answers
        while self.in_flight and head >= len(self.in_flight[0].routes):
            written = self.in_flight.popleft()
            head -= len(written.routes)
            self.in_flight_bytes -= written.size
        self._head = head
        if not self.in_flight:
            self.room.set()
            self.idle.set()

    def _end(self, why: str) -> None:
        if not self.closed.done():
            self.closed.set_result(why)
        self.room.set()
        self.idle.set()
        while self._questions:
            question = self._questions.popleft()
            if not question.done():
                question.set_exception(ConnectionLost(why))
