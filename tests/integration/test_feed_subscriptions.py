"""What a strategy subscribes, from records published into a real Valkey to the objects Nautilus's data engine gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import redis.asyncio
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.model.data import Bar, BarType, CustomData, OrderBookDeltas, OrderBookDepth10
from nautilus_trader.model.identifiers import InstrumentId, TraderId

import providers
from penstock import dbn
from penstock.book import Book
from penstock.channels import INSTANCES, Channel, encode
from penstock.instruments import FUTURE, Instrument
from penstock.lots import SCALE
from strategies.feed.client import PenstockDataClient, PenstockDataClientConfig
from strategies.feed.custom import LIQUIDATIONS, Liquidation

PROVIDER = "BYBIT"
NAME = "BTCUSDT-LINEAR"
KEY = InstrumentId.from_str("BTCUSDT-PERP.ELSEWHERE")
CHANNELS = {
    "OHLCV_1M": "linear.kline.1.BTCUSDT", "MBO": "linear.orderbook.200.BTCUSDT",
    "STATISTICS": "linear.allLiquidation.BTCUSDT", "DEFINITION": f"definition.{NAME}",
}  # fmt: skip


def described(tick: int) -> Instrument:
    return Instrument(
        providers.info("bybit").publisher,
        NAME,
        SCALE // 1000,
        "BTC",
        tick,
        FUTURE,
        "PERP",
        "BTC",
        "USDT",
        "USDT",
        "LIN",
    )


async def test_bars_depths_liquidations_and_definitions(valkey: str) -> None:
    """Each once though both lanes bring it; nothing after it is no longer wanted; a new tick becomes a new instrument,
    under the name by which strategies know it."""
    now, first = time.time_ns(), described(SCALE // 10)
    ids = first.publisher.publisher_id, first.instrument_id
    server = redis.asyncio.Redis.from_url(valkey)
    await server.hset(f"DEFINITION.{PROVIDER}", NAME, first.record(now, now))
    fields = {f"{schema} {first.instrument_id}": encode(channel) for schema, channel in CHANNELS.items()}
    await server.hset(f"CHANNELS.{PROVIDER}", mapping=fields)
    got: list[Any] = []
    client = _client(valkey, got)

    async def publish(schema: str, data: bytes) -> None:
        for instance in INSTANCES:
            await server.publish(Channel(instance, schema, PROVIDER, CHANNELS[schema]).name, data)
        await asyncio.sleep(0.1)

    async def of(kind: type, count: int) -> list[Any]:
        await _until(lambda: sum(isinstance(item, kind) for item in got) >= count)
        return [item for item in got if isinstance(item, kind)]

    await client._connect()
    try:
        (instrument,) = got
        assert (instrument.id, str(instrument.raw_symbol)) == (KEY, NAME)
        wanted = SimpleNamespace(
            instrument_id=KEY, bar_type=BarType.from_str(f"{KEY}-1-MINUTE-LAST-EXTERNAL"), data_type=LIQUIDATIONS
        )
        await client._subscribe_bars(wanted)
        await client._subscribe_order_book_depth(wanted)
        await client._subscribe(wanted)
        await _until(lambda: all(reader.connected for reader in client.feed.readers))
        await asyncio.sleep(0.1)

        await publish(
            "OHLCV_1M", dbn.ohlcv(dbn.RTYPE_OHLCV_1M, *ids, 60 * 10**9, SCALE, 3 * SCALE, SCALE, 2 * SCALE, 7)
        )
        (bar,) = await of(Bar, 1)
        assert (bar.bar_type, str(bar.volume), bar.ts_event) == (wanted.bar_type, "0.007", 120 * 10**9)

        book = Book(*ids)
        sides = [[(100 * SCALE + sign * i * SCALE, i) for i in range(1, 13)] for sign in (-1, 1)]
        book.replace(*sides, now, now, 1)
        await publish("MBO", book.image(now, now, 1))
        depth = (await of(OrderBookDepth10, 1))[-1]
        assert [order.size.as_decimal() * 1000 for order in depth.bids] == list(range(1, 11))
        await publish("MBO", book.update([(dbn.ASK, 101 * SCALE, 5)], now, now, 2))
        assert (await of(OrderBookDepth10, 2))[-1].asks[0].size.as_decimal() == Decimal("0.005")

        told = dbn.statistic(*ids, now, now, dbn.STAT_LIQUIDATION, 3, price=SCALE, quantity=4, stat_flags=1)
        await publish("STATISTICS", told)
        (custom,) = await of(CustomData, 1)
        assert isinstance(custom.data, Liquidation)
        assert (custom.data.instrument_id, custom.data.closed, str(custom.data.size)) == (KEY, "LONG", "0.004")

        await publish("DEFINITION", described(SCALE // 100).record(now + 1, now + 1, "M"))
        changed = (await of(type(instrument), 2))[-1]
        assert (changed.id, changed.price_increment.as_decimal()) == (KEY, Decimal("0.01"))

        await client._unsubscribe_order_book_depth(wanted)
        await client._unsubscribe_bars(wanted)
        await client._unsubscribe(wanted)
        await asyncio.sleep(0.1)
        before = len(got)
        await publish("MBO", book.update([(dbn.ASK, 101 * SCALE, 6)], now, now, 3))
        await publish("OHLCV_1M", dbn.ohlcv(dbn.RTYPE_OHLCV_1M, *ids, 120 * 10**9, 1, 1, 1, 1, 7))
        assert len(got) == before
        assert sum(isinstance(item, OrderBookDeltas) for item in got) == 2
        assert not client.codec.refused
    finally:
        await client._disconnect()
        await server.aclose()


def _client(url: str, got: list[Any]) -> PenstockDataClient:
    clock = LiveClock()
    bus = MessageBus(TraderId("TEST-001"), clock)
    bus.register("DataEngine.process", got.append)
    name = f"{NAME}.{PROVIDER}"
    config = PenstockDataClientConfig(redis_urls=(url,), instrument_ids=(name,), names={name: KEY.value})
    return PenstockDataClient(asyncio.get_running_loop(), "PENSTOCK", config, bus, Cache(), clock)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 # what is waited for tells nobody
            await asyncio.sleep(0.02)
