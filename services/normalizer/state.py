"""Redis keys for late joiners: every definition, and the last snapshot of each book.

- hash `DEFINITION.<PROVIDER>`: raw symbol → InstrumentDefMsg (520 bytes)
- string `SNAPSHOT.<INSTANCE>.MBO.<PROVIDER>.<encoded channel>` → snapshot message, gone after 120 s

Written by a client of its own beside the hot path: the newest value of each key waits until it is written, so an outage
costs memory of one value per key and nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from penstock import telemetry
from penstock.channels import encode
from penstock.dbn import CLEAR, F_SNAPSHOT, RTYPE_MBO
from services.normalizer.resp import Node

SNAPSHOT_EXPIRY_S: Final = 120
DEFINITION_PREFIX: Final = "definition."
_DEADLINE_S: Final = 1.0
_RETRY_S: Final = 1.0
_DEFINITIONS_A_WRITE: Final = 256


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
        self._snapshots: dict[str, bytes] = {}
        self._node: tuple[Node, bool] | None = None
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

    def connected(self, node: Node, cluster: bool) -> None:
        """Write through this node from now on."""
        self._node = (node, cluster)
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, for ever. An outage is logged once and tried again each second."""
        client: Any = None
        using: tuple[Node, bool] | None = None
        failing = False
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._node is None:
                    continue
                try:
                    if client is None or using != self._node:
                        await _close(client)
                        using = self._node
                        client = _client(*using)
                    await self._write(client)
                    failing = False
                except (RedisError, OSError, TimeoutError) as error:
                    if not failing:
                        self._log.warning("state_unwritten", stage="state", reason=str(error) or type(error).__name__)
                    failing = True
                    self._wake.set()
                    await asyncio.sleep(_RETRY_S)
        finally:
            await _close(client)

    async def flush(self) -> None:
        """Wait until nothing waits to be written, at most the deadline of one write."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await self._idle.wait()
        except TimeoutError:
            self._log.warning("state_unwritten", stage="state", reason="shutdown")

    async def _write(self, client: Any) -> None:
        while self._definitions:
            batch = dict(list(self._definitions.items())[:_DEFINITIONS_A_WRITE])
            await client.hset(self._definitions_key, mapping=batch)
            _forget(self._definitions, batch)
        while self._snapshots:
            key, data = next(iter(self._snapshots.items()))
            await client.set(key, data, ex=SNAPSHOT_EXPIRY_S)
            _forget(self._snapshots, {key: data})
        self._idle.set()


def _forget(waiting: dict[str, bytes], written: dict[str, bytes]) -> None:
    # A newer value may have come while this one was being written.
    for key, data in written.items():
        if waiting.get(key) is data:
            del waiting[key]


def _client(node: Node, cluster: bool) -> Any:
    # The library's own retries would hide a dead node for seconds; the caller's loop is the only one.
    options: dict[str, Any] = {"socket_timeout": _DEADLINE_S, "socket_connect_timeout": _DEADLINE_S}
    if cluster:
        return RedisCluster.from_url(node.url, retry=Retry(NoBackoff(), 0), **options)
    return redis.asyncio.Redis.from_url(node.url, retry=Retry(NoBackoff(), 0), **options)


async def _close(client: Any) -> None:
    if client is not None:
        await client.aclose()
