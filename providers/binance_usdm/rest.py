"""Binance USD-M futures' REST answers as structs, in the venue's own words.

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api (2026-10)
"""
# ruff: noqa: N815 # field names are the venue's

from __future__ import annotations

from typing import Annotated

import msgspec

from providers.binance_usdm.payloads import Id, Level


class DepthSnapshot(msgspec.Struct, gc=False):
    """GET /fapi/v1/depth: the book after update `lastUpdateId`, best levels first. /Order-Book

    {"lastUpdateId":1027024,"E":1589436922972,"T":1589436922959,"bids":[["4.00000000","431.00000000"]],
     "asks":[["4.00000200","12.00000000"]]}
    """

    lastUpdateId: Id
    T: Id
    bids: list[Level]
    asks: list[Level]


class OpenInterest(msgspec.Struct, gc=False):
    """GET /fapi/v1/openInterest: in the base asset. /Open-Interest

    {"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}
    """

    openInterest: str
    symbol: str
    time: Id


class Premium(msgspec.Struct, gc=False):
    """GET /fapi/v1/premiumIndex: what `@markPrice` has; `time` is its `E`. /Mark-Price

    {"symbol":"BTCUSDT","markPrice":"11793.63104562","indexPrice":"11781.80495970",
     "estimatedSettlePrice":"11781.16138815","lastFundingRate":"0.00038246","interestRate":"0.00010000",
     "nextFundingTime":1597392000000,"time":1597370495002}
    """

    time: Id


class Filter(msgspec.Struct):
    """A rule for orders of a symbol; only the fields of PRICE_FILTER and LOT_SIZE are of interest. common-definition

    {"filterType":"PRICE_FILTER","minPrice":"556.72","maxPrice":"1000000","tickSize":"0.01"}
    {"filterType":"LOT_SIZE","minQty":"0.001","maxQty":"1000","stepSize":"0.001"}
    """

    filterType: str
    tickSize: str = ""
    minQty: str = ""
    stepSize: str = ""


class Symbol(msgspec.Struct):
    """An instrument in ExchangeInfo. A perpetual's `deliveryDate` is in 2100 until its delisting is announced."""

    symbol: str
    pair: str
    contractType: str
    deliveryDate: Id
    onboardDate: Id
    status: str
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    quantityPrecision: Annotated[int, msgspec.Meta(ge=0, le=18)]
    filters: list[Filter]


class ExchangeInfo(msgspec.Struct):
    """GET /fapi/v1/exchangeInfo: every contract, always all of them. /Exchange-Information

    {"timezone":"UTC","serverTime":1626858243909,"futuresType":"U_MARGINED","symbols":[{"symbol":"BTCUSDT",
     "pair":"BTCUSDT","contractType":"PERPETUAL","deliveryDate":4133404800000,"onboardDate":1569398400000,
     "status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","quantityPrecision":3,
     "filters":[…],…}],…}
    """

    symbols: list[Symbol]
