"""What the simulated venue knows of one listing: its ids and its present candle."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.ledger import Entry
from simulator.market import ONE, Listing


@dataclass(slots=True)
class Candle:
    """The present minute of one listing: open, high, low and close, volume in dollars and in coins, all at 1e-9."""

    minute: int = 0
    figures: tuple[int, int, int, int] = (0, 0, 0, 0)
    volume: int = 0
    coins: int = 0
    changed: bool = False

    def roll(self, minute: int, last: int) -> None:
        """Begin the minute, if it is new, with the last price: one without trades has a candle too."""
        if minute != self.minute:
            self.minute, self.figures = minute, (last, last, last, last)
            self.volume, self.coins, self.changed = 0, 0, True

    def add(self, price: int, quantity: int) -> None:
        """A trade. The first of a minute is what it opened with."""
        first, high, low, _ = self.figures if self.volume else (price, price, price, price)
        self.figures = first, max(high, price), min(low, price), price
        self.volume += quantity
        self.coins += quantity * ONE // price
        self.changed = True


@dataclass(slots=True)
class Instrument:
    """One listing's ids. `raw`: the ledger follows the raw channels, else those of 100 ms; never both, as one
    trade is one line. Changes only between windows."""

    listing: Listing
    change_id: int
    window_id: int
    ts_ms: int
    best: tuple[tuple[int, int], tuple[int, int]]
    raw: bool = False
    moved: bool = True
    trades: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    candle: Candle = field(default_factory=Candle)
