"""Providers by name: a folder is a provider, and nothing outside it lists it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from penstock.drift import Vocabulary
from penstock.errors import ConfigError
from penstock.provider import ProviderInfo, load_info

if TYPE_CHECKING:
    from penstock.missed import Missed
    from penstock.normalizing import Normalizer
    from penstock.payloads import Payloads
    from penstock.session import Session

_HERE = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """The name of every provider, sorted."""
    return tuple(sorted(path.parent.name for path in _HERE.glob("*/provider.yaml")))


@cache
def info(name: str) -> ProviderInfo:
    """The static facts of a provider. Raises ConfigError for a name that is no folder here, and for a publisher id that
    another provider has as well."""
    if name not in names():
        raise ConfigError(f"provider is {name!r}, expected one of {', '.join(names())}")
    found = _load(name)
    for other in names():
        if other != name and _load(other).publisher_id == found.publisher_id:
            raise ConfigError(f"provider.yaml of {name} and {other}: publisher_id is {found.publisher_id} in both")
    return found


@cache
def _load(name: str) -> ProviderInfo:
    found = load_info(_HERE / name / "provider.yaml")
    if find_spec(f"providers.{name}.facts") is None:
        return found
    # What follows from configuration of the provider's own is added here, once, so that sessions and normalizers are
    # handed it like every other fact.
    complete: Callable[[ProviderInfo], ProviderInfo] = import_module(f"providers.{name}.facts").complete
    return complete(found)


def payloads(name: str) -> Payloads:
    """The provider's peeks into frames."""
    info(name)
    return cast("Payloads", import_module(f"providers.{name}.payloads"))


def session_class(name: str) -> type[Session]:
    """The provider's Session class."""
    info(name)
    return cast("type[Session]", import_module(f"providers.{name}.session").Session)


def normalizer_class(name: str) -> type[Normalizer]:
    """The provider's Normalizer class."""
    info(name)
    return cast("type[Normalizer]", import_module(f"providers.{name}.normalizer").Normalizer)


def vocabulary(name: str) -> Vocabulary | None:
    """The words of the venue's messages, by which drift is noticed; None for providers whose frames are not JSON."""
    if find_spec(f"providers.{info(name).name}.vocabulary") is None:
        return None
    return cast("Vocabulary", import_module(f"providers.{name}.vocabulary").VOCABULARY)


def missed(name: str) -> Missed | None:
    """How its venue is asked for trades that nobody received; None where it has no such way."""
    if find_spec(f"providers.{info(name).name}.missed") is None:
        return None
    return cast("Missed", import_module(f"providers.{name}.missed"))


def offline_definitions(name: str, symbols: Iterable[str]) -> dict[str, bytes]:
    """Raw channel → body of instrument lists for recordings that hold none; empty where the provider knows nothing."""
    if find_spec(f"providers.{info(name).name}.offline") is None:
        return {}
    found: dict[str, bytes] = import_module(f"providers.{name}.offline").offline(symbols)
    return found
