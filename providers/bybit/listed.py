"""One listing of a simulated Bybit: its ids, and what its channels say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from providers.bybit import candles, wire
from simulator.market import Fill, Listing, Statistics, decimal

Levels = list[tuple[int, int]]


@dataclass(slots=True)
class Listed:
    """`u` counts the messages of its book, `top_u` those of its best levels, `seq` more than its events.

    `said` is what its ticker last said; `moved` whether anything happened since.
    """

    listing: Listing
    category: str
    symbol: str
    u: int
    top_u: int
    seq: int
    best: tuple[tuple[int, int], tuple[int, int]]
    ts_ms: int = 0
    moved: bool = False
    said: dict[str, str] = field(default_factory=dict)
    candle: candles.Candle | None = None

    def channel(self, topic: str) -> str:
        """The full channel of a topic without its symbol: `linear.orderbook.200.BTCUSDT` of `orderbook.200`."""
        return f"{self.category}.{topic}.{self.symbol}"

    def restart(self) -> None:
        """After maintenance: `u` begins anew, the matching engine's sequence goes on."""
        self.u = self.top_u = 1
        self.seq += 1_000_000
        self.said = {}

    def snapshot(self, bids: Levels, asks: Levels) -> str:
        """The first message of its book."""
        topic = f"orderbook.200.{self.symbol}"
        return wire.book(topic, "snapshot", self.symbol, bids, asks, self.u, self.seq, self.ts_ms, self.ts_ms)

    def delta(self, bids: Levels, asks: Levels) -> str:
        """A message of its book."""
        topic = f"orderbook.200.{self.symbol}"
        return wire.book(topic, "delta", self.symbol, bids, asks, self.u, self.seq, self.ts_ms, self.ts_ms)

    def top(self) -> str:
        """A message of its best levels."""
        (bid, ask), topic = self.best, f"orderbook.1.{self.symbol}"
        return wire.book(topic, "snapshot", self.symbol, [bid], [ask], self.top_u, self.seq, self.ts_ms, self.ts_ms)

    def texts(self, figures: Statistics) -> dict[str, str]:
        """Every field of its ticker."""
        return wire.ticker_texts(self.listing, figures, self.best, self.ts_ms)

    def ticker(self, kind: str, texts: dict[str, str]) -> str:
        """A message of its ticker."""
        return wire.ticker(f"tickers.{self.symbol}", kind, texts, self.seq, self.ts_ms)

    def changed(self, texts: dict[str, str]) -> dict[str, str]:
        """The fields of a delta; the two of a side of the book come together, as in the venue's own."""
        found = {name: text for name, text in texts.items() if self.said.get(name) != text or name == "symbol"}
        for side in ("bid1", "ask1"):
            if any(name.startswith(side) for name in found):
                found |= {name: text for name, text in texts.items() if name.startswith(side)}
        return found

    def count(self, fills: Iterable[Fill]) -> None:
        """Add trades to the candle of now."""
        for fill in fills:
            if self.candle is None:
                start = self.ts_ms // candles.MINUTE_MS * candles.MINUTE_MS
                self.candle = candles.Candle(start, fill.price, fill.price, fill.price, fill.price)
            self.candle.add(fill)

    def candles(self, now_ms: int) -> str:
        """The running candle, and before it the last one where that is now over; empty before the first trade."""
        if self.candle is None:
            return ""
        texts, start = [], now_ms // candles.MINUTE_MS * candles.MINUTE_MS
        if self.candle.start_ms < start:
            texts.append(self.candle.text(now_ms, over=True))
            self.candle = self.candle.following(start)
        texts.append(self.candle.text(now_ms, over=False))
        return candles.message(f"kline.1.{self.symbol}", texts, now_ms)

    def book(self, bids: Levels, asks: Levels) -> dict[str, object]:
        """The result of a REST order book."""
        levels = [[[decimal(part) for part in level] for level in side] for side in (bids, asks)]
        return {
            "s": self.symbol, "b": levels[0], "a": levels[1], "ts": self.ts_ms, "u": self.u, "seq": self.seq,
            "cts": self.ts_ms,
        }  # fmt: skip
