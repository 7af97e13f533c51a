"""Where orders go: a sandbox in this process, or a venue through Nautilus's own adapter, per provider.

An adapter has its own names for instruments (`BTCUSDT-PERP.BINANCE`) and its own units (OKX counts contracts). A provider
whose orders go to an adapter has its instruments named as the adapter names them, and no order leaves before the
adapter's own instruments agree with the feed's in every step and unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import InstrumentProviderConfig
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.instruments import Instrument

from penstock import config
from penstock.errors import ConfigError
from strategies.settings import Execution, Settings, provider_and_symbol

_BALANCE: Final = 1_000_000


class _Adapter(NamedTuple):
    """`prefix` begins the names of its classes. `providers` are those it trades, `environments` ours to its own names,
    `symbol` turns a provider's symbol into the adapter's, `products` the symbols into what its configuration needs."""

    prefix: str
    providers: tuple[str, ...]
    environments: Mapping[str, str]
    symbol: Callable[[str, str], str]
    products: Callable[[str, Sequence[str]], dict[str, Any]]


class Account(NamedTuple):
    """One execution client: the Nautilus venue it trades as, its factory and its configuration."""

    venue: str
    factory: type
    config: Any


def alias(settings: Settings, text: str) -> InstrumentId:
    """The Nautilus id of a configured instrument: `SYMBOL.PROVIDER`, or what the adapter that trades it calls it."""
    provider, symbol = provider_and_symbol(text)
    name = settings.execution.get(provider, Execution()).adapter
    if name == "sandbox":
        return InstrumentId.from_str(f"{symbol}.{provider}")
    return InstrumentId.from_str(f"{_ADAPTERS[name].symbol(provider, symbol)}.{name.upper()}")


def accounts(settings: Settings, instruments: Mapping[str, Sequence[Instrument]]) -> list[Account]:
    """The execution clients of a run; `instruments` are its instruments by provider. Raises ConfigError."""
    made: list[Account] = []
    for provider, listed in instruments.items():
        chosen = settings.execution.get(provider, Execution())
        if chosen.adapter == "sandbox":
            made.append(_sandbox(provider, chosen, listed))
            continue
        account = _adapter(provider, chosen, listed)
        if any(account.venue == other.venue for other in made):
            raise ConfigError(f"execution of {provider}: one account of {account.venue} a run, start another for it")
        made.append(account)
    return made


def is_real(settings: Settings) -> bool:
    """Whether any order can reach a venue."""
    return any(chosen.adapter != "sandbox" for chosen in settings.execution.values())


def differences(ours: Instrument, theirs: Instrument | None) -> str:
    """Why an order for `ours` would mean something else to the adapter; "" where nothing does."""
    if theirs is None:
        return f"{ours.id} is not among the adapter's instruments"
    pairs = {
        "size step": (ours.size_increment.as_decimal(), theirs.size_increment.as_decimal()),
        "price step": (ours.price_increment.as_decimal(), theirs.price_increment.as_decimal()),
        "multiplier": (ours.multiplier.as_decimal(), theirs.multiplier.as_decimal()),
        "inverse": (ours.is_inverse, theirs.is_inverse),
        "quote currency": (ours.quote_currency.code, theirs.quote_currency.code),
    }
    wrong = [f"{name} {mine} here and {other} there" for name, (mine, other) in pairs.items() if mine != other]
    return f"{ours.id}: {', '.join(wrong)}" if wrong else ""


def _sandbox(provider: str, chosen: Execution, listed: Iterable[Instrument]) -> Account:
    codes = {code for instrument in listed for code in _currencies(instrument)}
    balances = list(chosen.balances) or [f"{_BALANCE} {code}" for code in sorted(codes)]
    return Account(
        provider,
        SandboxLiveExecClientFactory,
        SandboxExecutionClientConfig(venue=provider, starting_balances=balances),
    )


def _currencies(instrument: Instrument) -> set[str]:
    money = (instrument.get_base_currency(), instrument.quote_currency, instrument.get_settlement_currency())
    return {currency.code for currency in money if currency is not None}


def _adapter(provider: str, chosen: Execution, listed: Sequence[Instrument]) -> Account:
    name = chosen.adapter
    adapter = _ADAPTERS[name]
    if provider not in adapter.providers:
        raise ConfigError(
            f"execution of {provider}: adapter {name} trades {', '.join(adapter.providers)}; sandbox trades all"
        )
    if chosen.environment not in adapter.environments:
        known = " or ".join(adapter.environments)
        raise ConfigError(f"execution of {provider}: environment is {chosen.environment!r}, {name} has {known}")
    folder = f"nautilus_trader.adapters.{name}"
    kind = getattr(import_module(f"{folder}.config"), f"{adapter.prefix}ExecClientConfig")
    fields = _keys(provider, chosen) | adapter.products(provider, [str(each.raw_symbol) for each in listed])
    fields["environment"] = _environment(adapter, chosen.environment)
    fields["instrument_provider"] = InstrumentProviderConfig(load_ids=frozenset(each.id for each in listed))
    factory = getattr(import_module(f"{folder}.factories"), f"{adapter.prefix}LiveExecClientFactory")
    return Account(name.upper(), factory, kind(**fields))


def _keys(provider: str, chosen: Execution) -> dict[str, Any]:
    wanted = {"api_key": chosen.key, "api_secret": chosen.secret}
    if chosen.adapter == "okx":
        wanted["api_passphrase"] = chosen.passphrase
    if missing := [name.removeprefix("api_") for name, value in wanted.items() if not value]:
        raise ConfigError(
            f"execution of {provider}: {', '.join(missing)} missing, expected the names of environment values"
        )
    found = config.secrets(list(wanted.values()))
    if found is None:
        raise ConfigError(f"execution of {provider}: {', '.join(wanted.values())} missing from the environment")
    return {field: found[name] for field, name in wanted.items()}


def _environment(adapter: _Adapter, word: str) -> Any:
    module = "nautilus_trader.core.nautilus_pyo3"
    if adapter.prefix == "Binance":
        module = "nautilus_trader.adapters.binance.common.enums"
    return getattr(getattr(import_module(module), f"{adapter.prefix}Environment"), adapter.environments[word])


def _rust(kind: str, *names: str) -> tuple[Any, ...]:
    found = getattr(import_module("nautilus_trader.core.nautilus_pyo3"), kind)
    return tuple(getattr(found, name) for name in sorted(set(names)))


def _binance_symbol(provider: str, symbol: str) -> str:
    # Dated futures (BTCUSDT_261225) keep their names, perpetuals get -PERP.
    return symbol if provider == "BINANCE_SPOT" or "_" in symbol else f"{symbol}-PERP"


def _binance_products(provider: str, _symbols: Sequence[str]) -> dict[str, Any]:
    kind = import_module("nautilus_trader.adapters.binance.common.enums").BinanceAccountType
    return {"account_type": kind.SPOT if provider == "BINANCE_SPOT" else kind.USDT_FUTURES}


def _okx_products(_provider: str, symbols: Sequence[str]) -> dict[str, Any]:
    kinds = {2: "SPOT", 5: "OPTION"}
    found = ["SWAP" if symbol.endswith("-SWAP") else kinds.get(len(symbol.split("-")), "FUTURES") for symbol in symbols]
    return {"instrument_types": _rust("OKXInstrumentType", *found)}


def _deribit_products(_provider: str, symbols: Sequence[str]) -> dict[str, Any]:
    found = ["OPTION" if symbol.endswith(("-C", "-P")) else "FUTURE" if "-" in symbol else "SPOT" for symbol in symbols]
    return {"product_types": _rust("DeribitProductType", *found)}


def _bybit_products(_provider: str, symbols: Sequence[str]) -> dict[str, Any]:
    return {"product_types": _rust("BybitProductType", *(symbol.rpartition("-")[2] for symbol in symbols))}


def _same(_provider: str, symbol: str) -> str:
    return symbol


def _no_products(_provider: str, _symbols: Sequence[str]) -> dict[str, Any]:
    return {}


# Read in the adapters' sources, nautilus_trader 1.231.0.
_ADAPTERS: Final = {
    "binance": _Adapter(
        "Binance", ("BINANCE_SPOT", "BINANCE_USDM"), {"live": "LIVE", "testnet": "TESTNET", "demo": "DEMO"},
        _binance_symbol, _binance_products,
    ),
    "bybit": _Adapter(
        "Bybit", ("BYBIT",), {"live": "MAINNET", "testnet": "TESTNET", "demo": "DEMO"}, _same, _bybit_products
    ),
    "okx": _Adapter("OKX", ("OKX",), {"live": "LIVE", "demo": "DEMO"}, _same, _okx_products),
    "deribit": _Adapter("Deribit", ("DERIBIT",), {"live": "MAINNET", "testnet": "TESTNET"}, _same, _deribit_products),
    "kraken": _Adapter("Kraken", ("KRAKEN",), {"live": "LIVE"}, _same, _no_products),
}  # fmt: skip
