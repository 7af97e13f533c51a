"""The state of every venue channel, and what becomes of it when something is missing."""

from __future__ import annotations

from penstock.connections import Carried, dropped_gap
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Output, Resync
from penstock.publishers import Publisher
from penstock.raw.v1.raw_pb2 import Envelope
from providers.deribit.books import BookStream
from providers.deribit.candles import CandleStream
from providers.deribit.events import SCHEMAS, gap, symbol_of
from providers.deribit.tickers import StatisticsStream
from providers.deribit.trades import TradeStream


class Streams:
    """By venue channel; trades by the channel they are published on."""

    def __init__(self, publisher: Publisher) -> None:
        self.books: dict[str, BookStream] = {}
        self.trades: dict[str, TradeStream] = {}
        self.statistics: dict[str, StatisticsStream] = {}
        self.candles: dict[str, CandleStream] = {}
        self.carried = Carried()
        self._publisher = publisher

    def disconnected(self, connection: int, ts_recv: int) -> list[Output]:
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for."""
        lost, marker = self.carried.disconnected(connection), Gap("disconnected")
        return [output for channel in lost for output in self.doubt(channel, marker, ts_recv)]

    def dropped(self, envelope: Envelope) -> list[Output]:
        """No new snapshot comes by itself: it is asked for. Raises PayloadError."""
        channel = envelope.channel
        outputs = self.doubt(channel, dropped_gap(envelope.payload), envelope.ts_recv)
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
        for channel in sorted(name for name in self.carried if symbol_of(name) == symbol):
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
