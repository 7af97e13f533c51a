"""All that is followed of one product: its trades, books and quotes, and what they prove about each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.instruments import Instrument
from penstock.normalizing import Output, Resync
from penstock.streams import Units
from providers.coinbase_exchange import payloads
from providers.coinbase_exchange.full import PATIENCE_NS, Full
from providers.coinbase_exchange.levels import SILENT_NS, Levels
from providers.coinbase_exchange.payloads import FULL, LEVEL2, TICKER, LastMatch
from providers.coinbase_exchange.quotes import Quotes
from providers.coinbase_exchange.stream import Stream, time_of
from providers.coinbase_exchange.trades import Trades, decode_match


class Product:
    """The handlers of one product's channels. A frame that raises PayloadError leaves all of them as they were."""

    def __init__(self, instrument: Instrument, *, archive: bool) -> None:
        self._units = Units(instrument)
        self._archive = archive
        self.trades = Trades(self._units, archive=archive)
        self.levels = Levels(self._units, archive=archive)
        self.quotes = Quotes(self._units, archive=archive)
        self.full: Full | None = None
        """Only where `full` is subscribed to: its messages and `matches` count together."""
        self._traded = 0

    @property
    def books(self) -> Iterator[Levels | Full]:
        """The books there are."""
        yield self.levels
        if self.full is not None:
            yield self.full

    def connected(self, word: str, ts_recv: int) -> None:
        """A connection that carries a channel began. Of `full` its session fetches a snapshot by itself."""
        if word == FULL:
            self.full = self._full()
            self.full.ask_at = ts_recv + PATIENCE_NS
        elif word == LEVEL2:
            self.levels.await_snapshot(ts_recv)

    def order(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """A frame of `full` other than a match."""
        full = self._full()
        outputs = full.frame(payload, ts_recv)
        self.full = full  # a book that a broken frame invented is not kept
        return outputs

    def match(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """A trade is one of `matches` and, where that is subscribed to, of `full`."""
        match = decode_match(payload)
        event = None
        if self.full is not None and not isinstance(match, LastMatch):
            event = self.full.event_of(match)
        ts_event = time_of(match.time)
        outputs = self.trades.take(match, ts_recv)
        if not isinstance(match, LastMatch):
            self._traded = max(self._traded, ts_event)
        if event is None or self.full is None:
            return outputs
        return [*outputs, *self.full.take(event, ts_recv)]

    def heartbeat(self, beat: payloads.Heartbeat, ts_recv: int) -> Sequence[Output]:
        """The venue's own account of a product, each second: what of it did not come?"""
        self.trades.check(beat.product_id)
        now = time_of(beat.time)
        outputs = [*self.trades.heartbeat(beat.last_trade_id, ts_recv)]
        if self.full is not None:
            outputs += self.full.heartbeat(beat.sequence, ts_recv)
        silent = self._traded if 0 < self._traded < now - SILENT_NS else 0
        return [*outputs, *self.levels.due(ts_recv, silent)]

    def book(self, book: payloads.Book, ts_recv: int) -> Sequence[Output]:
        """GET /products/<id>/book, of level 3 or level 2: which it is says the third column."""
        row = next(iter([*book.bids[:1], *book.asks[:1]]), None)
        if row is None or isinstance(row[2], int):
            return self.levels.compare(book, ts_recv)
        full = self._full()
        outputs = full.snapshot(book, ts_recv)
        self.full = full
        return outputs

    def due(self, alive: set[str], ts_recv: int) -> list[Output]:
        """What time alone shows of the books that are subscribed to."""
        return [output for book in self.books if book.channel in alive for output in book.due(ts_recv)]

    def interrupted(self, reason: str, ts_recv: int) -> list[Output]:
        """Everything of the product begins anew."""
        streams = [stream for stream in self._streams() if stream.started]
        return [output for stream in streams for output in stream.interrupted(reason, ts_recv)]

    def resyncs(self) -> Iterator[Resync]:
        """A request for a snapshot of each book."""
        for book in self.books:
            if book.started:
                yield Resync(book.channel)

    def disconnected(self, word: str, connection: int, reason: str, ts_recv: int, *, carried: bool) -> Sequence[Output]:
        """A connection that carried the channel ended; `carried`: another one carries it still.

        Trade ids show by themselves whether anything was lost, and a book by levels is told by one connection only.
        """
        if word == LEVEL2 and self.levels.connection == connection:
            return self.levels.disconnected(reason, ts_recv)
        if word == FULL and self.full is not None and not carried:
            return self.full.interrupted(reason, ts_recv)
        return self.quotes.interrupted(reason, ts_recv) if word == TICKER and not carried else ()

    def dropped(self, word: str, ts_recv: int, *, rest: bool) -> Sequence[Output]:
        """Frames of a channel, or an answer of REST, were lost before this consumer."""
        if rest:
            return self.full.due(ts_recv) if self.full is not None else ()
        if word == LEVEL2:
            return self.levels.dropped(ts_recv)
        if word == FULL and self.full is not None:
            return self.full.dropped(ts_recv)
        for stream in (self.trades, self.quotes):
            if word == stream.word:
                return stream.interrupted("dropped", ts_recv)
        return ()

    def _full(self) -> Full:
        return Full(self._units, archive=self._archive) if self.full is None else self.full

    def _streams(self) -> Iterator[Stream]:
        yield self.trades
        yield self.quotes
        yield from self.books
