"""Every word of Binance spot's messages used here, by which drift is noticed.

From web-socket-streams.md, rest-api.md, filters.md and enums.md of github.com/binance/binance-spot-api-docs (2026-07-21),
and from recordings of 2021 to 2024.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_STREAMS: Final = (
    "stream data result id error code msg e E s t p q T m M a f l U u b B A P w x c Q o h v O C F L n k i V "
    "lastUpdateId bids asks"
)
_INFO: Final = (
    "timezone serverTime rateLimits rateLimitType interval intervalNum limit exchangeFilters symbols sors symbol status "
    "baseAsset baseAssetPrecision quoteAsset quotePrecision quoteAssetPrecision baseCommissionPrecision "
    "quoteCommissionPrecision orderTypes icebergAllowed ocoAllowed otoAllowed opoAllowed quoteOrderQtyMarketAllowed "
    "allowTrailingStop cancelReplaceAllowed amendAllowed pegInstructionsAllowed isSpotTradingAllowed "
    "isMarginTradingAllowed filters permissions permissionSets defaultSelfTradePreventionMode "
    "allowedSelfTradePreventionModes"
)
_FILTERS: Final = (
    "filterType minPrice maxPrice tickSize minQty maxQty stepSize minNotional maxNotional applyToMarket applyMinToMarket "
    "applyMaxToMarket avgPriceMins multiplierUp multiplierDown bidMultiplierUp bidMultiplierDown askMultiplierUp "
    "askMultiplierDown limit maxNumOrders maxNumAlgoOrders maxNumIcebergOrders maxNumOrderLists maxNumOrderAmends "
    "maxPosition minTrailingAboveDelta maxTrailingAboveDelta minTrailingBelowDelta maxTrailingBelowDelta endTime asset"
)

_RULES: Final = (
    "PRICE_FILTER PERCENT_PRICE PERCENT_PRICE_BY_SIDE LOT_SIZE MIN_NOTIONAL NOTIONAL ICEBERG_PARTS "
    "MARKET_LOT_SIZE MAX_NUM_ORDERS MAX_NUM_ALGO_ORDERS MAX_NUM_ICEBERG_ORDERS MAX_POSITION TRAILING_DELTA "
    "MAX_NUM_ORDER_AMENDS MAX_NUM_ORDER_LISTS EXCHANGE_MAX_NUM_ORDERS EXCHANGE_MAX_NUM_ALGO_ORDERS "
    "EXCHANGE_MAX_NUM_ICEBERG_ORDERS EXCHANGE_MAX_NUM_ORDER_LISTS T_PLUS_SELL MAX_ASSET"
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_STREAMS} {_INFO} {_FILTERS}".split()),
    values={
        "e": frozenset({"trade", "aggTrade", "depthUpdate", "24hrTicker", "kline", "serverShutdown"}),
        "i": frozenset({"1m"}),
        "status": frozenset({"TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"}),
        "rateLimitType": frozenset({"REQUEST_WEIGHT", "ORDERS", "RAW_REQUESTS", "CONNECTIONS"}),
        "filterType": frozenset(_RULES.split()),
    },
)
