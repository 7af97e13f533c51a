"""The feed without Nautilus: subscriptions to both lanes of exactly the wanted channels, arbitrated.

Each lane has a Redis connection of its own, on different nodes where there are several, so that losing a node loses
one lane at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from penstock.channels import INSTANCES, Channel, pattern
from penstock.clock import monotonic_ns
from penstock.errors import ConnectionLost
from penstock.telemetry import logger
from strategies.feed.arbiter import Arbiter, Stream
from strategies.feed.config import ArbiterConfig
from strategies.feed.directory import Directory
from strategies.feed.notices import Output
from strategies.feed.reader import Reader, nodes

_TICK_S: Final = 0.05
_LATE_NS: Final = 100_000_000
_IMAGES_S: Final = 0.25
_NO_INSTRUMENT: Final = bytes(4)

Sink = Callable[[Stream, Sequence[Output]], None]
"""What the feed hands its outputs to, in order."""

_Route = tuple[Stream, int]


class Feed:
    """Both lanes of what is subscribed, from Redis into `sink`."""

    def __init__(self, urls: Sequence[str], sink: Sink, config: ArbiterConfig | None = None) -> None:
        self.directory = Directory(urls)
        self.arbiter = Arbiter(config or ArbiterConfig())
        self.foreign = 0
        """Messages that came through a provider-wide pattern and were of no wanted instrument."""
        self._sink = sink
        self._routes: dict[bytes, _Route | None] = {}
        self._wide: dict[tuple[str, str], set[bytes]] = {}
        self._exact: dict[tuple[str, str, int], list[str]] = {}
        self._discovered: dict[tuple[str, str, bytes], set[bytes]] = {}
        where = nodes(urls)
        self.readers = tuple(
            Reader(where, instance, self._received, self._cutter(lane)) for lane, instance in enumerate(INSTANCES)
        )

    async def run(self) -> None:
        """Hold the connections and keep time; until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for reader in self.readers:
                    tasks.create_task(reader.run())
                tasks.create_task(self._tick())
                tasks.create_task(self._images())
        finally:
            await self.directory.close()

    async def subscribe(self, schema: str, provider: str, instrument_id: int) -> None:
        """Want both lanes of a schema of an instrument.

        The venue channels are looked up; where none is known yet (nothing was published so far), the provider's whole
        schema is subscribed and what is of other instruments dropped on arrival.
        """
        channels = await self._lookup(schema, provider, instrument_id)
        self._exact[schema, provider, instrument_id] = channels
        if channels:
            for channel in channels:
                self.want(schema, provider, channel, instrument_id)
            return
        wanted = self._wide.setdefault((schema, provider), set())
        wanted.add(instrument_id.to_bytes(4, "little"))
        for name in [name for name, route in self._routes.items() if route is None]:
            del self._routes[name]
        for instance, reader in zip(INSTANCES, self.readers, strict=True):
            reader.subscribe(pattern(instance, schema, provider), is_pattern=True)

    async def unsubscribe(self, schema: str, provider: str, instrument_id: int) -> None:
        """No longer want it."""
        for channel in self._exact.pop((schema, provider, instrument_id), ()):
            self._drop(schema, provider, channel)
        key = instrument_id.to_bytes(4, "little")
        for found in self._discovered.pop((schema, provider, key), ()):
            if (route := self._routes.pop(found, None)) is not None:
                self.arbiter.remove(route[0])
        wanted = self._wide.get((schema, provider), set())
        wanted.discard(key)
        if not wanted and self._wide.pop((schema, provider), None) is not None:
            for instance, reader in zip(INSTANCES, self.readers, strict=True):
                reader.unsubscribe(pattern(instance, schema, provider), is_pattern=True)

    def want(self, schema: str, provider: str, channel: str, instrument_id: int) -> None:
        """Want both lanes of one venue channel, which is of this instrument."""
        stream = self.arbiter.stream(schema, provider, channel)
        stream.instrument_id = instrument_id
        for lane, (instance, reader) in enumerate(zip(INSTANCES, self.readers, strict=True)):
            name = Channel(instance, schema, provider, channel).name
            self._routes[name.encode()] = (stream, lane)
            reader.subscribe(name)

    def _drop(self, schema: str, provider: str, channel: str) -> None:
        self.arbiter.remove(self.arbiter.stream(schema, provider, channel))
        for instance, reader in zip(INSTANCES, self.readers, strict=True):
            name = Channel(instance, schema, provider, channel).name
            self._routes.pop(name.encode(), None)
            reader.unsubscribe(name)

    async def _lookup(self, schema: str, provider: str, instrument_id: int) -> list[str]:
        try:
            return await self.directory.channels(schema, provider, instrument_id)
        except ConnectionLost as error:
            logger().warning("channels_unknown", provider=provider, schema=schema, error=str(error))
            return []

    def _received(self, name: bytes, payload: bytes, now_ns: int) -> None:
        try:
            route = self._routes[name]
        except KeyError:
            route = self._discover(name, payload)
        if route is None:
            self.foreign += 1
            return
        stream, lane = route
        if outputs := stream.receive(lane, payload, now_ns):
            self._sink(stream, outputs)

    def _discover(self, name: bytes, payload: bytes) -> _Route | None:
        # A channel first heard through a pattern. Each is of one instrument, so one look at a record settles it;
        # bytes too short to look at, or a marker without instrument, settle nothing.
        instrument = payload[4:8]
        if len(payload) < 16 or instrument == _NO_INSTRUMENT:
            return None
        try:
            channel = Channel.parse(name.decode())
        except ValueError:
            self._routes[name] = None
            return None
        route = None
        if instrument in self._wide.get((channel.schema, channel.provider), ()):
            self._discovered.setdefault((channel.schema, channel.provider, instrument), set()).add(name)
            stream = self.arbiter.stream(channel.schema, channel.provider, channel.channel)
            stream.instrument_id = int.from_bytes(instrument, "little")
            route = (stream, INSTANCES.index(channel.instance))
        self._routes[name] = route
        return route

    def _cutter(self, lane: int) -> Callable[[], None]:
        def cut() -> None:
            for stream, outputs in self.arbiter.cut(lane):
                self._sink(stream, outputs)

        return cut

    async def _tick(self) -> None:
        while True:
            before = monotonic_ns()
            await asyncio.sleep(_TICK_S)
            now = monotonic_ns()
            if now - before > _TICK_S * 1e9 + _LATE_NS:
                # This process stalled: messages wait unread in the sockets, and silence means nothing yet.
                continue
            for stream, outputs in self.arbiter.tick(now):
                self._sink(stream, outputs)

    async def _images(self) -> None:
        while True:
            await asyncio.sleep(_IMAGES_S)
            for stream in list(self.arbiter.streams.values()):
                for lane in list(stream.wants_snapshot()):
                    await self._image(stream, lane)

    async def _image(self, stream: Stream, lane: int) -> None:
        try:
            image = await self.directory.image(INSTANCES[lane], stream.provider, stream.channel)
        except ConnectionLost as error:
            logger().warning("book_image_unavailable", provider=stream.provider, error=str(error))
            return
        if image is not None and (outputs := stream.offer(lane, image)):
            self._sink(stream, outputs)
