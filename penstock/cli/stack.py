"""The processes of one local pipeline: per provider and lane a session manager with its normalizer, a batch processor
per lane, and, where asked for, the simulated market, a recorder and a strategy."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.valkey import Valkey, free_port
from penstock.errors import ConfigError, Terminal

FOLDERS: Final = ("logs", "state", "quarantine")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider's venue answers; empty strings stand for its live endpoints in provider.yaml."""

    stream: str = ""
    rest: str = ""
    symbols: tuple[str, ...] = ()


@dataclass(slots=True)
class Lane:
    """One session of one provider."""

    provider: str
    instance: str
    session_manager: Process
    normalizer: Process


@dataclass(slots=True)
class Stack:
    """An async context: everything started on enter, stopped in the data's order on exit.

    `directory` holds logs, spools, the lake and state; `redis` names an existing server, else an own one is started.
    """

    directory: Path
    redis: str = ""
    roll_s: float = 60.0
    lanes: list[Lane] = field(default_factory=list)
    batch_processors: dict[str, Process] = field(default_factory=dict)
    observers: list[Process] = field(default_factory=list)
    market: Process | None = None
    on_event: Callable[[Process, dict[str, Any]], None] | None = None
    _batch_ports: dict[str, int] = field(default_factory=dict)
    _valkey: Valkey | None = None
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _sockets: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        try:
            for name in FOLDERS:
                (self.directory / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--directory is {str(self.directory)!r}: {error.strerror}") from None
        # Socket paths are limited to about 100 bytes, so they cannot live below an arbitrary directory.
        self._sockets = tempfile.TemporaryDirectory(prefix="penstock-")
        if not self.redis:
            self._valkey = Valkey(self.directory)
            await self._valkey.start()
            self.redis = self._valkey.url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def intermediate(self) -> str:
        return (self.directory / "intermediate").resolve().as_uri()

    @property
    def final(self) -> str:
        return (self.directory / "final").resolve().as_uri()

    def start(
        self, name: str, module: Sequence[str], *, restart: bool = True, environ: dict[str, str] | None = None
    ) -> Process:
        """Start one process and keep it running. Its log is logs/<name>.log."""
        process = Process(name, module, self.directory / "logs" / f"{name}.log", environ, restart=restart)
        process.on_event = self.on_event
        self._tasks[name] = asyncio.create_task(process.run(), name=name)
        return process

    def start_batch_processors(self) -> None:
        """One batch processor per lane, shared by all providers."""
        for instance in INSTANCES:
            port = free_port()
            process = self.start(
                f"batch_processor-{instance}",
                [
                    "services.batch_processor", "--instance", instance, "--listen", f"127.0.0.1:{port}",
                    "--store", self.intermediate, "--spool", str(self.directory / "spool" / instance),
                    "--roll-s", f"{self.roll_s:g}",
                ],
            )  # fmt: skip
            self.batch_processors[instance] = process
            self._batch_ports[instance] = port

    def start_lane(
        self, provider: str, instance: str, endpoint: Endpoint, secrets: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Lane:  # fmt: skip
        """A session manager, with further `options`, and its sidecar normalizer; `secrets` go into the session manager's
        environment."""
        assert self._sockets is not None
        socket = f"unix:{self._sockets.name}/{provider}-{instance}.sock"
        identity = ["--provider", provider, "--instance", instance]
        normalizer = self.start(
            f"normalizer-{provider}-{instance}",
            [
                "services.normalizer", *identity, "--listen", socket,
                "--quarantine-dir", str(self.directory / "quarantine"),
            ],
            environ={"PENSTOCK_REDIS": self.redis},  # it may hold a password, and every user can read a command line
        )  # fmt: skip
        arguments = [
            "services.session_manager", *identity, "--normalizer", socket,
            "--batch-processor", f"127.0.0.1:{self._batch_ports[instance]}",
            "--state-dir", str(self.directory / "state"),
        ]  # fmt: skip
        if endpoint.stream:
            arguments += ["--stream-url", endpoint.stream, "--rest-url", endpoint.rest]
        if endpoint.symbols:
            arguments += ["--symbols", ",".join(endpoint.symbols)]
        manager = self.start(f"session_manager-{provider}-{instance}", [*arguments, *options], environ=secrets)
        lane = Lane(provider, instance, manager, normalizer)
        self.lanes.append(lane)
        return lane

    def start_observer(self, name: str, module: Sequence[str], *, restart: bool = False) -> Process:
        """A process that reads the hot path (recorder, strategy) at PENSTOCK_REDIS; stopped when nothing more can come."""
        process = self.start(name, module, restart=restart, environ={"PENSTOCK_REDIS": self.redis})
        self.observers.append(process)
        return process

    def start_market(self, module: Sequence[str]) -> Process:
        """The simulated market or replay; stopped last, so that no session sees it go."""
        self.market = self.start("market", module, restart=False)
        return self.market

    async def run_once(self, name: str, module: Sequence[str], timeout_s: float = 120.0) -> Process:
        """Run a process to its end. Raises Terminal with its last lines where it fails."""
        process = self.start(name, module, restart=False)
        async with asyncio.timeout(timeout_s):
            await self._tasks[name]
        if process.exits != [0]:
            raise Terminal(f"{name} exited with {process.exits[-1]}: {process.tail()}")
        return process

    async def stop(self) -> None:
        """Stop everything in the order the data flows, so that what was received is delivered and stored."""
        stages = [
            [lane.session_manager for lane in self.lanes],
            [lane.normalizer for lane in self.lanes],
            [*self.observers, *self.batch_processors.values()],
            [self.market] if self.market is not None else [],
        ]
        for stage in stages:
            await asyncio.gather(*(process.stop() for process in stage))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._valkey is not None:
            await self._valkey.stop()
        if self._sockets is not None:
            self._sockets.cleanup()
            self._sockets = None
