"""The products that the venue's lists named so far, and what each new list changes."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.kraken_futures.definitions import Known, describe, is_listed, product_of
from providers.kraken_futures.payloads import Instrument, InstrumentName, Instruments, decode
from providers.kraken_futures.peeks import INSTRUMENTS, event_time

_BODY: Final = msgspec.json.Decoder(Instruments)
_INSTRUMENT: Final = msgspec.json.Decoder(Instrument)
_NAMED: Final = msgspec.json.Decoder(InstrumentName)

_CLOCKS_DIFFER_NS: Final = 3600 * NS_PER_S


class Learned(NamedTuple):
    """What one list taught: products new or changed, those of them whose lot changed (`recounted`), those listed no more
    (their last definition, as deleted), (product, tradeable, post-only) of all, and the names that cannot be stated."""

    known: tuple[Known, ...] = ()
    recounted: tuple[Known, ...] = ()
    gone: tuple[Known, ...] = ()
    states: tuple[tuple[Known, bool, bool], ...] = ()
    refused: tuple[tuple[str, PayloadError], ...] = ()
    ts_event: int = 0


class Catalogue:
    """Every known product by name. `refused` names cannot be stated in DBN exactly; their data is not published.

    A product that is listed no more has expired or was delisted. It is kept apart: what still comes of it is published.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.known: dict[str, Known] = {}
        self.refused: set[str] = set()
        self._gone: dict[str, Known] = {}
        self._names: dict[int, str] = {}
        self._at = 0

    def find(self, name: str) -> Known | None:
        """The product, listed or gone."""
        return self.known.get(name) or self._gone.get(name)

    def learn(self, body: bytes, ts_recv: int) -> Learned:
        """Take over a REST /instruments answer. Raises PayloadError, with nothing changed, where it is no such answer.

        One product that cannot be stated exactly is refused alone: the others of the list are not its hostages. A list
        older than one before it (the other lane's) says nothing.
        """
        answer = decode(_BODY, body)
        if answer.result != "success" or answer.instruments is None:
            raise PayloadError("venue_error", "result", answer.error or answer.result, "success and a list")
        if not answer.instruments and self.known:
            raise PayloadError("no_instruments", "instruments", "[]", "a list of instruments, as before")
        refused: list[tuple[str, PayloadError]] = []
        listed: list[Instrument] = []
        for raw in answer.instruments:
            try:
                item = decode(_INSTRUMENT, raw)
            except PayloadError as error:
                refused.append((product_of(decode(_NAMED, raw).symbol), error))
                continue
            if is_listed(item):
                listed.append(item)
        ts_event = event_time(INSTRUMENTS, body) or ts_recv
        # One absurd time must not make every list after it look old.
        at = ts_event if abs(ts_event - ts_recv) <= _CLOCKS_DIFFER_NS else ts_recv
        if at < self._at:
            return Learned()
        self._at = at
        return self._compare(listed, refused, ts_event, ts_recv)

    def _compare(
        self, listed: list[Instrument], refused: list[tuple[str, PayloadError]], ts_event: int, ts_recv: int
    ) -> Learned:
        known, recounted, states = [], [], []
        # Oldest first: where two names hash to one id the older keeps it, on every lane and after every restart.
        for item in sorted(listed, key=lambda one: (one.openingDate or "", one.symbol)):
            name = product_of(item.symbol)
            old = self.known.get(name)
            try:
                fresh = self._take(item, name, ts_event, ts_recv)
            except PayloadError as error:
                refused.append((name, error))
                continue
            if fresh is not None:
                known.append(fresh)
                if old is not None and old.lot != fresh.lot:
                    recounted.append(fresh)
            states.append((self.known[name], item.tradeable, item.postOnly))
        self.refused.update(name for name, _ in refused)
        names = {product_of(item.symbol) for item in listed} | {name for name, _ in refused}
        gone = self._missing(names, ts_event, ts_recv)
        return Learned(tuple(known), tuple(recounted), gone, tuple(states), tuple(refused), ts_event)

    def _missing(self, names: set[str], ts_event: int, ts_recv: int) -> tuple[Known, ...]:
        gone = []
        for name in sorted(self.known.keys() - names):
            old = self._gone[name] = self.known.pop(name)
            gone.append(old._replace(record=old.described.record(ts_event, ts_recv, "D")))
        return tuple(gone)

    def _take(self, item: Instrument, name: str, ts_event: int, ts_recv: int) -> Known | None:
        """The product if it is new or changed."""
        described = describe(item, self.publisher)
        number = instrument_id(self.publisher.provider, name)
        old = self.known.get(name)
        if old is not None and old.described == described:
            return None
        if (owner := self._names.get(number, name)) != name:
            raise PayloadError("id_collision", "symbol", name, f"another id than {owner} has")
        try:
            record = described.record(ts_event, ts_recv, "M" if old else "A")
        except (ValueError, OverflowError) as error:
            raise PayloadError("definition_range", "symbol", name, str(error)) from None
        self.refused.discard(name)
        self._gone.pop(name, None)
        self._names[number] = name
        fresh = self.known[name] = Known(described, number, described.lot, record)
        return fresh
