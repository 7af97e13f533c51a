"""One recording through a provider's normalizer, next to the provider's oracle: every fact the contract compares."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import databento_dbn
import msgspec
import yaml

import providers
from penstock.cli import capture
from penstock.drift import Drift
from penstock.normalizing import Message
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from services.normalizer.accounting import Accounting
from services.normalizer.counts import Counts
from tests.contract import naive

FIRST = 2
"""Records of each schema written out for a reviewer."""

_REPEATED = frozenset({"hd", "levels", "publisher_id", "rtype", "ts_index", "ts_out"})
"""Attributes of a decoded record that say again what others say, or nothing."""

_WHOLE_EVERY = 97  # where a recording's books are compared level by level, all of them each so many messages


class Capture(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An entry of `captures` in contract.yaml. All but the first three is what reviewed output was.

    `books`: full (after every message all levels) or touched. `definitions`: a file of the fixtures with the
    instrument list that the recording lacks.
    """

    files: list[str]
    books: str = "full"
    definitions: str = ""
    frames: int = 0
    data: int = 0
    control: int = 0
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    gaps: dict[str, int] = msgspec.field(default_factory=dict)
    records: dict[str, int] = msgspec.field(default_factory=dict)
    trades: int = 0
    checksums: int = 0
    books_compared: int = 0
    drift: list[str] = msgspec.field(default_factory=list)
    sha256: dict[str, str] = msgspec.field(default_factory=dict)
    first: dict[str, list[str]] = msgspec.field(default_factory=dict)


class Contract(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """providers/<name>/contract.yaml.

    `losses`: channels (globs) on which a lost message is proved by the venue's own rule; `states`: those on which only a
    wrong state is (checksums), so that a loss which the next message makes good leaves no trace; `unprovable`: the
    others, and why. `scope`: what one loss puts in doubt, the channel or, where the venue numbers a connection's
    messages, all channels of the connection. `depth`: levels a side that a subscription carries, 0 for all.
    """

    captures: list[Capture] = msgspec.field(default_factory=list)
    losses: list[str] = msgspec.field(default_factory=list)
    states: list[str] = msgspec.field(default_factory=list)
    unprovable: dict[str, str] = msgspec.field(default_factory=dict)
    scope: str = "channel"
    depth: int = 0


def path_of(provider: str) -> Path:
    return Path(providers.__file__).parent / provider / "contract.yaml"


def load(provider: str) -> Contract:
    """A provider's contract; an empty one where it has none."""
    path = path_of(provider)
    return msgspec.convert(yaml.safe_load(path.read_text()), Contract) if path.exists() else Contract()


def oracle(provider: str) -> Any:
    """The provider's Oracle, None where it has none."""
    if find_spec(f"providers.{provider}.oracle") is None:
        return None
    return import_module(f"providers.{provider}.oracle").Oracle()


class Run:
    """Normalizes a recording as an archive and compares as it goes. Raises AssertionError where anything differs."""

    def __init__(self, provider: str, entry: Capture, fixtures: Path, *, compare: bool = True) -> None:
        self.provider = provider
        self.entry = entry
        self.counts = Counts()
        self.refusals: dict[str, str] = {}
        self.books: dict[str, naive.Book] = {}
        self.definitions: dict[int, naive.Definition] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.books_compared = 0
        self._digests: defaultdict[str, Any] = defaultdict(hashlib.sha256)
        self._first: defaultdict[str, list[bytes]] = defaultdict(list)
        self._per_schema: Counter[str] = Counter()
        self._oracle = oracle(provider) if compare else None
        vocabulary = providers.vocabulary(provider)
        self._drift = Drift(vocabulary) if vocabulary is not None else None
        self._words: list[str] = []
        info = providers.info(provider)
        normalizer = providers.normalizer_class(provider)(info, archive=True)
        self._accounting = Accounting(info, normalizer, self.counts, self._refuse)
        self._run(fixtures)

    def _refuse(self, envelope: Envelope, error: Exception) -> None:
        self.refusals.setdefault(getattr(error, "reason", "?"), f"{envelope.channel}: {error}")

    def _run(self, fixtures: Path) -> None:
        files = [fixtures / file for file in self.entry.files]
        definitions = fixtures / self.entry.definitions if self.entry.definitions else None
        recorded = capture.read(files, self.provider, definitions)
        for envelope in recorded.definitions:
            self._consume(envelope)
        assert not self.refusals, self.refusals
        self.counts.frames.clear()
        for envelope in recorded.envelopes:
            self._consume(envelope)
        if self._oracle is not None:
            for channel in self._oracle.books:
                self._compare(channel, set(), whole=True)
            self._compare_trades()

    def _consume(self, envelope: Envelope) -> None:
        if self._oracle is not None:
            self._oracle.read(envelope.channel, envelope.payload, envelope.ts_recv)
        if self._drift is not None:
            self._words += self._drift.unknown(envelope.payload)
        touched: dict[str, set[tuple[str, int]]] = {}
        for output in self._accounting.normalize(envelope, KIND_FRAME, envelope.channel):
            if isinstance(output, Message):
                self._take(output, touched)
        for channel, levels in touched.items():
            if self._oracle is not None and channel in self._oracle.books:
                whole = self.entry.books == "full" or self.books_compared % _WHOLE_EVERY == 0
                self._compare(channel, levels, whole=whole)

    def _take(self, message: Message, touched: dict[str, set[tuple[str, int]]]) -> None:
        schema, channel, data = message
        self.counts.message(schema, data)
        self._digests[schema].update(data)
        if naive.is_gap(data):
            if channel in self.books:
                self.books[channel].bad = True
            return
        self._per_schema[schema] += 1
        if len(self._first[schema]) < FIRST:
            self._first[schema].append(data)
        if schema == "MBO":
            touched.setdefault(channel, set()).update(self.books.setdefault(channel, naive.Book()).apply(data))
        elif schema == "TRADES":
            trade = naive.trades(data)
            known = self.definitions[trade.instrument_id]
            quantity = trade.size * known.lot
            self.trades.append((channel, known.raw_symbol, trade.price, quantity, trade.side, trade.ts_event))
        elif schema == "DEFINITION":
            number, known = naive.definition(data)
            self.definitions[number] = known

    def _compare(self, channel: str, levels: set[tuple[str, int]], *, whole: bool) -> None:
        """This channel's book against the oracle's, which is synchronized; ours must be as well."""
        ours, (bids, asks) = self.books[channel], self._oracle.books[channel]
        lot = self.definitions[ours.instrument_id].lot
        assert not ours.bad, f"{channel} is flagged although the venue's rule is kept"
        self.books_compared += 1
        if whole:
            assert ours.levels(lot) == (bids, asks), f"{channel}: {self._difference(ours.levels(lot), (bids, asks))}"
            return
        for side, price in levels:
            theirs = (bids if side == "B" else asks).get(Decimal(price) / naive.SCALE, Decimal(0))
            assert ours.level(side, price) * lot == theirs, f"{channel} {side} at {price}"

    @staticmethod
    def _difference(ours: tuple[naive.Levels, naive.Levels], theirs: tuple[naive.Levels, naive.Levels]) -> str:
        found = [
            f"{side} {price}: ours {mine.get(price)}, expected {its.get(price)}"
            for side, mine, its in zip("BA", ours, theirs, strict=True)
            for price in sorted(mine.keys() | its.keys())
            if mine.get(price) != its.get(price)
        ]
        return f"{len(found)} levels differ, first {found[:3]}"

    def _compare_trades(self) -> None:
        expected = self._oracle.trades
        missing = Counter(expected) - Counter(self.trades)
        extra = Counter(self.trades) - Counter(expected)
        assert not missing, f"{sum(missing.values())} trades missing, first {next(iter(missing))}"
        assert not extra, f"{sum(extra.values())} trades too many, first {next(iter(extra))}"

    def result(self) -> Capture:
        """What this run gave, in the form of contract.yaml."""
        frames = self.counts.frames
        return Capture(
            files=self.entry.files,
            books=self.entry.books,
            definitions=self.entry.definitions,
            frames=sum(frames.values()),
            data=frames["data"],
            control=frames["control"],
            quarantined=dict(sorted(self.counts.quarantined.items())),
            gaps=dict(sorted(self.counts.gaps.items())),
            records=dict(sorted(self.counts.records.items())),
            trades=len(self.trades),
            checksums=self._oracle.checksums if self._oracle is not None else 0,
            books_compared=self.books_compared,
            drift=sorted(self._words),
            sha256={schema: digest.hexdigest() for schema, digest in sorted(self._digests.items())},
            first={schema: [_text(data) for data in some] for schema, some in sorted(self._first.items())},
        )


def _text(data: bytes) -> str:
    """A message's first record for a reader, by Databento's decoder, and how many records it has."""
    decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(data)
    records = decoder.decode()
    return f"{len(records)} × {' '.join(_fields(records[0]))}"


def _fields(record: Any) -> Iterator[str]:
    undefined = {2**63 - 1, 2**64 - 1, 2**32 - 1}
    if isinstance(record, databento_dbn.InstrumentDefMsg):
        undefined |= {2**31 - 1, 2**15 - 1, 2**16 - 1, 2**7 - 1, 2**8 - 1}
    for name in dir(record):
        if name.startswith(("_", "pretty_", "size_hint", "SIZE")) or name in _REPEATED:
            continue
        value = getattr(record, name)
        if callable(value) or value in (None, "", 0, "\0") or (isinstance(value, int) and value in undefined):
            continue
        if not isinstance(value, list):
            yield f"{name}={value}"
