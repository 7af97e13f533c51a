"""The candles of a simulated OKX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from providers.okx import wire
from simulator.market import Fill, Listing, decimal

MINUTE_MS: Final = 60_000


@dataclass(slots=True)
class Minute:
    """One listing's candle: it starts at `start_ms` and has no trade while `volume` is 0."""

    start_ms: int
    first: int
    high: int
    low: int
    last: int
    volume: int = 0
    turnover: int = 0

    def add(self, fill: Fill) -> None:
        """Count a trade."""
        if not self.volume:
            self.first = self.high = self.low = fill.price
        self.high, self.low, self.last = max(self.high, fill.price), min(self.low, fill.price), fill.price
        self.volume += fill.quantity
        self.turnover += fill.price * fill.quantity // 10**9

    def following(self, start_ms: int) -> Minute:
        """An empty candle at the last price."""
        return Minute(start_ms, self.last, self.last, self.last, self.last)

    def text(self, listing: Listing, *, over: bool) -> str:
        """An element of `candle1m`."""
        words = (
            str(self.start_ms), decimal(self.first), decimal(self.high), decimal(self.low), decimal(self.last),
            wire.size(listing, self.volume), decimal(self.volume), decimal(self.turnover), "1" if over else "0",
        )  # fmt: skip
        return f"[{','.join(f'"{word}"' for word in words)}]"
