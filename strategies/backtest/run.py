"""One backtest: stored data through Nautilus' engine into a strategy, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.risk.config import RiskEngineConfig

from penstock.errors import ConfigError, Terminal
from strategies.backtest import venues
from strategies.backtest.ledger import Ledger, Results
from strategies.backtest.quality import Quality, noted
from strategies.backtest.settings import Simulation, simulation
from strategies.digest import Digest, digested
from strategies.feed.dataset import Dataset
from strategies.feed.loader import Account, Loader, Window
from strategies.guard import guarded
from strategies.run import names
from strategies.settings import Risk, Settings, configured, provider_and_symbol

_SAMPLES: Final = 1_500
"""Points of time at which prices are kept for the page, over the whole window."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """What to run: `strategy` is the name of a folder of strategies/, `seen_log` where to note what it saw."""

    strategy: str
    settings: Settings
    window: Window
    source: str
    seen_log: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `window` is the time covered by data (UNIX ns), `walked` the
    providers whose stored books filled orders level by level, `digest` of all that the strategy saw and did,
    `seen` how much of each kind, `refused` what the codec could not make objects of, by reason."""

    strategy: str
    parameters: dict[str, Any]
    simulation: Simulation
    walked: tuple[str, ...]
    source: str
    window: Window
    results: Results
    account: Account
    quality: list[Quality]
    refused: dict[str, int]
    digest: str
    seen: dict[str, int]


Progress = Callable[[int, int], None]
"""Called with the time reached (UNIX ns) and how many objects there were so far."""


def strategy_module(name: str) -> ModuleType:
    """The config module of strategies/<name>/. Raises ConfigError where there is none."""
    if name not in names():
        raise ConfigError(
            f"STRATEGY is {name!r}, expected a folder of strategies/ with a config.py: {', '.join(names())}"
        )
    return import_module(f"strategies.{name}.config")


def run(backtest: Backtest, progress: Progress) -> Outcome:
    """Run it. Raises Terminal where there is no data in the window."""
    module = strategy_module(backtest.strategy)
    model = simulation(backtest.settings.backtest)
    dataset = Dataset(backtest.source)
    loader = Loader(dataset, _wanted(backtest.settings), backtest.window)
    # In the order of the file: a strategy may give its first instrument another part than its second.
    ids = {(listing.provider, listing.id.symbol.value): listing.id for listing in loader.listings}
    keys = [ids[provider_and_symbol(text)] for text in backtest.settings.instruments]
    parameters = configured(module, keys, backtest.settings.strategy)
    digest = Digest(backtest.seen_log)
    engine = _engine(backtest.settings.risk)
    try:
        venues.add(engine, loader.listings, model, with_books=_with_books(loader))
        # The policies of a live run: nothing is sent on stale data, nor beyond the file's limits.
        limits = {
            key: backtest.settings.risk.limit(text)
            for key, text in zip(keys, backtest.settings.instruments, strict=True)
        }
        strategy = guarded(module.STRATEGY, backtest.settings, limits, lambda: True)
        engine.add_strategy(digested(strategy, digest)(parameters))
        ledger = Ledger(loader.listings, _SAMPLES)
        engine.kernel.msgbus.subscribe("events.order.*", ledger.on_event)
        _feed(engine, loader, ledger, model, progress)
        account = loader.account
        covered = Window(account.first, account.last + 1)
        return Outcome(
            strategy=backtest.strategy,
            parameters=parameters.dict(),
            simulation=model,
            walked=tuple(sorted(_with_books(loader))) if model.fills == "book" else (),
            source=backtest.source,
            window=covered,
            results=ledger.results(),
            account=account,
            quality=noted(dataset, loader.parts, covered),
            refused=dict(loader.codec.refused),
            digest=digest.total(),
            seen=dict(digest.counts),
        )
    finally:
        digest.close()
        engine.dispose()


def _engine(risk: Risk) -> BacktestEngine:
    rate = f"{risk.orders_per_s}/00:00:01"
    limits = RiskEngineConfig(bypass=not risk.enabled, max_order_submit_rate=rate, max_order_modify_rate=rate)
    return BacktestEngine(
        BacktestEngineConfig(
            trader_id="PENSTOCK-001",
            logging=LoggingConfig(log_level="ERROR", log_colors=False),
            cache=CacheConfig(tick_capacity=1_000),
            risk_engine=limits,
            run_analysis=False,
        )
    )


def _wanted(settings: Settings) -> dict[str, list[str]]:
    if not settings.instruments:
        raise ConfigError(
            "the configuration has no instruments, expected PROVIDER:SYMBOL such as DERIBIT:BTC-PERPETUAL"
        )
    wanted: dict[str, list[str]] = {}
    for text in settings.instruments:
        provider, symbol = provider_and_symbol(text)
        wanted.setdefault(provider, []).append(symbol)
    return wanted


def _with_books(loader: Loader) -> set[str]:
    return {listing.provider for listing in loader.listings if "mbo" in loader.schemas(listing.provider)}


def _feed(engine: BacktestEngine, loader: Loader, ledger: Ledger, model: Simulation, progress: Progress) -> None:
    count = 0
    for chunk in loader.chunks():
        for index, made in enumerate(chunk):
            if isinstance(made, Instrument):
                chunk[index] = venues.charged(made, model)
            else:
                ledger.price(made)
        # Chunks are in order and of several kinds: the engine's own checks look at the first element only.
        engine.add_data(chunk, validate=False)
        engine.run(streaming=True)
        engine.clear_data()
        count += len(chunk)
        progress(chunk[-1].ts_init, count)
    if not count:
        raise Terminal("there is no data of these instruments between --from and --to")
    engine.end()
