"""The names of Coinbase Advanced Trade's channels, as subscribed by."""

from __future__ import annotations

from typing import Final

from penstock.payloads import REST

LEVEL2: Final = "level2"
"""Subscribed as `level2`, delivered as `l2_data`: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/level2"""
MARKET_TRADES: Final = "market_trades"
TICKER: Final = "ticker"
CANDLES: Final = "candles"
STATUS: Final = "status"
HEARTBEATS: Final = "heartbeats"
SUBSCRIPTIONS: Final = "subscriptions"

PRODUCTS: Final = REST + "products"
"""Channel of the answer to GET /api/v3/brokerage/market/products."""
