"""Deribit's envelopes to DBN messages. Pure: no I/O, no clock, nothing but the envelopes decides what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    Envelope,
)
from penstock.timestamps import NS_PER_S, from_ms
from providers.deribit import states, tickers, trades
from providers.deribit.books import BookStream
from providers.deribit.candles import CandleStream
from providers.deribit.definitions import Known, Registry
from providers.deribit.events import check_channel, check_names, gap, symbol_of
from providers.deribit.names import currency_of
from providers.deribit.payloads import BookData, Candle, GroupedBookData, InstrumentState, Notice, Ticker, Top, Trade
from providers.deribit.streams import Streams

INSTRUMENTS: Final = "rest/get_instruments/"


class _Params[T](msgspec.Struct, gc=False):
    channel: str
    data: T


class _Notification[T](msgspec.Struct, gc=False):
    params: _Params[T]


class _Control(msgspec.Struct):
    method: str = ""


_BOOK: Final = msgspec.json.Decoder(_Notification[BookData])
_GROUPED: Final = msgspec.json.Decoder(_Notification[GroupedBookData])
_TRADES: Final = msgspec.json.Decoder(_Notification[list[Trade]])
_TICKER: Final = msgspec.json.Decoder(_Notification[Ticker])
_QUOTE: Final = msgspec.json.Decoder(_Notification[Top])
_STATE: Final = msgspec.json.Decoder(_Notification[InstrumentState])
_CANDLE: Final = msgspec.json.Decoder(_Notification[Candle])
_NOTICE: Final = msgspec.json.Decoder(_Notification[Notice])
_CONTROL: Final = msgspec.json.Decoder(_Control)


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every message kind and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._registry = Registry(info.publisher)
        self._streams = Streams(info.publisher)
        self._actions: dict[str, int] = {}
        self._undefined: set[tuple[str, str]] = set()
        self._asked: dict[str, int] = {}
        self._frames: dict[str, Callable[[Envelope], Sequence[Output]]] = {
            "book": self._book,
            "trades": self._trade,
            "ticker": self._ticker,
            "quote": self._quote,
            "instrument": self._state,
            "chart": self._candle,
            "platform_state": self._notice,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind, channel = envelope.kind, envelope.channel
        if kind == KIND_FRAME:
            if channel.startswith(INSTRUMENTS):
                return self._instruments(envelope)
            handle = self._frames.get(channel.partition(".")[0])
            return handle(envelope) if handle else _control(envelope)
        if self._archive:
            return ()  # the input may be two lanes merged: where one was down the other's frames stand
        if kind == KIND_CONNECTED:
            self._streams.carried.connected(envelope.connection, envelope.payload)
        elif kind == KIND_DISCONNECTED:
            return self._streams.disconnected(envelope.connection, envelope.ts_recv)
        elif kind == KIND_DROPPED:
            channel = envelope.channel
            return [Resync(channel)] if channel.startswith(INSTRUMENTS) else self._streams.dropped(envelope)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images."""
        for stream in self._streams.books.values():
            if (message := stream.image(ts_recv)) is not None:
                yield message

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones first published, times included."""
        del ts_recv
        for name, known in self._registry.known.items():
            yield Message("DEFINITION", f"definition.{name}", known.record)

    # --- frames -------------------------------------------------------------------------------------------------

    def _instruments(self, envelope: Envelope) -> Sequence[Output]:
        learned = self._registry.learn(envelope.payload, envelope.ts_recv, envelope.channel)
        outputs: list[Output] = [
            Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record)
            for known in (*learned.known, *learned.gone)
        ]
        for known in learned.recounted:
            outputs += self._streams.recount(known.described.raw_symbol, envelope.ts_recv)
        for known in learned.gone:
            self._streams.end(known.described.raw_symbol)
        for known, state in learned.states:
            # Answers are older than notifications by the time of a request: they only say what is not yet known.
            if known.described.raw_symbol not in self._actions:
                outputs += self._status(known, state, learned.ts_event, envelope.ts_recv)
        for name, error in learned.refused:
            number = instrument_id(self._publisher.provider, name)
            marker = Gap(f"definition_{error.reason}")
            outputs += self._once("DEFINITION", f"definition.{name}", number, marker, envelope.ts_recv)
        return outputs

    def _book(self, envelope: Envelope) -> Sequence[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        grouped = channel.count(".") != 2
        if grouped:
            params: _Params[GroupedBookData] | _Params[BookData] = decode(_GROUPED, envelope.payload).params
        else:
            params = decode(_BOOK, envelope.payload).params
        data = params.data
        check_names(channel, params.channel, data.instrument_name)
        known = self._registry.find(data.instrument_name)
        if known is None:
            return self._unknown("MBO", channel, data.instrument_name, ts_recv)
        stream = self._streams.books.get(channel)
        if stream is None or stream.known.lot != known.lot:
            stream = BookStream(self._publisher, known, channel, archive=self._archive)
        if isinstance(data, GroupedBookData) or data.type == "snapshot":
            outputs = stream.snapshot(data, ts_recv)
        elif data.type == "change":
            outputs = stream.change(data, ts_recv)
        else:
            raise PayloadError("shape", "type", data.type, "snapshot or change")
        self._streams.books[channel] = stream
        self._streams.carried.carry(envelope.connection, envelope.channel)
        return outputs

    def _trade(self, envelope: Envelope) -> Sequence[Output]:
        params = decode(_TRADES, envelope.payload).params
        interval = envelope.channel.rpartition(".")[2]
        outputs: list[Output] = []
        ready: list[tuple[str, Known, trades.Ready]] = []
        for item in params.data:
            check_names(envelope.channel, params.channel, item.instrument_name)
            channel = f"trades.{item.instrument_name}.{interval}"
            known = self._registry.find(item.instrument_name)
            if known is not None:
                ready.append((channel, known, trades.read(item, known, self._publisher.publisher_id, envelope.ts_recv)))
        for item in params.data:
            if self._registry.find(item.instrument_name) is None:
                channel = f"trades.{item.instrument_name}.{interval}"
                outputs += self._unknown("TRADES", channel, item.instrument_name, envelope.ts_recv)
        ready.sort(key=lambda entry: entry[2].sequence)
        for channel, known, trade in ready:
            stream = self._streams.trades.get(channel)
            if stream is None:
                stream = trades.TradeStream(self._publisher, known, channel, envelope.channel, archive=self._archive)
                self._streams.trades[channel] = stream
            outputs += stream.take(trade)
        self._streams.carried.carry(envelope.connection, envelope.channel)
        return outputs

    def _ticker(self, envelope: Envelope) -> Sequence[Output]:
        params = decode(_TICKER, envelope.payload).params
        data, channel, ts_recv = params.data, envelope.channel, envelope.ts_recv
        check_names(channel, params.channel, data.instrument_name)
        known = self._registry.find(data.instrument_name)
        if known is None:
            return self._unknown("MBP_1", channel, data.instrument_name, ts_recv)
        ts_event, publisher_id = from_ms(data.timestamp, "timestamp"), self._publisher.publisher_id
        best = tickers.top(data, known, publisher_id, ts_event, ts_recv)
        outputs: list[Output] = [Message("MBP_1", channel, best)]
        stream = self._streams.statistics.get(channel)
        if stream is None:
            stream = self._streams.statistics[channel] = tickers.StatisticsStream()
        if content := stream.take(data, known, publisher_id, ts_event, ts_recv):
            outputs.append(Message("STATISTICS", channel, content))
        if data.state is not None:
            outputs += self._status(known, data.state, ts_event, ts_recv)
        self._streams.carried.carry(envelope.connection, envelope.channel)
        return outputs

    def _quote(self, envelope: Envelope) -> Sequence[Output]:
        params = decode(_QUOTE, envelope.payload).params
        data, channel, ts_recv = params.data, envelope.channel, envelope.ts_recv
        check_names(channel, params.channel, data.instrument_name)
        known = self._registry.find(data.instrument_name)
        if known is None:
            return self._unknown("MBP_1", channel, data.instrument_name, ts_recv)
        ts_event = from_ms(data.timestamp, "timestamp")
        best = tickers.top(data, known, self._publisher.publisher_id, ts_event, ts_recv)
        self._streams.carried.carry(envelope.connection, envelope.channel)
        return [Message("MBP_1", channel, best)]

    def _candle(self, envelope: Envelope) -> Sequence[Output]:
        channel = envelope.channel
        name = symbol_of(channel)
        if name is None or not channel.endswith(".1"):
            return ()  # bars of other lengths are stored raw and give no record
        params = decode(_CANDLE, envelope.payload).params
        check_channel(channel, params.channel)
        known = self._registry.find(name)
        if known is None:
            return self._unknown("OHLCV_1M", channel, name, envelope.ts_recv)
        stream = self._streams.candles.get(channel)
        if stream is None:
            stream = CandleStream()
        content = stream.take(params.data, known, self._publisher.publisher_id)
        self._streams.candles[channel] = stream
        self._streams.carried.carry(envelope.connection, envelope.channel)
        return [Message("OHLCV_1M", channel, content)] if content else ()

    def _notice(self, envelope: Envelope) -> Sequence[Output]:
        """Maintenance of the platform: each instrument's state says what it means for it, so nothing is published."""
        check_channel(envelope.channel, decode(_NOTICE, envelope.payload).params.channel)
        return ()

    def _state(self, envelope: Envelope) -> Sequence[Output]:
        params = decode(_STATE, envelope.payload).params
        data = params.data
        check_names(envelope.channel, params.channel, data.instrument_name)
        ts_event = from_ms(data.timestamp, "timestamp")
        known = self._registry.find(data.instrument_name)
        if known is None:
            return self._unknown("STATUS", f"status.{data.instrument_name}", data.instrument_name, envelope.ts_recv)
        return self._status(known, data.state, ts_event, envelope.ts_recv)

    def _status(self, known: Known, state: str, ts_event: int, ts_recv: int) -> Sequence[Output]:
        """The instrument's state where it is another than the last one published."""
        name, action = known.described.raw_symbol, states.action_of(state)
        if self._actions.get(name) == action:
            return ()
        self._actions[name] = action
        content = states.record(self._publisher.publisher_id, known.id, ts_event, ts_recv, action)
        return [Message("STATUS", f"status.{name}", content)]

    # --- what is missing ------------------------------------------------------------------------------------------

    def _unknown(self, schema: str, channel: str, name: str, ts_recv: int) -> Sequence[Output]:
        """Data of an instrument without definition is not published: declared once, and the definition asked for."""
        number = instrument_id(self._publisher.provider, name)
        outputs = list(self._once(schema, channel, number, Gap("no_definition"), ts_recv))
        currency = currency_of(name)
        if name not in self._registry.refused and ts_recv - self._asked.get(currency, -NS_PER_S) >= NS_PER_S:
            self._asked[currency] = ts_recv
            outputs.append(Resync(INSTRUMENTS + currency))
        return outputs

    def _once(self, schema: str, channel: str, number: int, marker: Gap, ts_event: int) -> Sequence[Output]:
        if (schema, channel) in self._undefined:
            return ()
        self._undefined.add((schema, channel))
        return [gap(self._publisher, number, schema, channel, marker, ts_event)]


def _control(envelope: Envelope) -> Sequence[Output]:
    """Replies and heartbeats say nothing. Raises PayloadError for a data frame damaged beyond knowing its channel."""
    channel = envelope.channel
    if not channel.startswith(REST) and decode(_CONTROL, envelope.payload).method == "subscription":
        raise PayloadError("channel", "params.channel", channel, "a channel that was subscribed")
    return ()
