"""What a strategy's own callbacks saw: counts, latencies, and every trade as a line of a log."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from nautilus_trader.model.data import OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide

from penstock.clock import time_ns
from penstock.dbn import F_SNAPSHOT
from penstock.errors import ConfigError

_SIDES: Final = {AggressorSide.BUYER: "B", AggressorSide.SELLER: "A"}


class Observations:
    """Counts by (venue, word), latencies since they were last taken, and the trades not yet written."""

    def __init__(self, log: Path | None) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[str, list[int]] = defaultdict(list)
        self._lines: list[str] = []
        try:
            self._log = log.open("a", encoding="utf-8") if log else None
        except OSError as error:
            raise ConfigError(f"--trades-log is {str(log)!r}: {error.strerror}") from None

    def saw(self, venue: str, word: str, ts_recv: int) -> None:
        """A callback got an object whose payload reached the socket at `ts_recv` (UNIX ns)."""
        self.counts[venue, word] += 1
        self._latencies[venue].append(time_ns() - ts_recv)

    def trade(self, tick: TradeTick) -> None:
        """Note a trade for the log."""
        if self._log is not None:
            line = {
                "instrument": tick.instrument_id.value,
                "trade_id": tick.trade_id.value,
                "ts_event": tick.ts_event,
                "price": _plain(str(tick.price)),
                "size": _plain(str(tick.size)),
                "side": _SIDES.get(tick.aggressor_side, "N"),
            }
            self._lines.append(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Write the noted trades."""
        if self._log is not None and self._lines:
            self._log.write("".join(self._lines))
            self._log.flush()
            self._lines.clear()

    def close(self) -> None:
        """Write the rest and close the log."""
        self.flush()
        if self._log is not None:
            self._log.close()

    def latencies_us(self, venue: str) -> tuple[int, int] | None:
        """p50 and p99 from socket to callback in µs since the last call; None where nothing was seen."""
        taken = sorted(self._latencies.pop(venue, ()))
        if not taken:
            return None
        return taken[len(taken) // 2] // 1000, taken[min(len(taken) - 1, len(taken) * 99 // 100)] // 1000


class Observed:
    """Put before a strategy class: its callbacks note what they get and then do what they do."""

    observations: Observations

    def on_trade_tick(self, tick: TradeTick) -> None:
        self.observations.saw(tick.instrument_id.venue.value, "trades", tick.ts_init)
        self.observations.trade(tick)
        self._next().on_trade_tick(tick)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.observations.saw(tick.instrument_id.venue.value, "quotes", tick.ts_init)
        self._next().on_quote_tick(tick)

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        venue = deltas.instrument_id.venue.value
        if deltas.flags & F_SNAPSHOT:
            # An image of the past, put together on a switch or at the start: its age is not a latency.
            self.observations.counts[venue, "deltas"] += 1
        else:
            self.observations.saw(venue, "deltas", deltas.ts_init)
        self._next().on_order_book_deltas(deltas)

    def on_order_event(self, event: Any) -> None:
        word = {
            "OrderSubmitted": "orders",
            "OrderFilled": "fills",
            "OrderRejected": "rejects",
            "OrderDenied": "rejects",
        }
        if (kind := word.get(type(event).__name__)) is not None:
            self.observations.counts[event.instrument_id.venue.value, kind] += 1
        self._next().on_order_event(event)

    def _next(self) -> Any:
        return super()


def observed(strategy: type, observations: Observations) -> type:
    """A subclass of `strategy`, of the same name, that notes what its callbacks see."""
    return type(strategy.__name__, (Observed, strategy), {"observations": observations})


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
