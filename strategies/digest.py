"""What a strategy saw, as lines and as a hash: the same live and in a backtest where it saw the same.

Two logs of lines are compared by `strategies.comparison`. Receive times are left out, because two lanes
have two clocks; so is the event time of a quote to which the venue gave none.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from nautilus_trader.model.data import OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import BookAction
from nautilus_trader.model.orders import Order

from penstock.dbn import F_MAYBE_BAD_BOOK, F_SNAPSHOT
from penstock.errors import ConfigError
from strategies.feed.custom import Marker

IMAGE: Final = "image"
DOUBTED: Final = "doubted"
"""First words of a book's lines that are no ordinary increment: an image, and one the feed flagged as doubtful."""

_FINGERPRINT: Final = 2**64 - 1


class Digest:
    """Takes what callbacks get, one line each, under a key of kind and instrument.

    Kinds: `trade`, `quote`, `book` (increments; an image is no event, but what it says is in the fingerprint of the
    whole book that every later line has), `marker`, `signal` (orders submitted, with the time left out).
    """

    def __init__(self, log: Path | None = None) -> None:
        self._hashes: dict[str, Any] = defaultdict(lambda: hashlib.blake2b(digest_size=16))
        self._books: dict[Any, _Fingerprint] = defaultdict(_Fingerprint)
        self.counts: dict[str, int] = defaultdict(int)
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
        at = 0 if tick.ts_event == tick.ts_init else tick.ts_event
        self._add(
            "quote", tick.instrument_id, f"{at} {tick.bid_price} {tick.ask_price} {tick.bid_size} {tick.ask_size}"
        )

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

    def marker(self, marker: Marker) -> None:
        """What the feed said besides data."""
        self._add("marker", marker.instrument_id, f"{marker.schema} {marker.notice}")

    def signal(self, order: Order) -> None:
        """An order that the strategy submitted."""
        price = order.price if order.has_price else "-"
        self._add("signal", order.instrument_id, f"{order.side} {order.quantity} {order.order_type} {price}")

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

    def on_data(self, data: Any) -> None:
        if isinstance(data, Marker):
            self.digest.marker(data)
        self.__then().on_data(data)

    def submit_order(self, order: Order, *args: Any, **kwargs: Any) -> None:
        self.digest.signal(order)
        self.__then().submit_order(order, *args, **kwargs)

    def __then(self) -> Any:
        return super()


def digested(strategy: type, digest: Digest) -> type:
    """A subclass of `strategy`, of the same name, that notes what its callbacks see and what it orders."""
    return type(strategy.__name__, (Digested, strategy), {"digest": digest})
