"""Every word of Deribit's messages of the channels and calls used here, by which drift is noticed.

From https://docs.deribit.com/specifications/deribit_asyncapi.json and deribit_openapi.json (read 2026-11), and from
recordings of 2021 to 2026.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_RPC: Final = (
    "jsonrpc id method params channel data result error code message reason param usIn usOut usDiff testnet type version "
    "access_token refresh_token expires_in scope token_type enabled_features sid mandatory_tfa_status"
)
_BOOK: Final = "timestamp instrument_name change_id prev_change_id bids asks"
_TRADE: Final = (
    "trade_seq trade_id tick_direction price mark_price index_price direction amount contracts iv liquidation combo_id "
    "combo_trade_id block_trade_id block_trade_leg_count block_rfq_id block_rfqs"
)
_TICKER: Final = (
    "best_bid_price best_bid_amount best_ask_price best_ask_amount state stats volume volume_usd volume_notional "
    "price_change low high open_interest min_price max_price last_price settlement_price delivery_price "
    "estimated_delivery_price current_funding funding_8h interest_value interest_rate mark_iv bid_iv ask_iv greeks delta "
    "gamma rho theta vega underlying_index underlying_price implied_bid implied_ask combo_state"
)
_INSTRUMENT: Final = (
    "price_index kind instrument_type future_type option_type expiration_timestamp creation_timestamp is_active "
    "tick_size tick_size_steps above_price contract_size instrument_id min_trade_amount settlement_currency "
    "settlement_period base_currency counter_currency quote_currency strike rfq maker_commission taker_commission "
    "block_trade_commission block_trade_tick_size block_trade_min_trade_amount max_leverage max_non_default_leverage "
    "max_liquidation_commission state_timestamp leverage"
)
_OTHER: Final = (
    "tick open close cost status "  # chart.trades
    "index_name volatility estimated_delivery "  # deribit_price_index, deribit_volatility_index
    "locked maintenance allow_unauthenticated_public_requests "  # platform_state
    "title body action important publication_timestamp unread"  # announcements
)

_STATES: Final = (
    "created open started settlement settled locked halted delivered closed inactive terminated archivized active rfq"
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(f"{_RPC} {_BOOK} {_TRADE} {_TICKER} {_INSTRUMENT} {_OTHER}".split()),
    values={
        "jsonrpc": frozenset({"2.0"}),
        "method": frozenset({"subscription", "heartbeat"}),
        "type": frozenset({"snapshot", "change", "heartbeat", "test_request"}),
        "direction": frozenset({"buy", "sell"}),
        "liquidation": frozenset({"M", "T", "MT", "none"}),
        "kind": frozenset({"future", "option", "spot", "future_combo", "option_combo"}),
        "instrument_type": frozenset({"reversed", "linear"}),
        "future_type": frozenset({"reversed", "linear"}),
        "option_type": frozenset({"call", "put", "not_applicable"}),
        "settlement_period": frozenset({"day", "week", "month", "perpetual"}),
        "status": frozenset({"ok", "imputed"}),
        "state": frozenset(_STATES.split()),
    },
)
