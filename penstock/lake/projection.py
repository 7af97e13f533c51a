"""Partition projection: Athena computes which partitions there may be, so that nobody has to register any.

https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html, read 2026-11. Athena checks none of
this when a table is made; a mistake shows as an empty answer. `check` says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_PLACEHOLDER: Final = re.compile(r"\$\{([^}]*)\}")
_RANGE: Final = re.compile(r"(-?\d+),(-?\d+)")
_NEEDED: Final = {"enum": "values", "integer": "range", "injected": "", "date": "range"}


class Enum(NamedTuple):
    """One of these values."""

    values: tuple[str, ...]

    def properties(self) -> dict[str, str]:
        return {"type": "enum", "values": ",".join(self.values)}


class Integer(NamedTuple):
    """From `first` to `last`, padded with zeros to `digits`."""

    first: int
    last: int
    digits: int

    def properties(self) -> dict[str, str]:
        return {"type": "integer", "range": f"{self.first},{self.last}", "digits": str(self.digits)}


class Injected(NamedTuple):
    """Any value; a query must give it by equality."""

    def properties(self) -> dict[str, str]:
        return {"type": "injected"}


class Key(NamedTuple):
    """A partition key; `type` is Hive's."""

    name: str
    type: str
    values: Enum | Integer | Injected


DAY: Final = (
    Key("year", "int", Integer(2020, 2039, 4)),
    Key("month", "int", Integer(1, 12, 2)),
    Key("day", "int", Integer(1, 31, 2)),
)


def properties(keys: Sequence[Key], location: str) -> dict[str, str]:
    """The table properties for `keys`; `location` is the partition's whole location with its placeholders."""
    found = {"projection.enabled": "true"}
    for key in keys:
        found |= {f"projection.{key.name}.{name}": value for name, value in key.values.properties().items()}
    return found | {"storage.location.template": location}


def check(keys: Sequence[str], stated: Mapping[str, str]) -> list[str]:
    """What is wrong with a table's properties, given its partition keys; empty where nothing is."""
    wrong = []
    if stated.get("projection.enabled") != "true":
        wrong.append("projection.enabled is not true: no partition is found")
    for key in keys:
        wrong += _check_key(key, stated)
    for name in stated:
        part = name.split(".")
        if part[0] == "projection" and len(part) == 3 and part[1] not in keys:
            wrong.append(f"{name}: {part[1]} is no partition key")
    template = stated.get("storage.location.template", "")
    found = _PLACEHOLDER.findall(template)
    if sorted(found) != sorted(keys):
        wrong.append(f"storage.location.template has {found}, expected each of {list(keys)} once")
    if not template.endswith("/"):
        wrong.append("storage.location.template does not end in /: other prefixes would match")
    return wrong


def _check_key(key: str, stated: Mapping[str, str]) -> list[str]:
    kind = stated.get(f"projection.{key}.type")
    if kind not in _NEEDED:
        return [f"projection.{key}.type is {kind!r}, expected one of {', '.join(_NEEDED)}"]
    needed = _NEEDED[kind]
    value = stated.get(f"projection.{key}.{needed}", "")
    if kind == "enum" and (not value or any(part != part.strip() or not part for part in value.split(","))):
        return [f"projection.{key}.values is {value!r}, expected values without spaces"]
    if kind == "integer":
        found = _RANGE.fullmatch(value)
        if found is None or int(found[1]) > int(found[2]):
            return [f"projection.{key}.range is {value!r}, expected two rising integers"]
        digits = stated.get(f"projection.{key}.digits", "")
        if digits and (not digits.isdecimal() or int(digits) < max(len(found[1]), len(found[2]))):
            return [f"projection.{key}.digits is {digits!r}, less than the range has"]
    return []
