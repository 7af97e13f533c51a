"""A NautilusTrader node with one strategy on the feed and a simulated venue for each provider."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.config import LoggingConfig, TradingNodeConfig
from nautilus_trader.live.config import LiveExecEngineConfig, RoutingConfig
from nautilus_trader.live.node import TradingNode

from penstock import telemetry
from penstock.errors import PayloadError, Terminal
from strategies.digest import Digest, digested
from strategies.feed.client import PenstockDataClient, PenstockDataClientConfig, PenstockDataClientFactory
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.stats import feed_metrics
from strategies.observer import Observations, observed

CLIENT: Final = "PENSTOCK"
_FLUSH_S: Final = 0.5
_START_S: Final = 20.0
_BALANCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What to run: `strategy` is a module with STRATEGY and configure(), `definitions` are the InstrumentDefMsg records
    of its instruments by provider."""

    strategy: ModuleType
    redis_urls: tuple[str, ...]
    definitions: dict[str, list[bytes]]
    trades_log: Path | None
    seen_log: Path | None
    stats: bool


async def run(sandbox: Sandbox) -> int:
    """Run the node until it is stopped by SIGTERM or SIGINT. Raises Terminal where it cannot start."""
    decoder = Definitions()
    try:
        listings = {
            provider: [decoder.listing(provider, record) for record in records]
            for provider, records in sandbox.definitions.items()
        }
    except PayloadError as error:
        raise Terminal(f"a definition cannot be used: {error}") from None
    keys = [listing.id for each in listings.values() for listing in each]
    clients: list[PenstockDataClient] = []
    observations = Observations(sandbox.trades_log)
    node = TradingNode(config=_config(sandbox, listings), loop=asyncio.get_running_loop())
    digest = Digest(sandbox.seen_log) if sandbox.seen_log is not None else None
    strategy = observed(
        digested(sandbox.strategy.STRATEGY, digest) if digest is not None else sandbox.strategy.STRATEGY, observations
    )
    node.trader.add_strategy(strategy(sandbox.strategy.configure(keys)))
    node.add_data_client_factory(CLIENT, _keeping(clients))
    for venue in listings:
        node.add_exec_client_factory(venue, SandboxLiveExecClientFactory)
    node.build()
    try:
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(_flush(observations)),
                tasks.create_task(_watch(node)),
                *([tasks.create_task(_stats(clients[0], observations, tuple(listings)))] if sandbox.stats else []),
            ]
            await node.run_async()
            for task in beside:
                task.cancel()
    except* Terminal as errors:
        raise errors.exceptions[0] from None
    finally:
        observations.close()
        if digest is not None:
            digest.close()
    return 0


def _currencies(instrument: Any) -> set[str]:
    money = (instrument.get_base_currency(), instrument.quote_currency, instrument.get_settlement_currency())
    return {currency.code for currency in money if currency is not None}


def _config(sandbox: Sandbox, listings: dict[str, list[Listing]]) -> TradingNodeConfig:
    # Each simulated venue starts with plenty of every currency its instruments need.
    balances = {
        venue: [
            f"{_BALANCE} {code}" for code in sorted({c for listing in each for c in _currencies(listing.instrument)})
        ]
        for venue, each in listings.items()
    }
    return TradingNodeConfig(
        trader_id="PENSTOCK-001",
        # Only errors, which go to stderr: stdout is for our own JSON lines.
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        # A sandbox has nothing at a venue to reconcile with.
        exec_engine=LiveExecEngineConfig(reconciliation=False),
        cache=CacheConfig(tick_capacity=1_000),
        data_clients={
            CLIENT: PenstockDataClientConfig(
                redis_urls=sandbox.redis_urls,
                instrument_ids=tuple(listing.id.value for each in listings.values() for listing in each),
                definitions_timeout_s=_START_S / 2,
                routing=RoutingConfig(default=True),
            )
        },
        exec_clients={
            venue: SandboxExecutionClientConfig(venue=venue, starting_balances=money)
            for venue, money in balances.items()
        },
        timeout_connection=_START_S,
        timeout_portfolio=2.0,
        timeout_disconnection=2.0,
        timeout_post_stop=0.1,
    )


def _keeping(clients: list[PenstockDataClient]) -> type[PenstockDataClientFactory]:
    class Factory(PenstockDataClientFactory):
        @staticmethod
        def create(*args: Any, **kwargs: Any) -> PenstockDataClient:
            clients.append(PenstockDataClientFactory.create(*args, **kwargs))
            return clients[-1]

    return Factory


async def _watch(node: TradingNode) -> None:
    # A node whose clients do not connect logs it and idles for ever: end instead.
    await asyncio.sleep(_START_S + 5.0)
    if not node.trader.is_running:
        await node.stop_async()
        raise Terminal("the node did not start: its clients did not connect (see the errors above)")


async def _flush(observations: Observations) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        observations.flush()


async def _stats(client: PenstockDataClient, observations: Observations, venues: Sequence[str]) -> None:
    log = telemetry.logger()
    while True:
        await asyncio.sleep(1.0)
        metrics = {}
        for venue in venues:
            metrics[venue] = feed_metrics(client, venue) | {
                word: observations.counts[venue, word]
                for word in ("trades", "quotes", "deltas", "orders", "fills", "rejects")
            }
            if latency := observations.latencies_us(venue):
                metrics[venue] |= {"latency_p50_us": latency[0], "latency_p99_us": latency[1]}
        log.info("stats", metrics=metrics)
