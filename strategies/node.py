"""A NautilusTrader node with one strategy on the feed, and a sandbox or a venue's own adapter for each provider's orders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from nautilus_trader.adapters.sandbox.execution import SandboxExecutionClient
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.config import LoggingConfig, TradingNodeConfig
from nautilus_trader.live.config import LiveExecEngineConfig, LiveRiskEngineConfig, RoutingConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.instruments import Instrument

from penstock import telemetry
from penstock.errors import ConfigError, PayloadError, Terminal
from penstock.health import Signs
from strategies.digest import Digest, digested
from strategies.execution import Account, accounts, alias, differences, is_real
from strategies.feed.client import PenstockDataClient, PenstockDataClientConfig, PenstockDataClientFactory
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.metrics import FeedMetrics
from strategies.feed.stats import feed_metrics
from strategies.guard import guarded
from strategies.observer import Observations, observed
from strategies.settings import Execution, Settings, configured, provider_and_symbol

CLIENT: Final = "PENSTOCK"
_FLUSH_S: Final = 0.5
_ALIVE_S: Final = 5.0
_START_S: Final = 20.0
_REAL_START_S: Final = 60.0
_REAL_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """What to run: `strategy` is a module with STRATEGY and configure(), `definitions` are the InstrumentDefMsg records
    of its instruments by provider, `settings` the run's file, with redis and instruments filled in."""

    strategy: ModuleType
    settings: Settings
    definitions: dict[str, list[bytes]]
    trades_log: Path | None
    seen_log: Path | None
    stats: bool
    metrics_port: int = 0
    emf_s: float = 0.0


async def run(wanted: Run) -> int:
    """Run the node until it is stopped by SIGTERM or SIGINT. Raises Terminal where it cannot start."""
    listings = _listings(wanted)
    limits = {alias(wanted.settings, text): wanted.settings.risk.limit(text) for text in wanted.settings.instruments}
    exits = accounts(wanted.settings, {name: [each.instrument for each in all_] for name, all_ in listings.items()})
    try:
        chosen = configured(wanted.strategy, list(limits), wanted.settings.strategy)
        clients: list[PenstockDataClient] = []
        adapters: list[Any] = []
        observations = Observations(wanted.trades_log)
        digest = Digest(wanted.seen_log) if wanted.seen_log is not None else None
        config = _config(wanted, exits)
        node = TradingNode(config=config, loop=asyncio.get_running_loop())
        gate = _Gate([each.instrument for all_ in listings.values() for each in all_], adapters)
        strategy = guarded(wanted.strategy.STRATEGY, wanted.settings, limits, gate.admit)
        strategy = observed(digested(strategy, digest) if digest is not None else strategy, observations)
        node.trader.add_strategy(strategy(chosen))
    except ValueError as error:
        raise ConfigError(f"{wanted.strategy.__name__}: {error}") from None
    node.add_data_client_factory(CLIENT, _keeping(PenstockDataClientFactory, clients))
    for account in exits:
        node.add_exec_client_factory(account.venue, _keeping(account.factory, adapters))
    node.build()
    telemetry.REGISTRY.register(FeedMetrics(clients[0].feed.arbiter))
    signs = Signs(live={"loop": _ALIVE_S}, ready={"feed": _ALIVE_S})
    telemetry.serve(wanted.metrics_port, signs)
    reporter = telemetry.Reporter(stats_s=0, emf_s=wanted.emf_s)
    try:
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(_flush(observations)),
                tasks.create_task(_vouch(clients[0], signs, reporter)),
                tasks.create_task(_watch(node, gate, config.timeout_connection)),
                *([tasks.create_task(_stats(clients[0], observations, listings))] if wanted.stats else []),
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
    telemetry.logger().info("trading_stopped", orders=wanted.settings.on_stop)
    return 0


def _listings(wanted: Run) -> dict[str, list[Listing]]:
    decoder = Definitions(_names(wanted.settings))
    try:
        return {
            provider: [decoder.listing(provider, record) for record in records]
            for provider, records in wanted.definitions.items()
        }
    except PayloadError as error:
        raise Terminal(f"a definition cannot be used: {error}") from None


def _names(settings: Settings) -> dict[str, str]:
    """Nautilus ids by `SYMBOL.PROVIDER`."""
    return {
        f"{symbol}.{provider}": alias(settings, text).value
        for text in settings.instruments
        for provider, _, symbol in [text.partition(":")]
    }


def _traded(settings: Settings) -> tuple[str, ...]:
    """The `SYMBOL.PROVIDER` of what is not traded in the sandbox."""
    pairs = map(provider_and_symbol, settings.instruments)
    return tuple(f"{s}.{p}" for p, s in pairs if settings.execution.get(p, Execution()).adapter != "sandbox")


def _config(wanted: Run, exits: Sequence[Account]) -> TradingNodeConfig:
    settings, real = wanted.settings, is_real(wanted.settings)
    names = _names(settings)
    return TradingNodeConfig(
        trader_id="PENSTOCK-001",
        # Only errors, which go to stderr: stdout is for our own JSON lines.
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        # A sandbox has nothing at a venue to reconcile with.
        exec_engine=LiveExecEngineConfig(reconciliation=real),
        risk_engine=_risk(settings),
        cache=CacheConfig(tick_capacity=1_000),
        data_clients={
            CLIENT: PenstockDataClientConfig(
                redis_urls=settings.redis,
                instrument_ids=tuple(names),
                names=names,
                traded=_traded(settings),
                history=_url(settings.history),
                definitions_timeout_s=_START_S / 2,
                routing=RoutingConfig(default=True),
            )
        },
        exec_clients={account.venue: account.config for account in exits},
        timeout_connection=_REAL_START_S if real else _START_S,
        timeout_reconciliation=_REAL_START_S,
        timeout_portfolio=2.0,
        timeout_disconnection=2.0,
        # A venue's word that the orders are cancelled takes a moment.
        timeout_post_stop=_REAL_STOP_S if real else 0.1,
    )


def _url(text: str) -> str:
    return text if "://" in text or not text else Path(text).resolve().as_uri()


def _risk(settings: Settings) -> LiveRiskEngineConfig:
    rate = f"{settings.risk.orders_per_s}/00:00:01"
    return LiveRiskEngineConfig(
        bypass=not settings.risk.enabled, max_order_submit_rate=rate, max_order_modify_rate=rate
    )


class _Gate:
    """Lets the strategy begin once the adapters' own instruments were compared with the feed's."""

    def __init__(self, ours: Sequence[Instrument], adapters: Sequence[Any]) -> None:
        self._ours = ours
        self._adapters = adapters
        self.reason = ""
        self.decided = asyncio.Event()

    def admit(self) -> bool:
        for client in self._adapters:
            if isinstance(client, SandboxExecutionClient):
                continue
            mine = [each for each in self._ours if each.id.venue == client.venue]
            # The client keeps its provider to itself, and there is no other way to what it will take an order for.
            known = client._instrument_provider  # noqa: SLF001
            self.reason = self.reason or next(filter(None, (differences(o, known.find(o.id)) for o in mine)), "")
        self.decided.set()
        if not self.reason:
            telemetry.logger().info("trading_started", instruments=[each.id.value for each in self._ours])
        return not self.reason


def _keeping(factory: Any, clients: list[Any]) -> type:
    def create(*args: Any, **kwargs: Any) -> Any:
        clients.append(factory.create(*args, **kwargs))
        return clients[-1]

    # Nautilus knows its sandbox by the factory's name.
    return type(factory.__name__, (factory,), {"create": staticmethod(create)})


async def _watch(node: TradingNode, gate: _Gate, timeout_s: float) -> None:
    # A node whose clients do not connect logs it and idles for ever: end instead.
    why = "the node did not start: its clients did not connect (see the errors above)"
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s + 5.0):
            await gate.decided.wait()
            if not gate.reason:
                return
            why = f"no order leaves: an adapter means something else by one than the feed ({gate.reason})"
    await node.stop_async()
    raise Terminal(why)


async def _flush(observations: Observations) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        observations.flush()


async def _vouch(client: PenstockDataClient, signs: Signs, reporter: telemetry.Reporter) -> None:
    """Say for /healthz that the loop turns, for /readyz that all streams there are live; report the feed's numbers."""
    while True:
        signs.seen("loop")
        streams = client.feed.arbiter.streams.values()
        if any(stream.lane for stream in streams) and not any(stream.selector.stale for stream in streams):
            signs.seen("feed")
        reporter.tick()
        await asyncio.sleep(1.0)


async def _stats(client: PenstockDataClient, observations: Observations, listings: dict[str, list[Listing]]) -> None:
    log = telemetry.logger()
    while True:
        await asyncio.sleep(1.0)
        metrics = {}
        for provider, listed in listings.items():
            venue = listed[0].id.venue.value
            metrics[provider] = feed_metrics(client, provider) | {
                word: observations.counts[venue, word]
                for word in ("trades", "quotes", "deltas", "orders", "fills", "rejects")
            }
            if latency := observations.latencies_us(venue):
                metrics[provider] |= {"latency_p50_us": latency[0], "latency_p99_us": latency[1]}
        log.info("stats", metrics=metrics)
