"""`python -m simulator`: a simulated market that several venues show in their own wire protocols."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec

from penstock import config
from penstock.errors import ConfigError
from simulator.ledger import Ledger
from simulator.server import Server
from simulator.venue import Venue


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Serve simulated venues on 127.0.0.1 until interrupted.

    python -m simulator --providers deribit,binance_spot --port 9000 --rate 500 --seed 7 --ledger /tmp/ledger.jsonl

    One JSON line on stdout says where each provider listens. `rate` is in market events per second over all providers
    (0: as fast as possible), `port` 0 takes any free one. `held`: no event before POST /control/start. `events`: how many
    there are, 0 for no end. POST /control/fault and the rest: see simulator/server.py.
    """

    providers: tuple[str, ...]
    ledger: str
    port: int = 0
    rate: float = 100.0
    seed: int = 1
    held: bool = False
    events: int = 0


def load_simulator(provider: str) -> type[Venue]:
    """The Simulator class of a provider's folder. Raises ConfigError where there is none."""
    name = f"providers.{provider}.simulator"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        # Only the folder's own absence is the user's mistake; a module missing inside it is a defect to be seen.
        if not provider.isidentifier() or (error.name or "") in {name, name.rpartition(".")[0]}:
            raise ConfigError(f"--providers: {provider!r} has no {name.replace('.', '/')}.py") from None
        raise
    found: type[Venue] = module.Simulator
    return found


def main(argv: Sequence[str]) -> int:
    settings = config.load(Settings, argv)
    if settings.rate < 0 or settings.events < 0 or not settings.providers:
        raise ConfigError(
            f"--rate is {settings.rate}, --events {settings.events} and --providers {settings.providers}, "
            "expected >= 0, >= 0 and a name"
        )
    kinds = [load_simulator(provider) for provider in dict.fromkeys(settings.providers)]
    with Ledger(Path(settings.ledger)) as ledger:
        venues = [kind(settings.seed, ledger) for kind in kinds]
        server = Server(venues, ledger, settings.rate, held=settings.held, limit=settings.events)
        asyncio.run(_serve(server, settings.port))
    return 0


async def _serve(server: Server, port: int) -> None:
    try:
        urls = await server.start(port)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port is {port}, expected a free port from 1 to 65535, or 0: {error}") from None
    sys.stdout.write(msgspec.json.encode({"event": "listening", "providers": urls}).decode() + "\n")
    sys.stdout.flush()
    serving = asyncio.current_task()
    assert serving is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await server.run()
    except asyncio.CancelledError:
        pass  # asked to end by a signal: the ledger is to be complete
    finally:
        await server.close()


if __name__ == "__main__":
    config.run(main)
