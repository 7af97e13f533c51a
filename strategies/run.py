"""Run a strategy on the live feed: in the sandbox, or on the accounts that its configuration file names.

    python -m strategies.run --strategy imbalance --redis redis://127.0.0.1:6379 \\
        --instruments BINANCE_SPOT:BTCUSDT,DERIBIT:BTC-PERPETUAL --trades-log trades.jsonl
    python -m strategies.run --strategy carry --config strategies/carry/config.yaml

A strategy is a folder `strategies/<name>/` whose `config.py` has `STRATEGY` (a class) and `configure(instrument_ids)`.
`--seen-log` notes everything its callbacks get (`strategies/digest.py` compares it with a backtest's).
One JSON line per second on stdout says how the feed and the strategy do (`--stats false`: none);
`--metrics-port` serves the feed's numbers to Prometheus on loopback, `--emf-s 30` prints them for CloudWatch.
SIGTERM stops it: working orders are cancelled or kept as the file says, the log is flushed, exit code 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib import import_module
from pathlib import Path
from typing import Annotated

import msgspec

from penstock import config, telemetry
from penstock.errors import ConfigError
from strategies import settings
from strategies.feed.directory import Directory
from strategies.feed.reader import nodes


class Options(msgspec.Struct, frozen=True):
    """Run a strategy of strategies/<name>/. `--redis` and `--instruments` go before what the configuration file says.

    Example: python -m strategies.run --redis redis://127.0.0.1:6379 --instruments DERIBIT:BTC-PERPETUAL
    """

    strategy: str = "imbalance"
    config: str = ""
    instruments: tuple[str, ...] = ()
    redis: tuple[str, ...] = ()
    trades_log: str = ""
    seen_log: str = ""
    stats: bool = True
    metrics_port: int = 0
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    definitions_timeout_s: float = 60.0


def names() -> tuple[str, ...]:
    """The strategies there are."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/config.py") if _is_strategy(path)))


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM; 0 after an orderly stop. Raises Terminal for what cannot start."""
    # --stats alone means yes, as people write flags.
    words = [f"{word}=true" if word == "--stats" and _is_last(argv, i) else word for i, word in enumerate(argv)]
    options = config.load(Options, words)
    if options.strategy not in names():
        raise ConfigError(
            f"--strategy is {options.strategy!r}, expected a folder of strategies/ with a config.py: {', '.join(names())}"
        )
    telemetry.configure("strategies", strategy=options.strategy)
    chosen = settings.load(Path(options.config)) if options.config else settings.Settings()
    chosen = msgspec.structs.replace(
        chosen,
        instruments=options.instruments or chosen.instruments,
        redis=options.redis or chosen.redis or ("redis://127.0.0.1:6379",),
    )
    settings.check(chosen)
    try:
        nodes(chosen.redis)
    except ConfigError as error:
        raise ConfigError(f"--redis: {error}; expected redis://host:port") from None
    wanted: dict[str, list[str]] = {}
    for text in chosen.instruments:
        provider, symbol = settings.provider_and_symbol(text)
        wanted.setdefault(provider, []).append(symbol)
    # Nautilus takes seconds to import, definitions of a pipeline that is just starting take as long to appear.
    with ThreadPoolExecutor(1) as beside:
        # With this thread's context, which the log's lines take their service from.
        waiting = beside.submit(
            copy_context().run, asyncio.run, _definitions(chosen.redis, options.definitions_timeout_s, wanted)
        )
        from strategies.node import Run, run

        module = import_module(f"strategies.{options.strategy}.config")
        definitions = waiting.result()
    return asyncio.run(
        run(
            Run(
                strategy=module,
                settings=chosen,
                definitions=definitions,
                trades_log=Path(options.trades_log) if options.trades_log else None,
                seen_log=Path(options.seen_log) if options.seen_log else None,
                stats=options.stats,
                metrics_port=options.metrics_port,
                emf_s=options.emf_s,
            )
        )
    )


async def _definitions(urls: tuple[str, ...], timeout_s: float, wanted: dict[str, list[str]]) -> dict[str, list[bytes]]:
    directory = Directory(urls)
    try:
        return {
            provider: await directory.await_definitions({provider: symbols}, timeout_s)
            for provider, symbols in wanted.items()
        }
    finally:
        await directory.close()


def _is_strategy(path: Path) -> bool:
    return "STRATEGY" in path.read_text("utf-8")


def _is_last(argv: Sequence[str], index: int) -> bool:
    return index + 1 == len(argv) or argv[index + 1].startswith("--")


if __name__ == "__main__":
    config.run(main)
