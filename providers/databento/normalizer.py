"""Databento's DBN records as DBN messages: published as they came, by symbol, each once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from penstock.errors import PayloadError
from penstock.framing import captured_at
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import CONTROL
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from penstock.timestamps import NS_PER_S
from providers.databento import metadata
from providers.databento.books import doubted, is_readable, is_start, is_whole
from providers.databento.definitions import checked, is_deletion, raw_symbol, symbol
from providers.databento.payloads import (
    MAPPING_CHANNEL,
    METADATA_CHANNEL,
    fields,
    is_record,
    notice,
)
from providers.databento.streams import Stream

FIRST_BOOK_NS: Final = 30 * NS_PER_S
"""A subscription to MBO begins with a snapshot, if only of an empty book: where none came by then it is asked for."""

ASK_AGAIN_NS: Final = 5 * NS_PER_S

_SKIPPED: Final = 7  # DBN's ErrorCode SKIPPED_RECORDS_AFTER_SLOW_READING
_SKIPPABLE: Final = frozenset({"mbp-1", "mbp-10", "bbo-1s", "bbo-1m"})
"""Where a slow reader's records are skipped: https://databento.com/docs/api-live/basics/slow-reader-behavior, 2026-11."""

_MAPPING_SYMBOL: Final = {176: slice(89, 160), 80: slice(38, 60)}
_LINES: Final = frozenset({"lsg_version", "cram", "success", "error"})


class _Connected(msgspec.Struct):
    channels: list[str]


class _Reason(msgspec.Struct):
    reason: str = ""


class _Dropped(msgspec.Struct):
    first: int
    last: int


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every record type and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._info = info
        self._publisher_id = info.publisher.publisher_id
        self._archive = archive
        self._symbols: dict[int, str] = {}
        self._streams: dict[tuple[str, int], Stream] = {}
        self._definitions: dict[int, Message] = {}
        self._awaited: dict[int, int] = {}
        """instrument_id → since when (UNIX ns) its book should have begun."""
        self._has_books = False

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind = envelope.kind
        if kind == KIND_FRAME:
            outputs = self._frame(envelope)
            return self._overdue(envelope.ts_recv, outputs) if self._awaited else outputs
        if self._archive:
            return ()  # the input may be two lanes merged: where one was down the other's records stand
        if kind == KIND_CONNECTED:
            self._has_books = "mbo" in msgspec.json.decode(envelope.payload, type=_Connected).channels
            if not self._has_books:
                self._awaited.clear()
        elif kind == KIND_DISCONNECTED:
            return self._disconnected(envelope)
        elif kind == KIND_DROPPED:
            return self._dropped(envelope)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images. An image is as of the book's last event, in Databento's time."""
        del ts_recv
        for stream in self._streams.values():
            if stream.schema == "MBO" and stream.book.whole and not stream.doubtful:
                yield Message("MBO", stream.channel, stream.book.image())

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones first published, times included."""
        del ts_recv
        return tuple(self._definitions.values())

    # --- frames -------------------------------------------------------------------------------------------------------

    def _frame(self, envelope: Envelope) -> Sequence[Output]:
        channel, payload = envelope.channel, envelope.payload
        if channel == CONTROL:
            return self._control(envelope)
        if channel == METADATA_CHANNEL:
            return self._started(envelope)
        if channel == MAPPING_CHANNEL:
            return self._mapped(payload, envelope.ts_recv)
        if not is_record(payload):
            raise PayloadError("shape", "record", payload[:16], "a DBN record")
        data, number = checked(payload), int.from_bytes(payload[4:8], "little")
        if channel == "mbo":
            return self._book(envelope.connection, envelope.ts_recv, data, number)
        if channel == "definition":
            return self._definition(envelope.connection, data, number)
        stream = self._stream(channel, number)
        if not stream.position.take(envelope.connection, captured_at(data), data):
            return ()
        return (Message(stream.schema, stream.channel, data),)

    def _stream(self, channel: str, number: int) -> Stream:
        stream = self._streams.get((channel, number))
        if stream is None:
            name = f"{channel}.{self._symbols.get(number, number)}"
            stream = self._streams[channel, number] = Stream(self._info.schema_of(channel), name, number)
        return stream

    def _book(self, connection: int, ts_recv: int, data: bytes, number: int) -> Sequence[Output]:
        if not is_readable(data):
            raise PayloadError("shape", "action, side", data[36:40], "letters of DBN")
        if not (is_whole(data) or self._archive):
            # A file may end within an event; a session does not.
            raise PayloadError("shape", "flags", data[-20], "F_LAST on the last record")
        stream = self._stream("mbo", number)
        at, book = captured_at(data), stream.book
        if is_start(data):
            stream.position.restart(connection, at, data)
            stream.doubtful = stream.crossed = False
            self._awaited.pop(number, None)
        elif not stream.position.take(connection, at, data):
            return ()
        began = book.whole
        known = book.apply(data)
        outputs: list[Output] = []
        if began and not known:
            outputs += self._doubt(stream, Gap("unknown_order"), ts_recv)
        elif not book.whole and not self._archive:
            stream.doubtful = True
        crossed = book.crossed and not self._archive
        if crossed and not (stream.crossed or stream.doubtful):
            outputs.append(self._gap(stream, Gap("crossed"), ts_recv))
        flagged = stream.doubtful or crossed or stream.crossed
        outputs.append(Message("MBO", stream.channel, doubted(data) if flagged else data))
        if stream.doubtful:
            return [*outputs, *self._ask(stream, ts_recv)]
        if stream.crossed and not crossed:
            # Nothing was lost: the venue's orders themselves crossed, as in an auction. The book says that it is over.
            outputs.append(Message("MBO", stream.channel, book.image()))
        stream.crossed = crossed
        return outputs

    def _ask(self, stream: Stream, ts_recv: int) -> Sequence[Output]:
        if self._archive or 0 <= ts_recv - stream.asked < ASK_AGAIN_NS:
            return ()
        stream.asked = ts_recv
        return (Resync(f"mbo.{stream.instrument_id}"),)

    def _definition(self, connection: int, data: bytes, number: int) -> Sequence[Output]:
        name = raw_symbol(data)
        stream = self._stream("definition", number)
        if not stream.position.take(connection, captured_at(data), data):
            return ()
        self._symbols.setdefault(number, name)
        stream.channel = f"definition.{name}"
        message = Message("DEFINITION", stream.channel, data)
        if is_deletion(data):
            self._definitions.pop(number, None)
            self._streams.pop(("mbo", number), None)
        else:
            self._definitions[number] = message
        return (message,)

    def _mapped(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        where = _MAPPING_SYMBOL.get(len(payload))
        if where is None or not is_record(payload):
            raise PayloadError("shape", "length", len(payload), "one SymbolMappingMsg")
        number = int.from_bytes(payload[4:8], "little")
        self._name(number, symbol(payload[where], "stype_out_symbol"))
        if not self._archive and ("mbo", number) not in self._streams:
            self._awaited.setdefault(number, ts_recv)
        return ()

    def _name(self, number: int, name: str) -> None:
        """An id is one instrument's for a day: what was known under another name is of another instrument."""
        if self._symbols.get(number, name) != name:
            for key in [key for key in self._streams if key[1] == number and key[0] != "definition"]:
                del self._streams[key]
        self._symbols[number] = name

    def _control(self, envelope: Envelope) -> Sequence[Output]:
        found = notice(envelope.payload)
        if found is None:
            if not _LINES.intersection(fields(envelope.payload)):
                raise PayloadError("unknown_frame", "line", envelope.payload, "a line of the gateway")
            return ()
        if not found.is_error or found.code != _SKIPPED:
            return ()
        return [
            self._gap(stream, Gap("skipped"), envelope.ts_recv)
            for (channel, _), stream in self._streams.items()
            if channel in _SKIPPABLE and stream.position.connection == envelope.connection
        ]

    # --- what is missing ----------------------------------------------------------------------------------------------

    def _started(self, envelope: Envelope) -> Sequence[Output]:
        """A session or file begins. Where it begins no later than what was last published, nothing is lost."""
        found = metadata.read(envelope.payload)
        if found.ts_out:
            raise PayloadError("shape", "ts_out", True, "records without a time of sending")
        for number, name in found.symbols.items():
            self._name(number, name)
        lost = [stream for stream in self._streams.values() if stream.lost]
        newest = max((stream.position.high for stream in lost), default=0)
        outputs: list[Output] = []
        for stream in lost:
            stream.lost = False
            if found.start <= newest:
                stream.position.resume(envelope.connection)
            else:
                outputs += self._doubt(stream, Gap("disconnected"), envelope.ts_recv)
        return outputs

    def _disconnected(self, envelope: Envelope) -> Sequence[Output]:
        """The next session replays from here on, which its metadata will say; another session manager's does not."""
        lost = [stream for stream in self._streams.values() if stream.position.connection == envelope.connection]
        self._awaited.clear()
        if msgspec.json.decode(envelope.payload, type=_Reason).reason == "epoch ended":
            return [output for stream in lost for output in self._doubt(stream, Gap("disconnected"), envelope.ts_recv)]
        for stream in lost:
            stream.lost = True
        return ()

    def _dropped(self, envelope: Envelope) -> Sequence[Output]:
        """Frames of a schema did not get here: nothing brings them again but, for books, a snapshot."""
        content = msgspec.json.decode(envelope.payload, type=_Dropped)
        outputs: list[Output] = []
        for (channel, _), stream in self._streams.items():
            if channel == envelope.channel:
                outputs += self._doubt(stream, Gap("dropped", content.first, content.last), envelope.ts_recv)
                if channel == "mbo":
                    outputs += self._ask(stream, envelope.ts_recv)
        return outputs

    def _doubt(self, stream: Stream, marker: Gap, ts_recv: int) -> Sequence[Output]:
        stream.doubtful = stream.schema == "MBO"
        return (self._gap(stream, marker, ts_recv),)

    def _gap(self, stream: Stream, marker: Gap, ts_recv: int) -> Message:
        return Message(stream.schema, stream.channel, marker.record(self._publisher_id, stream.instrument_id, ts_recv))

    def _overdue(self, ts_recv: int, outputs: Sequence[Output]) -> Sequence[Output]:
        late = [number for number, since in self._awaited.items() if ts_recv - since >= FIRST_BOOK_NS]
        if not late or not self._has_books:
            return outputs
        for number in late:
            self._awaited[number] = ts_recv
        return [*outputs, *(Resync(f"mbo.{number}") for number in late)]
