"""Real session managers against all simulated venues at once, when connecting goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from glob import escape
from pathlib import Path
from typing import Any

import pytest

import providers
from penstock.payloads import channels_on
from penstock.provider import Endpoints, Limit
from services.session_manager.service import Service, Setup
from services.session_manager.timing import Timing
from simulator.__main__ import load_simulator
from simulator.faults import Fault
from simulator.ledger import Ledger
from simulator.server import Server
from simulator.venue import Venue

STORM_S = 10.0
FOUND_S = 30.0
WAY_S = 0.3
"""How much later one connect may arrive than another on a busy machine."""
EAGER = Timing(backoff_base_s=0.001, backoff_cap_s=0.002, drain_s=0.1, definitions_wait_s=2.0)


class World:
    """The venues by provider, and two session managers of each."""

    def __init__(self, venues: Sequence[Venue]) -> None:
        self.venues = {venue.name: venue for venue in venues}
        self.services: dict[str, list[Service]] = {}


@asynccontextmanager
async def world(
    tmp_path: Path, timing: Timing, prepare: Callable[[Venue], None] = lambda _: None
) -> AsyncIterator[World]:
    """Everything runs in this process, over real sockets; there are no consumers, whose queues then overflow by design.

    `prepare` is called with each venue before anybody connects.
    """
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        venues = [load_simulator(name)(5, ledger) for name in providers.names()]
        for venue in venues:
            prepare(venue)
        server = Server(venues, ledger, 100.0)
        urls: Any = await server.start(0)
        made, stops = World(venues), []
        async with asyncio.TaskGroup() as group:
            market = group.create_task(server.run())
            for name in providers.names():
                for instance in ("PRIMARY", "REPLICA"):
                    stop = asyncio.Event()
                    stops.append(stop)
                    service = Service(setup(name, instance, urls[name], tmp_path, timing))
                    made.services.setdefault(name, []).append(service)
                    group.create_task(service.run(stop))
            try:
                yield made
            finally:
                for stop in stops:
                    stop.set()
                market.cancel()
        await server.close()


def setup(name: str, instance: str, urls: dict[str, Any], tmp_path: Path, timing: Timing) -> Setup:
    info, payloads = providers.info(name), providers.payloads(name)
    endpoints = Endpoints(urls["stream"], urls["rest"])

    def make_session() -> Any:
        return providers.session_class(name)(info, endpoints, urls["symbols"], None)

    return Setup(
        info=info,
        instance=instance,
        epoch=1,
        make_session=make_session,
        channels_on=lambda url: channels_on(payloads, url),
        normalizer=f"unix:{tmp_path}/none.sock",
        batch_processor=f"unix:{tmp_path}/none.sock",
        state_dir=tmp_path,
        hot_bytes=1_000_000,
        cold_bytes=1_000_000,
        timing=timing,
    )


def most(stamps: list[int], per_s: float) -> int:
    """The largest number within any window."""
    width, start, found = int(per_s * 1e9), 0, 0
    for end, stamp in enumerate(stamps):
        while stamps[start] <= stamp - width:
            start += 1
        found = max(found, end - start + 1)
    return found


def excesses(venue: Venue) -> Iterator[str]:
    """What was asked more often than half of the venue's limit allows."""
    limits = providers.info(venue.name).limits
    for kind, limit in (("connect", limits.connects), ("message", limits.messages), ("request", limits.requests)):
        stamps = [call.ts for call in venue.traffic.calls if call.kind == kind]
        # A call is counted when it arrives: the windows of sender and venue differ by what the ways took.
        got = most(stamps, max(limit.per_s - WAY_S, limit.per_s / 2))
        if got > allowed(limit):
            yield f"{venue.name}: {got} {kind}s in {limit.per_s:g} s, half of the limit is {allowed(limit)}"


def allowed(limit: Limit) -> int:
    return max(1, limit.count // 2)


@pytest.mark.timeout(120)
async def test_a_reconnect_storm_stays_under_half_of_every_limit(tmp_path: Path):
    """Ten seconds in which every connection is closed as soon as it is there, with no backoff to help: two session
    managers together stay under half of what each venue publishes."""
    async with world(tmp_path, EAGER) as made:
        loop = asyncio.get_running_loop()
        end = loop.time() + STORM_S
        while loop.time() < end:
            await asyncio.sleep(0.05)
            for name, venue in made.venues.items():
                if venue.connections:
                    venue.faults.inject(Fault(name, "close", connection="all"))
        over = [text for venue in made.venues.values() for text in excesses(venue)]
        connects = {
            name: sum(call.kind == "connect" for call in venue.traffic.calls) for name, venue in made.venues.items()
        }
    assert not over
    few = {name: count for name, count in connects.items() if 0 < count < 2}
    assert not few, "the storm did not happen"


def first_book(name: str, symbols: Sequence[str]) -> str:
    """The first book channel of a provider's plans, "" where it streams none."""
    info = providers.info(name)
    plans = providers.session_class(name)(info, info.endpoints, symbols, None).plans()
    books = [channel for plan in plans for channel in plan.channels if info.schema_of(channel) == "MBO"]
    return next((channel for channel in books if not channel.startswith("rest/")), "")


def has_data(service: Service, channel: str) -> bool:
    return any(channel in connection._traffic.last for connection in service.live.values())


@pytest.mark.timeout(120)
async def test_a_book_that_is_acknowledged_and_never_served_is_found_within_30_seconds(tmp_path: Path):
    """The venue says yes to both lanes and sends nothing on one channel, while everything else flows."""
    channels: dict[str, str] = {}

    def prepare(venue: Venue) -> None:
        channel = first_book(venue.name, [listing.symbol for listing in venue.market.listings])
        if channel:
            channels[venue.name] = channel
            venue.faults.inject(Fault(venue.name, "ack_without_data", escape(channel), count=2))

    async with world(tmp_path, Timing(drain_s=0.1), prepare) as made:
        loop = asyncio.get_running_loop()
        begun, found = loop.time(), dict[str, float]()
        while loop.time() < begun + FOUND_S and len(found) < 2 * len(channels):
            await asyncio.sleep(0.1)
            for name, channel in channels.items():
                for instance, service in zip(("PRIMARY", "REPLICA"), made.services[name], strict=True):
                    if has_data(service, channel):
                        found.setdefault(f"{name} {instance}", loop.time() - begun)
    assert len(channels) >= len(providers.names()) / 2
    missing = {name: channel for name, channel in channels.items() if f"{name} PRIMARY" not in found}
    assert not missing, f"still without data after {FOUND_S} s; found: {found}"
    assert len(found) == 2 * len(channels), found
    assert max(found.values()) > 5, "the fault did not hit"
