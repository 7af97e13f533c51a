"""A venue told to real normalizer services of both lanes: what the tests of consumers are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio

from penstock.channels import INSTANCES
from penstock.raw.v1 import raw_pb2 as raw
from penstock.raw.v1.service import OPTIONS
from services.normalizer.config import NormalizerConfig
from services.normalizer.service import Service
from tests.integration.normalizer_harness import INFO, T0, Pusher, S, Venue, envelope

MS = 1_000_000
TRADES, BOOK, TICKER = "trades.BTC", "book.BTC", "ticker.BTC"
BOTH = (raw.INSTANCE_PRIMARY, raw.INSTANCE_REPLICA)


class Market:
    """One venue told to two normalizers, as two session managers would: same frames, same venue times."""

    def __init__(self, pushers: Sequence[Pusher]) -> None:
        self.pushers = pushers
        self.alive = [True, True]
        self.now = T0
        self._sequences = [0, 0]

    async def tell(self, *frames: tuple[str, object], lanes: Sequence[int] = (0, 1)) -> None:
        """The frames, on every lane that lives; 1 ms later than the last ones."""
        self.now += MS
        for lane in lanes:
            if self.alive[lane]:
                await self._push(lane, *((channel, frame, raw.KIND_FRAME) for channel, frame in frames))

    async def trades(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            await self.tell((TRADES, {"id": number}))

    async def beat(self, *channels: str, seconds: int = 0) -> None:
        """A heartbeat of both session managers; `seconds`: how much later it says it is, which makes images due."""
        self.now += seconds * S
        for lane in (0, 1):
            if self.alive[lane]:
                live = {"connections": {"1": channels or (TRADES, BOOK, TICKER)}}
                await self._push(lane, ("control", live, raw.KIND_HEARTBEAT))

    async def beating(self, seconds: float) -> None:
        """Time passes, told by heartbeats."""
        for _ in range(int(seconds / 0.2)):
            await self.beat()
            await asyncio.sleep(0.2)

    async def _push(self, lane: int, *envelopes: tuple[str, object, int]) -> None:
        made = []
        for channel, payload, kind in envelopes:
            self._sequences[lane] += 1
            made.append(envelope(self._sequences[lane], channel, payload, ts_recv=self.now, kind=kind))
        await self.pushers[lane].send(*made)


@asynccontextmanager
async def normalizer(folder: Path, url: str, instance: int) -> AsyncIterator[Pusher]:
    """A normalizer service of one lane on a real socket, and a stream to it."""
    folder.mkdir()  # noqa: ASYNC240 # nothing runs yet
    name = INSTANCES[BOTH.index(instance)]
    config = NormalizerConfig(
        provider="deribit",
        instance=name,
        listen=f"unix:{folder}/n.sock",
        redis=tuple(url.split(",")),
        quarantine_dir=f"{folder}/q",
    )
    service = Service(config, INFO, Venue())
    task = asyncio.create_task(service.run())
    await service.listening.wait()
    try:
        async with grpc.aio.insecure_channel(config.listen, options=OPTIONS) as channel:
            yield Pusher(channel, instance=instance)
    finally:
        service.stop()
        await task


@asynccontextmanager
async def market(tmp_path: Path, url: str) -> AsyncIterator[Market]:
    """Both lanes up, the instruments BTC and ETH defined in Redis."""
    async with AsyncExitStack() as stack:
        pushers = [await stack.enter_async_context(normalizer(tmp_path / str(i), url, i)) for i in BOTH]
        venue = Market(pushers)
        await venue.tell(("rest/instruments", {"symbols": ["BTC", "ETH"]}))
        yield venue
