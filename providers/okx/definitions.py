"""OKX's instruments: from its REST answers and the `instruments` channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from penstock.dbn import UNDEF_PRICE, UNDEF_TIMESTAMP
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import CALL, FUTURE, PUT, SPOT
from penstock.instruments import Instrument as Described
from penstock.lots import MAX_FIXED, SCALE, decimal_text, fixed
from penstock.publishers import Publisher
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_S
from providers.okx.eras import lot_text
from providers.okx.payloads import Answer, Instrument, InstrumentName
from providers.okx.states import EXPIRED

REST_LAG_NS: Final = 10 * NS_PER_S
"""A REST answer may be older than a push that came before it: it says nothing of what was pushed so recently."""

_BODY: Final = msgspec.json.Decoder(Answer[msgspec.Raw])
_INSTRUMENT: Final = msgspec.json.Decoder(Instrument)
_NAMED: Final = msgspec.json.Decoder(InstrumentName)

_SECURITY_TYPES: Final = {"SPOT": "SPOT", "SWAP": "PERP", "FUTURES": "FUT", "OPTION": "OPT"}
_OPTION_CLASSES: Final[dict[str, Any]] = {"C": CALL, "P": PUT}
_STYLES: Final = {"linear": "LIN", "inverse": "INV"}


class Known(NamedTuple):
    """An instrument as the normalizer uses it. `unit` is one lot in the venue's own unit of size (contracts, of spot the
    base currency) at 1e-9; `record` the definition as last published; `family` the index that a derivative follows."""

    described: Described
    id: int
    unit: int
    record: bytes
    state: str
    family: str


class Learned(NamedTuple):
    """What one list taught. `changed` are new and changed instruments (`before` None for new ones), `gone` those that
    were delisted with their last definition record, `states` those whose state is another than before."""

    changed: tuple[tuple[Known | None, Known], ...]
    gone: tuple[Known, ...]
    states: tuple[Known, ...]
    refused: tuple[tuple[str, PayloadError], ...]


class Registry:
    """Every known instrument by name. `refused` names cannot be stated in DBN exactly; their data is not published."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.known: dict[str, Known] = {}
        self.refused: set[str] = set()
        self._names: dict[int, str] = {}
        self._pushed_at: dict[str, int] = {}

    def learn_answer(self, body: bytes, ts_recv: int, *, complete: bool) -> Learned:
        """Take over an answer of GET /api/v5/public/instruments. Where it is complete for its instType and families, what
        is not in it is delisted. Raises PayloadError, with nothing changed, where it is no such answer.
        """
        answer = decode(_BODY, body)
        if answer.code != "0":
            raise PayloadError("venue_error", "code", f"{answer.code} {answer.msg}", "0")
        listed, refused = _read(answer.data)
        recent = {name for name, at in self._pushed_at.items() if ts_recv - at < REST_LAG_NS}
        names = {item.instId for item in listed} | {name for name, _ in refused}
        scope = {_scope(item.instType, _family(item)) for item in listed} if complete else set()
        gone = [
            known
            for name, known in self.known.items()
            if name not in names and name not in recent and _scope_of(known) in scope
        ]
        fresh = [item for item in listed if item.instId not in recent]
        return self._learn(fresh, refused, gone, ts_recv)

    def learn_push(self, pushed: list[msgspec.Raw], ts_recv: int) -> Learned:
        """Take over a push of `instruments`: some instruments, `expired` ones being delisted. Raises PayloadError."""
        listed, refused = _read(pushed)
        gone = [self.known[item.instId] for item in listed if item.state == EXPIRED and item.instId in self.known]
        learned = self._learn([item for item in listed if item.state != EXPIRED], refused, gone, ts_recv)
        self._pushed_at = {name: at for name, at in self._pushed_at.items() if ts_recv - at < REST_LAG_NS}
        self._pushed_at |= dict.fromkeys((item.instId for item in listed), ts_recv)
        return learned

    def _learn(
        self, listed: list[Instrument], refused: list[tuple[str, PayloadError]], gone: list[Known], ts_recv: int
    ) -> Learned:
        changed, states = [], []
        # Oldest first: where two names hash to one id the older keeps it, on every lane and after every restart.
        for item in sorted(listed, key=lambda item: (item.listTime.rjust(16, "0"), item.instId)):
            before = self.known.get(item.instId)
            try:
                known = self._take(item, before, ts_recv)
            except PayloadError as error:
                refused.append((item.instId, error))
                continue
            if before is None or before.record != known.record:
                changed.append((before, known))
            if before is None or before.state != known.state:
                states.append(known)
        for known in gone:
            del self.known[known.described.raw_symbol]
            del self._names[known.id]
        self.refused.update(name for name, _ in refused)
        deleted = tuple(
            known._replace(state=EXPIRED, record=known.described.record(ts_recv, ts_recv, "D")) for known in gone
        )
        return Learned(tuple(changed), deleted, tuple(states), tuple(refused))

    def _take(self, item: Instrument, before: Known | None, ts_recv: int) -> Known:
        """The instrument as it now is; the record stays the one published where nothing but the state changed."""
        described, unit = describe(item, self.publisher, ts_recv)
        name, number = described.raw_symbol, described.instrument_id
        if (owner := self._names.get(number, name)) != name:
            raise PayloadError("id_collision", "instId", name, f"another id than {owner} has")
        if before is not None and before.described == described:
            known = before._replace(state=item.state)
        else:
            try:
                record = described.record(ts_recv, ts_recv, "M" if before else "A")
            except (ValueError, OverflowError) as error:
                raise PayloadError("definition_range", "instId", name, str(error)) from None
            known = Known(described, number, unit, record, item.state, _family(item))
        self.refused.discard(name)
        self._names[number] = name
        self.known[name] = known
        return known


def _read(raws: Iterable[msgspec.Raw]) -> tuple[list[Instrument], list[tuple[str, PayloadError]]]:
    """The instruments of a list, and the names of those that cannot be read: the others are not their hostages."""
    listed: list[Instrument] = []
    refused: list[tuple[str, PayloadError]] = []
    for raw in raws:
        try:
            listed.append(decode(_INSTRUMENT, raw))
        except PayloadError as error:
            refused.append((decode(_NAMED, raw).instId, error))
    return listed, refused


def _scope(inst_type: str, family: str) -> tuple[str, str]:
    # Options are asked for by family, all else by type alone.
    return (inst_type, family if inst_type == "OPTION" else "")


def _scope_of(known: Known) -> tuple[str, str]:
    words = {security: word for word, security in _SECURITY_TYPES.items()}
    return _scope(words[known.described.security_type], known.family)


def _family(item: Instrument) -> str:
    return "" if item.instType == "SPOT" else item.uly


def describe(item: Instrument, publisher: Publisher, ts_recv: int) -> tuple[Described, int]:
    """One instrument in the pipeline's terms, and its lot in the venue's unit of size at 1e-9.

    Sizes of derivatives are contracts, each of ctVal × ctMult in ctValCcy: USD for inverse ones, else the base currency.
    Raises PayloadError where that cannot be exact.
    """
    spot, style = item.instType == "SPOT", _style(item)
    unit = _positive(lot_text(item.instId, item.lotSz, ts_recv), "lotSz")
    step, least = _positive(item.lotSz, "lotSz"), _positive(item.minSz, "minSz")
    if step % unit:
        raise PayloadError("not_whole_lots", "lotSz", item.lotSz, f"whole lots of {decimal_text(unit)}")
    base, _, quote = (item.baseCcy, "-", item.quoteCcy) if spot else item.uly.partition("-")
    if not base or not quote:
        raise PayloadError("shape", "baseCcy" if spot else "uly", item.uly, "a base and a quote currency")
    option = item.instType == "OPTION"
    if option and item.optType not in _OPTION_CLASSES:
        raise PayloadError("kind", "optType", item.optType, "C or P")
    described = Described(
        publisher=publisher,
        raw_symbol=item.instId,
        lot=unit if spot else _contract(item, unit),
        lot_unit=base if spot else item.ctValCcy,
        tick=_positive(item.tickSz, "tickSz"),
        instrument_class=_OPTION_CLASSES[item.optType] if option else SPOT if spot else FUTURE,
        security_type=_SECURITY_TYPES[item.instType],
        base=base,
        quote=quote,
        settle="" if spot else item.settleCcy,
        secsubtype=style,
        expiration=_time(item.expTime),
        activation=_time(item.listTime),
        strike=fixed(item.stk, "stk") if option else UNDEF_PRICE,
        min_lots=max(1, -(-least // unit)),
        step_lots=step // unit,
        venue_id=item.instIdCode or 0,
        underlying=item.uly,
    )
    return described, unit


def _contract(item: Instrument, unit: int) -> int:
    """What `unit` contracts are in ctValCcy, at 1e-9."""
    value, multiplier = _positive(item.ctVal, "ctVal"), _positive(item.ctMult or "1", "ctMult")
    lot, rest = divmod(unit * value * multiplier, SCALE * SCALE)
    if rest or not lot or lot > MAX_FIXED:
        text = f"{item.lotSz} × {item.ctVal} × {item.ctMult}"
        raise PayloadError("number_precision", "ctVal", text, "a lot of at most 9 decimals, below 9.22e9")
    return lot


def _style(item: Instrument) -> str:
    """INV or LIN; empty for spot. Options name neither: those settled in their base currency are inverse."""
    if item.instType not in _SECURITY_TYPES:
        raise PayloadError("kind", "instType", item.instType, "one of " + ", ".join(_SECURITY_TYPES))
    if item.instType == "SPOT":
        return ""
    if item.instType == "OPTION":
        return "INV" if item.settleCcy == item.uly.partition("-")[0] else "LIN"
    if item.ctType not in _STYLES:
        raise PayloadError("kind", "ctType", item.ctType, "linear or inverse")
    return _STYLES[item.ctType]


def _positive(text: str, field: str) -> int:
    value = fixed(text, field)
    if not value:
        raise PayloadError("number_range", field, text, "a number above 0")
    return value


def _time(text: str) -> int:
    """UNIX ns of a millisecond text; undefined where it is empty or beyond what a record holds."""
    if not text.isdecimal() or not text.isascii() or len(text) > 16:
        return UNDEF_TIMESTAMP
    ms = int(text)
    return UNDEF_TIMESTAMP if ms > MAX_NS // NS_PER_MS else ms * NS_PER_MS
