"""One Redis subscription connection, held over whatever happens to it: hiredis on a bare asyncio protocol.

In a cluster any node serves any subscription: what is published on one reaches the subscribers of all. So a reader asks
the node it is on for the others, and goes to the next one when it dies, whether that one was configured or not.

Pub/Sub keeps nothing for who is away, so a break is reported at once and never papered over. A node that is frozen
rather than dead sends no error: a PING answered by nothing within the deadline is the only sign of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import hiredis

from penstock import redisurl
from penstock.clock import monotonic_ns
from penstock.rota import Rota
from penstock.telemetry import logger

_PING_S: Final = 0.3
_DEADLINE_S: Final = 1.0
_PAUSE_S: Final = 0.5
_LATE_NS: Final = 100_000_000


class Node(NamedTuple):
    """Where one Redis node is; `tls` for rediss:// URLs. Its repr holds no secret."""

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = ""
    ca: str = ""

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Node:
        """The node of a redis:// or rediss:// URL. Raises ConfigError, without the URL in it as that may hold a
        password."""
        return cls(*redisurl.parse(url, "a Redis URL"))


OnMessage = Callable[[bytes, bytes, int], None]
"""(channel, payload, monotonic ns at which the bytes were read)."""


class Reader:
    """Holds one lane's subscription connection to one of `nodes`, or of the cluster they are of; to the next one of the
    lane's share after each break.

    `on_message` gets every message of the wanted channels and patterns, in order. `on_cut` is called at each break,
    before anything of a new connection is delivered.
    """

    def __init__(self, nodes: Sequence[Node], instance: str, on_message: OnMessage, on_cut: Callable[[], None]) -> None:
        self._rota = Rota(nodes, instance)
        self._on_message = on_message
        self._on_cut = on_cut
        self._wanted: dict[tuple[bytes, bytes], None] = {}
        self._connection: _Connection | None = None
        self.connects = 0
        """How many connections were made so far; more than one means there were breaks."""
        self.node: Node | None = None
        """Where it is connected, or was last."""

    @property
    def connected(self) -> bool:
        """Whether a connection is up now."""
        return self._connection is not None

    def subscribe(self, name: str, *, is_pattern: bool = False) -> None:
        """Want a channel, or a pattern that penstock.channels built; again after every reconnect."""
        key = (b"PSUBSCRIBE" if is_pattern else b"SUBSCRIBE", name.encode())
        if key not in self._wanted:
            self._wanted[key] = None
            if self._connection is not None:
                self._connection.send(*key)

    def unsubscribe(self, name: str, *, is_pattern: bool = False) -> None:
        """No longer want it."""
        command = b"PSUBSCRIBE" if is_pattern else b"SUBSCRIBE"
        if self._wanted.pop((command, name.encode()), 0) is None and self._connection is not None:
            self._connection.send(command.replace(b"SUB", b"UNSUB"), name.encode())

    async def run(self) -> None:
        """Connect, deliver, and connect again elsewhere; until cancelled."""
        failures, settled = 0, False
        while True:
            node = self._rota.next(failures)
            started = monotonic_ns()
            try:
                if not await self._hold(node, may_leave=not settled):
                    settled = True
                    continue
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                self._on_cut()
                logger().warning("subscription_lost", node=repr(node), error=str(error) or type(error).__name__)
            failures = failures + 1 if monotonic_ns() - started < 2_000_000_000 else 0
            settled = failures > 0
            if failures >= len(self._rota):
                await asyncio.sleep(random.uniform(0.1, 1.0) * _PAUSE_S)

    async def _hold(self, node: Node, *, may_leave: bool) -> bool:
        """Until the connection breaks, which raises. False at once where the node turns out to be the other lane's."""
        loop = asyncio.get_running_loop()
        context = redisurl.context(node.ca) if node.tls else None
        async with asyncio.timeout(_DEADLINE_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._on_message), node.host, node.port, ssl=context
            )
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._greet(node, connection)
            if may_leave and self._rota.is_foreign(node):
                return False
            for command, name in self._wanted:
                connection.send(command, name)
            self._connection, self.node = connection, node
            self.connects += 1
            await connection.watch()
            return True
        finally:
            self._connection = None
            connection.close()

    async def _greet(self, node: Node, connection: _Connection) -> None:
        if node.password:
            credentials = (part.encode() for part in (node.username, node.password) if part)
            if isinstance(refused := await connection.ask(b"AUTH", *credentials), hiredis.ReplyError):
                raise refused
        # A single server refuses this, and so does an ACL that grants no more than subscribing: then nothing is learned.
        if isinstance(known := await connection.ask(b"CLUSTER", b"NODES"), bytes):
            text = known.decode("ascii", "replace")
            living, every = cluster_nodes(text, node), cluster_nodes(text, node, failing=True)
            self._rota.learn(every, failing={*every} - {*living})


class _Connection(asyncio.Protocol):
    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._parser = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._heard_ns = monotonic_ns()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._question: asyncio.Future[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports, which a Nautilus node brings, are no subclass of it.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the node closed the connection"))

    def send(self, *words: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            sized = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            self._transport.write(b"*%d\r\n%b" % (len(words), sized))

    async def ask(self, *words: bytes) -> object:
        """The answer to one command, a ReplyError where it is refused. Only before the first subscription."""
        self._question = asyncio.get_running_loop().create_future()
        self.send(*words)
        await asyncio.wait((self._question, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if not self._question.done():
            self._ended.result()
        answer, self._question = self._question.result(), None
        return answer

    def data_received(self, data: bytes) -> None:
        now = self._heard_ns = monotonic_ns()
        parser, deliver = self._parser, self._on_message
        try:
            parser.feed(data)
            while (item := parser.gets()) is not False:
                kind = item[0] if isinstance(item, list) else item
                if kind == b"message":
                    deliver(item[1], item[2], now)
                elif kind == b"pmessage":
                    deliver(item[2], item[3], now)
                elif self._question is not None and not self._question.done():
                    self._question.set_result(item)
                elif isinstance(item, hiredis.ReplyError):
                    raise item
        except hiredis.HiredisError as error:
            # A refusal (NOAUTH, NOPERM) or bytes that are not RESP: nothing after it can be trusted to be whole.
            self._end(error)

    def close(self) -> None:
        """Drop the connection now; nothing is delivered after this."""
        if not self._ended.cancel() and not self._ended.cancelled():
            self._ended.exception()  # known, or asyncio would complain that nobody asked
        self._on_message = _ignore
        if self._transport is not None:
            self._transport.abort()

    async def watch(self) -> None:
        """Until the connection ends (raises why) or nothing has come back for the deadline (TimeoutError)."""
        while not self._ended.done():
            self.send(b"PING")
            asked = monotonic_ns()
            await asyncio.wait((self._ended,), timeout=_PING_S)
            now = monotonic_ns()
            if now - asked > _PING_S * 1e9 + _LATE_NS:
                # This process stalled: answers may wait unread in the socket, and silence means nothing yet.
                continue
            if now - self._heard_ns > _DEADLINE_S * 1e9:
                raise TimeoutError(f"the node has answered nothing for {_DEADLINE_S} s")
        self._ended.result()

    def _end(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


def _ignore(_channel: bytes, _payload: bytes, _now_ns: int) -> None:
    """Deliver nothing."""


def nodes(urls: Sequence[str]) -> list[Node]:
    """The nodes of some URLs, in order. Raises ConfigError for one that is none."""
    return [Node.parse(url) for url in urls]


def cluster_nodes(text: str, asked: Node, *, failing: bool = False) -> tuple[Node, ...]:
    """The nodes that answer, by a CLUSTER NODES answer of `asked`, whose credentials serve for all of them; with
    `failing` those too that the cluster gave up.

    Lines are `<id> <ip>:<port>@<bus port>[,<hostname>…] <flags> …`; a node of a TLS cluster is called by its hostname.
    """
    found = []
    for line in text.splitlines():
        _, address, flags, *_ = (*line.split(" "), "", "", "")
        where, *names = address.split(",")
        host, _, port = where.partition("@")[0].rpartition(":")
        unfit = {"handshake", "noaddr"} if failing else {"fail", "handshake", "noaddr"}
        if port.isdecimal() and unfit.isdisjoint(flags.split(",")):
            named = names[0] if names and "=" not in names[0] else ""
            # A node that has met nobody yet does not know its own address.
            host = (named if asked.tls and named else host) or asked.host
            found.append(asked._replace(host=host.strip("[]"), port=int(port)))
    return tuple(sorted(found))
