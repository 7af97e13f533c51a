"""Service configuration: one frozen struct per service, from environment and command line, checked at start."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, NoReturn, get_args, get_origin

import msgspec

from penstock.errors import ConfigError, ConnectionLost, Terminal

PREFIX: Final = "PENSTOCK_"


def load[T](kind: type[T], argv: Sequence[str], environ: Mapping[str, str] | None = None) -> T:
    """A `kind` (a msgspec.Struct) from `--some-field VALUE` arguments, else from PENSTOCK_SOME_FIELD, else its default.

    Comma-separated text fills tuple fields. Raises ConfigError that names the field, its value and what was expected.
    `--help` prints the fields and exits.
    """
    environ = os.environ if environ is None else environ
    fields = {field.name: field for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type] # T is a Struct
    values: dict[str, object] = {}
    for name in fields:
        if (text := environ.get(PREFIX + name.upper())) is not None:
            values[name] = text
    values.update(_arguments(kind, fields, argv))
    for name, field in fields.items():
        if isinstance(values.get(name), str) and getattr(field.type, "__origin__", None) is tuple:
            values[name] = tuple(part for part in str(values[name]).split(",") if part)
        if field.required and name not in values:
            raise ConfigError(f"--{_flag(name)} is missing (or {PREFIX}{name.upper()} in the environment)")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_readable(str(error), values, fields)) from None


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Call a service's `main(argv)`: a Terminal error becomes one readable line on stderr and exit code 2.

    So does a ConnectionLost that nobody could repair, with exit code 1: the same command may work later.
    """
    try:
        code = main(sys.argv[1:])
    except Terminal as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201 # the one line a person reads
        code = 2
    except ConnectionLost as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201 # likewise
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def environment() -> dict[str, str]:
    """The whole environment, for handing on to a child process."""
    return dict(os.environ)


def secrets(names: Sequence[str], environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """The named environment values; None where none of them is set. Raises ConfigError where only some are."""
    environ = os.environ if environ is None else environ
    found = {name: environ[name] for name in names if environ.get(name)}
    if not found:
        return None
    if missing := [name for name in names if name not in found]:
        raise ConfigError(f"{', '.join(missing)} missing from the environment while {', '.join(found)} is set")
    return found


def _arguments(kind: type, fields: Mapping[str, object], argv: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument in {"-h", "--help"}:
            _help(kind)
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in fields:
            known = ", ".join(f"--{_flag(field)}" for field in fields)
            raise ConfigError(f"{argument!r} is not an option, expected one of {known}")
        if not equals:
            if not rest:
                raise ConfigError(f"{flag} has no value")
            value = rest.pop(0)
        values[name] = value
    return values


def _help(kind: type) -> NoReturn:
    print((kind.__doc__ or "").strip())  # noqa: T201 # --help is for a person
    for field in msgspec.structs.fields(kind):
        default = "required" if field.required else f"default {field.default!r}"
        print(f"  --{_flag(field.name)}  ({default}; or {PREFIX}{field.name.upper()})")  # noqa: T201
    sys.exit(0)


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _readable(error: str, values: Mapping[str, object], fields: Mapping[str, msgspec.structs.FieldInfo]) -> str:
    # msgspec says "Expected `int` - at `$.port`": put the option and its value in front.
    what, _, where = error.partition(" - at `$.")
    name = where.rstrip("`").split("[", 1)[0].split(".", 1)[0]
    if name not in values:
        return error
    expected = _expected(fields[name].type)
    tail = f", expected {expected}" if expected else f": {what[:1].lower()}{what[1:]}"
    return f"--{_flag(name)} is {values[name]!r}{tail}"


def _expected(kind: object) -> str:
    """What a person should have written, where msgspec's own words say it only to a programmer."""
    if get_origin(kind) is Literal:
        return " or ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) is Annotated:
        return next((meta.description for meta in get_args(kind)[1:] if meta.description), "")
    return "a date such as 2026-11-21" if kind is dt.date else ""
