"""The instruments of all sources: facts of the YAML, completed and followed by what a source publishes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.normalizing import Message
from penstock.publishers import Publisher
from providers.rest import numbers, source
from providers.rest.path import Path, Tree
from providers.rest.stream import instrument

Key = tuple[str, str]
"""(source, symbol)."""


class Change(NamedTuple):
    """What a body of definitions changes: `instrument` is None where it is no longer listed."""

    key: Key
    instrument: Instrument | None


class Instruments:
    """What is known of each instrument now, and which of them have been published."""

    def __init__(self, publisher: Publisher, sources: Iterable[source.Source]) -> None:
        self._publisher = publisher
        self._known: dict[Key, Instrument] = {}
        self._published: dict[Key, None] = {}
        self._numbers: dict[int, str] = {}
        for of in sources:
            for facts in of.instruments:
                if facts.lot and facts.tick:
                    self._known[of.name, facts.symbol] = instrument(publisher, of, facts, facts.lot, facts.tick)

    def find(self, of: source.Source, symbol: str) -> Instrument | None:
        """None where the source has not said yet what its lot and tick are, or lists it no longer."""
        return self._known.get((of.name, symbol))

    def announce(self, of: source.Source, symbol: str, ts_recv: int) -> list[Message]:
        """The definition, the first time that something is published of the instrument."""
        key = of.name, symbol
        if key in self._published:
            return []
        self._published[key] = None
        return [definition(self._known[key], ts_recv, "A")]

    def everything(self, ts_recv: int) -> Iterator[Message]:
        """The definitions published so far."""
        return (definition(self._known[key], ts_recv, "A") for key in self._published if key in self._known)

    def read(self, of: source.Source, endpoint: source.Definitions, tree: Tree) -> list[Change]:
        """What a body changes, not yet applied. Raises PayloadError where one of the instruments cannot be read."""
        fields = endpoint.fields
        listed = {}
        for item in Path(endpoint.items).all(tree, tree):
            listed[numbers.text(Path(fields.symbol).find(tree, item), "symbol")] = item
        changes = []
        for facts in of.instruments:
            key, item = (of.name, facts.symbol), listed.get(facts.symbol)
            found = None if item is None else self._of(of, facts, fields, tree, item)
            if found != self._known.get(key):
                changes.append(Change(key, found))
        return changes

    def apply(self, change: Change, ts_recv: int) -> list[Message]:
        """Take a change; its definition."""
        known = self._known.pop(change.key, None)
        if change.instrument is None:
            self._published.pop(change.key, None)
            return [definition(known, ts_recv, "D")] if known else []
        self._known[change.key] = change.instrument
        action = "M" if change.key in self._published else "A"
        self._published[change.key] = None
        return [definition(change.instrument, ts_recv, action)]

    def _of(
        self, of: source.Source, facts: source.Instrument, fields: source.DefinitionFields, tree: Tree, item: Tree
    ) -> Instrument:
        lot, tick = (
            numbers.number(Path(path, facts.symbol).find(tree, item), name)
            for name, path in (("lot", fields.lot), ("tick", fields.tick))
        )
        return instrument(self._publisher, of, facts, facts.lot or lot, facts.tick or tick)


def definition(of: Instrument, ts_recv: int, action: str) -> Message:
    """The definition message. Sources give no time of it."""
    return Message("DEFINITION", f"definition.{of.raw_symbol}", of.record(ts_recv, ts_recv, action))


def check_collisions(publisher: Publisher, sources: Iterable[source.Source]) -> None:
    """Raises PayloadError("id_collision") where two symbols have one instrument_id."""
    seen: dict[int, str] = {}
    for of in sources:
        for facts in of.instruments:
            one = instrument(publisher, of, facts, "1", "1")
            other = seen.setdefault(one.instrument_id, one.raw_symbol)
            if other != one.raw_symbol:
                raise PayloadError("id_collision", "symbol", one.raw_symbol, f"another instrument_id than {other}'s")
