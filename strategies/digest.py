"""What a strategy saw, as lines and as a hash: the same live and in a backtest where it saw the same.

Two logs of lines are compared by `strategies.comparison`. Receive times are left out, because two lanes
have two clocks; so is the event time of a quote to which the venue gave none.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from nautilus_trader.model.data import (
    FundingRateUpdate,
    IndexPriceUpdate,
    MarkPriceUpdate,
    OrderBookDeltas,
    QuoteTick,
    TradeTick,
)
from nautilus_trader.model.enums import BookAction
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.orders import Order

from penstock.dbn import F_MAYBE_BAD_BOOK, F_SNAPSHOT
from penstock.errors import ConfigError
from strategies.feed.custom import Marker
from strategies.feed.notices import LaneSwitch, Loss

IMAGE: Final = "image"
DOUBTED: Final = "doubted"
"""First words of a book's lines that are no ordinary increment: an image, and one the feed flagged as doubtful."""

_FINGERPRINT: Final = 2**64 - 1


class Digest:
    """Takes what callbacks get, one line each, under a key of kind and instrument.

    Kinds: `trade`, `quote`, `book` (increments; an image is no event, but what it says is in the fingerprint of the
    whole book that every later line has), `mark`, `index`, `funding`, `marker` (what is missing or old, whichever lane
    says it), `lane` (what is said of one lane while the other brings the data: a switch, a loss that is covered),
    `signal` (orders submitted) and `fill`, both without their times.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._hashes: dict[str, Any] = defaultdict(lambda: hashlib.blake2b(digest_size=16))
        self._books: dict[Any, _Fingerprint] = defaultdict(_Fingerprint)
        self.counts: dict[str, int] = defaultdict(int)
        self._half: dict[tuple[Any, ...], str] = {}
        try:
            self._log = log.open("w", encoding="utf-8") if log else None
        except OSError as error:
            raise ConfigError(f"--seen-log is {str(log)!r}: {error.strerror}") from None

    def trade(self, tick: TradeTick) -> None:
        """A trade: venue time, price, size, aggressor, venue id."""
        self._add(
            "trade",
            tick.instrument_id,
            f"{tick.ts_event} {tick.price} {tick.size} {tick.aggressor_side} {tick.trade_id}",
        )

    def quote(self, tick: QuoteTick) -> None:
        """A quote: venue time (0 where the venue gave none), prices, sizes."""
        what = f"{_venue_time(tick)} {tick.bid_price} {tick.ask_price} {tick.bid_size} {tick.ask_size}"
        self._add("quote", tick.instrument_id, what)

    def deltas(self, deltas: OrderBookDeltas) -> None:
        """A batch of book increments: venue time, sequence, how many, and a fingerprint of the whole book after it."""
        book = self._books[deltas.instrument_id]
        for delta in deltas.deltas:
            book.apply(delta)
        what = f"{deltas.ts_event} {deltas.sequence} {len(deltas.deltas)} {book.value:016x}"
        if deltas.flags & F_SNAPSHOT:
            self._note(f"book {deltas.instrument_id}", f"{IMAGE} {what}")
        else:
            word = f"{DOUBTED} " if deltas.flags & F_MAYBE_BAD_BOOK else ""
            self._add("book", deltas.instrument_id, word + what)

    def price(self, kind: str, update: Any) -> None:
        """A mark or an index price: venue time and value."""
        self._add(kind, update.instrument_id, f"{_venue_time(update)} {update.value}")

    def funding(self, update: FundingRateUpdate) -> None:
        """A funding rate: venue time, rate and when it is due."""
        self._add("funding", update.instrument_id, f"{_venue_time(update)} {update.rate} {update.next_funding_ns}")

    def marker(self, marker: Marker) -> None:
        """What the feed said besides data."""
        notice, key = marker.notice, marker.instrument_id
        if isinstance(notice, LaneSwitch):
            self._add("lane", key, f"{marker.schema} {notice}")
        elif isinstance(notice, Loss):
            self._loss(marker.schema, key, notice)
        else:
            self._add("marker", key, f"{marker.schema} {type(notice).__name__}")

    def _loss(self, schema: str, key: Any, loss: Loss) -> None:
        what = (schema, key, loss.reason, loss.expected, loss.got)
        if loss.covered:
            self._add("lane", key, f"{schema} {loss}")
            # What both lanes say is missing was never sent: the stored day says it once.
            other = self._half.setdefault(what, loss.lane)
            if other == loss.lane:
                return
            del self._half[what]
        self._add("marker", key, f"{schema} Loss {loss.reason} {loss.expected} {loss.got}")

    def signal(self, order: Order) -> None:
        """An order that the strategy submitted."""
        price = order.price if order.has_price else "-"
        self._add("signal", order.instrument_id, f"{order.side} {order.quantity} {order.order_type} {price}")

    def fill(self, event: OrderFilled) -> None:
        """What came of an order."""
        self._add("fill", event.instrument_id, f"{event.order_side} {event.last_qty} {event.last_px}")

    def total(self) -> str:
        """One hash over all streams (hex): equal where every stream is equal, however they were interleaved."""
        whole = hashlib.blake2b(digest_size=16)
        for key, each in sorted(self._hashes.items()):
            whole.update(f"{key} {self.counts[key]} {each.hexdigest()}\n".encode())
        return whole.hexdigest()

    def flush(self) -> None:
        """Write what was noted."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        """Write the rest and close the log."""
        if self._log is not None:
            self._log.close()

    def _add(self, kind: str, instrument_id: Any, what: str) -> None:
        key = f"{kind} {instrument_id}"
        self._hashes[key].update(what.encode() + b"\n")
        self.counts[key] += 1
        self._note(key, what)

    def _note(self, key: str, what: str) -> None:
        if self._log is not None:
            self._log.write(f"{key} {what}\n")


def _venue_time(made: Any) -> int:
    return 0 if made.ts_event == made.ts_init else int(made.ts_event)


class _Fingerprint:
    """A level book as a sum over its levels: one number, kept up to date at the cost of the change."""

    def __init__(self) -> None:
        self.value = 0
        self._levels: dict[tuple[int, int], int] = {}

    def apply(self, delta: Any) -> None:
        if delta.action == BookAction.CLEAR:
            self._levels.clear()
            self.value = 0
            return
        order = delta.order
        key = (int(order.side), order.order_id)
        self.value = (self.value - self._levels.pop(key, 0)) & _FINGERPRINT
        if delta.action != BookAction.DELETE:
            level = hash((*key, order.price.raw, order.size.raw))
            self._levels[key] = level
            self.value = (self.value + level) & _FINGERPRINT


class Digested:
    """Put before a strategy class: its callbacks note what they get and then do what they do."""

    digest: Digest

    def on_trade_tick(self, tick: TradeTick) -> None:
        self.digest.trade(tick)
        self.__then().on_trade_tick(tick)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.digest.quote(tick)
        self.__then().on_quote_tick(tick)

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        self.digest.deltas(deltas)
        self.__then().on_order_book_deltas(deltas)

    def on_mark_price(self, update: MarkPriceUpdate) -> None:
        self.digest.price("mark", update)
        self.__then().on_mark_price(update)

    def on_index_price(self, update: IndexPriceUpdate) -> None:
        self.digest.price("index", update)
        self.__then().on_index_price(update)

    def on_funding_rate(self, update: FundingRateUpdate) -> None:
        self.digest.funding(update)
        self.__then().on_funding_rate(update)

    def on_data(self, data: Any) -> None:
        if isinstance(data, Marker):
            self.digest.marker(data)
        self.__then().on_data(data)

    def on_order_filled(self, event: OrderFilled) -> None:
        self.digest.fill(event)
        self.__then().on_order_filled(event)

    def submit_order(self, order: Order, *args: Any, **kwargs: Any) -> None:
        self.digest.signal(order)
        self.__then().submit_order(order, *args, **kwargs)

    def __then(self) -> Any:
        return super()


def digested(strategy: type, digest: Digest) -> type:
    """A subclass of `strategy`, of the same name, that notes what its callbacks see and what it orders."""
    return type(strategy.__name__, (Digested, strategy), {"digest": digest})
