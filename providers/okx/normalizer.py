"""OKX's envelopes to DBN messages. Pure: no I/O, no clock, nothing but the envelopes decides what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.dbn import (
    STAT_CLEARED_VOLUME,
    STAT_FIXING_PRICE,
    STAT_FUNDING_RATE,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    STAT_MARK_PRICE,
    STAT_OPEN_INTEREST,
)
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from penstock.payloads import CONTROL, REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from penstock.statistics import as_price, as_quantity, as_rate
from penstock.timestamps import from_ms
from providers.okx import statistics
from providers.okx.definitions import Learned
from providers.okx.events import check_channel, check_name, subject_of
from providers.okx.names import TYPES
from providers.okx.payloads import (
    BookData,
    Candle,
    Control,
    FundingRate,
    IndexTicker,
    Liquidations,
    MarkPrice,
    OpenInterest,
    Push,
    Ticker,
    Trade,
)
from providers.okx.peeks import STATUS
from providers.okx.statistics import Stated
from providers.okx.streams import Streams
from providers.okx.trades import read

INSTRUMENTS: Final = "rest/instruments/"
PONG: Final = b"pong"

_BOOK: Final = msgspec.json.Decoder(Push[BookData])
_TRADES: Final = msgspec.json.Decoder(Push[Trade])
_TICKER: Final = msgspec.json.Decoder(Push[Ticker])
_MARK: Final = msgspec.json.Decoder(Push[MarkPrice])
_INDEX: Final = msgspec.json.Decoder(Push[IndexTicker])
_FUNDING: Final = msgspec.json.Decoder(Push[FundingRate])
_INTEREST: Final = msgspec.json.Decoder(Push[OpenInterest])
_LIQUIDATIONS: Final = msgspec.json.Decoder(Push[Liquidations])
_CANDLES: Final = msgspec.json.Decoder(Push[Candle])
_PUSHED: Final = msgspec.json.Decoder(Push[msgspec.Raw])
_CONTROL: Final = msgspec.json.Decoder(Control)


class Normalizer:
    """See penstock.normalizing.Normalizer. README.md has the meaning of every message kind and where it is from."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._streams = Streams(info.publisher, archive=archive)
        self._registry = self._streams.registry
        self._frames: dict[str, Callable[[Envelope], list[Output]]] = {
            "books": self._book,
            "books-l2-tbt": self._book,
            "books50-l2-tbt": self._book,
            "books5": self._book,
            "bbo-tbt": self._top,
            "trades": self._trades,
            "trades-all": self._trades,
            "tickers": self._ticker,
            "mark-price": self._mark,
            "index-tickers": self._index,
            "funding-rate": self._funding,
            "open-interest": self._interest,
            "liquidation-orders": self._liquidations,
            "candle1m": self._candles,
            "instruments": self._pushed_instruments,
        }

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind, channel = envelope.kind, envelope.channel
        if kind == KIND_FRAME:
            if channel.startswith(INSTRUMENTS):
                return self._answered(envelope)
            handle = self._frames.get(channel.partition(".")[0])
            if handle is None:
                return self._control(envelope)
            outputs = handle(envelope)
            self._streams.carried.carry(envelope.connection, channel)
            return outputs
        if self._archive:
            return ()  # the input may be two lanes merged: where one was down the other's frames stand
        if kind == KIND_CONNECTED:
            self._streams.carried.connected(envelope.connection, envelope.payload)
        elif kind == KIND_DISCONNECTED:
            return self._streams.disconnected(envelope.connection, envelope.ts_recv)
        elif kind == KIND_DROPPED:
            return self._streams.dropped(channel, envelope.payload, envelope.ts_recv)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.images."""
        return self._streams.images(ts_recv)

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions. The records are the ones last published, times included."""
        del ts_recv
        for name, known in self._registry.known.items():
            yield Message("DEFINITION", f"definition.{name}", known.record)

    # --- instruments ----------------------------------------------------------------------------------------------

    def _answered(self, envelope: Envelope) -> list[Output]:
        """A list by instType is whole; one that was asked for by instrument is not, and has its name in the channel."""
        complete = envelope.channel.removeprefix(INSTRUMENTS) in TYPES
        learned = self._registry.learn_answer(envelope.payload, envelope.ts_recv, complete=complete)
        return self._learned(learned, envelope.ts_recv)

    def _pushed_instruments(self, envelope: Envelope) -> list[Output]:
        return self._learned(
            self._registry.learn_push(self._read(_PUSHED, envelope).data, envelope.ts_recv), envelope.ts_recv
        )

    def _learned(self, learned: Learned, ts_recv: int) -> list[Output]:
        """Definitions first: nothing of an instrument is published before its own."""
        outputs: list[Output] = []
        for before, known in learned.changed:
            outputs.append(Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record))
            if before is not None:
                outputs += self._streams.renew(before, known, ts_recv)
        for known in learned.states:
            outputs.append(self._streams.status(known, ts_recv))
        for known in learned.gone:
            outputs.append(self._streams.status(known, ts_recv))
            outputs.append(Message("DEFINITION", f"definition.{known.described.raw_symbol}", known.record))
            self._streams.forget(known.described.raw_symbol)
        for name, error in learned.refused:
            number = instrument_id(self._publisher.provider, name)
            marker = Gap(f"definition_{error.reason}")
            outputs += self._streams.once("DEFINITION", f"definition.{name}", number, marker, ts_recv)
        return outputs

    # --- frames -----------------------------------------------------------------------------------------------------

    def _read[T](self, decoder: msgspec.json.Decoder[Push[T]], envelope: Envelope) -> Push[T]:
        push = decode(decoder, envelope.payload)
        check_channel(envelope.channel, push.arg.word)
        return push

    def _one[T](self, decoder: msgspec.json.Decoder[Push[T]], envelope: Envelope) -> T:
        """The element of a frame that has one; several of one moment are not documented, and never recorded."""
        data = self._read(decoder, envelope).data
        if len(data) != 1:
            raise PayloadError("shape", "data", len(data), "one element")
        return data[0]

    def _book(self, envelope: Envelope) -> list[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        push = self._read(_BOOK, envelope)
        if len(push.data) != 1:
            raise PayloadError("shape", "data", len(push.data), "one element")
        is_whole = push.action == "snapshot" or (push.action is None and channel.startswith("books5."))
        if not is_whole and push.action != "update":
            raise PayloadError("shape", "action", push.action, "snapshot or update")
        known = self._registry.known.get(subject_of(channel))
        if known is None:
            return self._streams.unknown(channel, subject_of(channel), ts_recv)
        stream = self._streams.book(channel, known)
        take = stream.snapshot if is_whole else stream.update
        outputs = take(push.data[0], ts_recv, may_cross=self._streams.may_cross(known))
        self._streams.keep(channel, stream)
        return outputs

    def _top(self, envelope: Envelope) -> list[Output]:
        channel, ts_recv, data = envelope.channel, envelope.ts_recv, self._one(_BOOK, envelope)
        known = self._registry.known.get(subject_of(channel))
        if known is None:
            return self._streams.unknown(channel, subject_of(channel), ts_recv)
        ts_event = from_ms(int(data.ts), "ts")
        best = statistics.top(data, known, self._publisher.publisher_id, ts_event, ts_recv)
        return [Message("MBP_1", channel, best)]

    def _trades(self, envelope: Envelope) -> list[Output]:
        channel, ts_recv, items = envelope.channel, envelope.ts_recv, self._read(_TRADES, envelope).data
        for item in items:
            check_name(channel, item.instId)
        known = self._registry.known.get(subject_of(channel))
        if known is None:
            return self._streams.unknown(channel, subject_of(channel), ts_recv)
        ready = sorted(
            (read(item, known, self._publisher.publisher_id, ts_recv) for item in items), key=lambda r: r.last
        )
        stream = self._streams.trades(channel, known)
        return [output for trade in ready for output in stream.take(trade)]

    def _ticker(self, envelope: Envelope) -> list[Output]:
        data = self._one(_TICKER, envelope)
        stated = (
            Stated(STAT_LOW, data.low24h, as_price),
            Stated(STAT_HIGH, data.high24h, as_price),
            Stated(STAT_CLEARED_VOLUME, data.vol24h, as_quantity),
            Stated(STAT_LAST_PRICE, data.last, as_price),
        )
        return self._state(envelope, data.instId, stated, data.ts)

    def _mark(self, envelope: Envelope) -> list[Output]:
        data = self._one(_MARK, envelope)
        outputs = self._state(envelope, data.instId, (Stated(STAT_MARK_PRICE, data.markPx, as_price),), data.ts)
        self._streams.follow(data.instId)
        return outputs

    def _funding(self, envelope: Envelope) -> list[Output]:
        data = self._one(_FUNDING, envelope)
        settled_at = from_ms(int(data.fundingTime), "fundingTime")
        stated = (Stated(STAT_FUNDING_RATE, data.fundingRate, as_rate, settled_at),)
        return self._state(envelope, data.instId, stated, data.ts)

    def _interest(self, envelope: Envelope) -> list[Output]:
        data = self._one(_INTEREST, envelope)
        return self._state(envelope, data.instId, (Stated(STAT_OPEN_INTEREST, data.oi, as_quantity),), data.ts)

    def _state(self, envelope: Envelope, name: str, stated: Sequence[Stated], ts: str | None) -> list[Output]:
        channel, ts_recv = envelope.channel, envelope.ts_recv
        check_name(channel, name)
        known = self._registry.known.get(name)
        if known is None:
            return self._streams.unknown(channel, name, ts_recv)
        ts_event = ts_recv if ts is None else from_ms(int(ts), "ts")
        return self._streams.state(channel, known, stated, ts_event, ts_recv)

    def _index(self, envelope: Envelope) -> list[Output]:
        """The price of an index, for each derivative of it whose mark price is followed: an index has no definition."""
        data, ts_recv = self._one(_INDEX, envelope), envelope.ts_recv
        check_name(envelope.channel, data.instId)
        stated, ts_event = (Stated(STAT_FIXING_PRICE, data.idxPx, as_price),), from_ms(int(data.ts), "ts")
        as_price(data.idxPx, 1)  # refused here, whoever follows it
        outputs: list[Output] = []
        for known in self._streams.followers(data.instId):
            channel = f"index-tickers.{known.described.raw_symbol}"
            outputs += self._streams.state(channel, known, stated, ts_event, ts_recv)
        return outputs

    def _liquidations(self, envelope: Envelope) -> list[Output]:
        publisher_id, ts_recv = self._publisher.publisher_id, envelope.ts_recv
        outputs: list[Output] = []
        unknown: list[str] = []
        for item in self._read(_LIQUIDATIONS, envelope).data:
            known = self._registry.known.get(item.instId)
            if known is None:
                unknown.append(item.instId)
                continue
            outputs += [
                Message(
                    "STATISTICS",
                    f"liquidation-orders.{item.instId}",
                    statistics.liquidation(one, known, publisher_id, ts_recv),
                )
                for one in item.details
            ]
        for name in unknown:
            outputs += self._streams.unknown(f"liquidation-orders.{name}", name, ts_recv)
        return outputs

    def _candles(self, envelope: Envelope) -> list[Output]:
        channel, candles = envelope.channel, self._read(_CANDLES, envelope).data
        if any(len(candle) < 7 for candle in candles):
            raise PayloadError("shape", "data", len(candles), "candles of seven words or nine")
        known = self._registry.known.get(subject_of(channel))
        if known is None:
            return self._streams.unknown(channel, subject_of(channel), envelope.ts_recv)
        publisher_id = self._publisher.publisher_id
        bars = sorted(statistics.bar(candle, known, publisher_id) for candle in candles if statistics.finished(candle))
        return [
            Message("OHLCV_1M", channel, content) for start, content in bars if self._streams.is_newer(channel, start)
        ]

    def _control(self, envelope: Envelope) -> Sequence[Output]:
        """Replies, notices and pongs are published as nothing. Raises PayloadError for what is none of them: a frame damaged
        beyond knowing its channel, or of a channel that nobody subscribed."""
        channel, payload = envelope.channel, envelope.payload
        if payload == PONG or channel.startswith(REST):
            return ()
        control = decode(_CONTROL, payload)
        if channel != CONTROL or not (control.event or (control.arg is not None and control.arg.channel == STATUS)):
            raise PayloadError("unknown_frame", "channel", channel, "a channel that was subscribed, or an event")
        if control.event == "subscribe" and control.arg is not None:
            self._streams.subscribed(control.arg.word, envelope.ts_recv)
        return ()
