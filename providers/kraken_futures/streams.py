"""The state of every venue channel, and what becomes of it when something is missing."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Output, Resync
from penstock.publishers import Publisher
from penstock.raw.v1.raw_pb2 import Envelope
from providers.kraken_futures.books import BookStream
from providers.kraken_futures.events import SCHEMAS, gap, symbol_of
from providers.kraken_futures.payloads import decode
from providers.kraken_futures.tickers import StatisticsStream
from providers.kraken_futures.trades import TradeStream


class _Connected(msgspec.Struct):
    channels: list[str]


class _Dropped(msgspec.Struct):
    first: int
    last: int


_CONNECTED: Final = msgspec.json.Decoder(_Connected)
_DROPPED: Final = msgspec.json.Decoder(_Dropped)


class Streams:
    """By venue channel. `carried` are the channels of each connection."""

    def __init__(self, publisher: Publisher) -> None:
        self.books: dict[str, BookStream] = {}
        self.trades: dict[str, TradeStream] = {}
        self.statistics: dict[str, StatisticsStream] = {}
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
        """Reconnecting subscribes again, which brings snapshots: nothing to ask for. Trades are not put in doubt: their
        snapshot fills what was missed, and their `seq` shows what it does not."""
        lost = self.carried.pop(connection, set()).difference(*self.carried.values(), self.trades)
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
        if (book := self.books.get(channel)) is not None:
            return book.doubt(marker, ts_event)
        symbol = symbol_of(channel)
        if symbol is None:
            return []  # the heartbeat feed becomes nothing
        number = instrument_id(self._publisher.provider, symbol)
        return [
            gap(self._publisher, number, schema, channel, marker, ts_event)
            for schema in SCHEMAS[channel.partition(".")[0]]
        ]

    def recount(self, symbol: str, ts_recv: int) -> list[Output]:
        """Its lot changed: what is known in the old lots begins anew, declared, with a new snapshot of its book."""
        outputs: list[Output] = []
        for channel in sorted({name for names in self.carried.values() for name in names if symbol_of(name) == symbol}):
            outputs += self.doubt(channel, Gap("definition"), ts_recv)
            if channel in self.books:
                outputs.append(Resync(channel))
        self.end(symbol)
        return outputs

    def end(self, symbol: str) -> None:
        """Forget what is known of a product, but for the trades it had: their copies may still come."""
        self.books.pop(f"book.{symbol}", None)
        for kind in ("ticker", "ticker_lite"):
            self.statistics.pop(f"{kind}.{symbol}", None)
