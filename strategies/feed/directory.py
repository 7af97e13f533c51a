"""What a late joiner reads from Redis keys: definitions, where an instrument's channels are, stored book images."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from penstock.channels import decode, encode
from penstock.clock import monotonic_s
from penstock.errors import ConfigError, ConnectionLost, Terminal
from penstock.telemetry import logger

_TIMEOUT_S: Final = 1.0
_POLL_S: Final = 0.05
_TELL_S: Final = 2.0


class Directory:
    """The Redis keys the normalizers keep. Each call has a deadline of one second and is tried on one node after the
    other; ConnectionLost where none answers."""

    def __init__(self, urls: Sequence[str]) -> None:
        for url in urls:
            if not url.startswith(("redis://", "rediss://")):
                raise ConfigError("--redis: every URL is expected to begin with redis:// or rediss://")
        self._clients = [
            redis.asyncio.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
            )
            for url in urls
        ]
        self._turn = 0

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    async def definitions(self, provider: str, symbols: Sequence[str]) -> dict[str, bytes]:
        """The stored InstrumentDefMsg of each symbol that has one."""
        found = await self._ask("HMGET", f"DEFINITION.{provider}", *symbols)
        return {symbol: record for symbol, record in zip(symbols, found, strict=True) if record}

    async def await_definitions(self, wanted: Mapping[str, Iterable[str]], timeout_s: float) -> list[bytes]:
        """The definitions of all wanted symbols by provider, as soon as all are there.

        Says every two seconds what is missing. Raises Terminal that names it after `timeout_s`.
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
                raise Terminal(
                    f"no definition of {', '.join(rest)} has appeared in Redis within {timeout_s:g} s: "
                    "is a normalizer of the provider running, and is the symbol one that it subscribes?"
                )
            if now - told > _TELL_S:
                told = now
                logger().info("definitions_awaited", missing=rest)
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
            return await self.definitions(provider, symbols)
        except ConnectionLost:
            await asyncio.sleep(_POLL_S)
            return {}

    async def _ask(self, *command: str) -> Any:
        for _ in self._clients:
            client = self._clients[self._turn % len(self._clients)]
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    return await client.execute_command(*command)  # type: ignore[no-untyped-call] # as redis-py types it
            except (RedisError, OSError, TimeoutError) as error:
                self._turn += 1
                why = error
        raise ConnectionLost(f"no Redis node answers {command[0]}: {why}")
