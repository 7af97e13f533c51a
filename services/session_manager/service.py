"""The session manager of one provider and instance: sessions in, two consumers' streams out, no waiting between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from penstock import clock, telemetry
from penstock.health import Signs
from penstock.lease import Lease
from penstock.payloads import REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import Instance, Kind
from penstock.session import Session
from penstock.tracing import Tracer
from services.session_manager.budget import Budget
from services.session_manager.connection import Connection
from services.session_manager.definitions import Definitions
from services.session_manager.forwarder import Forwarder, Identity
from services.session_manager.queue import Policy, Queue
from services.session_manager.rest import Rest
from services.session_manager.stamp import SESSION, Stamper
from services.session_manager.stats import Stats, signs
from services.session_manager.supervisor import Supervisor
from services.session_manager.timing import Timing
from services.session_manager.transports import dialer
from services.session_manager.venue import Venue

_HEARTBEAT_S: Final = 1.0
_LATE_S: Final = 0.5
_INSTANCES: Final = {"PRIMARY": Instance.INSTANCE_PRIMARY, "REPLICA": Instance.INSTANCE_REPLICA}


@dataclass(frozen=True, slots=True)
class Setup:
    """What a session manager works with. `make_session` builds a provider's Session; `channels_on` gives the peek
    into the frames of a connection to a URL (penstock.payloads.channels_on), `redact` what of a control frame may be kept
    (penstock.payloads.redactor). `lease`, where there is one, is held and gave the epoch."""

    info: ProviderInfo
    instance: str
    epoch: int
    make_session: Callable[[], Session]
    channels_on: Callable[[str], Callable[[bytes], str]]
    normalizer: str
    batch_processor: str
    state_dir: Path
    hot_bytes: int = 64_000_000
    hot_age_s: float = 5.0
    cold_bytes: int = 256_000_000
    timing: Timing = field(default_factory=Timing)
    redact: Callable[[bytes], bytes] = bytes
    signs: Signs = field(default_factory=signs)
    stats_s: float = 1.0
    emf_s: float = 0.0
    tracer: Tracer | None = None
    lease: Lease | None = None
    authenticated: bool = False
    batch_credentials: Any = None


class Service:
    """Runs one session manager."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.hot = Queue("normalizer", Policy.DROP_OLDEST, setup.hot_bytes, setup.hot_age_s)
        self.cold = Queue("batch_processor", Policy.RESEND, setup.cold_bytes)
        self.stamper = Stamper((self.hot, self.cold))
        self.live: dict[int, Connection] = {}
        self._definitions: Definitions | None = None
        reporter = telemetry.Reporter(setup.stats_s, setup.emf_s)
        self._stats = Stats(self.stamper, (self.hot, self.cold), self.live, setup.signs, reporter)
        self._log = telemetry.logger()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then deliver what has been read. Raises StaleEpoch when a newer owner exists."""
        setup = self._setup
        identity = Identity(setup.info.name, _INSTANCES[setup.instance], setup.epoch)
        check = setup.lease.check if setup.lease else _unleased
        hot = Forwarder(
            setup.normalizer, self.hot, identity, self.resync, self._normalizer_connected, check, tracer=setup.tracer
        )
        cold = Forwarder(
            setup.batch_processor, self.cold, identity, self.resync, lambda _again: None, check, setup.batch_credentials
        )
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(self._stats.run())]
                if setup.lease:
                    background.append(group.create_task(setup.lease.run()))
                forwarding = {group.create_task(hot.run()), group.create_task(cold.run())}
                sessions = group.create_task(self._sessions())
                await stop.wait()
                sessions.cancel()
                await asyncio.wait({sessions})
                hot.drain()
                cold.drain()
                _, late = await asyncio.wait(forwarding, timeout=setup.timing.drain_s)
                for task in (*background, *late):
                    task.cancel()
                self._stats.finish()
                self._log.info("stopped", hot_held=self.hot.held, cold_held=self.cold.held)
        except ExceptionGroup as errors:
            raise _first(errors) from errors

    def resync(self, channels: Sequence[str]) -> None:
        """A consumer lost the state of these channels: get new snapshots, or definitions."""
        for channel in channels:
            if channel.startswith(REST):
                if self._definitions:
                    self._definitions.want()
                continue
            # The newest connection that holds the channel is the one that stays, when two do.
            # A subscription may be of more than one instrument, which then is the part behind its name.
            names = {channel, channel.rpartition(".")[0]}
            holders = [one for one in self.live.values() if names.intersection(one.subscriptions.acknowledged)]
            if holders:
                max(holders, key=lambda one: one.number).resync(channel)

    async def _sessions(self) -> None:
        """Everything that produces envelopes."""
        setup = self._setup
        async with self._venue() as venue, asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat())
            session = setup.make_session()
            period_s = setup.timing.definitions_s or setup.info.definitions_s
            definitions = Definitions(session.definitions(), venue.rest, period_s)
            self._definitions = definitions
            group.create_task(definitions.run())
            try:
                async with asyncio.timeout(setup.timing.definitions_wait_s):
                    await definitions.complete.wait()
            except TimeoutError:
                self._log.error("definitions_missing", seconds=setup.timing.definitions_wait_s)
            numbers = itertools.count(1)
            plans = session.plans()
            self._stats.wanted = len(plans)
            for index, plan in enumerate(plans):
                supervisor = Supervisor(
                    plan, index, setup.instance, venue, setup.make_session, numbers.__next__, self.live
                )
                group.create_task(supervisor.run())

    @asynccontextmanager
    async def _venue(self) -> AsyncIterator[Venue]:
        setup = self._setup
        budget = Budget(setup.state_dir, setup.info.name, setup.info.limits)
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            ) as http:
                rest = Rest(http, budget.requests, self.stamper, setup.info.limits.ban_s)
                yield Venue(
                    setup.info,
                    setup.channels_on,
                    setup.redact,
                    dialer(http),
                    rest,
                    budget,
                    self.stamper,
                    setup.timing,
                )
        finally:
            budget.close()

    async def _heartbeat(self) -> None:
        """Vouch once a second, in order with the data, for the connections that are alive."""
        next_s = clock.monotonic_s()
        while True:
            alive = {str(one.number): one.vouched for one in self.live.values() if one.alive}
            payload = msgspec.json.encode({"connections": alive})
            self.stamper.stamp(0, SESSION, Kind.KIND_HEARTBEAT, payload, clock.time_ns())
            now_s = clock.monotonic_s()
            next_s = max(next_s + _HEARTBEAT_S, now_s)  # after a pause, no burst of what was missed
            await asyncio.sleep(next_s - now_s)
            if clock.monotonic_s() - next_s > _LATE_S:
                # This process stood still. What has waited in its sockets meanwhile is read before it vouches again.
                await asyncio.sleep(_LATE_S)

    def _normalizer_connected(self, again: bool) -> None:
        # It may be a new process that knows no instrument, or have missed what was dropped before it came.
        if self._definitions and (again or self.hot.dropped):
            self._definitions.want()


def _unleased() -> None:
    """The check of an owner that only its host's lock keeps alone."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is no group itself."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
