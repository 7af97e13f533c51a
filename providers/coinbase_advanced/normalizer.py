"""Coinbase Advanced Trade envelopes to DBN messages.

README.md has what each channel means and where that is known from. A frame is decoded and converted whole before any
state changes, so a refused frame leaves nothing behind; its number is then missing, which the next frame shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.book import doubtful
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import CONTROL, REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.timestamps import from_iso8601
from penstock.tradeids import TradeIds
from providers.coinbase_advanced import readings, records
from providers.coinbase_advanced.books import LiveBook
from providers.coinbase_advanced.catalogue import Catalogue
from providers.coinbase_advanced.channels import (
    CANDLES,
    HEARTBEATS,
    LEVEL2,
    MARKET_TRADES,
    PRODUCTS,
    STATUS,
    SUBSCRIPTIONS,
    TICKER,
)
from providers.coinbase_advanced.continuity import Arrival
from providers.coinbase_advanced.definitions import instrument_id_of
from providers.coinbase_advanced.losses import Losses
from providers.coinbase_advanced.payloads import Control, Head, LevelFrame, StatusFrame, TickerFrame, TradesFrame

_LEVELS: Final = msgspec.json.Decoder(LevelFrame)
_TRADES: Final = msgspec.json.Decoder(TradesFrame)
_TICKERS: Final = msgspec.json.Decoder(TickerFrame)
_STATUS: Final = msgspec.json.Decoder(StatusFrame)
_HEAD: Final = msgspec.json.Decoder(Head)
_CONTROL: Final = msgspec.json.Decoder(Control)


class Normalizer:
    """See penstock.normalizing.Normalizer."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._catalogue = Catalogue(info.publisher)
        self._books: dict[str, LiveBook] = {}
        self._trades: dict[str, TradeIds] = {}
        self._statistics: dict[str, records.Statistics] = {}
        self._losses = Losses(info.publisher, self._books)
        self._readers: dict[str, Callable[[Envelope], list[Output]]] = {
            LEVEL2: self._level2,
            MARKET_TRADES: self._market_trades,
            TICKER: self._ticker,
            STATUS: self._status,
            CANDLES: self._candles,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        if envelope.kind != KIND_FRAME:
            # An archive may be two lanes merged: one lane's end is no loss there.
            return () if self._archive else self._losses.session(envelope)
        channel = envelope.channel
        if channel.startswith(REST):
            return self._products(envelope) if channel == PRODUCTS else ()
        return self._readers.get(channel.partition(".")[0], self._control)(envelope)

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images."""
        for product, live in self._books.items():
            if live.synced and not live.bad and not self._catalogue.is_deleted(product):
                yield Message("MBO", f"{LEVEL2}.{product}", live.image(ts_recv))

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions."""
        return self._catalogue.messages(ts_recv)

    def _level2(self, envelope: Envelope) -> list[Output]:
        frame = decode(_LEVELS, envelope.payload)
        stamp = from_iso8601(frame.timestamp, "timestamp")
        events = [readings.levels(event, self._catalogue.find) for event in frame.events]
        out: list[Output] = []
        arrival = self._arrive(envelope, frame.sequence_num, stamp, LEVEL2, [event.product for event in events], out)
        if arrival is not Arrival.LATE:
            for event in events:
                self._apply_levels(event, envelope, event.ts_event or stamp, out)
        return self._with_resyncs(envelope, arrival, out)

    def _apply_levels(self, event: readings.Levels, envelope: Envelope, ts_event: int, out: list[Output]) -> None:
        product, ts_recv = event.product, envelope.ts_recv
        channel = f"{LEVEL2}.{product}"
        if event.changes is None:
            return self._undefined("MBO", channel, product, ts_recv, out)
        live = self._books.get(product)
        if live is None:
            ids = self._publisher.publisher_id, instrument_id_of(self._publisher, product)
            live = self._books[product] = LiveBook(*ids)
        data = b""
        if event.snapshot:
            data = live.replace(event, envelope.connection, ts_event, ts_recv)
        elif not live.synced:
            self._doubt(live, "no_snapshot", channel, product, ts_recv, out)
        elif self._archive and live.repeats(event, ts_event):
            return None  # sent twice on one connection; a live one knows it by its number
        elif self._archive or live.connection == envelope.connection:
            data = live.update(event, ts_event, ts_recv)
        if live.book.crossed:
            self._doubt(live, "crossed", channel, product, ts_recv, out)
            data = doubtful(data)
        if data:
            out.append(Message("MBO", channel, data))
        if live.wants_resync(ts_recv):
            out.append(Resync(channel))
        return None

    def _market_trades(self, envelope: Envelope) -> list[Output]:
        frame = decode(_TRADES, envelope.payload)
        stamp = from_iso8601(frame.timestamp, "timestamp")
        prints = [p for event in frame.events for p in readings.trades(event, self._catalogue.find)]
        out: list[Output] = []
        products = [each.product for each in prints]
        arrival = self._arrive(envelope, frame.sequence_num, stamp, MARKET_TRADES, products, out)
        # A frame that was overtaken is used all the same: ids say which of its trades are new.
        for each in prints:
            self._apply_trades(each, envelope.ts_recv, out)
        return self._with_resyncs(envelope, arrival, out)

    def _apply_trades(self, prints: readings.Prints, ts_recv: int, out: list[Output]) -> None:
        product = prints.product
        channel = f"{MARKET_TRADES}.{product}"
        if prints.trades is None:
            return self._undefined("TRADES", channel, product, ts_recv, out)
        known = self._trades.get(product)
        if known is None:
            known = self._trades[product] = TradeIds(archive=self._archive)
        if prints.snapshot and known.last < 0 and not self._archive:
            # What traded before anybody listened is history; only where it ends is remembered.
            for entry in prints.trades[-1:]:
                known.admit(entry.trade_id)
            return None
        ids = self._publisher.publisher_id, instrument_id_of(self._publisher, product)
        for entry in prints.trades:
            missing = known.admit(entry.trade_id)
            if missing < 0:
                continue
            if missing:
                gap = Gap("trade_id", entry.trade_id - missing, entry.trade_id)
                out.append(self._losses.gap("TRADES", channel, product, ts_recv, gap))
            out.append(Message("TRADES", channel, records.trades(*ids, entry, ts_recv)))
        return None

    def _ticker(self, envelope: Envelope) -> list[Output]:
        frame = decode(_TICKERS, envelope.payload)
        stamp = from_iso8601(frame.timestamp, "timestamp")
        found = [readings.ticker(tick, self._catalogue.find) for event in frame.events for tick in event.tickers]
        out: list[Output] = []
        products = [reading.product for reading in found]
        arrival = self._arrive(envelope, frame.sequence_num, stamp, TICKER, products, out)
        if arrival is not Arrival.LATE:
            for reading in found:
                self._apply_ticker(reading, stamp, envelope.ts_recv, out)
        return self._with_resyncs(envelope, arrival, out)

    def _apply_ticker(self, reading: readings.Reading, stamp: int, ts_recv: int, out: list[Output]) -> None:
        product = reading.product
        channel = f"{TICKER}.{product}"
        if reading.bid is None or reading.ask is None:
            return self._undefined("MBP_1", channel, product, ts_recv, out)
        ids = self._publisher.publisher_id, instrument_id_of(self._publisher, product)
        if reading.bid.size or reading.ask.size:
            out.append(Message("MBP_1", channel, records.quote(*ids, reading.bid, reading.ask, stamp, ts_recv)))
        known = self._statistics.setdefault(product, records.Statistics())
        if data := known.changes(*ids, reading.statistics, stamp, ts_recv):
            out.append(Message("STATISTICS", channel, data))
        return None

    def _status(self, envelope: Envelope) -> list[Output]:
        frame = decode(_STATUS, envelope.payload)
        stamp = from_iso8601(frame.timestamp, "timestamp")
        found = [readings.status(product) for event in frame.events for product in event.products]
        out: list[Output] = []
        arrival = self._arrive(envelope, frame.sequence_num, stamp, STATUS, (), out)
        if arrival is not Arrival.LATE:
            for reading in found:
                out.extend(self._catalogue.status(reading, stamp, envelope.ts_recv))
        return self._with_resyncs(envelope, arrival, out)

    def _candles(self, envelope: Envelope) -> list[Output]:
        # Five-minute bars have no DBN record type: read for the frame's number, stored raw, published nowhere.
        frame = decode(_HEAD, envelope.payload)
        if frame.channel != CANDLES:
            raise PayloadError("shape", "channel", frame.channel, CANDLES)
        return self._numbered(envelope, frame.sequence_num, frame.timestamp)

    def _control(self, envelope: Envelope) -> list[Output]:
        frame = decode(_CONTROL, envelope.payload)
        if frame.channel not in (SUBSCRIPTIONS, HEARTBEATS) and (
            frame.type != "error" or frame.sequence_num is not None
        ):
            # Nothing else was subscribed to: taking its number would hide that a frame of ours was mangled.
            raise PayloadError("shape", "channel", frame.channel, f"a frame of {SUBSCRIPTIONS} or {HEARTBEATS}")
        if frame.sequence_num is None:
            return []
        return self._numbered(envelope, frame.sequence_num, frame.timestamp)

    def _numbered(self, envelope: Envelope, number: int, timestamp: str) -> list[Output]:
        """A frame that only counts; heartbeats being such, a book still waiting is looked at each second."""
        out: list[Output] = []
        self._arrive(envelope, number, from_iso8601(timestamp, "timestamp"), CONTROL, (), out)
        return self._with_resyncs(envelope, Arrival.JUMP, out)

    def _products(self, envelope: Envelope) -> list[Output]:
        messages, changed = self._catalogue.update(envelope.payload, envelope.ts_recv)
        out: list[Output] = list(messages)
        for product in changed:
            self._begin_anew(product, envelope.ts_recv, out)
        return out

    def _begin_anew(self, product: str, ts_recv: int, out: list[Output]) -> None:
        """Sizes counted in another lot cannot be compared with what was published: everything of the product says so."""
        begun = {
            ("MBO", LEVEL2): self._books.pop(product, None) is not None,
            ("TRADES", MARKET_TRADES): product in self._trades,
            ("MBP_1", TICKER): product in self._statistics,
            ("STATISTICS", TICKER): self._statistics.pop(product, None) is not None,
        }
        for schema, word in [key for key, was in begun.items() if was]:
            out.append(self._losses.gap(schema, f"{word}.{product}", product, ts_recv, Gap("definition")))
            if schema == "MBO":
                out.append(Resync(f"{word}.{product}"))

    def _arrive(
        self, envelope: Envelope, number: int, stamp: int, word: str, products: Iterable[str], out: list[Output]
    ) -> Arrival:
        if self._archive:
            return Arrival.NEXT
        return self._losses.arrive(envelope, number, stamp, word, products, out)

    def _with_resyncs(self, envelope: Envelope, arrival: Arrival, out: list[Output]) -> list[Output]:
        if arrival is Arrival.JUMP:
            out.extend(self._losses.resyncs(envelope))
        return out

    def _doubt(self, live: LiveBook, reason: str, channel: str, product: str, ts_recv: int, out: list[Output]) -> None:
        """Mark a book as bad and say so, once until its next snapshot."""
        if not live.bad:
            live.bad = True
            out.append(self._losses.gap("MBO", channel, product, ts_recv, Gap(reason)))

    def _undefined(self, schema: str, channel: str, product: str, ts_recv: int, out: list[Output]) -> None:
        if self._catalogue.first_miss(channel):
            out.append(self._losses.gap(schema, channel, product, ts_recv, Gap("no_definition")))
        out.extend(self._catalogue.ask(ts_recv))
