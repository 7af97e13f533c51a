"""Every word of Bybit v5's messages of the channels and calls used here, by which drift is noticed.

From https://bybit-exchange.github.io/docs/v5 (read 2026-11, as of 2026-07-24) and a recording of 2026-08.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_FRAME: Final = "topic type ts cts cs id data op args req_id success ret_msg conn_id failTopics successTopics"
_ANSWER: Final = "retCode retMsg retExtInfo time result category list nextPageCursor"
_BOOK: Final = "s b a u seq"
_TRADE: Final = "T S v p L i BT RPI mP iP mIv iv"
_TICKER: Final = (
    "symbol tickDirection price24hPcnt lastPrice prevPrice24h highPrice24h lowPrice24h prevPrice1h markPrice indexPrice "
    "openInterest openInterestValue singleOpenInterest singleOpenInterestValue turnover24h volume24h nextFundingTime "
    "fundingRate fundingIntervalHour fundingCap bid1Price bid1Size ask1Price ask1Size preOpenPrice preQty "
    "curPreListingPhase basisRate basisRateYear basis deliveryTime deliveryFeeRate predictedDeliveryPrice usdIndexPrice "
    "bidPrice bidSize bidIv askPrice askSize askIv markPriceIv underlyingPrice totalVolume totalTurnover delta gamma "
    "vega theta change24h"
)
_CANDLE: Final = "start end interval open high low close volume turnover confirm timestamp"
_SYSTEM: Final = "title state begin end href serviceTypes product uidSuffix maintainType env"
_INSTRUMENT: Final = (
    "symbolId contractType optionsType status baseCoin quoteCoin settleCoin symbolType launchTime deliveryTime "
    "deliveryFeeRate priceScale leverageFilter minLeverage maxLeverage leverageStep priceFilter minPrice maxPrice tickSize "
    "lotSizeFilter maxOrderQty minOrderQty qtyStep postOnlyMaxOrderQty maxMktOrderQty minNotionalValue basePrecision "
    "quotePrecision minOrderAmt maxOrderAmt maxLimitOrderQty maxMarketOrderQty postOnlyMaxLimitOrderSize "
    "unifiedMarginTrade fundingInterval copyTrading upperFundingRate lowerFundingRate isPreListing preListingInfo "
    "curAuctionPhase phases phase startTime endTime auctionFeeInfo auctionFeeRate takerFeeRate makerFeeRate "
    "skipCallAuction riskParameters priceLimitRatioX priceLimitRatioY displayName fullName marketRegion underlyingTicker "
    "forbidUplWithdrawal innovation marginTrading stTag xstockMultiplier"
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_FRAME} {_ANSWER} {_BOOK} {_TRADE} {_TICKER} {_CANDLE} {_SYSTEM} {_INSTRUMENT}".split()),
    values={
        "type": frozenset({"snapshot", "delta", "COMMAND_RESP"}),
        "op": frozenset({"subscribe", "unsubscribe", "ping", "pong"}),
        "S": frozenset({"Buy", "Sell"}),
        "L": frozenset({"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"}),
        "category": frozenset({"linear", "inverse", "spot", "option"}),
        "contractType": frozenset({"InversePerpetual", "LinearPerpetual", "LinearFutures", "InverseFutures"}),
        "optionsType": frozenset({"Call", "Put"}),
        "status": frozenset({"PreLaunch", "PendingOpen", "Trading", "Settling", "Delivering", "Closed"}),
        "symbolType": frozenset({"innovation", "adventure", "xstocks", "commodity", "stock", "forex"}),
        "state": frozenset({"scheduled", "ongoing", "completed", "canceled"}),
    },
)
