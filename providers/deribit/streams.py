"""The state of every venue channel, and what becomes of it when something is missing."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Output, Resync
from penstock.publishers import Publisher
from penstock.raw.v1.raw_pb2 import Envelope
from providers.deribit.books import BookStream
from providers.deribit.candles import CandleStream
from providers.deribit.events import SCHEMAS, gap, symbol_of
from providers.deribit.payloads import decode
from providers.deribit.tickers import StatisticsStream
from providers.deribit.trades import TradeStream


class _Connected(msgspec.Struct):
    channels: list[str]


class _Dropped(msgspec.Struct):
    first: int
    last: int


_CONNECTED: Final = msgspec.json.Decoder(_Connected)
_DROPPED: Final = msgspec.json.Decoder(_Dropped)


class Streams:
    """By venue channel; trades by the channel they are published on. `carried` are the channels of each connection."""

    def __init__(self, publisher: Publisher) -> None:
        self.books: dict[str, BookStream] = {}
        self.trades: dict[str, TradeStream] = {}
        self.statistics: dict[str, StatisticsStream] = {}
        self.candles: dict[str, CandleStream] = {}
        self.carried: dict[int, set[str]] = {}
        self._publisher = publisher

    def carry(self, envelope: Envelope) -> None:
        """Remember which connection a channel comes on: frames may precede the notice that their connection is up."""
        carried = self.carried.get(envelope.connection)
        if carried is None:
            self.carried[envelope.connection] = {envelope.channel}
        elif envelope.channel not in carried:
            carried.add(envelope.channel)

    def connected(self, envelope: Envelope) -> None:
        """A connection was acknowledged. Raises PayloadError."""
        self.carried[envelope.connection] = set(decode(_CONNECTED, envelope.payload).channels)

    def disconnected(self, connection: int, ts_recv: int) -> list[Output]:
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for."""
        lost = self.carried.pop(connection, set()).difference(*self.carried.values())
        return [output for channel in sorted(lost) for output in self.doubt(channel, Gap("disconnected"), ts_recv)]

    def dropped(self, envelope: Envelope) -> list[Output]:
        """No new snapshot comes by itself: it is asked for. Raises PayloadError."""
        channel, content = envelope.channel, decode(_DROPPED, envelope.payload)
        outputs = self.doubt(channel, Gap("dropped", content.first, content.last), envelope.ts_recv)
        if channel.startswith("book."):
            stream = self.books.get(channel)
            outputs += [Resync(channel)] if stream is None else stream.ask(envelope.ts_recv)
        return outputs

    def doubt(self, channel: str, marker: Gap, ts_event: int) -> list[Output]:
        """Declare a loss on everything that is published from a venue channel."""
        if (stream := self.books.get(channel)) is not None:
            return stream.doubt(marker, ts_event)
        if (candles := self.candles.get(channel)) is not None:
            candles.forget()
        symbol = symbol_of(channel)
        if symbol is None:
            return [
                trades_of.doubt(marker, ts_event) for trades_of in self.trades.values() if trades_of.source == channel
            ]
        number = instrument_id(self._publisher.provider, symbol)
        schemas = SCHEMAS[channel.partition(".")[0]]
        return [gap(self._publisher, number, schema, channel, marker, ts_event) for schema in schemas]

    def recount(self, symbol: str, ts_recv: int) -> list[Output]:
        """Its lot changed: what is known in the old lots begins anew, declared, with a new snapshot of its books."""
        outputs: list[Output] = []
        for channel in sorted({name for names in self.carried.values() for name in names if symbol_of(name) == symbol}):
            outputs += self.doubt(channel, Gap("definition"), ts_recv)
            if channel in self.books:
                outputs.append(Resync(channel))
        self.end(symbol)
        return outputs

    def end(self, symbol: str) -> None:
        """Forget what is known of an instrument, but for the trades it had: their copies may still come."""
        streams: tuple[dict[str, BookStream] | dict[str, StatisticsStream] | dict[str, CandleStream], ...]
        streams = (self.books, self.statistics, self.candles)
        for of in streams:
            for channel in [channel for channel in of if symbol_of(channel) == symbol]:
                del of[channel]
