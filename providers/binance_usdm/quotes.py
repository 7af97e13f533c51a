"""`@bookTicker` to MBP_1."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE
from penstock.normalizing import Message, Output
from penstock.streams import Units
from penstock.timestamps import from_ms
from providers.binance_usdm.payloads import BookTicker, Combined
from providers.binance_usdm.stream import Stream

_DECODER: Final = msgspec.json.Decoder(Combined[BookTicker])

_RECENT: Final = 4096  # two connections overlap by seconds, two lanes by less
_BEHIND: Final = 3


class Quotes(Stream):
    """The best bid and ask; `ts_event` is the matching engine's `T`.

    Update ids rise but not by one, so a loss does not show. What is behind the last one is no longer the state: a copy
    is passed over, anything else declared and not published, until the third in a row shows that the last id was wrong.
    """

    schema = "MBP_1"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self._last = -1
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._behind = 0

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_DECODER, payload)
        quote = message.data
        self.check(message.stream, quote.s)
        bid_size, ask_size = self.sizes[quote.B], self.sizes[quote.A]
        bid = self.prices[quote.b] if bid_size else dbn.UNDEF_PRICE
        ask = self.prices[quote.a] if ask_size else dbn.UNDEF_PRICE
        if bid >= ask and bid_size and ask_size:
            raise PayloadError("crossed", "b", f"{quote.b} {quote.a}", "a best bid below the best ask")
        flags = dbn.F_LAST
        if bid_size > MAX_SIZE or ask_size > MAX_SIZE:
            # The record has room for no more: unknown, and said so, is better than a number that looks real.
            flags |= dbn.F_PUBLISHER_SPECIFIC
            bid_size = bid_size if bid_size <= MAX_SIZE else dbn.UNDEF_ORDER_SIZE
            ask_size = ask_size if ask_size <= MAX_SIZE else dbn.UNDEF_ORDER_SIZE
        update, ts_event = quote.u, from_ms(quote.T, "T")
        data = dbn.mbp_1(
            self.publisher_id, self.instrument_id, ts_event, flags, ts_recv, update, bid, ask, bid_size, ask_size
        )
        if update > self._last:
            self._last = update
            self._behind = 0
            self._recent.append(update)
            return (Message("MBP_1", self.channel, data),)
        return self._late(update, Message("MBP_1", self.channel, data), ts_recv)

    def _late(self, update: int, message: Message, ts_recv: int) -> Sequence[Output]:
        if update in self._recent:
            return ()
        if self.archive:
            self._recent.append(update)
            return (message,)
        gap = self.gap("out_of_order", ts_recv, self._last + 1, update)
        self._behind += 1
        if self._behind < _BEHIND:
            return (gap,)
        self._last = update
        self._behind = 0
        self._recent.append(update)
        return (gap, message)
