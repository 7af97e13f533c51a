"""Kraken's pairs: from the `instrument` channel, and from the REST answer that comes before any connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument, instrument_id
from penstock.lots import SCALE, fixed, lots
from penstock.numbers import number, present
from penstock.publishers import Publisher
from providers.kraken.names import modern
from providers.kraken.payloads import AssetPair, AssetPairs, Frame, Instruments, Pair, PairName
from providers.kraken.readings import plain
from providers.kraken.states import DELISTED
from providers.kraken.v2 import is_snapshot

_BODY: Final = msgspec.json.Decoder(AssetPairs)
_ASSET_PAIR: Final = msgspec.json.Decoder(AssetPair)
_FRAME: Final = msgspec.json.Decoder(Frame[Instruments])
_PAIR: Final = msgspec.json.Decoder(Pair)
_NAMED: Final = msgspec.json.Decoder(PairName)

_MOST_DECIMALS: Final = 9


class Known(NamedTuple):
    """An instrument as the normalizer uses it: `lot` at 1e-9, `record` its published definition, `status` the venue's word.

    Numbers are padded to `price_decimals` and `size_decimals` for the checksum. `streamed`: by the `instrument` channel.
    """

    described: Instrument
    id: int
    lot: int
    price_decimals: int
    size_decimals: int
    status: str
    record: bytes
    streamed: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """A pair as either source lists it."""

    described: Instrument
    price_decimals: int
    size_decimals: int
    status: str


class Learned(NamedTuple):
    """What a message taught: pairs `fresh` (new or changed), `gone`, `listed` (all it names) and `refused`."""

    fresh: tuple[Known, ...]
    gone: tuple[Known, ...]
    listed: tuple[Known, ...]
    refused: tuple[tuple[str, PayloadError], ...]


class Registry:
    """Every known instrument by name. `refused` names cannot be stated in DBN exactly; their data is not published.

    What the `instrument` channel said stands until it says otherwise: REST answers are cached and would contradict it. Of
    pairs that it said nothing of, REST's list is followed. A full list without a pair means that it is gone.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.known: dict[str, Known] = {}
        self.refused: set[str] = set()
        self._names: dict[int, str] = {}

    def learn_answer(self, body: bytes, ts_recv: int) -> Learned:
        """Take over an AssetPairs answer. Raises PayloadError, with nothing changed, where it is none.

        One pair that cannot be stated exactly is refused alone: the others of the answer are not its hostages.
        """
        answer = decode(_BODY, body)
        if answer.result is None or answer.error:
            raise PayloadError("venue_error", "error", answer.error, "a result, and no errors")
        listed: list[_Listed] = []
        refused: list[tuple[str, PayloadError]] = []
        for key, raw in answer.result.items():
            name = key
            try:
                pair = decode(_ASSET_PAIR, raw)
                if pair.wsname is None:
                    continue  # dark pools, listed until 2022: nothing of them is streamed
                name = modern(pair.wsname)
                listed.append(_from_rest(pair, name, self.publisher))
            except PayloadError as error:
                refused.append((name, error))
        return self._learn(listed, refused, ts_recv, streamed=False, whole=True)

    def learn_message(self, payload: bytes, ts_recv: int) -> Learned:
        """Take over an `instrument` message. Raises PayloadError as above."""
        frame = decode(_FRAME, payload)
        whole = is_snapshot(frame.type)
        listed: list[_Listed] = []
        refused: list[tuple[str, PayloadError]] = []
        for raw in frame.data.pairs:
            try:
                listed.append(_from_stream(decode(_PAIR, raw), self.publisher))
            except PayloadError as error:
                refused.append((decode(_NAMED, raw).symbol, error))
        return self._learn(listed, refused, ts_recv, streamed=True, whole=whole)

    def _learn(
        self,
        listed: list[_Listed],
        refused: list[tuple[str, PayloadError]],
        ts_recv: int,
        *,
        streamed: bool,
        whole: bool,
    ) -> Learned:
        fresh: list[Known] = []
        gone: list[Known] = []
        seen: list[Known] = []
        named = {item.described.raw_symbol for item in listed} | {name for name, _ in refused}
        for item in listed:
            name = item.described.raw_symbol
            old = self.known.get(name)
            if old is not None and old.streamed and not streamed:
                continue
            if item.status == DELISTED:
                gone += self._forget([name], ts_recv)
                continue
            try:
                new = self._take(item, ts_recv, streamed=streamed)
            except PayloadError as error:
                refused.append((name, error))
                continue
            seen.append(new)
            if old is None or old.record is not new.record:
                fresh.append(new)
        if whole:
            missing = [name for name, old in self.known.items() if name not in named and (streamed or not old.streamed)]
            gone += self._forget(missing, ts_recv)
        self.refused.update(name for name, _ in refused)
        return Learned(tuple(fresh), tuple(gone), tuple(seen), tuple(refused))

    def _take(self, item: _Listed, ts_recv: int, *, streamed: bool) -> Known:
        """The instrument as it is now; its record is another object only where the definition is new or changed."""
        described, name = item.described, item.described.raw_symbol
        number_ = instrument_id(self.publisher.provider, name)
        old = self.known.get(name)
        if (owner := self._names.get(number_, name)) != name:
            raise PayloadError("id_collision", "symbol", name, f"another id than {owner} has")
        if old is not None and old.described == described:
            record = old.record
        else:
            record = _record(described, ts_recv, "M" if old else "A")
        self.refused.discard(name)
        self._names[number_] = name
        precision = item.price_decimals, item.size_decimals
        new = Known(described, number_, described.lot, *precision, item.status, record, streamed)
        self.known[name] = new
        return new

    def _forget(self, names: Iterable[str], ts_recv: int) -> list[Known]:
        gone = []
        for name in names:
            if (old := self.known.pop(name, None)) is not None:
                self._names.pop(old.id, None)
                gone.append(old._replace(status=DELISTED, record=_record(old.described, ts_recv, "D")))
        return gone


def _record(described: Instrument, ts_recv: int, action: str) -> bytes:
    try:
        return described.record(ts_recv, ts_recv, action)  # neither source has a time
    except (ValueError, OverflowError) as error:
        raise PayloadError("definition_range", "symbol", described.raw_symbol, str(error)) from None


def _from_stream(pair: Pair, publisher: Publisher) -> _Listed:
    lot = _unit(pair.qty_precision, "qty_precision")
    described = Instrument(
        publisher=publisher,
        raw_symbol=pair.symbol,
        lot=lot,
        lot_unit=pair.base,
        tick=_positive(pair.price_increment, "price_increment"),
        instrument_class=SPOT,
        security_type="SPOT",
        base=pair.base,
        quote=pair.quote,
        min_lots=lots(number(plain(pair.qty_min)), lot, "qty_min"),
        step_lots=lots(number(plain(pair.qty_increment)), lot, "qty_increment"),
    )
    return _Listed(described, pair.price_precision, pair.qty_precision, pair.status)


def _from_rest(pair: AssetPair, name: str, publisher: Publisher) -> _Listed:
    """Base and quote are the name's, as REST's own codes are of 2013 (XXBT, ZUSD). Old answers' tick is the precision."""
    lot = _unit(pair.lot_decimals, "lot_decimals")
    base, _, quote = name.partition("/")
    described = Instrument(
        publisher=publisher,
        raw_symbol=name,
        lot=lot,
        lot_unit=base,
        tick=_positive(pair.tick_size, "tick_size")
        if _given(pair.tick_size)
        else _unit(pair.pair_decimals, "pair_decimals"),
        instrument_class=SPOT,
        security_type="SPOT",
        base=base,
        quote=quote,
        min_lots=lots(number(plain(pair.ordermin)), lot, "ordermin") if _given(pair.ordermin) else 1,
    )
    return _Listed(described, pair.pair_decimals, pair.lot_decimals, pair.status or "")


def _given(raw: msgspec.Raw) -> bool:
    return present(bytes(raw))


def _unit(decimals: int, field: str) -> int:
    """The last decimal place, at 1e-9."""
    if decimals > _MOST_DECIMALS:
        raise PayloadError("number_precision", field, decimals, "at most 9 decimals")
    return int(SCALE // 10**decimals)


def _positive(raw: msgspec.Raw, field: str) -> int:
    value = fixed(number(plain(raw)), field)
    if not value:
        raise PayloadError("number_range", field, value, "a number above 0")
    return value
