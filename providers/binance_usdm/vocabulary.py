"""The words of the venue's messages: those documented in 2026-10, those of 2021 to 2024 that were recorded, and those seen.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams and /common-definition
(2025-11); `nq` since 2025-12-31, `ap` of mark prices since 2026-03-16, `st` since 2026-06-30 by the change log
https://developers.binance.com/docs/derivatives/change-log (2026-06-30).
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_CONTROL: Final = "stream data result id error code msg"
_EVENTS: Final = (
    "e E s ps st a p q nq f l T m X t U u pu b B A P i r ap o S z w c Q h v O C F L n k x V ct dt ot cs bks bs bnf bnc mmr "
    "cf mi ma"
)
_BODIES: Final = (
    "lastUpdateId bids asks openInterest symbol time markPrice indexPrice estimatedSettlePrice lastFundingRate "
    "interestRate nextFundingTime"
)
_EXCHANGE_INFO: Final = (
    "timezone serverTime futuresType rateLimits rateLimitType interval intervalNum limit exchangeFilters assets asset "
    "marginAvailable autoAssetExchange symbols symbol pair contractType deliveryDate onboardDate status "
    "maintMarginPercent requiredMarginPercent baseAsset quoteAsset marginAsset pricePrecision quantityPrecision "
    "baseAssetPrecision quotePrecision underlyingType underlyingSubType settlePlan triggerProtect liquidationFee "
    "marketTakeBound maxMoveOrderLimit filters filterType minPrice maxPrice tickSize stepSize minQty maxQty notional "
    "multiplierUp multiplierDown multiplierDecimal positionControlSide orderTypes OrderType timeInForce permissionSets"
)

_STATUSES: Final = frozenset(
    {"PENDING_TRADING", "TRADING", "PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING", "CLOSE"}
)
_DATED: Final = ("CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER")
_CONTRACTS: Final = frozenset(
    {"PERPETUAL", "PERPETUAL_DELIVERING", "PERPETUAL DELIVERING", "TRADIFI_PERPETUAL"}
    | {f"{word}{end}" for word in _DATED for end in ("", " DELIVERING")}
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_CONTROL} {_EVENTS} {_BODIES} {_EXCHANGE_INFO}".split()),
    values={
        "e": frozenset(
            {
                "aggTrade", "trade", "depthUpdate", "bookTicker", "markPriceUpdate", "forceOrder", "24hrTicker", "kline",
                "contractInfo",
            }
        ),
        # How a trade came about, and the state of a liquidation's order.
        "X": frozenset(
            {
                "MARKET", "INSURANCE_FUND", "ADL", "NA", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED",
                "EXPIRED", "EXPIRED_IN_MATCH",
            }
        ),
        "S": frozenset({"BUY", "SELL"}),
        "f": frozenset({"GTC", "IOC", "FOK", "GTX", "GTD", "RPI"}),
        "cs": _STATUSES,
        "status": _STATUSES,
        "ct": _CONTRACTS,
        "contractType": _CONTRACTS,
        "futuresType": frozenset({"U_MARGINED"}),
        "underlyingType": frozenset(
            {
                "COIN", "INDEX", "EQUITY", "HK_EQUITY", "KR_EQUITY", "CN_EQUITY", "COMMODITY", "PREMARKET", "FX",
            }
        ),
        "filterType": frozenset(
            {
                "PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MAX_NUM_ORDERS", "MAX_NUM_ALGO_ORDERS", "MIN_NOTIONAL",
                "PERCENT_PRICE", "POSITION_RISK_CONTROL",
            }
        ),
        "rateLimitType": frozenset({"REQUEST_WEIGHT", "ORDERS"}),
    },
)  # fmt: skip
