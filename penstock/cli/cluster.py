"""A Redis cluster of a local run: three primaries and three replicas on loopback ports, nodes killed and frozen at will."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from penstock.cli.valkey import binary, free_ports
from penstock.clock import monotonic_s
from penstock.errors import Terminal

PRIMARIES: Final = 3
NODE_TIMEOUT_MS: Final = 1_000
"""After this long without a word a node is suspected; a replica takes over a moment after the others agree."""

_SLOTS: Final = 16_384
_FORM_S: Final = 20.0
_ATTEMPTS: Final = 3


@dataclass(slots=True)
class Member:
    """One server process. `node_id` is its name in the cluster, kept over restarts by its nodes.conf."""

    port: int
    bus: int
    directory: Path
    process: asyncio.subprocess.Process | None = None
    node_id: str = ""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


class Cluster:
    """Servers of our own on free loopback ports, without persistence of data, gone when stopped."""

    def __init__(self, directory: Path, primaries: int = PRIMARIES, replicas: int = PRIMARIES) -> None:
        self._primaries, self._count, self._directory = primaries, primaries + replicas, directory
        self.members: list[Member] = []

    @property
    def urls(self) -> tuple[str, ...]:
        """Every member, in an order in which lanes that take every other one share primaries and replicas alike."""
        return tuple(member.url for member in self.members)

    def member(self, url: str) -> Member:
        """The member at `url`, or at a text `host:port`."""
        return next(member for member in self.members if url.endswith(f":{member.port}"))

    async def start(self) -> None:
        """Start every member and form the cluster. Raises Terminal where that takes longer than 20 s."""
        await self._members()
        for number, member in enumerate(self.members):
            await _ask(member, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            member.node_id = (await _ask(member, "CLUSTER", "MYID")).decode()
            if number < self._primaries:
                first, end = (_SLOTS * n // self._primaries for n in (number, number + 1))
                await _ask(member, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            await _ask(member, "CLUSTER", "MEET", "127.0.0.1", self.members[0].port, self.members[0].bus)
        await self._until(self._met, "its members do not know each other")
        for number, member in enumerate(self.members[self._primaries :]):
            await _ask(member, "CLUSTER", "REPLICATE", self.members[number % self._primaries].node_id)
        await self.settled()

    async def _members(self) -> None:
        for left in reversed(range(_ATTEMPTS)):
            # All at once, as a port that is free is so until somebody takes it.
            ports = free_ports(2 * self._count)
            pairs = zip(ports[::2], ports[1::2], strict=True)
            self.members = [Member(*pair, self._directory / f"node{pair[0]}") for pair in pairs]
            try:
                await asyncio.gather(*(self.launch(member) for member in self.members))
            except Terminal:
                await self.stop()
                if not left:
                    raise
            else:
                return

    async def settled(self) -> None:
        """Wait until every slot is served and every replica is in step."""
        await self._until(self._whole, "it does not serve all slots")

    async def launch(self, member: Member) -> None:
        """Start one member, or start it again, and wait until it answers."""
        member.directory.mkdir(parents=True, exist_ok=True)
        member.process = await asyncio.create_subprocess_exec(
            binary(), "--port", str(member.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(member.directory), "--client-output-buffer-limit", "pubsub 256mb 64mb 60",
            "--cluster-enabled", "yes", "--cluster-port", str(member.bus),
            "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no",
            "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            if member.process.returncode is not None:
                raise Terminal(f"a cluster node exited with {member.process.returncode} at start")
            with suppress(RedisError, OSError):
                await _ask(member, "PING")
                return
            await asyncio.sleep(0.05)
        raise Terminal(f"a cluster node did not answer on port {member.port} within 10 s")

    async def kill(self, member: Member) -> None:
        """kill -9, and wait until it is gone."""
        if member.process is not None and member.process.returncode is None:
            member.process.kill()
            await member.process.wait()

    def freeze(self, member: Member) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        assert member.process is not None
        member.process.send_signal(signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """SIGCONT."""
        assert member.process is not None
        member.process.send_signal(signal.SIGCONT)

    async def is_primary(self, member: Member) -> bool:
        """Whether it serves slots, as it says itself."""
        return bool((await _ask(member, "ROLE"))[0] == b"master")

    async def promote(self, member: Member) -> None:
        """Make a replica the primary, in agreement with its primary; nothing where it is one."""
        if not await self.is_primary(member):
            await _ask(member, "CLUSTER", "FAILOVER")
            await self._until(lambda: self.is_primary(member), "a replica is not promoted")
            await self.settled()

    async def promoted(self, member: Member) -> None:
        """Wait until a replica has taken over from this dead primary."""

        async def taken_over() -> bool:
            living = next(m for m in self.members if m is not member)
            nodes = (await _ask(living, "CLUSTER", "NODES")).decode().splitlines()
            dead = next(line for line in nodes if line.startswith(member.node_id)).split()
            return "slave" in dead[2] or len(dead) <= 8  # the fields before the slots

        await self._until(taken_over, "no replica takes over")

    async def stop(self) -> None:
        """End every member at once."""
        await asyncio.gather(*(self.kill(member) for member in self.members))

    async def _met(self) -> bool:
        infos = [await _ask(member, "CLUSTER", "INFO") for member in self.members]
        return all(f"cluster_known_nodes:{len(self.members)}".encode() in info for info in infos)

    async def _whole(self) -> bool:
        infos = [await _ask(member, "CLUSTER", "INFO") for member in self.members]
        states = [(await _ask(member, "ROLE")) for member in self.members]
        in_step = all(state[0] == b"master" or state[3] == b"connected" for state in states)
        return in_step and all(b"cluster_slots_ok:16384" in i and b"cluster_state:ok" in i for i in infos)

    async def _until(self, condition: Any, why_not: str) -> None:
        end = monotonic_s() + _FORM_S
        while monotonic_s() < end:
            with suppress(RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.05)
        raise Terminal(f"the cluster did not come up within {_FORM_S:g} s: {why_not}")


async def _ask(member: Member, *command: object) -> Any:
    """The answer as it is: redis-py would parse some of them in its own way. Raises RedisError or OSError."""
    client: Any = Redis(port=member.port, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0))
    try:
        connection = await client.connection_pool.get_connection()
        await connection.send_command(*command)
        return await connection.read_response()
    finally:
        await client.aclose()
