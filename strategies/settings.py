"""A run's configuration file: what a strategy trades, with which settings, through which accounts and limits.

YAML or TOML, the same for `penstock trade` and `penstock backtest`; docs/strategies.md describes it. Every error is one
line that names the file, the key, its value and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import msgspec

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from nautilus_trader.config import StrategyConfig
    from nautilus_trader.model.identifiers import InstrumentId

Rate = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Risk(_Part, frozen=True):
    """Limits held before an order leaves; a breach denies the order. They come beside what Nautilus's risk engine checks
    of each order (steps, smallest quantities, balances of cash accounts).

    `max_notional` is per order, in the instrument's quote currency; `max_notional_of` overrides it for an instrument
    `PROVIDER:SYMBOL`. `orders_per_s` counts submissions and, apart from them, changes.
    """

    enabled: bool = True
    orders_per_s: Rate = 10
    max_notional: Annotated[int, msgspec.Meta(gt=0)] = 10_000
    max_notional_of: dict[str, int] = msgspec.field(default_factory=dict)

    def limit(self, instrument: str) -> int:
        """The largest notional of an order of `PROVIDER:SYMBOL`."""
        return self.max_notional_of.get(instrument, self.max_notional)


class Execution(_Part, frozen=True):
    """Where the orders of one provider's instruments go.

    `sandbox` fills them in this process against the feed, starting with `balances` (`"1000 USDT"`; empty: a million of
    every currency). The others are Nautilus's own adapters: `environment` as the venue calls it, `key`, `secret` and
    `passphrase` the *names* of environment values, which a secret store injects.
    """

    adapter: Literal["sandbox", "binance", "bybit", "okx", "deribit", "kraken"] = "sandbox"
    environment: Literal["live", "testnet", "demo"] = "testnet"
    key: str = ""
    secret: str = ""
    passphrase: str = ""
    balances: tuple[str, ...] = ()


class Settings(_Part, frozen=True):
    """The whole file. `instruments` are `PROVIDER:SYMBOL`, in the order the strategy expects them; `strategy` are the
    fields of its own configuration; `backtest` is for backtests. `history`: the stored dataset (a folder, `file://…`,
    `s3://…`) that answers the strategy's requests for past data.

    `on_stale`: when no lane of an instrument's data is heard, `cancel` its working orders and send no new ones until it
    is live again, `hold` only sends no new ones, `ignore` leaves it to the strategy. `on_stop`: `cancel` or `keep` the
    working orders when the run ends. Positions are kept either way.
    """

    instruments: tuple[str, ...] = ()
    strategy: dict[str, Any] = msgspec.field(default_factory=dict)
    backtest: dict[str, Any] = msgspec.field(default_factory=dict)
    redis: tuple[str, ...] = ()
    history: str = ""
    execution: dict[str, Execution] = msgspec.field(default_factory=dict)
    risk: Risk = Risk()
    on_stale: Literal["cancel", "hold", "ignore"] = "cancel"
    on_stop: Literal["cancel", "keep"] = "cancel"


def load(path: Path) -> Settings:
    """The configuration in a YAML or TOML file. Raises ConfigError."""
    decode = {".yaml": msgspec.yaml.decode, ".yml": msgspec.yaml.decode, ".toml": msgspec.toml.decode}.get(path.suffix)
    if decode is None:
        raise ConfigError(f"--config is {str(path)!r}, expected a .yaml or .toml file")
    try:
        found = msgspec.convert(decode(path.read_bytes()), Settings)
    except OSError as error:
        raise ConfigError(f"--config is {str(path)!r}: {error.strerror}") from None
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {_readable(str(error))}") from None
    for text in found.instruments:
        provider_and_symbol(text, f"{path}: instruments")
    return found


def _readable(error: str) -> str:
    # msgspec says "Invalid enum value 'x' - at `$.on_stop`": the key first, and what it may be.
    what, at, where = " ".join(error.split()).partition(" - at `$.")
    key = where.rstrip("`").rpartition(".")[2]
    if not at:
        return what
    kinds = [f.type for part in (Settings, Execution) for f in msgspec.structs.fields(part) if f.name == key]
    choices = [" or ".join(map(str, get_args(kind))) for kind in kinds if get_origin(kind) is Literal]
    return f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}{f', expected {choices[0]}' if choices else ''}"


def check(settings: Settings) -> None:
    """Raises ConfigError for instruments that are none, and for execution or limits of what is not traded."""
    providers = {provider_and_symbol(text)[0] for text in settings.instruments}
    if not providers:
        raise ConfigError("no instruments: --instruments or the configuration file names them, as PROVIDER:SYMBOL")
    if unknown := sorted(set(settings.execution) - providers):
        raise ConfigError(f"execution names {', '.join(unknown)}, of which no instrument is configured")
    if unknown := sorted(set(settings.risk.max_notional_of) - set(settings.instruments)):
        raise ConfigError(f"risk.max_notional_of names {', '.join(unknown)}, expected one of the instruments")


def provider_and_symbol(text: str, where: str = "--instruments") -> tuple[str, str]:
    """The parts of `DERIBIT:BTC-PERPETUAL`. Raises ConfigError."""
    provider, colon, symbol = text.partition(":")
    if not (colon and symbol and provider.isupper()):
        raise ConfigError(f"{where} has {text!r}, expected PROVIDER:SYMBOL such as DERIBIT:BTC-PERPETUAL")
    return provider, symbol


def configured(module: ModuleType, keys: Sequence[InstrumentId], fields: Mapping[str, Any]) -> StrategyConfig:
    """The configuration of a strategy's `config.py` with the file's fields in it. Raises ConfigError."""
    # Here and not above: Nautilus takes seconds to import, and a bad file is to be told of before.
    from nautilus_trader.config import StrategyConfig

    made: StrategyConfig = module.configure(keys)
    common = {"instrument_ids", *(field.name for field in msgspec.structs.fields(StrategyConfig))}
    known = {f.name: f.type for f in msgspec.structs.fields(type(made)) if f.name not in common}
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in known:
            raise ConfigError(f"strategy has no setting {name!r}, expected one of {', '.join(sorted(known))}")
        try:
            changes[name] = msgspec.convert(value, known[name], strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"strategy.{name} is {value!r}: {str(error)[:1].lower()}{str(error)[1:]}") from None
    return msgspec.structs.replace(made, **changes)
