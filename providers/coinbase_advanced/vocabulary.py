"""Every word of Coinbase Advanced Trade's messages used here, by which drift is noticed.

From https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/advanced-trade-asyncapi.json and
https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/products/list-public-products (read 2026-11),
and from recordings of 2026.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_FRAME: Final = (
    "channel client_id timestamp sequence_num events type message product_id subscriptions "
    "heartbeats level2 market_trades ticker ticker_batch candles status current_time heartbeat_counter"
)
_DATA: Final = (
    "updates side event_time price_level new_quantity trades trade_id price size time tickers volume_24_h low_24_h "
    "high_24_h low_52_w high_52_w price_percent_chg_24_h best_bid best_ask best_bid_quantity best_ask_quantity "
    "start high low open close volume "
    # status
    "products id product_type base_currency quote_currency base_increment quote_increment display_name status_message "
    "min_market_funds "
    # GET …/products/{product_id}/ticker
    "bid ask exchange"
)
_PRODUCT: Final = (
    "num_products pagination prev_cursor next_cursor has_next has_prev price_percentage_change_24h volume_24h "
    "volume_percentage_change_24h quote_min_size quote_max_size base_min_size base_max_size base_name quote_name watched "
    "is_disabled new cancel_only limit_only post_only trading_disabled auction_mode quote_currency_id base_currency_id "
    "fcm_trading_session_details mid_market_price alias alias_to base_display_symbol quote_display_symbol view_only "
    "price_increment product_venue approximate_quote_24h_volume new_at base_cbrn quote_cbrn product_cbrn icon_color "
    "icon_url market_cap about_description display_name_overwrite is_alpha_testing best_bid_price best_ask_price high_24h "
    "low_24h"
)
_FUTURE: Final = (
    "future_product_details venue contract_code contract_expiry contract_size contract_root_unit group_description "
    "contract_expiry_timezone group_short_description risk_managed_by contract_expiry_type perpetual_details "
    "contract_display_name time_to_expiry_ms non_crypto contract_expiry_name twenty_four_by_seven open_interest "
    "funding_rate funding_time max_leverage base_asset_uuid underlying_type settlement_price settlement_timestamp "
    "is_session_open open_time close_time session_state after_hours_order_entry_disabled closed_reason maintenance"
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_FRAME} {_DATA} {_PRODUCT} {_FUTURE}".split()),
    values={
        "channel": frozenset(
            {"l2_data", "market_trades", "ticker", "candles", "status", "heartbeats", "subscriptions"}
        ),
        "type": frozenset({"snapshot", "update", "ticker", "error"}),
        "side": frozenset({"bid", "offer", "BUY", "SELL"}),
        "status": frozenset({"online", "offline", "delisted", "internal"}),
        "product_type": frozenset({"SPOT", "FUTURE", "UNKNOWN_PRODUCT_TYPE"}),
    },
)
