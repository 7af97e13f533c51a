"""CPU per trade in `penstock.client`, beside the plain loops of docs/consuming.md, on one server in one run.

Every subject does the same with a trade: symbol, side, exact price and quantity. `python -m benchmarks.client URL LANES`
is the publisher's process.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn
import redis
import redis.asyncio
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.live.config import LiveDataEngineConfig
from nautilus_trader.live.data_engine import LiveDataEngine
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.identifiers import InstrumentId, TraderId

from benchmarks.report import Report
from benchmarks.trades import CHANNEL, PERP, PROVIDER
from penstock import dbn
from penstock.channels import INSTANCES, Channel, encode, pattern
from penstock.cli.valkey import Valkey
from penstock.client import Message, subscribe
from strategies.feed.client import PenstockDataClient, PenstockDataClientConfig
from strategies.feed.codec import Codec
from strategies.feed.feed import Feed
from strategies.feed.instruments import Definitions
from strategies.feed.notices import Output

COUNT = 20_000
ROUNDS = 3
BATCH = 64
TRADES = pattern("PRIMARY", "TRADES", PROVIDER)


def run(report: Report) -> None:
    """20,000 trades as fast as one process publishes them; the best of three rounds."""
    asyncio.run(_run(report))


async def _run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as directory:
        valkey = Valkey(Path(directory))
        await valkey.start()
        try:
            async with redis.asyncio.Redis.from_url(valkey.url) as client:
                await client.hset(f"DEFINITION.{PROVIDER}", PERP.raw_symbol, PERP.record(1, 2))
                await client.hset(f"CHANNELS.{PROVIDER}", f"TRADES {PERP.instrument_id}", encode(CHANNEL))
            costs: dict[str, list[float]] = {}
            # In turn, so that whatever else the machine does falls on all of them.
            for _ in range(ROUNDS):
                for what, cost in (
                    ("plain loop, redis-py, one lane", await asyncio.to_thread(_plain, valkey.url)),
                    ("plain loop, redis.asyncio, one lane", await _plain_asyncio(valkey.url)),
                    ("client, one lane alive", await _client(valkey.url, 1)),
                    ("client, both lanes, per trade delivered", await _client(valkey.url, 2)),
                    ("Nautilus objects, both lanes, to a function", await _objects(valkey.url)),
                    ("Nautilus node, both lanes, to a strategy's handler", await _node(valkey.url)),
                ):
                    costs.setdefault(what, []).append(cost)
        finally:
            await valkey.stop()
    best = {what: min(found) for what, found in costs.items()}
    plain = next(iter(best.values()))
    for what, cost in best.items():
        report.add("client", what, cost, "µs CPU/trade", f"× {cost / plain:.2f}")


class _Meter:
    """CPU of this process from the first trade to the last, of which there are `COUNT`."""

    def __init__(self) -> None:
        self.seen = 0
        self.value: Any = None
        self._began = 0.0

    def handle(self, *values: object) -> bool:
        """Take one trade; True for the last."""
        if not self.seen:
            self._began = time.process_time()
        self.seen += 1
        self.value = values
        return self.seen == COUNT

    @property
    def cost_us(self) -> float:
        return (time.process_time() - self._began) / self.seen * 1e6


class _Plain:
    """What the plain consumer does with one message."""

    def __init__(self, url: str) -> None:
        self.decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
        with redis.Redis.from_url(url) as client:
            definitions: Any = client.hvals(f"DEFINITION.{PROVIDER}")
        found = [self.decode(data)[0] for data in definitions]
        self.lots = {d.instrument_id: (d.raw_symbol, Decimal(d.unit_of_measure_qty) / 10**9) for d in found}
        self.meter = _Meter()

    def decode(self, data: bytes) -> list[Any]:
        self.decoder.write(data)
        return self.decoder.decode()

    def message(self, data: bytes) -> bool:
        done = False
        for trade in self.decode(data):
            symbol, lot = self.lots[trade.instrument_id]
            done = self.meter.handle(symbol, trade.side, Decimal(trade.price) / 10**9, trade.size * lot)
        return done


def _plain(url: str) -> float:
    plain = _Plain(url)
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe(TRADES)
        pubsub.get_message(timeout=1)
        with _publisher(url, 1):
            for message in pubsub.listen():
                if plain.message(message["data"]):
                    return plain.meter.cost_us
    raise AssertionError("the subscription ended")


async def _plain_asyncio(url: str) -> float:
    plain = _Plain(url)
    async with redis.asyncio.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.psubscribe(TRADES)
        await pubsub.get_message(timeout=1)
        with _publisher(url, 1):
            async for message in pubsub.listen():
                if plain.message(message["data"]):
                    return plain.meter.cost_us
    raise AssertionError("the subscription ended")


async def _client(url: str, lanes: int) -> float:
    meter = _Meter()
    stream = subscribe(url, provider=PROVIDER, schema="TRADES", symbols=PERP.raw_symbol)
    async with stream:
        assert stream.feed is not None
        while not all(reader.connected for reader in stream.feed.readers):
            await asyncio.sleep(0.01)
        with _publisher(url, lanes):
            async for item in stream:
                if isinstance(item, Message):
                    listing = item.listing
                    for trade in item.records:
                        price, quantity = listing.price(trade.price), listing.quantity(trade.size)
                        if meter.handle(listing.symbol, trade.side, price, quantity):
                            return meter.cost_us
    raise AssertionError("the subscription ended")


async def _objects(url: str) -> float:
    """Decode, arbitrate, convert and handle, without Nautilus's engine between: what the feed itself costs."""
    meter, codec, ended = _Meter(), Codec(), asyncio.get_running_loop().create_future()
    codec.learn(Definitions().listing(PROVIDER, PERP.record(1, 2)))

    def take(_stream: object, outputs: Sequence[Output]) -> None:
        for output in outputs:
            for made in codec.objects(output) if isinstance(output, bytes) else ():
                if meter.handle(made.instrument_id, made.aggressor_side, made.price, made.size):
                    ended.set_result(None)

    feed = Feed((url,), take)
    await feed.subscribe("TRADES", PROVIDER, PERP.instrument_id)
    running = asyncio.create_task(feed.run())
    while not all(reader.connected for reader in feed.readers):
        await asyncio.sleep(0.01)
    with _publisher(url, 2):
        await ended
    running.cancel()
    await asyncio.wait((running,))
    return meter.cost_us


async def _node(url: str) -> float:
    """The same through the data client, its queue and the data engine of a live node."""
    meter, loop, clock = _Meter(), asyncio.get_running_loop(), LiveClock()
    ended = loop.create_future()
    bus, cache = MessageBus(TraderId("BENCH-001"), clock), Cache()
    engine = LiveDataEngine(loop, bus, cache, clock, LiveDataEngineConfig())
    key = InstrumentId.from_str(f"{PERP.raw_symbol}.{PROVIDER}")
    config = PenstockDataClientConfig(redis_urls=(url,), instrument_ids=(key.value,))
    client = PenstockDataClient(loop, "PENSTOCK", config, bus, cache, clock)
    engine.register_client(client)

    def handle(tick: TradeTick) -> None:
        if meter.handle(tick.instrument_id, tick.aggressor_side, tick.price, tick.size):
            ended.set_result(None)

    engine.start()
    bus.subscribe(f"data.trades.{key.venue}.{key.symbol}", handle)
    await client._connect()  # noqa: SLF001 # what a node does
    await client._subscribe_trade_ticks(SimpleNamespace(instrument_id=key))  # noqa: SLF001
    while not all(reader.connected for reader in client.feed.readers):
        await asyncio.sleep(0.01)
    with _publisher(url, 2):
        await ended
    await client._disconnect()  # noqa: SLF001
    engine.stop()
    return meter.cost_us


def _publisher(url: str, lanes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.client", url, str(lanes)])


def _publish(url: str, lanes: int) -> None:
    names = [Channel(instance, "TRADES", PROVIDER, CHANNEL).name for instance in INSTANCES[:lanes]]
    now = time.time_ns()
    with redis.Redis.from_url(url) as client:
        for first in range(1, COUNT + 1, BATCH):
            with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + BATCH, COUNT + 1)):
                    data = dbn.trade(
                        PERP.publisher.publisher_id, PERP.instrument_id, now + number, 64_000 * 10**9 + number % 64 * PERP.tick,
                        1 + number % 50, b"B", dbn.F_LAST, now + number + 9, number,
                    )  # fmt: skip
                    for name in names:
                        pipe.publish(name, data)
                pipe.execute()


if __name__ == "__main__":
    _publish(sys.argv[1], int(sys.argv[2]))
