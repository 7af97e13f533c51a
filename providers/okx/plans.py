"""Which channels are wanted, and how they are spread over connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from penstock.errors import ConfigError
from penstock.session import Plan
from providers.okx.names import BOOK_CHANNELS, BOOKS, family_of, type_of

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
"""Where candles are. https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel"""

DEPTH_CHANNELS: Final = 30
"""Fewer than so many channels of 50 or 400 levels a connection is the venue's advice; we keep to half.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel (read 2026-11)"""

_LOGIN: Final = frozenset(BOOK_CHANNELS) - {BOOKS}


class Wanted(NamedTuple):
    """An instrument and its book channel."""

    symbol: str
    book: str


def wanted(symbol: str, *, authenticated: bool) -> Wanted:
    """What a configured symbol asks for: `BTC-USDT-SWAP`, or with another book channel `BTC-USDT-SWAP:books-l2-tbt`.

    Raises ConfigError for channels that there are not, or that need credentials where there are none.
    """
    name, _, book = symbol.partition(":")
    book = book or BOOKS
    if book not in BOOK_CHANNELS:
        raise ConfigError(f"symbol is {symbol!r}, expected one of {', '.join(BOOK_CHANNELS)} behind the colon")
    if book in _LOGIN and not authenticated:
        raise ConfigError(
            f"symbol is {symbol!r}, expected OKX_API_KEY, OKX_SECRET_KEY and OKX_PASSPHRASE set for {book}"
        )
    return Wanted(name, book)


def make_plans(stream: str, symbols: Sequence[Wanted], capacity: int) -> list[Plan]:
    """Connections of at most `capacity` channels, all channels of a symbol on one; those of the venue as a whole are on
    the first. Candles are on connections of their own."""
    if not symbols:
        return []
    types = dict.fromkeys(type_of(symbol) for symbol, _ in symbols)
    shared = ["status", *(f"instruments.{kind}" for kind in types)]
    shared += [f"liquidation-orders.{kind}" for kind in types if kind in {"SWAP", "FUTURES"}]
    filled: list[list[str]] = [shared]
    indices: set[str] = set()
    books = 0
    for one in symbols:
        channels = _channels(one)
        if type_of(one.symbol) != "SPOT" and (index := family_of(one.symbol)) not in indices:
            indices.add(index)
            channels.append(f"index-tickers.{index}")
        if len(filled[-1]) + len(channels) > capacity or books >= DEPTH_CHANNELS // 2:
            filled.append([])
            books = 0
        filled[-1] += channels
        books += 1
    candles = [f"candle1m.{symbol}" for symbol, _ in symbols]
    business = [candles[at : at + capacity] for at in range(0, len(candles), capacity)]
    return [Plan(stream + PUBLIC, tuple(channels)) for channels in filled] + [
        Plan(stream + BUSINESS, tuple(channels)) for channels in business
    ]


def _channels(one: Wanted) -> list[str]:
    symbol, book = one
    kind = type_of(symbol)
    names = [book, "bbo-tbt", "trades", "tickers"]
    if kind != "SPOT":
        names += ["mark-price", "open-interest"]
    if kind == "SWAP":
        names.append("funding-rate")
    return [f"{name}.{symbol}" for name in names]
