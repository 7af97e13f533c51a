"""Every word of Kraken's messages of the channels and calls used here, by which drift is noticed.

From https://docs.kraken.com/exchange/api-reference/spot-websocket-v2, …/spot-websocket-v1 and the REST specification
https://docs.kraken.com/openapi/spot-rest.yaml (read 2026-11), and from recordings of 2021 to 2025.
"""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary

_CONTROL: Final = (
    "method channel type data req_id result success error warnings time_in time_out symbol snapshot depth interval "
    "event_trigger include_tokenized_assets version system api_version connection_id"
)
_BOOK: Final = "bids asks price qty checksum timestamp event order_id limit_price order_qty"
_TRADE: Final = "side ord_type trade_id"
_TICKER: Final = "bid bid_qty ask ask_qty last volume vwap low high change change_pct"
_CANDLE: Final = "open close trades interval_begin"
_INSTRUMENT: Final = (
    "assets pairs id status precision precision_display borrowable collateral_value margin_rate multiplier class base "
    "quote qty_precision qty_increment qty_min price_precision price_increment cost_precision cost_min marginable "
    "has_index margin_initial position_limit_long position_limit_short tick_size execution_venue"
)
_ASSET_PAIR: Final = (
    "altname wsname aclass_base aclass_quote lot pair_decimals lot_decimals lot_multiplier cost_decimals leverage_buy "
    "leverage_sell fees fees_maker fee_volume_currency margin_call margin_stop ordermin costmin long_position_limit "
    "short_position_limit"
)
_V1: Final = "channelID channelName pair subscription name connectionID errorMessage reqid as bs a b c v p t l h o"

_CHANNELS: Final = "book level3 trade ticker ohlc instrument status heartbeat"
_EVENTS: Final = "add modify delete systemStatus subscriptionStatus heartbeat pong error"
_STATUSES: Final = (
    "online cancel_only post_only limit_only reduce_only maintenance delisted work_in_progress "  # pairs and the system
    "enabled disabled deposit_only withdrawal_only funding_temporarily_disabled "  # assets
    "subscribed unsubscribed error"  # subscriptions of the API v1
)

VOCABULARY: Final = Vocabulary(
    fields=frozenset(
        f"{_CONTROL} {_BOOK} {_TRADE} {_TICKER} {_CANDLE} {_INSTRUMENT} {_ASSET_PAIR} {_V1}".split()
    ),
    values={
        "channel": frozenset(_CHANNELS.split()),
        "type": frozenset({"snapshot", "update"}),
        "method": frozenset({"subscribe", "unsubscribe", "pong", "ping"}),
        "event": frozenset(_EVENTS.split()),
        "side": frozenset({"buy", "sell"}),
        "ord_type": frozenset({"market", "limit"}),
        "status": frozenset(_STATUSES.split()),
        "system": frozenset({"online", "cancel_only", "post_only", "limit_only", "maintenance"}),
        "execution_venue": frozenset({"international", "bermuda"}),
        "aclass_base": frozenset({"currency", "tokenized_asset", "forex"}),
        "api_version": frozenset({"v2"}),
    },
    data_keys=r"[A-Z0-9.]{5,20}(\.d)?|[A-Z0-9]{1,12}x[A-Z]{3}",  # pairs in REST answers
)  # fmt: skip
