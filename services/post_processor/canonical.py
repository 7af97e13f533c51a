"""A day's frames through the provider's own normalizer, the one that runs hot, into one file pair per schema."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import databento_dbn as dbn
import msgspec

from penstock import markers
from penstock.dbn import RTYPE_DEFINITION, RTYPE_ERROR, RTYPE_SYSTEM
from penstock.errors import PayloadError
from penstock.normalizing import Message, Normalizer
from penstock.provider import ProviderInfo
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from penstock.timestamps import day_start_ns
from services.post_processor.frames import Frame
from services.post_processor.intervals import Interval
from services.post_processor.schemafile import SchemaFile


class DeclaredGap(NamedTuple):
    """A gap that the normalizer found. `ts_event` is UNIX ns, the rest as in markers.Gap."""

    schema: str
    channel: str
    ts_event: int
    reason: str
    expected: int
    got: int


class Canonical:
    """One provider's canonical day.

    The run-up, the day before, only brings the normalizer to the state in which the day began: its books and definitions
    are then written as the day's first messages, and trades that a venue repeats after midnight are not new.
    """

    def __init__(self, info: ProviderInfo, normalizer: Normalizer, day: dt.date, folder: Path) -> None:
        self._info, self._normalizer, self._day, self._folder = info, normalizer, day, folder
        self._symbols: dict[int, str] = {}
        self._gaps_due: dict[str, list[Interval]] = {}
        self.files: dict[str, SchemaFile] = {}
        self.gaps: list[DeclaredGap] = []
        self.quarantined: Counter[str] = Counter()
        self.frames = 0

    def normalize(self, frames: Iterable[Frame], gaps: Mapping[str, Sequence[Interval]]) -> None:
        """Write the day. `gaps` are the times at which neither lane covered a venue channel: the normalizer is told."""
        self._gaps_due = {channel: sorted(intervals, key=lambda gap: gap.end) for channel, intervals in gaps.items()}
        started = run_up = False
        for frame in frames:
            if not frame.run_up and run_up and not started:
                self._begin()
            started = started or not frame.run_up
            run_up = run_up or frame.run_up
            for gap in self._due(frame):
                self._feed(_dropped(frame, gap), publish=started)
            self.frames += started
            self._feed(
                Envelope(
                    sequence=frame.sequence, ts_recv=frame.ts_recv, connection=frame.connection, channel=frame.channel,
                    kind=raw_pb2.KIND_FRAME, payload=frame.payload,
                ),
                publish=started,
            )  # fmt: skip
        for file in self.files.values():
            file.finish()

    def _begin(self) -> None:
        midnight = day_start_ns(self._day)
        for message in (*self._normalizer.definitions(midnight), *self._normalizer.images(midnight)):
            self._take(message, publish=True)

    def _due(self, frame: Frame) -> list[Interval]:
        waiting = self._gaps_due.get(frame.channel)
        due = []
        while waiting and waiting[0].end <= frame.ts_recv:
            due.append(waiting.pop(0))
        return due

    def _feed(self, envelope: Envelope, *, publish: bool) -> None:
        try:
            outputs = self._normalizer.normalize(envelope)
        except PayloadError as error:
            if publish:
                self.quarantined[error.reason] += 1
            return
        for output in outputs:
            if isinstance(output, Message):
                self._take(output, publish=publish)

    def _take(self, message: Message, *, publish: bool) -> None:
        rtype = message.data[1]
        if rtype == RTYPE_DEFINITION:
            self._learn(message.data)
        if not publish or rtype == RTYPE_SYSTEM:
            return
        if rtype == RTYPE_ERROR:
            self._mark(message)
            return
        file = self.files.get(message.schema)
        if file is None:
            file = self.files[message.schema] = SchemaFile(
                message.schema, self._folder, self._info.publisher, self._day, self._symbols
            )
        file.add(message.channel, message.data)

    def _learn(self, data: bytes) -> None:
        decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
        decoder.write(data)
        for record in decoder.decode():
            assert isinstance(record, dbn.InstrumentDefMsg)
            self._symbols[record.instrument_id] = record.raw_symbol

    def _mark(self, message: Message) -> None:
        # The text of an ErrorMsg starts behind its 16-byte header.
        marker = markers.parse(message.data[16:318].split(b"\0", 1)[0].decode("ascii", "replace"))
        if isinstance(marker, markers.Gap):
            ts_event = int.from_bytes(message.data[8:16], "little")
            self.gaps.append(DeclaredGap(message.schema, message.channel, ts_event, *marker))


def _dropped(frame: Frame, gap: Interval) -> Envelope:
    """What a normalizer is told hot when envelopes of a channel are missing, told cold when both lanes lack them."""
    return Envelope(
        sequence=frame.sequence, ts_recv=max(gap.end, 1), connection=frame.connection, channel=frame.channel,
        kind=raw_pb2.KIND_DROPPED, payload=msgspec.json.encode({"first": 0, "last": 0, "count": 0}),
    )  # fmt: skip
