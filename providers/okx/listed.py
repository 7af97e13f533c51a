"""One listing of a simulated OKX: its ids, and its present state as each channel shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from providers.okx import wire
from providers.okx.bars import Minute
from simulator.market import Listing, Statistics

OF_SWAPS: Final[dict[str, Callable[[Listing, Statistics, int], str]]] = {
    "mark-price": wire.mark_price,
    "open-interest": wire.open_interest,
    "funding-rate": wire.funding_rate,
}
"""The channels that only swaps have, and what they show."""

OF_ALL: Final = ("books", "bbo-tbt", "trades", "tickers")


@dataclass(slots=True)
class Listed:
    """`sequence` is the market's, `pushed` the seqId of the last `books` frame. `over` is the minute before `minute`."""

    listing: Listing
    sequence: int
    pushed: int
    best: tuple[tuple[int, int], tuple[int, int]]
    minute: Minute
    over: Minute | None = None
    ts_ms: int = 0
    pushed_ns: int = 0
    moved: bool = True
    last_trade: str = ""

    @property
    def is_swap(self) -> bool:
        return self.listing.kind != "spot"

    def has(self, channel: str) -> bool:
        """True for a channel of the public path that the listing is on."""
        return channel in OF_ALL or (channel in OF_SWAPS and self.is_swap)

    def top(self) -> str:
        """An element of `bbo-tbt`."""
        bid, ask = self.best
        return wire.book(self.listing, [bid], [ask], self.ts_ms, f'"seqId":{self.sequence}')

    def element(self, channel: str, figures: Statistics) -> str:
        """An element of a channel that shows a state."""
        if channel == "bbo-tbt":
            return self.top()
        if channel == "tickers":
            return wire.ticker(self.listing, *self.best, figures, self.ts_ms)
        return OF_SWAPS[channel](self.listing, figures, self.ts_ms)


def stated(channel: str, figures: Statistics) -> dict[str, int]:
    """What such an element states, for the ledger: values at 1e-9, named as in the frame."""
    values = {
        "tickers": {
            "last": figures.last,
            "high24h": figures.high,
            "low24h": figures.low,
            "vol24h": figures.volume,
        },
        "mark-price": {"markPx": figures.mark},
        "open-interest": {"oi": figures.open_interest},
        "funding-rate": {"fundingRate": figures.funding},
    }
    return values[channel]
