"""What a late joiner reads from Redis keys: definitions, where an instrument's channels are, stored book images.

In a cluster a key is on one node: any other says which one (MOVED), and that one is asked. The node that was asked first
names the others, for the day it is gone itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError, ResponseError

from penstock.channels import decode, encode
from penstock.clock import monotonic_s
from penstock.errors import ConnectionLost, Terminal
from penstock.telemetry import logger
from strategies.feed.reader import Node, cluster_nodes, nodes

_TIMEOUT_S: Final = 1.0
_POLL_S: Final = 0.05
_TELL_S: Final = 2.0
_HOPS: Final = 3
"""Owners of a key asked in turn: after a failover the old one may still be named first."""


class Directory:
    """The Redis keys the normalizers keep. Each call has a deadline of one second on a node and is tried on one after
    the other, those a cluster named included; ConnectionLost where none answers."""

    def __init__(self, urls: Sequence[str]) -> None:
        where = nodes(urls)
        self._home = where[0]
        self._clients = {node[:2]: _client(node) for node in where}
        self._turn = 0
        self._nodes_known = False
        self._silent = ""

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def definitions(self, provider: str, symbols: Sequence[str]) -> dict[str, bytes]:
        """The stored InstrumentDefMsg of each symbol that has one."""
        found = await self._ask("HMGET", f"DEFINITION.{provider}", *symbols)
        return {symbol: record for symbol, record in zip(symbols, found, strict=True) if record}

    async def await_definitions(self, wanted: Mapping[str, Iterable[str]], timeout_s: float) -> list[bytes]:
        """The definitions of all wanted symbols by provider, as soon as all are there.

        Says every two seconds what is missing. Raises Terminal that names it, or says why Redis cannot be asked, after
        `timeout_s`.
        """
        found: dict[tuple[str, str], bytes] = {}
        started = told = monotonic_s()
        while True:
            for provider, symbols in wanted.items():
                if missing := [symbol for symbol in symbols if (provider, symbol) not in found]:
                    for symbol, record in (await self._patiently(provider, missing)).items():
                        found[provider, symbol] = record
            rest = [f"{p}:{s}" for p, symbols in wanted.items() for s in symbols if (p, s) not in found]
            now = monotonic_s()
            if not rest:
                return list(found.values())
            if now - started > timeout_s:
                if self._silent:
                    raise Terminal(
                        f"{self._silent.rstrip('.')}: is that where Redis runs, and may this user read there?"
                    )
                raise Terminal(
                    f"no definition of {', '.join(rest)} has appeared in Redis within {timeout_s:g} s: "
                    "is a normalizer of the provider running, and is the symbol one that it subscribes?"
                )
            if now - told > _TELL_S:
                told = now
                logger().info("definitions_awaited", missing=rest, **({"error": self._silent} if self._silent else {}))
            await asyncio.sleep(_POLL_S)

    async def channels(self, schema: str, provider: str, instrument_id: int) -> list[str]:
        """The venue channels that carry a schema of an instrument; empty where none is known yet.

        Hash CHANNELS.<PROVIDER>, field `<SCHEMA> <instrument_id>`, value: encoded venue channels separated by spaces.
        """
        (value,) = await self._ask("HMGET", f"CHANNELS.{provider}", f"{schema} {instrument_id}")
        return [decode(part) for part in (value or b"").decode("ascii", "replace").split()]

    async def image(self, instance: str, provider: str, channel: str) -> bytes | None:
        """The last stored book image of one lane of a venue channel."""
        value: bytes | None = await self._ask("GET", f"SNAPSHOT.{instance}.MBO.{provider}.{encode(channel)}")
        return value

    async def _patiently(self, provider: str, symbols: Sequence[str]) -> dict[str, bytes]:
        try:
            found = await self.definitions(provider, symbols)
        except ConnectionLost as error:
            self._silent = str(error)
            return {}
        self._silent = ""
        return found

    async def _ask(self, *command: str) -> Any:
        clients = list(self._clients.values())
        for _ in clients:
            client = clients[self._turn % len(clients)]
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    if not self._nodes_known:
                        await self._learn(client)
                    return await self._follow(client, command)
            except (RedisError, OSError, TimeoutError) as error:
                self._turn += 1
                self._nodes_known = False
                why = str(error) or type(error).__name__
        raise ConnectionLost(f"no Redis node answers {command[0]}: {why}")

    async def _learn(self, client: Any) -> None:
        # Two words, as redis-py would parse the answer to "CLUSTER NODES" in its own way.
        try:
            known = await client.execute_command("CLUSTER", "NODES")
        except ResponseError:
            known = b""  # a single server, or a user who may not ask
        asked = self._home._replace(host=client.get_connection_kwargs()["host"])
        for node in cluster_nodes(known.decode("ascii", "replace"), asked):
            self._owner(node.host, node.port)
        self._nodes_known = True

    async def _follow(self, client: Any, command: tuple[str, ...]) -> Any:
        for _ in range(_HOPS):
            try:
                return await client.execute_command(*command)
            except MovedError as moved:
                # A cluster that names no host means the one that was asked.
                asked = client.get_connection_kwargs()["host"]
                client = self._owner(str(moved.host) or asked, int(moved.port))
        return await client.execute_command(*command)

    def _owner(self, host: str, port: int) -> Any:
        if (host, port) not in self._clients:
            self._clients[host, port] = _client(self._home._replace(host=host, port=port))
        return self._clients[host, port]


def _client(node: Node) -> Any:
    # The library's own retries would hide a dead node for seconds.
    return redis.asyncio.Redis(
        host=node.host,
        port=node.port,
        username=node.username or None,
        password=node.password or None,
        ssl=node.tls,
        ssl_ca_certs=node.ca or None,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
