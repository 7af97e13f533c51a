"""What the names of instruments and channels alone say."""

from __future__ import annotations

from typing import Final

BOOKS: Final = "books"
"""The book channel that needs no login: 400 levels, pushed every 100 ms."""

BOOK_CHANNELS: Final = (BOOKS, "books-l2-tbt", "books50-l2-tbt")
"""The incremental book channels. https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel"""

TYPES: Final = frozenset({"SPOT", "SWAP", "FUTURES", "OPTION"})
"""The instTypes that are read."""

BY_TYPE: Final = frozenset({"instruments", "liquidation-orders"})
"""Channels that are subscribed by instType, not by instId."""


def type_of(symbol: str) -> str:
    """The instType of an instrument: SPOT `BTC-USDT`, SWAP `BTC-USDT-SWAP`, FUTURES `BTC-USD-220325`, OPTION
    `BTC-USD-220325-40000-C`. https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments (read 2026-11)"""
    parts = symbol.split("-")
    if len(parts) == 2:
        return "SPOT"
    if len(parts) == 3:
        return "SWAP" if parts[2] == "SWAP" else "FUTURES"
    return "OPTION"


def family_of(symbol: str) -> str:
    """The first two parts of a derivative's name: its instFamily, and the index it follows."""
    return "-".join(symbol.split("-")[:2])


def arg_of(channel: str) -> dict[str, str]:
    """The subscription argument of a raw channel: `books.BTC-USDT` is {"channel": "books", "instId": "BTC-USDT"}."""
    name, _, subject = channel.partition(".")
    if not subject:
        return {"channel": name}
    return {"channel": name, "instType" if name in BY_TYPE else "instId": subject}
