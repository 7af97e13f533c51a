"""Bybit's envelopes to DBN messages. Pure: no I/O, no clock, nothing but the envelopes decides what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.connections import Carried, dropped_gap
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from penstock.timestamps import from_ms
from providers.bybit.bars import INTERVAL, BarStream
from providers.bybit.books import CONSECUTIVE, BookStream
from providers.bybit.catalogue import Catalogue
from providers.bybit.definitions import Known
from providers.bybit.names import INSTRUMENTS, SYSTEM_STATUS, Topic, topic_of
from providers.bybit.payloads import (
    Answer,
    BookMessage,
    CandleMessage,
    LiquidationMessage,
    Listed,
    Maintenance,
    SystemStatus,
    TickerMessage,
    TradeMessage,
)
from providers.bybit.stream import Stream, check, refuse, schemas_of, trades_channel
from providers.bybit.tickers import TickerStream
from providers.bybit.tops import TopStream
from providers.bybit.trades import LiquidationStream, TradeStream

STATUS: Final = "rest/status"
OLD_INSTRUMENTS: Final = "rest/symbols"
"""GET /v2/public/symbols, the instrument list of the API before v5."""


class _Control(msgspec.Struct):
    topic: str | None = None


_BOOK: Final = msgspec.json.Decoder(BookMessage)
_TRADES: Final = msgspec.json.Decoder(TradeMessage)
_TICKER: Final = msgspec.json.Decoder(TickerMessage)
_CANDLES: Final = msgspec.json.Decoder(CandleMessage)
_LIQUIDATIONS: Final = msgspec.json.Decoder(LiquidationMessage)
_SYSTEM: Final = msgspec.json.Decoder(SystemStatus)
_STATUS: Final = msgspec.json.Decoder(Answer[Listed[Maintenance]])
_CONTROL: Final = msgspec.json.Decoder(_Control)


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every message kind and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._catalogue = Catalogue(info.publisher)
        self._streams: dict[str, Stream] = {}
        self._carried = Carried()
        self._frames: dict[str, Callable[[Envelope, Topic], Sequence[Output]]] = {
            "orderbook": self._book,
            "publicTrade": self._trades,
            "tickers": self._ticker,
            "kline": self._candles,
            "allLiquidation": self._liquidations,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind, channel = envelope.kind, envelope.channel
        if kind == KIND_FRAME:
            topic = topic_of(channel)
            if topic is None:
                return self._other(envelope)
            outputs = self._frames[topic.kind](envelope, topic)
            self._carried.carry(envelope.connection, envelope.channel)
            return outputs
        if self._archive:
            return ()  # the input may be two lanes merged: where one was down the other's frames stand
        if kind == KIND_CONNECTED:
            self._carried.connected(envelope.connection, envelope.payload)
        elif kind == KIND_DISCONNECTED:
            return self._disconnected(envelope)
        elif kind == KIND_DROPPED:
            return self._dropped(envelope)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images."""
        for stream in self._streams.values():
            if isinstance(stream, BookStream) and (message := stream.image(ts_recv)) is not None:
                yield message

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones first published, times included."""
        del ts_recv
        for name, known in self._catalogue.known.items():
            yield Message("DEFINITION", f"definition.{name}", known.record)

    # --- frames of an instrument --------------------------------------------------------------------------------------

    def _book(self, envelope: Envelope, topic: Topic) -> Sequence[Output]:
        message = decode(_BOOK, envelope.payload)
        check(envelope.channel, message.topic, (topic.symbol, message.data.s))
        known = self._catalogue.known.get(topic.instrument)
        if topic.variant != "1" and topic.variant not in CONSECUTIVE:
            raise PayloadError("unknown_frame", "depth", topic.variant, "1, 25, 50, 100, 200 or 1000")
        if known is None:
            schema = "MBP_1" if topic.variant == "1" else "MBO"
            return self._catalogue.unknown(schema, envelope.channel, topic.category, topic.symbol, envelope.ts_recv)
        if topic.variant == "1":
            return self._stream(TopStream, known, envelope.channel).take(message, envelope.ts_recv)
        stream = self._streams.get(envelope.channel)
        if not isinstance(stream, BookStream):
            stream = BookStream(self._publisher, known, envelope.channel, topic.variant, archive=self._archive)
        outputs = stream.take(message, envelope.ts_recv)
        self._streams[envelope.channel] = stream
        return outputs

    def _trades(self, envelope: Envelope, topic: Topic) -> Sequence[Output]:
        message, ts_recv = decode(_TRADES, envelope.payload), envelope.ts_recv
        ready = []
        unknown: dict[str, None] = {}
        for item in message.data:
            # An option's trades come on the channel of its base coin.
            check(envelope.channel, message.topic, (item.s if topic.category == "option" else topic.symbol, item.s))
            known = self._catalogue.known.get(topic._replace(symbol=item.s).instrument)
            if known is None:
                unknown[item.s] = None
            else:
                stream = self._stream(TradeStream, known, trades_channel(topic.category, item.s))
                ready.append((stream, stream.read(item, ts_recv)))
        outputs: list[Output] = [output for stream, trade in ready for output in stream.take(trade)]
        for symbol in unknown:
            channel = trades_channel(topic.category, symbol)
            outputs += self._catalogue.unknown("TRADES", channel, topic.category, symbol, ts_recv)
        return outputs

    def _ticker(self, envelope: Envelope, topic: Topic) -> Sequence[Output]:
        message, channel = decode(_TICKER, envelope.payload), envelope.channel
        check(channel, message.topic, (topic.symbol, message.data.symbol))
        known = self._catalogue.known.get(topic.instrument)
        if known is None:
            return self._catalogue.unknown("STATISTICS", channel, topic.category, topic.symbol, envelope.ts_recv)
        return self._stream(TickerStream, known, channel).take(message, envelope.ts_recv)

    def _candles(self, envelope: Envelope, topic: Topic) -> Sequence[Output]:
        message, channel = decode(_CANDLES, envelope.payload), envelope.channel
        check(channel, message.topic, ("", ""))
        if topic.variant != INTERVAL:
            raise PayloadError("unknown_frame", "interval", topic.variant, INTERVAL)
        known = self._catalogue.known.get(topic.instrument)
        if known is None:
            return self._catalogue.unknown("OHLCV_1M", channel, topic.category, topic.symbol, envelope.ts_recv)
        return self._stream(BarStream, known, channel).take(message.data)

    def _liquidations(self, envelope: Envelope, topic: Topic) -> Sequence[Output]:
        message, channel = decode(_LIQUIDATIONS, envelope.payload), envelope.channel
        for item in message.data:
            check(channel, message.topic, (topic.symbol, item.s))
        known = self._catalogue.known.get(topic.instrument)
        if known is None:
            return self._catalogue.unknown("STATISTICS", channel, topic.category, topic.symbol, envelope.ts_recv)
        stream = self._stream(LiquidationStream, known, channel)
        return [stream.read(item, envelope.ts_recv) for item in message.data]

    def _stream[S: Stream](self, kind: type[S], known: Known, channel: str) -> S:
        """The stream of a channel; a new one knows nothing yet, so making it before its first message is read is no harm."""
        stream = self._streams.get(channel)
        if not isinstance(stream, kind):
            stream = self._streams[channel] = kind(self._publisher, known, channel, archive=self._archive)
        return stream

    # --- all other frames ---------------------------------------------------------------------------------------------

    def _other(self, envelope: Envelope) -> Sequence[Output]:
        channel = envelope.channel
        if channel.startswith(INSTRUMENTS):
            return self._instruments(envelope)
        if channel == STATUS:
            answer = decode(_STATUS, envelope.payload)
            if answer.retCode:
                raise PayloadError("venue_error", "retCode", f"{answer.retCode} {answer.retMsg[:80]}", "0")
            items = answer.result.items if answer.result else []
            return self._catalogue.maintenance(items, from_ms(answer.time, "time"), envelope.ts_recv)
        if channel == SYSTEM_STATUS:
            system = decode(_SYSTEM, envelope.payload)
            return self._catalogue.maintenance(system.data, from_ms(system.ts, "ts"), envelope.ts_recv)
        if channel == OLD_INSTRUMENTS:
            raise PayloadError("retired_api", "channel", channel, "a call of the v5 API: older ones are out of scope")
        if channel.startswith(REST):
            decode(_CONTROL, envelope.payload)
            return ()
        refuse(channel, decode(_CONTROL, envelope.payload).topic)
        return ()

    def _instruments(self, envelope: Envelope) -> Sequence[Output]:
        category, _, symbol = envelope.channel.removeprefix(INSTRUMENTS).partition("/")
        taught = self._catalogue.learn(category, symbol, envelope)
        outputs = taught.outputs
        for known in taught.restated:
            outputs += self._renew(known, envelope.ts_recv)
        for known in taught.removed:
            for channel in self._channels_of(known):
                del self._streams[channel]
        return outputs

    def _renew(self, known: Known, ts_event: int) -> list[Output]:
        """Lot or tick changed: what an instrument's streams know is in old units, and they begin anew."""
        outputs: list[Output] = []
        for channel in self._channels_of(known):
            stream = self._streams.pop(channel)
            stream.known = known
            outputs += [stream.gap(schema, Gap("definition"), ts_event) for schema in schemas_of(channel)]
            if isinstance(stream, BookStream):
                outputs.append(Resync(channel))
        return outputs

    def _channels_of(self, known: Known) -> list[str]:
        return [channel for channel, stream in self._streams.items() if stream.known.id == known.id]

    # --- what is missing ----------------------------------------------------------------------------------------------

    def _disconnected(self, envelope: Envelope) -> Sequence[Output]:
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for."""
        lost, marker = self._carried.disconnected(envelope.connection), Gap("disconnected")
        return [output for channel in lost for output in self._doubt(channel, marker, envelope.ts_recv)]

    def _dropped(self, envelope: Envelope) -> Sequence[Output]:
        """No new snapshot comes by itself: books and definitions are asked for."""
        channel, ts_recv = envelope.channel, envelope.ts_recv
        marker = dropped_gap(envelope.payload)
        if channel.startswith(INSTRUMENTS):
            return [Resync(channel)]
        outputs = self._doubt(channel, marker, ts_recv)
        stream, topic = self._streams.get(channel), topic_of(channel)
        if isinstance(stream, BookStream):
            outputs += stream.ask(ts_recv)
        elif topic is not None and topic.kind in {"orderbook", "tickers"}:
            outputs.append(Resync(channel))  # a ticker's deltas mean nothing without what came before
        return outputs

    def _doubt(self, channel: str, marker: Gap, ts_event: int) -> list[Output]:
        """Declare a loss on everything that is published from a venue channel."""
        topic = topic_of(channel)
        if topic is None:
            return []
        streams = [self._streams[channel]] if channel in self._streams else []
        if topic.kind == "publicTrade" and topic.category == "option":
            streams = [stream for name, stream in self._streams.items() if name.startswith(f"{channel}-")]
        outputs: list[Output] = []
        for stream in streams:
            if isinstance(stream, BookStream):
                outputs += stream.doubt(marker, ts_event)
                continue
            if isinstance(stream, TickerStream):
                stream.forget()
            outputs += [stream.gap(schema, marker, ts_event) for schema in schemas_of(stream.channel)]
        if not streams:
            number = instrument_id(self._publisher.provider, topic.instrument)
            record = marker.record(self._publisher.publisher_id, number, ts_event)
            outputs += [Message(schema, channel, record) for schema in schemas_of(channel)]
        return outputs
