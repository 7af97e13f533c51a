"""`penstock normalize`: a recording through a provider's normalizer into DBN files, with an exact account of it.

The files are what Databento's own tools read: one Zstandard DBN file per schema, with metadata and symbol mappings. The
same input gives the same bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self, cast

import databento_dbn
import msgspec
import zstandard

import providers
from penstock.cli import capture
from penstock.dbn import RTYPE_ERROR, VERSION, schema_name
from penstock.drift import Drift
from penstock.errors import ConfigError, PayloadError
from penstock.normalizing import Message
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.timestamps import utc_day
from services.normalizer.accounting import Accounting
from services.normalizer.counts import Counts

_SPOOL_BYTES: Final = 32 * 1024 * 1024
_COMPRESSION_LEVEL: Final = 3
_SUFFIX: Final = ".dbn.zst"
_HEAD_FRAMES: Final = 100
"""Recorders fetch instrument lists before anything else."""
_SYMBOL_PARAMETERS: Final = (
    "symbol",
    "product_id",
    "instrument_name",
    "currency",
    "instId",
    "instType",
    "category",
    "pair",
)


class Output(msgspec.Struct, frozen=True):
    """One file that was written; `sha256` is of its bytes."""

    path: str
    schema: str
    records: int
    sha256: str


class Summary(msgspec.Struct, frozen=True):
    """The account of one recording: `frames` = `data` + `control` + the sum of `quarantined`, exactly.

    `records` is by schema, `gaps` by reason, `quarantined` by reason with `refusals` naming the first of each.
    `definitions` says where the instruments' lots and ticks come from; `drift` the words of the venue's messages that its
    vocabulary lacks.
    """

    frames: int
    data: int
    control: int
    quarantined: dict[str, int]
    refusals: dict[str, str]
    records: dict[str, int]
    gaps: dict[str, int]
    definitions: str
    drift: tuple[str, ...]
    outputs: tuple[Output, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return dict(msgspec.to_builtins(self))


def normalize_capture(
    paths: Sequence[Path], provider: str, output_path: Path | None, definitions: Path | None = None
) -> Summary:
    """Normalize one recording as an archive: every distinct trade once, books checked within it.

    With `output_path` (its name ends in .dbn.zst) each schema goes to a file of its own: `OUT.trades.dbn.zst`, or
    `OUT.dbn.zst` itself where there is one schema only. `definitions` is a file that holds the venue's instrument list,
    as the JSON body of its REST answer or as a recording that contains one; it is read first, at the time of the first
    frame. Without it, a recording that holds no instrument list is read with what the provider knows offline, which the
    summary says in `definitions`. Raises ConfigError for names that mean nothing and captures.CaptureError for
    files that cannot be read.
    """
    if output_path is not None and not output_path.name.endswith(_SUFFIX):
        raise ConfigError(f"--output is {str(output_path)!r}, expected a name that ends in {_SUFFIX}")
    run = _Run(providers.info(provider))
    with run:
        recorded = capture.read(paths, provider, definitions)
        run.define(recorded.definitions, recorded.source)
        for envelope in recorded.envelopes:
            run.consume(envelope)
        outputs = run.write(output_path) if output_path is not None and run.frames else ()
    return run.summary(outputs)


class _Spool(NamedTuple):
    """The records of one schema so far, and the instruments they are of."""

    file: IO[bytes]
    instruments: set[int]


class _Run:
    """One pass over a recording."""

    def __init__(self, info: ProviderInfo) -> None:
        self._info = info
        self._counts = Counts()
        self._refusals: dict[str, str] = {}
        normalizer = providers.normalizer_class(info.name)(info, archive=True)
        self._accounting = Accounting(info, normalizer, self._counts, self._refuse)
        self._spools: dict[str, _Spool] = {}
        self._symbols: dict[int, str] = {}
        self._first = self._last = 0
        self._source = "the recording"
        vocabulary = providers.vocabulary(info.name)
        self._drift = Drift(vocabulary) if vocabulary is not None else None
        self._words: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for spool in self._spools.values():
            spool.file.close()

    @property
    def frames(self) -> int:
        return sum(self._counts.frames.values())

    def define(self, definitions: Sequence[Envelope], source: str) -> None:
        """Take instrument lists from elsewhere, which are not part of the account of frames."""
        for envelope in definitions:
            self.consume(envelope)
        if self._refusals:
            raise ConfigError(f"{source}: {'; '.join(self._refusals.values())}")
        self._counts.frames.clear()
        self._source = source.removeprefix("--definitions is ")

    def consume(self, envelope: Envelope) -> None:
        self._first = self._first or envelope.ts_recv
        self._last = max(self._last, envelope.ts_recv)
        if self._drift is not None:
            self._words += self._drift.unknown(envelope.payload)
        for output in self._accounting.normalize(envelope, KIND_FRAME, envelope.channel):
            if isinstance(output, Message):
                self._counts.message(output.schema, output.data)
                self._keep(output)

    def _keep(self, message: Message) -> None:
        data = message.data
        if data[1] == RTYPE_ERROR:
            return  # counted; a file holds the records of one schema only
        spool = self._spools.get(message.schema)
        if spool is None:
            file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 # closed in __exit__
            spool = self._spools[message.schema] = _Spool(file, set())
        spool.file.write(data)
        number = int.from_bytes(data[4:8], "little")
        spool.instruments.add(number)
        if message.schema == "DEFINITION" and number not in self._symbols:
            self._symbols[number] = _raw_symbol(data)

    def _refuse(self, envelope: Envelope, error: PayloadError) -> None:
        self._refusals.setdefault(error.reason, f"{envelope.channel}: {error}")

    def write(self, output_path: Path) -> tuple[Output, ...]:
        """Write each schema's file."""
        output_path.parent.mkdir(parents=True, exist_ok=True)
        stem = output_path.name.removesuffix(_SUFFIX)
        outputs = []
        for segment, spool in sorted(self._spools.items()):
            schema = schema_name(segment)
            alone = len(self._spools) == 1
            path = output_path if alone else output_path.with_name(f"{stem}.{schema}{_SUFFIX}")
            symbols = {number: self._symbols[number] for number in spool.instruments if number in self._symbols}
            header = metadata(self._info.publisher.dataset, schema, self._first, self._last + 1, symbols)
            digest = _write(path, header, spool.file)
            outputs.append(Output(str(path), schema, self._counts.records[segment], digest))
        return tuple(outputs)

    def summary(self, outputs: tuple[Output, ...]) -> Summary:
        frames = self._counts.frames
        return Summary(
            frames=sum(frames.values()), data=frames["data"], control=frames["control"],
            quarantined=_sorted(self._counts.quarantined), refusals=_sorted(self._refusals),
            records=_sorted(self._counts.records), gaps=_sorted(self._counts.gaps), definitions=self._source,
            drift=tuple(self._words), outputs=outputs,
        )  # fmt: skip


class _Interval(NamedTuple):
    start_date: dt.date
    end_date: dt.date
    symbol: str


class _Mapping(NamedTuple):
    # databento_dbn's SymbolMapping and MappingInterval are protocols: any objects with these attributes do.
    raw_symbol: str
    intervals: list[_Interval]


def metadata(dataset: str, schema: str, start: int, end: int, symbols: Mapping[int, str]) -> bytes:
    """The DBN header of a file of `schema` from `start` to `end` (UNIX ns, end exclusive).

    `symbols` (instrument_id → raw symbol) become mappings for every UTC day the file touches.
    """
    days = utc_day(start), utc_day(end - 1) + dt.timedelta(days=1)
    mappings: list[Any] = [
        _Mapping(symbol, [_Interval(*days, str(number))])
        for number, symbol in sorted(symbols.items(), key=lambda x: x[1])
    ]
    header = databento_dbn.Metadata(
        dataset=dataset,
        start=start,
        end=end,
        stype_in=databento_dbn.SType("raw_symbol"),
        stype_out=databento_dbn.SType("instrument_id"),
        schema=databento_dbn.Schema.from_str(schema),
        symbols=[mapping.raw_symbol for mapping in mappings],
        mappings=mappings,
        version=VERSION,
    )
    return bytes(header)


def _write(path: Path, header: bytes, records: IO[bytes]) -> str:
    """Write one file whole or not at all. Returns the SHA-256 of its bytes."""
    partial = path.with_name(path.name + ".partial")
    records.seek(0)
    with partial.open("wb") as raw, zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).stream_writer(raw) as file:
        file.write(header)
        while chunk := records.read(1 << 20):
            file.write(chunk)
    partial.replace(path)
    with path.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _raw_symbol(definition: bytes) -> str:
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=VERSION)
    decoder.write(definition)
    (record,) = decoder.decode()
    return cast("databento_dbn.InstrumentDefMsg", record).raw_symbol


def _sorted[T](values: Mapping[str, T]) -> dict[str, T]:
    return dict(sorted(values.items()))
