"""Redis keys for late joiners: every definition, and the last snapshot of each book.

- hash `DEFINITION.<PROVIDER>`: raw symbol → InstrumentDefMsg (520 bytes)
- hash `CHANNELS.<PROVIDER>`: `<SCHEMA> <instrument_id>` → the encoded venue channels that carry it, separated by spaces
- string `SNAPSHOT.<INSTANCE>.MBO.<PROVIDER>.<encoded channel>` → snapshot message, gone after 120 s

Written by a client of its own beside the hot path: the newest value of each key waits until it is written, so an outage
costs memory of one value per key and nothing else.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError

from penstock import telemetry
from penstock.channels import encode
from penstock.dbn import CLEAR, F_SNAPSHOT, RTYPE_MBO
from services.normalizer.resp import Node

SNAPSHOT_EXPIRY_S: Final = 120
DEFINITION_PREFIX: Final = "definition."
_DEADLINE_S: Final = 1.0
_RETRY_S: Final = 1.0
_FIELDS_A_WRITE: Final = 256


def is_snapshot(data: bytes) -> bool:
    """True for a message that starts with a clear marked as part of a snapshot."""
    # MBOMsg: flags at byte 36, action at byte 38.
    return data[1] == RTYPE_MBO and data[38:39] == CLEAR and bool(data[36] & F_SNAPSHOT)


class State:
    """What the keys should hold, and the task that writes them."""

    def __init__(self, instance: str, segment: str) -> None:
        self._definitions_key = f"DEFINITION.{segment}"
        self._snapshot_prefix = f"SNAPSHOT.{instance}.MBO.{segment}."
        self._definitions: dict[str, bytes] = {}
        self._channels_key = f"CHANNELS.{segment}"
        self._channels: dict[str, bytes] = {}
        self._waiting_channels: dict[str, bytes] = {}
        self._snapshots: dict[str, bytes] = {}
        self._node: Node | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log: Any = telemetry.logger()

    def definition(self, channel: str, data: bytes) -> None:
        """Keep a DEFINITION message under its symbol, which its channel `definition.<raw symbol>` names."""
        self._definitions[channel.removeprefix(DEFINITION_PREFIX)] = data
        self._idle.clear()
        self._wake.set()

    def snapshot(self, channel: str, data: bytes) -> None:
        """Keep the snapshot message of one venue channel's book."""
        self._snapshots[self._snapshot_prefix + encode(channel)] = data
        self._idle.clear()
        self._wake.set()

    def channel(self, schema: str, instrument_id: int, channel: str) -> None:
        """Note that a venue channel carries a schema of an instrument."""
        field = f"{schema} {instrument_id}"
        known = self._channels.get(field, b"").split()
        self._channels[field] = self._waiting_channels[field] = b" ".join(sorted({*known, encode(channel).encode()}))
        self._idle.clear()
        self._wake.set()

    def connected(self, node: Node) -> None:
        """Write through this node from now on; a cluster's node says itself which other owns a key."""
        self._node = node
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, for ever. An outage is logged once and tried again each second."""
        failing = False
        clients: _Clients | None = None
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._node is None:
                    continue
                try:
                    if clients is None or clients.node != self._node:
                        await _close(clients)
                        clients = _Clients(self._node)
                    await self._write(clients)
                    failing = False
                except (RedisError, OSError, TimeoutError) as error:
                    if not failing:
                        self._log.warning("state_unwritten", stage="state", reason=str(error) or type(error).__name__)
                    failing = True
                    self._wake.set()
                    await asyncio.sleep(_RETRY_S)
        finally:
            await _close(clients)

    async def flush(self) -> None:
        """Wait until nothing waits to be written, at most the deadline of one write."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._idle.wait()
        except TimeoutError:
            self._log.warning("state_unwritten", stage="state", reason="shutdown")

    async def _write(self, clients: _Clients) -> None:
        while self._definitions:
            batch = dict(list(self._definitions.items())[:_FIELDS_A_WRITE])
            await clients.run("HSET", self._definitions_key, *chain.from_iterable(batch.items()))
            _forget(self._definitions, batch)
        while self._waiting_channels:
            channels = dict(list(self._waiting_channels.items())[:_FIELDS_A_WRITE])
            await clients.run("HSET", self._channels_key, *chain.from_iterable(channels.items()))
            _forget(self._waiting_channels, channels)
        while self._snapshots:
            key, data = next(iter(self._snapshots.items()))
            await clients.run("SET", key, data, "EX", SNAPSHOT_EXPIRY_S)
            _forget(self._snapshots, {key: data})
        self._idle.set()


def _forget(waiting: dict[str, bytes], written: dict[str, bytes]) -> None:
    # A newer value may have come while this one was being written.
    for key, data in written.items():
        if waiting.get(key) is data:
            del waiting[key]


class _Clients:
    """Clients of one server or of a cluster's nodes: each key goes where the last MOVED answer for it said."""

    def __init__(self, node: Node) -> None:
        self.node = node
        # The library's own retries would hide a dead node for seconds; the caller's loop is the only one.
        self._options: dict[str, Any] = {
            "socket_timeout": _DEADLINE_S,
            "socket_connect_timeout": _DEADLINE_S,
            "retry": Retry(NoBackoff(), 0),
        }
        self._home = Redis.from_url(node.url, **self._options)
        self._others: dict[tuple[str, int], Any] = {}
        self._owners: dict[str, Any] = {}

    async def run(self, name: str, key: str, *words: object) -> None:
        """Run a command of one key on the node that owns it."""
        try:
            await self._owners.get(key, self._home).execute_command(name, key, *words)
        except MovedError as moved:
            self._owners[key] = self._other(str(moved.host), int(moved.port))
            await self._owners[key].execute_command(name, key, *words)
        except (RedisError, OSError, TimeoutError):
            self._owners.pop(key, None)  # its owner may be gone for good; the home node knows
            raise

    def _other(self, host: str, port: int) -> Any:
        if (host, port) not in self._others:
            user, password = self.node.username or None, self.node.password or None
            self._others[host, port] = Redis(
                host=host, port=port, username=user, password=password, ssl=self.node.tls,
                ssl_ca_certs=self.node.ca or None, **self._options,
            )  # fmt: skip
        return self._others[host, port]

    async def close(self) -> None:
        """Close every connection."""
        for client in (self._home, *self._others.values()):
            await client.aclose()


async def _close(clients: _Clients | None) -> None:
    if clients is not None:
        await clients.close()
