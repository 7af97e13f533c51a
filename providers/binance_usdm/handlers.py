"""Which handler turns the frames of a channel into DBN messages."""

from __future__ import annotations

from typing import Final

from penstock.errors import PayloadError
from penstock.payloads import REST
from providers.binance_usdm.bars import Bars
from providers.binance_usdm.channels import OPEN_INTEREST
from providers.binance_usdm.depth import Depth
from providers.binance_usdm.quotes import Quotes
from providers.binance_usdm.statistics import Liquidations, Marks, OpenInterests, Tickers
from providers.binance_usdm.stream import Stream
from providers.binance_usdm.trades import AggregateTrades, Trades

_HANDLERS: Final[dict[str, type[Stream]]] = {
    "aggTrade": AggregateTrades,
    "trade": Trades,
    "depth": Depth,
    "depth@0ms": Depth,
    "depth@100ms": Depth,
    "depth@500ms": Depth,
    "bookTicker": Quotes,
    "markPrice": Marks,
    "markPrice@1s": Marks,
    "ticker": Tickers,
    "forceOrder": Liquidations,
    "kline_1m": Bars,
}


def parts(channel: str) -> tuple[str, type[Stream]]:
    """Raw symbol and handler of a stream's or a polled request's channel. Raises PayloadError("unknown_channel")."""
    if channel.startswith(OPEN_INTEREST):
        return channel.removeprefix(OPEN_INTEREST), OpenInterests
    name, _, kind = channel.partition("@")
    raw_symbol, handler = name.upper(), _HANDLERS.get(kind)
    if handler is None or not name or raw_symbol.lower() != name or channel.startswith(REST):
        raise PayloadError("unknown_channel", "channel", channel, f"<symbol>@ and one of {', '.join(_HANDLERS)}")
    return raw_symbol, handler
