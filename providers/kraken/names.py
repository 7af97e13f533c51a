"""Two ways of writing a pair: XBT/USD in the API v1 and in REST, BTC/USD in the API v2, which is the raw symbol here."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_MODERN: Final = {"XBT": "BTC", "XDG": "DOGE"}
"""The two codes that v2 writes otherwise (https://docs.kraken.com/exchange/guides/websockets/introduction, read 2026-11)."""

_LEGACY: Final = {modern: legacy for legacy, modern in _MODERN.items()}


@lru_cache(maxsize=4096)
def modern(pair: str) -> str:
    """The v2 symbol of a pair in either writing: `XBT/USD` and `BTC/USD` are `BTC/USD`."""
    return "/".join(_MODERN.get(code, code) for code in pair.split("/"))


def altname(symbol: str) -> str:
    """The name REST has known a v2 symbol by from the beginning: `BTC/USD` is `XBTUSD`."""
    return "".join(_LEGACY.get(code, code) for code in symbol.split("/"))
