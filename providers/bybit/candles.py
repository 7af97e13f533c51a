"""The candles of a simulated Bybit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from simulator.market import Fill, decimal

MINUTE_MS: Final = 60_000


@dataclass(slots=True)
class Candle:
    """One minute of a listing: `start_ms` its start, prices and volume at 1e-9. Without a trade all four are the last."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0

    def add(self, fill: Fill) -> None:
        """Count a trade."""
        self.high, self.low, self.close = max(self.high, fill.price), min(self.low, fill.price), fill.price
        self.volume += fill.quantity
        self.turnover += fill.price * fill.quantity // 10**9

    def following(self, start_ms: int) -> Candle:
        """The next one, at this one's last price."""
        return replace(self, start_ms=start_ms, open=self.close, high=self.close, low=self.close, volume=0, turnover=0)

    def text(self, ts_ms: int, *, over: bool) -> str:
        """An element of a `kline.1` message."""
        prices = ",".join(
            f'"{name}":"{decimal(value)}"'
            for name, value in (
                ("open", self.open), ("close", self.close), ("high", self.high), ("low", self.low),
                ("volume", self.volume), ("turnover", self.turnover),
            )
        )  # fmt: skip
        return (
            f'{{"start":{self.start_ms},"end":{self.start_ms + MINUTE_MS - 1},"interval":"1",{prices},'
            f'"confirm":{"true" if over else "false"},"timestamp":{ts_ms}}}'
        )


def message(topic: str, candles: list[str], ts_ms: int) -> str:
    """A `kline.1` message."""
    return f'{{"topic":"{topic}","data":[{",".join(candles)}],"ts":{ts_ms},"type":"snapshot"}}'
