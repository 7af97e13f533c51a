"""Source files to structs: one readable line for whatever is wrong in one, naming the file and the field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import yaml

from penstock.errors import ConfigError
from providers.rest import path as paths
from providers.rest.signing import names, placeholders
from providers.rest.source import Bars, Definitions, Hmac, Polled, Quotes, Source, Statistics, Trades, raw_symbol

_LANES: Final = 2
_TEMPLATE: Final = frozenset({"symbol"})
_MESSAGE: Final = frozenset({"timestamp", "method", "path", "query", "target"})
_LONGEST_SYMBOL: Final = 70  # DBN's raw_symbol
_INDEX: Final = re.compile(r"^\$\.?")


def load(place: Path) -> tuple[Source, ...]:
    """The sources of a file, or of the `*.yaml` files of a directory, sorted by name. Raises ConfigError."""
    if not place.exists():
        raise ConfigError(f"rest sources: {place} does not exist, expected a YAML file or a directory of them")
    files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
    if not files:
        raise ConfigError(f"rest sources: {place} holds no *.yaml file")
    found: dict[str, Source] = {}
    for file in files:
        source = read(file)
        if source.name in found:
            raise ConfigError(f"{file}: name is {source.name!r}, which another file has as well")
        found[source.name] = source
    return tuple(found[name] for name in sorted(found))


def read(file: Path) -> Source:
    """One file. Raises ConfigError."""
    try:
        tree = yaml.safe_load(file.read_text("utf-8"))
        source = msgspec.convert(tree, Source)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        raise ConfigError(f"{file}: {_INDEX.sub('', where.rstrip('`')) or 'the file'}: {what}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    _Checked(file, source)
    return source


class _Checked:
    """What the structs cannot say by themselves."""

    def __init__(self, file: Path, source: Source) -> None:
        self._file, self._source = file, source
        self._once("instruments", "symbol", [instrument.symbol for instrument in source.instruments])
        self._once("endpoints", "name", [endpoint.name for endpoint in source.endpoints])
        self._instruments()
        for index, endpoint in enumerate(source.endpoints):
            self._endpoint(f"endpoints[{index}]", endpoint)
        self._auth()
        self._rate()

    def _wrong(self, field: str, why: str) -> NoReturn:
        raise ConfigError(f"{self._file}: {field}: {why}")

    def _once(self, field: str, key: str, values: list[str]) -> None:
        for index, value in enumerate(values):
            if value in values[:index]:
                self._wrong(f"{field}[{index}].{key}", f"is {value!r} a second time")

    def _instruments(self) -> None:
        published = any(isinstance(endpoint, Definitions) for endpoint in self._source.endpoints)
        for index, instrument in enumerate(self._source.instruments):
            for field in ("lot", "tick"):
                value = getattr(instrument, field)
                if not value.strip("0.") and (value or not published):
                    expected = "a decimal above zero in quotes" + ("" if published else ", or a DEFINITION endpoint")
                    self._wrong(f"instruments[{index}].{field}", f"is {value!r}, expected {expected}")
            if len(raw_symbol(self._source, instrument.symbol)) > _LONGEST_SYMBOL:
                self._wrong(f"instruments[{index}].symbol", f"is longer than DBN's {_LONGEST_SYMBOL} characters")

    def _endpoint(self, field: str, endpoint: Polled) -> None:
        for name, template in [("path", endpoint.path), *endpoint.parameters.items()]:
            if unknown := placeholders(template) - _TEMPLATE:
                self._wrong(f"{field}.{name}", f"holds {{{min(unknown)}}}, expected no other than {{symbol}}")
        for name, text in _paths(endpoint):
            try:
                parsed = paths.Path(text)
            except ConfigError as error:
                self._wrong(f"{field}.{name}", str(error))
            if parsed.many and name not in {"items", "fields.bids", "fields.asks"}:
                self._wrong(f"{field}.{name}", f"is {text!r}: [*] has its place in items, bids and asks")
        if isinstance(endpoint, Trades | Bars | Definitions) and not paths.Path(endpoint.items).many:
            self._wrong(f"{field}.items", f"is {endpoint.items!r}, expected a path with [*]")
        if isinstance(endpoint, Quotes) and bool(endpoint.fields.bid_size) != bool(endpoint.fields.ask_size):
            self._wrong(f"{field}.fields", "has one of bid_size and ask_size, expected both or none")
        if isinstance(endpoint, Statistics) and not endpoint.fields.values:
            self._wrong(f"{field}.fields.values", "is empty, expected at least one statistic")
        if isinstance(endpoint, Definitions) and isinstance(self._source.auth, Hmac):
            self._wrong(field, "is a DEFINITION endpoint with HMAC: give lot and tick of each instrument instead")

    def _auth(self) -> None:
        auth = self._source.auth
        if isinstance(auth, Hmac):
            if unknown := placeholders(auth.message) - _MESSAGE:
                self._wrong("auth.message", f"holds {{{min(unknown)}}}, expected {', '.join(sorted(_MESSAGE))}")
            if not any("{signature}" in value for value in auth.headers.values()):
                self._wrong("auth.headers", "hold no {signature}")
        if auth is not None:
            known = _MESSAGE | {"signature"} if isinstance(auth, Hmac) else frozenset()
            for header, template in auth.headers.items():
                if unknown := {name for name in placeholders(template) - known if not name.isupper()}:
                    self._wrong(f"auth.headers.{header}", f"holds {{{min(unknown)}}}, expected a NAME in capitals")
            if isinstance(auth, Hmac) is False and not names(auth):
                self._wrong("auth.headers", "name nothing from the environment: a secret has no place in this file")

    def _rate(self) -> None:
        """Both lanes together keep to half of the limit, whatever the venue allows in bursts."""
        source = self._source
        polls = [endpoint for endpoint in source.endpoints if not isinstance(endpoint, Definitions)]
        asked = sum(len(source.instruments) / endpoint.period_s for endpoint in polls) * _LANES
        allowed = source.limits.count / source.limits.per_s / 2
        if source.limits.count < 1 or source.limits.per_s <= 0:
            self._wrong("limits", "expected a count of at least 1 within more than 0 seconds")
        if asked > allowed:
            self._wrong(
                "limits",
                f"{asked:.3g} requests a second follow from the periods and {_LANES} lanes, expected at most {allowed:.3g},"
                " half of the limit: poll fewer instruments or less often",
            )


def _paths(endpoint: Polled) -> Iterator[tuple[str, str]]:
    """(field, path) of everything in an endpoint that is a path."""
    yield "items", endpoint.items
    fields = getattr(endpoint, "fields", None)
    for name, value in msgspec.structs.asdict(fields).items() if fields is not None else ():
        if isinstance(value, str):
            yield f"fields.{name}", value
        elif isinstance(value, dict):
            yield from ((f"fields.{name}.{key}", text) for key, text in value.items())
        elif value is not None:
            yield f"fields.{name}.path", value.path
