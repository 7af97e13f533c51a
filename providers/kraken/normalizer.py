"""Kraken's envelopes to DBN messages. Pure: no I/O, no clock, nothing but the envelopes decides what comes out."""

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
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    Envelope,
)
from penstock.timestamps import NS_PER_S
from providers.kraken import bars, states, tickers, trades, v1, v2
from providers.kraken.books import BookStream
from providers.kraken.definitions import Known, Learned, Registry
from providers.kraken.events import SCHEMAS, gap, symbol_of
from providers.kraken.level3 import OrderStream
from providers.kraken.payloads import Control, System
from providers.kraken.peeks import is_v1

ASSET_PAIRS: Final = "rest/AssetPairs"
INSTRUMENT: Final = "instrument"

_V1_EVENTS: Final = frozenset(
    {"systemStatus", "subscriptionStatus", "heartbeat", "pong", "error"}
)  # https://docs.kraken.com/exchange/api-reference/spot-websocket-v1 (read 2026-11)
_ASK_SPACING_NS: Final = 10 * NS_PER_S


_CONTROL: Final = msgspec.json.Decoder(Control)
_SYSTEM: Final = msgspec.json.Decoder(System)


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every message kind and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._registry = Registry(info.publisher)
        self._books: dict[str, BookStream | OrderStream] = {}
        self._trades: dict[str, trades.TradeStream] = {}
        self._bars: dict[str, bars.BarStream] = {}
        self._statistics: dict[str, tickers.StatisticsStream] = {}
        self._system = "online"
        self._states: dict[str, states.State] = {}
        self._carried = Carried()
        self._undefined: set[tuple[str, str]] = set()
        self._ask_again_at = 0
        self._frames: dict[str, Callable[[Envelope, Known], Sequence[Output]]] = {
            "book": self._book,
            "level3": self._level3,
            "trade": self._trade,
            "ticker": self._ticker,
            "ohlc": self._candle,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind, channel = envelope.kind, envelope.channel
        if kind == KIND_FRAME:
            symbol = symbol_of(channel)
            if symbol is not None:
                return self._data(envelope, symbol)
            if channel == ASSET_PAIRS:
                return self._learned(self._registry.learn_answer(envelope.payload, envelope.ts_recv), envelope.ts_recv)
            if channel == INSTRUMENT:
                return self._instruments(envelope)
            return () if channel.startswith(REST) else self._control(envelope)
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
        for stream in self._books.values():
            if (message := stream.image(ts_recv)) is not None:
                yield message

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones first published, times included."""
        del ts_recv
        for name, known in self._registry.known.items():
            yield Message("DEFINITION", f"definition.{name}", known.record)

    # --- frames -------------------------------------------------------------------------------------------------

    def _data(self, envelope: Envelope, symbol: str) -> Sequence[Output]:
        known = self._registry.known.get(symbol)
        kind = envelope.channel.partition(".")[0]
        if known is None:
            return self._unknown(SCHEMAS[kind][0], envelope.channel, symbol, envelope.ts_recv)
        outputs = self._frames[kind](envelope, known)
        self._carried.carry(envelope.connection, envelope.channel)
        return outputs

    def _book(self, envelope: Envelope, known: Known) -> Sequence[Output]:
        channel, payload = envelope.channel, envelope.payload
        reading = v1.book(channel, payload) if is_v1(payload) else v2.book(channel, payload)
        stream = self._books.get(channel)
        if not isinstance(stream, BookStream):
            stream = BookStream(self._publisher, known, channel, archive=self._archive)
        outputs = stream.take(reading, envelope.ts_recv)
        self._books[channel] = stream
        return outputs

    def _level3(self, envelope: Envelope, known: Known) -> Sequence[Output]:
        snapshot, data = v2.level3(envelope.channel, envelope.payload)
        stream = self._books.get(envelope.channel)
        if not isinstance(stream, OrderStream):
            stream = OrderStream(self._publisher, known, envelope.channel, archive=self._archive)
        outputs = stream.take(data, envelope.ts_recv, snapshot=snapshot)
        self._books[envelope.channel] = stream
        return outputs

    def _trade(self, envelope: Envelope, known: Known) -> Sequence[Output]:
        channel, payload, ts_recv = envelope.channel, envelope.payload, envelope.ts_recv
        snapshot, items = v1.trades(channel, payload) if is_v1(payload) else v2.trades(channel, payload)
        ready = [trades.read(item, known, self._publisher.publisher_id, ts_recv) for item in items]
        stream = self._trades.get(channel)
        if stream is None:
            stream = self._trades[channel] = trades.TradeStream(self._publisher, known, channel, archive=self._archive)
        return stream.take(ready, ts_recv, snapshot=snapshot)

    def _ticker(self, envelope: Envelope, known: Known) -> Sequence[Output]:
        channel, payload, ts_recv = envelope.channel, envelope.payload, envelope.ts_recv
        reading = v1.ticker(channel, payload) if is_v1(payload) else v2.ticker(channel, payload)
        ts_event, publisher_id = ts_recv if reading.ts_event is None else reading.ts_event, self._publisher.publisher_id
        outputs: list[Output] = [
            Message("MBP_1", channel, tickers.top(reading, known, publisher_id, ts_event, ts_recv))
        ]
        stream = self._statistics.setdefault(channel, tickers.StatisticsStream())
        if content := stream.take(reading, known, publisher_id, ts_event, ts_recv):
            outputs.append(Message("STATISTICS", channel, content))
        return outputs

    def _candle(self, envelope: Envelope, known: Known) -> Sequence[Output]:
        channel, payload = envelope.channel, envelope.payload
        snapshot, items = v1.candles(channel, payload) if is_v1(payload) else v2.candles(channel, payload)
        ready = [bars.read(item, known, self._publisher.publisher_id) for item in items]
        stream = self._bars.setdefault(channel, bars.BarStream(known, archive=self._archive))
        return [Message("OHLCV_1M", channel, record) for record in stream.take(ready, snapshot=snapshot)]

    def _control(self, envelope: Envelope) -> Sequence[Output]:
        """Answers and heartbeats say nothing, the system's state does. Raises PayloadError for data that is not known.

        That is: other channels, candles of other lengths, the API v1's `spread`, frames of Kraken Futures (`feed`), and
        data damaged beyond knowing its channel.
        """
        if is_v1(envelope.payload):
            raise PayloadError("unknown_frame", "channel", envelope.payload[-64:], "a channel of README.md")
        frame = decode(_CONTROL, envelope.payload)
        if frame.channel == "status" and frame.data:
            self._system = decode(_SYSTEM, frame.data[0]).system
            return self._statuses(self._registry.known.values(), envelope.ts_recv)
        nothing = frame.channel in SCHEMAS and not frame.data  # no trade yet, no candle yet
        if not (frame.method or frame.channel == "heartbeat" or frame.event in _V1_EVENTS or nothing):
            raise PayloadError("unknown_frame", "channel", frame.channel or frame.event, "a channel of README.md")
        return ()

    # --- instruments ----------------------------------------------------------------------------------------------

    def _instruments(self, envelope: Envelope) -> Sequence[Output]:
        outputs = self._learned(self._registry.learn_message(envelope.payload, envelope.ts_recv), envelope.ts_recv)
        self._carried.carry(envelope.connection, envelope.channel)
        return outputs

    def _learned(self, learned: Learned, ts_recv: int) -> list[Output]:
        outputs: list[Output] = [
            Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record)
            for known in (*learned.fresh, *learned.gone)
        ]
        for known in learned.listed:
            outputs += self._renew(known, ts_recv)
        outputs += self._statuses((*learned.listed, *learned.gone), ts_recv)
        for known in learned.gone:
            for kind in SCHEMAS:
                self._forget(f"{kind}.{known.described.raw_symbol}")
        for name, error in learned.refused:
            number = instrument_id(self._publisher.provider, name)
            marker = Gap(f"definition_{error.reason}")
            outputs += self._once("DEFINITION", f"definition.{name}", number, marker, ts_recv)
        return outputs

    def _renew(self, known: Known, ts_recv: int) -> list[Output]:
        """Streams of a pair whose lot or precision changed start anew; those that keep a book say so, and ask for it."""
        outputs: list[Output] = []
        symbol = known.described.raw_symbol
        for kind in SCHEMAS:
            channel = f"{kind}.{symbol}"
            stream = self._books.get(channel) or self._trades.get(channel) or self._bars.get(channel)
            if stream is None:
                continue
            same = (known.lot, known.price_decimals, known.size_decimals) == (
                stream.known.lot, stream.known.price_decimals, stream.known.size_decimals,
            )  # fmt: skip
            if same or isinstance(stream, trades.TradeStream):
                stream.known = known
                continue
            self._forget(channel)
            schema = SCHEMAS[kind][0]
            outputs.append(gap(self._publisher, known.id, schema, channel, Gap("definition_changed"), ts_recv))
            outputs.append(Resync(channel))
        return outputs

    def _forget(self, channel: str) -> None:
        for streams in (self._books, self._trades, self._bars, self._statistics):
            streams.pop(channel, None)

    def _statuses(self, changed: Iterable[Known], ts_recv: int) -> list[Output]:
        """The state of each of these pairs where it is another than the last one published."""
        outputs: list[Output] = []
        for known in changed:
            name = known.described.raw_symbol
            state = states.state_of(known.status, self._system)
            if self._states.get(name) == state or not known.status:
                continue
            self._states[name] = state
            content = states.record(self._publisher.publisher_id, known.id, ts_recv, ts_recv, state)
            outputs.append(Message("STATUS", f"status.{name}", content))
        return outputs

    # --- what is missing ------------------------------------------------------------------------------------------

    def _unknown(self, schema: str, channel: str, name: str, ts_recv: int) -> Sequence[Output]:
        """Data of a pair without definition is not published: declared once, and the definitions asked for."""
        outputs = list(
            self._once(schema, channel, instrument_id(self._publisher.provider, name), Gap("no_definition"), ts_recv)
        )
        if name not in self._registry.refused and ts_recv >= self._ask_again_at:
            self._ask_again_at = ts_recv + _ASK_SPACING_NS
            outputs.append(Resync(ASSET_PAIRS))
        return outputs

    def _once(self, schema: str, channel: str, number: int, marker: Gap, ts_event: int) -> Sequence[Output]:
        if (schema, channel) in self._undefined:
            return ()
        self._undefined.add((schema, channel))
        return [gap(self._publisher, number, schema, channel, marker, ts_event)]

    def _disconnected(self, envelope: Envelope) -> Sequence[Output]:
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for."""
        lost, marker = self._carried.disconnected(envelope.connection), Gap("disconnected")
        return [output for channel in lost for output in self._doubt(channel, marker, envelope.ts_recv)]

    def _dropped(self, envelope: Envelope) -> Sequence[Output]:
        """No new snapshot comes by itself: books, trades and definitions are asked for."""
        channel, ts_recv = envelope.channel, envelope.ts_recv
        marker = dropped_gap(envelope.payload)
        if channel in {ASSET_PAIRS, INSTRUMENT}:
            return [Resync(channel)]
        outputs = self._doubt(channel, marker, ts_recv)
        stream = self._books.get(channel) or self._trades.get(channel)
        return outputs + (stream.ask(ts_recv) if stream is not None else [])

    def _doubt(self, channel: str, marker: Gap, ts_event: int) -> list[Output]:
        """Declare a loss on everything that is published from a venue channel."""
        symbol = symbol_of(channel)
        if symbol is None:
            return []
        if (stream := self._books.get(channel) or self._trades.get(channel)) is not None:
            return [stream.doubt(marker, ts_event)]
        number = instrument_id(self._publisher.provider, symbol)
        schemas = SCHEMAS[channel.partition(".")[0]]
        return [gap(self._publisher, number, schema, channel, marker, ts_event) for schema in schemas]
