"""What a person sets about a run: a YAML file that a live run of the same strategy can read too."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import yaml
from nautilus_trader.common.config import msgspec_decoding_hook
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.identifiers import InstrumentId

from penstock.errors import ConfigError


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How orders are filled. `order_latency_ms`: from the strategy's decision to the venue's book, likewise for changes
    and cancels. `fills`: `book` walks the stored book's levels (MBO), `top` fills at the stored top of book (MBP_1), as
    the live sandbox does. Fees are charged on the notional, in basis points. `balance` of each currency a venue's
    instruments need. `leverage` of margin accounts.
    """

    order_latency_ms: float = 5.0
    fills: str = "book"
    maker_bps: float = 2.0
    taker_bps: float = 5.0
    balance: int = 1_000_000
    leverage: int = 10


class RunFile(msgspec.Struct, frozen=True):
    """`instruments` as PROVIDER:SYMBOL, `strategy`: fields of the strategy's own configuration, `backtest`: Simulation.

    Other keys are those of live runs and mean nothing here.
    """

    instruments: tuple[str, ...]
    strategy: dict[str, Any] = {}
    backtest: Simulation = Simulation()

    @property
    def wanted(self) -> dict[str, list[str]]:
        """Raw symbols by provider."""
        symbols: dict[str, list[str]] = {}
        for text in self.instruments:
            provider, _, symbol = text.partition(":")
            symbols.setdefault(provider, []).append(symbol)
        return symbols


def read(path: Path) -> RunFile:
    """Read a run's file. Raises ConfigError that names the file and what is wrong in it."""
    try:
        settings = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), RunFile, strict=False)
    except OSError as error:
        raise ConfigError(f"--config is {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    for text in settings.instruments:
        provider, colon, symbol = text.partition(":")
        if not (colon and symbol and provider.isupper()):
            raise ConfigError(
                f"{path}: instruments has {text!r}, expected PROVIDER:SYMBOL such as DERIBIT:BTC-PERPETUAL"
            )
    if not settings.instruments:
        raise ConfigError(f"{path}: instruments is empty, expected PROVIDER:SYMBOL entries")
    simulation = settings.backtest
    if simulation.fills not in {"book", "top"}:
        raise ConfigError(f"{path}: backtest.fills is {simulation.fills!r}, expected book or top")
    if min(simulation.order_latency_ms, simulation.maker_bps + 100, simulation.balance, simulation.leverage - 1) < 0:
        raise ConfigError(f"{path}: backtest has a negative latency or balance, or a leverage below 1")
    return settings


def configured(strategy: ModuleType, keys: list[InstrumentId], fields: dict[str, Any], path: Path) -> StrategyConfig:
    """The strategy's configuration with the file's fields in it. Raises ConfigError for one that it does not have."""
    made: StrategyConfig = strategy.configure(keys)
    known = {field.name: field.type for field in msgspec.structs.fields(made)}
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in known:
            raise ConfigError(f"{path}: strategy has no setting {name!r}, expected one of {', '.join(sorted(known))}")
        try:
            changes[name] = msgspec.convert(value, known[name], strict=False, dec_hook=msgspec_decoding_hook)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise ConfigError(f"{path}: strategy.{name} is {value!r}: {error}") from None
    return msgspec.structs.replace(made, **changes)
