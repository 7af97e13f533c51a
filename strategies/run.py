"""Run a strategy in the sandbox on the live feed.

    python -m strategies.run --strategy imbalance --redis redis://127.0.0.1:6379 \\
        --instruments BINANCE_SPOT:BTCUSDT,DERIBIT:BTC-PERPETUAL --trades-log trades.jsonl

A strategy is a folder `strategies/<name>/` whose `config.py` has `STRATEGY` (a class) and `configure(instrument_ids)`.
`--seen-log` notes everything its callbacks get (`strategies/digest.py` compares it with a backtest's).
One JSON line per second on stdout says how the feed and the strategy do (`--stats false`: none).
SIGTERM stops it: the log is flushed, the node stopped, exit code 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from penstock import config, telemetry
from penstock.errors import ConfigError
from strategies.feed.directory import Directory


class Settings(msgspec.Struct, frozen=True):
    """Run a strategy of strategies/<name>/ in the sandbox.

    Example: python -m strategies.run --redis redis://127.0.0.1:6379 --instruments DERIBIT:BTC-PERPETUAL
    """

    instruments: tuple[str, ...]
    strategy: str = "imbalance"
    redis: tuple[str, ...] = ("redis://127.0.0.1:6379",)
    trades_log: str = ""
    seen_log: str = ""
    stats: bool = True
    definitions_timeout_s: float = 60.0


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM; 0 after an orderly stop. Raises Terminal for what cannot start."""
    # --stats alone means yes, as people write flags.
    words = [f"{word}=true" if word == "--stats" and _is_last(argv, i) else word for i, word in enumerate(argv)]
    settings = config.load(Settings, words)
    telemetry.configure("strategies", strategy=settings.strategy)
    keys = [_key(text) for text in settings.instruments]
    name = f"strategies.{settings.strategy}"
    if not settings.strategy.isidentifier() or find_spec(name) is None or find_spec(f"{name}.config") is None:
        raise ConfigError(f"--strategy is {settings.strategy!r}, expected a folder of strategies/ with a config.py")
    wanted: dict[str, list[str]] = {}
    for provider, symbol in keys:
        wanted.setdefault(provider, []).append(symbol)
    # Nautilus takes seconds to import, definitions of a pipeline that is just starting take as long to appear.
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(asyncio.run, _definitions(settings, wanted))
        from strategies.node import Sandbox, run

        definitions = waiting.result()
    sandbox = Sandbox(
        strategy=import_module(f"strategies.{settings.strategy}.config"),
        redis_urls=settings.redis,
        definitions=definitions,
        trades_log=Path(settings.trades_log) if settings.trades_log else None,
        seen_log=Path(settings.seen_log) if settings.seen_log else None,
        stats=settings.stats,
    )
    return asyncio.run(run(sandbox))


async def _definitions(settings: Settings, wanted: dict[str, list[str]]) -> dict[str, list[bytes]]:
    directory = Directory(settings.redis)
    try:
        return {
            provider: await directory.await_definitions({provider: symbols}, settings.definitions_timeout_s)
            for provider, symbols in wanted.items()
        }
    finally:
        await directory.close()


def _is_last(argv: Sequence[str], index: int) -> bool:
    return index + 1 == len(argv) or argv[index + 1].startswith("--")


def _key(text: str) -> tuple[str, str]:
    provider, colon, symbol = text.partition(":")
    if not (colon and symbol and provider.isupper()):
        raise ConfigError(f"--instruments has {text!r}, expected PROVIDER:SYMBOL such as DERIBIT:BTC-PERPETUAL")
    return provider, symbol


if __name__ == "__main__":
    config.run(main)
