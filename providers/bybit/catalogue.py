"""The instruments of the normalizer and what is published of them: definitions, states, and that one is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.raw.v1.raw_pb2 import Envelope
from penstock.timestamps import NS_PER_S
from providers.bybit import states
from providers.bybit.definitions import Known, Registry
from providers.bybit.names import INSTRUMENTS, raw_symbol, split_symbol
from providers.bybit.payloads import Maintenance


class Taught(NamedTuple):
    """What an answer changed: messages to publish, and the instruments whose units changed or that are gone."""

    outputs: list[Output]
    restated: tuple[Known, ...]
    removed: tuple[Known, ...]


class Catalogue:
    """Definitions and states by instrument name."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._registry = Registry(publisher)
        self._states = states.States()
        self._undefined: set[tuple[str, str]] = set()
        self._asked: dict[str, int] = {}

    @property
    def known(self) -> dict[str, Known]:
        """Every instrument that is listed, by name."""
        return self._registry.known

    def learn(self, category: str, symbol: str, envelope: Envelope) -> Taught:
        """Take over an instruments-info answer. Raises PayloadError with nothing changed."""
        ts_recv = envelope.ts_recv
        learned = self._registry.learn(category, symbol, envelope.payload, ts_recv)
        outputs: list[Output] = [
            Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record)
            for known in (*learned.changed, *learned.removed)
        ]
        for known, word in learned.states:
            self._states.listed(known.described.raw_symbol, word)
            outputs += self._status(known, learned.ts_event, ts_recv)
        for known in learned.removed:
            action = self._states.gone(known.described.raw_symbol)
            outputs.append(self._state(known, learned.ts_event, ts_recv, action))
        for name, error in learned.refused:
            number = instrument_id(self._publisher.provider, name)
            marker = Gap(f"definition_{error.reason}")
            outputs += self._once("DEFINITION", f"definition.{name}", number, marker, ts_recv)
        return Taught(outputs, learned.restated, learned.removed)

    def maintenance(self, items: Iterable[Maintenance], ts_event: int, ts_recv: int) -> list[Output]:
        """The states of instruments that announced maintenance changes."""
        for item in items:
            self._states.maintenance(item)
        return [output for known in self.known.values() for output in self._status(known, ts_event, ts_recv)]

    def unknown(self, schema: str, channel: str, category: str, symbol: str, ts_recv: int) -> list[Output]:
        """Data of an instrument without definition is not published: declared once, and the definition asked for."""
        name = raw_symbol(category, symbol)
        number = instrument_id(self._publisher.provider, name)
        outputs = self._once(schema, channel, number, Gap("no_definition"), ts_recv)
        source = f"{INSTRUMENTS}{category}/{symbol}"
        if name not in self._registry.refused and ts_recv - self._asked.get(source, -NS_PER_S) >= NS_PER_S:
            self._asked[source] = ts_recv
            outputs.append(Resync(source))
        return outputs

    def _once(self, schema: str, channel: str, number: int, marker: Gap, ts_event: int) -> list[Output]:
        if (schema, channel) in self._undefined:
            return []
        self._undefined.add((schema, channel))
        return [Message(schema, channel, marker.record(self._publisher.publisher_id, number, ts_event))]

    def _status(self, known: Known, ts_event: int, ts_recv: int) -> list[Output]:
        """The instrument's state where it is another than the last one published."""
        name = known.described.raw_symbol
        category, _ = split_symbol(name) or ("", "")
        action = self._states.change(name, category)
        return [] if action is None else [self._state(known, ts_event, ts_recv, action)]

    def _state(self, known: Known, ts_event: int, ts_recv: int, action: int) -> Message:
        content = states.record(self._publisher.publisher_id, known.id, ts_event, ts_recv, action)
        return Message("STATUS", f"status.{known.described.raw_symbol}", content)
