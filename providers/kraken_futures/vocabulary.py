"""Every word of Kraken Futures' messages of the feeds and calls used here, by which drift is noticed.

From https://docs.kraken.com/exchange/api-reference/futures-websocket and https://docs.kraken.com/openapi/futures-rest.yaml
(read 2026-11), and from recordings of 2021 to 2025.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_CONTROL: Final = "event version feed product_ids message"
_BOOK: Final = "product_id timestamp seq tickSize bids asks price qty side"
_TRADE: Final = "trades uid type time"
_TICKER: Final = (
    "funding_rate funding_rate_prediction relative_funding_rate relative_funding_rate_prediction "
    "next_funding_rate_time bid ask bid_size ask_size volume dtm leverage index premium last change suspended tag pair "
    "openInterest markPrice maturityTime post_only volumeQuote open high low"
)
_REST: Final = "result serverTime error errors instruments history"
_INSTRUMENT: Final = (
    "symbol underlying lastTradingTime contractSize tradeable impactMidSize maxPositionSize openingDate marginLevels "
    "retailMarginLevels marginSchedules contracts numNonContractUnits initialMargin maintenanceMargin "
    "fundingRateCoefficient maxRelativeFundingRate isin contractValueTradePrecision postOnly feeScheduleUid mtf base "
    "quote category tags tradfi"
)
_HISTORY: Final = (
    "trade_id size instrument_identification_type execution_venue price_notation price_currency notional_amount "
    "notional_currency publication_time publication_venue transaction_identification_code to_be_cleared"
)

_EVENTS: Final = (
    "info subscribed subscribed_failed unsubscribed unsubscribed_failed error alert pong challenge ping subscribe "
    "unsubscribe"
)
_FEEDS: Final = "book book_snapshot trade trade_snapshot ticker ticker_lite heartbeat"
_TYPES: Final = (
    "fill liquidation assignment termination block "  # trades
    "futures_inverse futures_vanilla flexible_futures"  # instruments; "spot index" has a blank
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_CONTROL} {_BOOK} {_TRADE} {_TICKER} {_REST} {_INSTRUMENT} {_HISTORY}".split()),
    values={
        "event": frozenset(_EVENTS.split()),
        "feed": frozenset(_FEEDS.split()),
        "side": frozenset({"buy", "sell"}),
        "type": frozenset({*_TYPES.split(), "spot index"}),
        "tag": frozenset({"perpetual", "month", "quarter", "semiannual"}),
        "result": frozenset({"success", "error"}),
    },
)
