"""The streams of every instrument that the normalizer keeps, by raw channel, and what it declares of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.connections import Carried, dropped_gap
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.okx import states
from providers.okx.books import BookStream
from providers.okx.definitions import Known, Registry
from providers.okx.events import SCHEMAS, gap, subject_of
from providers.okx.names import BY_TYPE, type_of
from providers.okx.statistics import Stated, StatisticsStream
from providers.okx.trades import TradeStream

_ASK_AGAIN_NS: Final = NS_PER_S


class Streams:
    """See the module. Keys are raw channels with an instrument in them."""

    def __init__(self, publisher: Publisher, *, archive: bool) -> None:
        self.registry = Registry(publisher)
        self.carried = Carried()
        self._publisher = publisher
        self._archive = archive
        self._books: dict[str, BookStream] = {}
        self._trades: dict[str, TradeStream] = {}
        self._statistics: dict[str, StatisticsStream] = {}
        self._bars: dict[str, int] = {}
        self._subscribed_at: dict[str, int] = {}
        self._followers: dict[str, dict[str, None]] = {}
        self._undefined: set[tuple[str, str]] = set()
        self._asked: dict[str, int] = {}

    # --- streams ----------------------------------------------------------------------------------------------------

    def book(self, channel: str, known: Known) -> BookStream:
        """The book of a channel; a new one must be kept with `keep` once it took its first frame."""
        stream = self._books.get(channel)
        return stream or BookStream(self._publisher, known, channel, archive=self._archive)

    def keep(self, channel: str, stream: BookStream) -> None:
        """See `book`."""
        self._books[channel] = stream

    def trades(self, channel: str, known: Known) -> TradeStream:
        """The trades of a channel."""
        stream = self._trades.get(channel)
        if stream is None:
            history_until = None if self._archive else self._subscribed_at.get(channel, 0)
            stream = self._trades[channel] = TradeStream(self._publisher, known, channel, history_until)
        return stream

    def subscribed(self, channel: str, ts_recv: int) -> None:
        """The venue acknowledged this channel: of trades, what follows first is the last one there was."""
        if SCHEMAS.get(channel.partition(".")[0]) == "TRADES":
            self._subscribed_at.setdefault(channel, ts_recv)

    def state(self, channel: str, known: Known, stated: Sequence[Stated], ts_event: int, ts_recv: int) -> list[Output]:
        """The statistics of one frame that are to be published. Raises PayloadError with nothing changed."""
        stream = self._statistics.get(channel) or StatisticsStream()
        content = stream.take(stated, known, self._publisher.publisher_id, ts_event, ts_recv)
        self._statistics[channel] = stream
        return [Message("STATISTICS", channel, content)] if content else []

    def is_newer(self, channel: str, start: int) -> bool:
        """True for the bar that starts at `start` where none as late was published; it now is."""
        if start <= self._bars.get(channel, -1):
            return False
        self._bars[channel] = start
        return True

    def follow(self, name: str) -> None:
        """This derivative's mark price is followed, and so is the index it follows."""
        known = self.registry.known.get(name)
        if known is not None and known.family:
            self._followers.setdefault(known.family, {})[name] = None

    def followers(self, index: str) -> Iterator[Known]:
        """The derivatives of an index that are followed."""
        return (known for name in self._followers.get(index, ()) if (known := self.registry.known.get(name)))

    def may_cross(self, known: Known) -> bool:
        """True while the instrument is not yet in continuous trading."""
        return states.is_crossing_normal(known.state)

    def images(self, ts_recv: int) -> Iterator[Message]:
        """A snapshot message of each book that is whole."""
        return (message for stream in self._books.values() if (message := stream.image(ts_recv)) is not None)

    # --- instruments ------------------------------------------------------------------------------------------------

    def status(self, known: Known, ts_recv: int) -> Message:
        """The instrument's state. The venue gives no time for it."""
        content = states.record(self._publisher.publisher_id, known.id, ts_recv, ts_recv, known.state)
        return Message("STATUS", f"status.{known.described.raw_symbol}", content)

    def renew(self, before: Known, known: Known, ts_recv: int) -> list[Output]:
        """An instrument changed: where its lot or tick did, its books and statistics start anew, which a gap declares."""
        if (before.described.lot, before.described.tick) == (known.described.lot, known.described.tick):
            return []
        outputs: list[Output] = []
        marker, name = Gap("definition_changed"), known.described.raw_symbol
        for channel in [channel for channel in self._books if subject_of(channel) == name]:
            stream = self._books[channel] = BookStream(self._publisher, known, channel, archive=self._archive)
            outputs += stream.doubt(marker, ts_recv)
            outputs += stream.ask(ts_recv)
        for channel, trades in self._trades.items():
            if subject_of(channel) == name:
                outputs.append(trades.doubt(marker, ts_recv))
        for channel in [channel for channel in self._statistics if subject_of(channel) == name]:
            del self._statistics[channel]
            outputs.append(gap(self._publisher, known.id, "STATISTICS", channel, marker, ts_recv))
        return outputs

    def forget(self, name: str) -> None:
        """The instrument is delisted."""
        for streams in (self._books, self._trades, self._statistics, self._bars):
            for channel in [channel for channel in streams if subject_of(channel) == name]:
                del streams[channel]
        for names in self._followers.values():
            names.pop(name, None)
        self._undefined = {entry for entry in self._undefined if subject_of(entry[1]) != name}

    # --- what is missing --------------------------------------------------------------------------------------------

    def unknown(self, channel: str, name: str, ts_recv: int) -> list[Output]:
        """Data of an instrument without definition is not published: declared once, and the definition asked for."""
        number, schema = instrument_id(self._publisher.provider, name), SCHEMAS[channel.partition(".")[0]]
        outputs: list[Output] = list(self.once(schema, channel, number, Gap("no_definition"), ts_recv))
        source = f"rest/instruments/{type_of(name)}"
        if name not in self.registry.refused and ts_recv - self._asked.get(source, -_ASK_AGAIN_NS) >= _ASK_AGAIN_NS:
            self._asked[source] = ts_recv
            outputs.append(Resync(source))
        return outputs

    def once(self, schema: str, channel: str, number: int, marker: Gap, ts_event: int) -> Sequence[Message]:
        """The marker, where none was published on this channel for want of a definition."""
        if (schema, channel) in self._undefined:
            return ()
        self._undefined.add((schema, channel))
        return [gap(self._publisher, number, schema, channel, marker, ts_event)]

    def disconnected(self, connection: int, ts_recv: int) -> list[Output]:
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for."""
        lost, marker = self.carried.disconnected(connection), Gap("disconnected")
        return [output for channel in lost for output in self._doubt(channel, marker, ts_recv)]

    def dropped(self, channel: str, payload: bytes, ts_recv: int) -> list[Output]:
        """No new snapshot comes by itself: books and definitions are asked for. Raises PayloadError."""
        marker = dropped_gap(payload)
        if channel.startswith("rest/instruments/"):
            return [Resync(channel)]
        if channel.startswith("instruments."):
            return [Resync(f"rest/{channel.replace('.', '/', 1)}")]
        outputs = self._doubt(channel, marker, ts_recv)
        if SCHEMAS.get(channel.partition(".")[0]) == "MBO":
            stream = self._books.get(channel)
            outputs += [Resync(channel)] if stream is None else stream.ask(ts_recv)
        return outputs

    def _doubt(self, channel: str, marker: Gap, ts_event: int) -> list[Output]:
        """Declare a loss on everything that is published from a raw channel."""
        if (stream := self._books.get(channel)) is not None:
            return stream.doubt(marker, ts_event)
        kind = channel.partition(".")[0]
        schema = SCHEMAS.get(kind)
        if schema is None:
            return []
        return [
            gap(
                self._publisher,
                instrument_id(self._publisher.provider, name),
                schema,
                f"{kind}.{name}",
                marker,
                ts_event,
            )
            for name in self._names_on(channel)
        ]

    def _names_on(self, channel: str) -> list[str]:
        """The instruments that a raw channel is published for: of those with many, the ones that are followed."""
        kind, _, subject = channel.partition(".")
        if kind == "index-tickers":
            return list(self._followers.get(subject, ()))
        if kind in BY_TYPE:
            return [name for names in self._followers.values() for name in names if type_of(name) == subject]
        return [subject]
