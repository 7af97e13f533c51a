"""Every word of the venue's messages that we have seen or read of, used or not: what is not here is reported once.

Of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels, …/errors and the REST pages of products (2026-11), and of
recordings of 2021 and 2022.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_STREAM: Final = """
    type product_id time sequence bids asks changes trade_id maker_order_id taker_order_id side size price
    order_id order_type client_oid remaining_size reason cancel_reason funds new_size old_size new_price old_price
    new_funds old_funds stop_type stop_price timestamp user_id profile_id private maker_user_id maker_profile_id
    taker_user_id taker_profile_id maker_fee_rate taker_fee_rate
    open_24h volume_24h low_24h high_24h volume_30d best_bid best_bid_size best_ask best_ask_size last_size
    last_trade_id channels name product_ids account_ids message products currencies
"""
_PRODUCT: Final = """
    id base_currency quote_currency base_min_size base_max_size quote_increment base_increment display_name
    min_market_funds max_market_funds margin_enabled post_only limit_only cancel_only trading_disabled status
    status_message fx_stablecoin max_slippage_percentage auction_mode high_bid_limit_percentage accessible
"""
_CURRENCY: Final = """
    min_size max_precision convertible_to details default_network supported_networks symbol sort_order
    network_confirmations crypto_address_link crypto_transaction_link push_payment_methods group_types
    processing_time_seconds min_withdrawal_amount max_withdrawal_amount contract_address funding_account_id
    destination_tag_name destination_tag_regex network_map
"""
_BOOK: Final = """
    auction open_price open_size best_bid_price best_ask_price auction_state can_open
    indicative_open_price indicative_open_size indicative_bid_price indicative_bid_size indicative_ask_price
    indicative_ask_size auction_status
"""

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_STREAM} {_PRODUCT} {_CURRENCY} {_BOOK}".split()),
    values={
        # `type` is also the kind of a product (`spot`) and of a currency's details (`crypto`, `fiat`).
        "type": frozenset(
            [
                "snapshot",
                "l2update",
                "match",
                "last_match",
                "received",
                "open",
                "done",
                "change",
                "activate",
                "ticker",
                "heartbeat",
                "status",
                "subscriptions",
                "error",
                "spot",
                "crypto",
                "fiat",
            ]
        ),
        "side": frozenset({"buy", "sell"}),
        "order_type": frozenset({"limit", "market"}),
        "status": frozenset({"online", "offline", "internal", "delisted"}),
    },
)
