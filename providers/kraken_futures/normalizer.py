"""Kraken Futures' envelopes to DBN messages. Pure: nothing but the envelopes decides what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from penstock.timestamps import NS_PER_S, from_ms
from providers.kraken_futures import states, tickers, trades
from providers.kraken_futures.books import BookStream
from providers.kraken_futures.catalogue import Catalogue
from providers.kraken_futures.definitions import Known
from providers.kraken_futures.events import check_product, gap
from providers.kraken_futures.payloads import (
    BookDelta,
    BookSnapshot,
    Control,
    Heartbeat,
    Ticker,
    TickerLite,
    Trade,
    TradeSnapshot,
    decode,
)
from providers.kraken_futures.peeks import INSTRUMENTS
from providers.kraken_futures.states import State
from providers.kraken_futures.streams import Streams

_BOOK: Final = msgspec.json.Decoder(BookSnapshot | BookDelta)
_TRADE: Final = msgspec.json.Decoder(TradeSnapshot | Trade)
_TICKER: Final = msgspec.json.Decoder(Ticker | TickerLite)
_HEARTBEAT: Final = msgspec.json.Decoder(Heartbeat)
_CONTROL: Final = msgspec.json.Decoder(Control)


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every message kind and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._catalogue = Catalogue(info.publisher)
        self._streams = Streams(info.publisher)
        self._states: dict[str, State] = {}
        self._told: set[str] = set()
        self._undefined: set[tuple[str, str]] = set()
        self._ask_at = 0
        self._frames: dict[str, Callable[[Envelope], Sequence[Output]]] = {
            "book": self._book,
            "trade": self._trade,
            "ticker": self._ticker,
            "ticker_lite": self._ticker,
            "heartbeat": _heartbeat,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind, channel = envelope.kind, envelope.channel
        if kind == KIND_FRAME:
            if channel == INSTRUMENTS:
                return self._instruments(envelope)
            handle = self._frames.get(channel.partition(".")[0])
            return handle(envelope) if handle else _control(envelope)
        if self._archive:
            return ()  # the input may be two lanes merged: where one was down the other's frames stand
        if kind == KIND_CONNECTED:
            self._streams.connected(envelope)
        elif kind == KIND_DISCONNECTED:
            return self._streams.disconnected(envelope.connection, envelope.ts_recv)
        elif kind == KIND_DROPPED:
            return [Resync(INSTRUMENTS)] if channel == INSTRUMENTS else self._streams.dropped(envelope)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images."""
        for stream in self._streams.books.values():
            if (message := stream.image(ts_recv)) is not None:
                yield message

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones first published, times included."""
        del ts_recv
        for name, known in self._catalogue.known.items():
            yield Message("DEFINITION", f"definition.{name}", known.record)

    # --- frames -------------------------------------------------------------------------------------------------

    def _instruments(self, envelope: Envelope) -> Sequence[Output]:
        ts_recv = envelope.ts_recv
        learned = self._catalogue.learn(envelope.payload, ts_recv)
        outputs: list[Output] = [
            Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record)
            for known in (*learned.known, *learned.gone)
        ]
        for known in learned.recounted:
            outputs += self._streams.recount(known.described.raw_symbol, ts_recv)
        for known in learned.gone:
            self._streams.end(known.described.raw_symbol)
            self._states.pop(known.described.raw_symbol, None)
        for known, tradeable, post_only in learned.states:
            # Lists are older than tickers by the time of a request: of what both say, tickers count once there are some.
            name = known.described.raw_symbol
            before = self._states.get(name, State())
            state = before._replace(tradeable=tradeable)
            if name not in self._told:
                state = state._replace(post_only=post_only)
            outputs += self._status(known, state, learned.ts_event, ts_recv)
        for name, error in learned.refused:
            number = instrument_id(self._publisher.provider, name)
            marker = Gap(f"definition_{error.reason}")
            outputs += self._once("DEFINITION", f"definition.{name}", number, marker, ts_recv)
        return outputs

    def _book(self, envelope: Envelope) -> Sequence[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        data = decode(_BOOK, envelope.payload)
        check_product(channel, data.product_id)
        known = self._catalogue.find(data.product_id)
        if known is None:
            return self._unknown("MBO", channel, data.product_id, ts_recv)
        stream = self._streams.books.get(channel)
        if stream is None or stream.known.lot != known.lot:
            stream = BookStream(self._publisher, known, channel, archive=self._archive)
        is_snapshot = isinstance(data, BookSnapshot)
        outputs = stream.snapshot(data, ts_recv) if is_snapshot else stream.delta(data, ts_recv)
        self._streams.books[channel] = stream
        self._streams.carry(envelope)
        return outputs

    def _trade(self, envelope: Envelope) -> Sequence[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        data = decode(_TRADE, envelope.payload)
        items = data.trades if isinstance(data, TradeSnapshot) else [data]
        for product_id in (data.product_id, *(item.product_id for item in items)):
            check_product(channel, product_id)
        known = self._catalogue.find(data.product_id)
        if known is None:
            return self._unknown("TRADES", channel, data.product_id, ts_recv)
        ready = [trades.read(item, known, self._publisher.publisher_id, ts_recv) for item in items]
        ready.sort(key=lambda one: one.sequence)
        stream = self._streams.trades.get(channel)
        if stream is None:
            stream = self._streams.trades[channel] = trades.TradeStream(
                self._publisher, known, channel, archive=self._archive
            )
        self._streams.carry(envelope)
        return stream.history(ready) if isinstance(data, TradeSnapshot) else stream.take(ready[0])

    def _ticker(self, envelope: Envelope) -> Sequence[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        data = decode(_TICKER, envelope.payload)
        check_product(channel, data.product_id)
        known = self._catalogue.find(data.product_id)
        if known is None:
            return self._unknown("MBP_1", channel, data.product_id, ts_recv)
        ts_event = from_ms(data.time) if isinstance(data, Ticker) else ts_recv
        publisher_id = self._publisher.publisher_id
        best = tickers.top(data, known, publisher_id, ts_event, ts_recv)
        stream = self._streams.statistics.get(channel) or tickers.StatisticsStream()
        content = stream.take(data, known, publisher_id, ts_event, ts_recv)
        self._streams.statistics[channel] = stream
        self._streams.carry(envelope)
        outputs: list[Output] = [Message("MBP_1", channel, best)]
        if content:
            outputs.append(Message("STATISTICS", channel, content))
        if isinstance(data, Ticker):
            outputs += self._heard(data, known, ts_event, ts_recv)
        return outputs

    def _heard(self, data: Ticker, known: Known, ts_event: int, ts_recv: int) -> Sequence[Output]:
        """The state that a ticker tells; what it does not say stays as it was."""
        if data.suspended is None and data.post_only is None:
            return ()
        name = known.described.raw_symbol
        self._told.add(name)
        state = self._states.get(name, State())
        if data.suspended is not None:
            state = state._replace(suspended=data.suspended)
        if data.post_only is not None:
            state = state._replace(post_only=data.post_only)
        return self._status(known, state, ts_event, ts_recv)

    def _status(self, known: Known, state: State, ts_event: int, ts_recv: int) -> Sequence[Output]:
        """The product's state where it is another than the last one published."""
        name = known.described.raw_symbol
        if self._states.get(name) == state:
            return ()
        self._states[name] = state
        content = states.record(self._publisher.publisher_id, known.id, ts_event, ts_recv, state)
        return [Message("STATUS", f"status.{name}", content)]

    # --- what is missing ------------------------------------------------------------------------------------------

    def _unknown(self, schema: str, channel: str, name: str, ts_recv: int) -> Sequence[Output]:
        """Data of a product without definition is not published: declared once, and the definition asked for."""
        number = instrument_id(self._publisher.provider, name)
        outputs = list(self._once(schema, channel, number, Gap("no_definition"), ts_recv))
        if name not in self._catalogue.refused and ts_recv >= self._ask_at:
            self._ask_at = ts_recv + NS_PER_S
            outputs.append(Resync(INSTRUMENTS))
        return outputs

    def _once(self, schema: str, channel: str, number: int, marker: Gap, ts_event: int) -> Sequence[Output]:
        if (schema, channel) in self._undefined:
            return ()
        self._undefined.add((schema, channel))
        return [gap(self._publisher, number, schema, channel, marker, ts_event)]


def _heartbeat(envelope: Envelope) -> Sequence[Output]:
    """A sign of life and nothing else. Raises PayloadError for one that cannot be read."""
    decode(_HEARTBEAT, envelope.payload)
    return ()


def _control(envelope: Envelope) -> Sequence[Output]:
    """Acknowledgements and notices say nothing. Raises PayloadError for data damaged beyond knowing its channel."""
    if not envelope.channel.startswith(REST):
        event = decode(_CONTROL, envelope.payload).event
        if not event:
            raise PayloadError("channel", "event", event, "a word")
    return ()
