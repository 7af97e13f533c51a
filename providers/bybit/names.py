"""Bybit's names: categories, symbols and channels.

A channel is `<category>.<topic>`, such as `linear.orderbook.200.BTCUSDT`: the venue's frames name the topic only, and the
connection's URL the category. An instrument is `<symbol>-<CATEGORY>`, such as `BTCUSDT-LINEAR`, as NautilusTrader
names it too (https://nautilustrader.io/docs/latest/integrations/bybit, read 2026-11).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

CATEGORIES: Final = ("linear", "inverse", "spot", "option")
"""https://bybit-exchange.github.io/docs/v5/enum#category (read 2026-11)."""

SYSTEM_STATUS: Final = "misc.system.status"
"""The one channel of the connection /v5/public/misc/status."""

INSTRUMENTS: Final = "rest/instruments-info/"
"""Prefix of the channels of instrument lists; the category follows, and the symbol where the answer is about one."""

KINDS: Final = ("orderbook", "publicTrade", "tickers", "kline", "allLiquidation")

RETIRED: Final = frozenset(
    {"orderBookL2_25", "orderBook_200", "trade", "instrument_info", "klineV2", "candle", "insurance", "liquidation"}
)
"""First words of the topics of the APIs before v5 (https://bybit-exchange.github.io/docs-legacy, recordings of 2021)."""

_PARTS: Final = {"orderbook": 4, "publicTrade": 3, "tickers": 3, "kline": 4, "allLiquidation": 3}


class Topic(NamedTuple):
    """A channel taken apart: `variant` is the depth of a book or the interval of a candle, else empty."""

    category: str
    kind: str
    variant: str
    symbol: str

    @property
    def instrument(self) -> str:
        return raw_symbol(self.category, self.symbol)


@lru_cache(maxsize=16384)
def topic_of(channel: str) -> Topic | None:
    """The parts of a channel of an instrument (of a base coin for trades of options); None for every other channel."""
    parts = channel.split(".")
    if len(parts) < 3 or parts[0] not in CATEGORIES or len(parts) != _PARTS.get(parts[1]):
        return None
    return Topic(parts[0], parts[1], parts[2] if len(parts) == 4 else "", parts[-1])


def raw_symbol(category: str, symbol: str) -> str:
    """The instrument's name among all of the provider's."""
    return f"{symbol}-{category.upper()}"


def split_symbol(name: str) -> tuple[str, str] | None:
    """(category, symbol) of an instrument's name; None where it is none."""
    symbol, _, suffix = name.rpartition("-")
    category = suffix.lower()
    return (category, symbol) if symbol and suffix.isupper() and category in CATEGORIES else None
