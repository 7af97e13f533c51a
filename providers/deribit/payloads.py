"""Deribit's messages in its own words.

Prices and amounts stay `msgspec.Raw`, the venue's exact text, until numbers.py makes integers of them. Fields that nothing
here reads are left out. Channel descriptions: https://docs.deribit.com/subscriptions (read 2026-11).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from providers.deribit.peeks import channel_of, event_time, merge_key, redact

__all__ = ["channel_of", "event_time", "merge_key", "redact"]  # what penstock.payloads.Payloads asks for

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

ABSENT: Final = msgspec.Raw()


class BookData(msgspec.Struct, gc=False):
    """The data of `book.<instrument>.<raw|100ms|agg2>`; levels are (word, price, new absolute amount).

    https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval

        {"type":"change","timestamp":1617644858339,"prev_change_id":8973367653,
         "instrument_name":"ETH-30APR21-2240-P","change_id":8973367846,
         "bids":[["delete",0.0255,0.0],["new",0.026,299.0]],"asks":[]}
    """

    type: str
    timestamp: Id
    instrument_name: str
    change_id: Id
    bids: list[tuple[str, msgspec.Raw, msgspec.Raw]]
    asks: list[tuple[str, msgspec.Raw, msgspec.Raw]]
    prev_change_id: Id | None = None


class GroupedBookData(msgspec.Struct, gc=False):
    """The data of `book.<instrument>.<group>.<depth>.<interval>`: all levels, (price, amount), in every message.

    https://docs.deribit.com/subscriptions/orderbook/bookinstrument_namegroupdepthinterval

        {"timestamp":1653982973195,"instrument_name":"BTC-30SEP22","change_id":45176371821,
         "bids":[[31975.0,1370.0]],"asks":[[31976.5,2500.0],[31979.0,60.0]]}
    """

    timestamp: Id
    instrument_name: str
    change_id: Id
    bids: list[tuple[msgspec.Raw, msgspec.Raw]]
    asks: list[tuple[msgspec.Raw, msgspec.Raw]]


class Trade(msgspec.Struct, gc=False):
    """One element of the data of `trades.<instrument>.<interval>` and `trades.<kind>.<currency>.<interval>`.

    https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval

        {"trade_seq":5326971,"trade_id":"137486952","timestamp":1616321287195,"tick_direction":0,"price":56273.5,
         "mark_price":56243.86,"instrument_name":"BTC-26MAR21","index_price":56127.59,"direction":"buy","amount":6000.0}

    `direction` is the taker's. `liquidation` is M (the maker was liquidated), T (the taker) or MT (both).
    """

    trade_seq: Id
    timestamp: Id
    instrument_name: str
    price: msgspec.Raw
    amount: msgspec.Raw
    direction: str
    liquidation: str | None = None
    combo_id: msgspec.Raw = ABSENT
    combo_trade_id: msgspec.Raw = ABSENT
    block_trade_id: msgspec.Raw = ABSENT
    block_rfq_id: msgspec.Raw = ABSENT


class Top(msgspec.Struct, gc=False):
    """The data of `quote.<instrument>`, and the first part of a ticker's.

    https://docs.deribit.com/subscriptions/market-data/quoteinstrument_name

        {"timestamp":1654012882984,"instrument_name":"BTC-PERPETUAL","best_bid_price":32143.0,
         "best_bid_amount":179960.0,"best_ask_price":32143.5,"best_ask_amount":20.0}
    """

    timestamp: Id
    instrument_name: str
    best_bid_price: msgspec.Raw = ABSENT
    best_bid_amount: msgspec.Raw = ABSENT
    best_ask_price: msgspec.Raw = ABSENT
    best_ask_amount: msgspec.Raw = ABSENT


class Stats(msgspec.Struct, gc=False):
    """Over the last 24 hours: `volume` in the base currency, `volume_usd` for futures."""

    volume: msgspec.Raw = ABSENT
    volume_usd: msgspec.Raw = ABSENT
    low: msgspec.Raw = ABSENT
    high: msgspec.Raw = ABSENT


class Greeks(msgspec.Struct, gc=False):
    """Of options only."""

    delta: msgspec.Raw = ABSENT


class Ticker(Top, gc=False):
    """The data of `ticker.<instrument>.<interval>`.

    https://docs.deribit.com/subscriptions/market-data/tickerinstrument_nameinterval

        {"timestamp":1654161785818,"stats":{"volume_usd":545442610.0,"volume":17945.19644566,"price_change":-5.4014,
         "low":29265.5,"high":31903.5},"state":"open","settlement_price":29945.69,"open_interest":559791310,
         "min_price":29485.31,"max_price":30383.34,"mark_price":29932.79,"last_price":29931.0,
         "instrument_name":"BTC-PERPETUAL","index_price":29930.44,"funding_8h":0.00000255,
         "estimated_delivery_price":29930.44,"current_funding":0.0,"best_bid_price":29930.5,
         "best_bid_amount":149910.0,"best_ask_price":29931.0,"best_ask_amount":62850.0}
    """

    state: str | None = None
    open_interest: msgspec.Raw = ABSENT
    mark_price: msgspec.Raw = ABSENT
    index_price: msgspec.Raw = ABSENT
    estimated_delivery_price: msgspec.Raw = ABSENT
    last_price: msgspec.Raw = ABSENT
    current_funding: msgspec.Raw = ABSENT
    funding_8h: msgspec.Raw = ABSENT
    mark_iv: msgspec.Raw = ABSENT
    stats: Stats | None = None
    greeks: Greeks | None = None


class InstrumentState(msgspec.Struct):
    """The data of `instrument.state.<kind>.<currency>`.

    https://docs.deribit.com/subscriptions/market-data/instrumentstatekindcurrency

        {"timestamp":1553080940000,"state":"created","instrument_name":"BTC-22MAR19"}
    """

    timestamp: Id
    state: str
    instrument_name: str


class Candle(msgspec.Struct, gc=False):
    """The data of `chart.trades.<instrument>.<resolution>`: the present candle, each time it changes.

    https://docs.deribit.com/subscriptions/market-data/charttradesinstrument_nameresolution

        {"volume":0.02120555,"tick":1654079340000,"open":31595.5,"low":31595.5,"high":31595.5,"cost":670.0,
         "close":31595.5}

    `tick` is its start; `volume` is in the base currency, `cost` the same in the quote currency (dollars for inverse).
    """

    tick: Id
    open: msgspec.Raw
    high: msgspec.Raw
    low: msgspec.Raw
    close: msgspec.Raw
    volume: msgspec.Raw
    cost: msgspec.Raw


class Notice(msgspec.Struct):
    """The data of `platform_state` and of `platform_state.public_methods_state`, either field or both missing.

    https://docs.deribit.com/subscriptions/platform/platform_state
    https://docs.deribit.com/subscriptions/platform/platform_statepublic_methods_state

        {"price_index":"sol_usdc","locked":true}
        {"maintenance":true}
        {"allow_unauthenticated_public_requests":true}
    """

    price_index: str | None = None
    locked: bool | None = None
    maintenance: bool | None = None
    allow_unauthenticated_public_requests: bool | None = None


class RpcError(msgspec.Struct):
    """https://docs.deribit.com/articles/errors: {"code":13004,"message":"invalid_credentials"}"""

    code: int
    message: str = ""


class HeartbeatParams(msgspec.Struct):
    """`type` is heartbeat, or test_request where the client must call public/test or be disconnected."""

    type: str = ""


class Reply(msgspec.Struct):
    """A control frame: the reply to a call by its `id`, or a heartbeat.

    https://docs.deribit.com/api-reference/session-management/public-set_heartbeat

        {"jsonrpc":"2.0","id":0,"result":["book.BTC-PERPETUAL.100ms"],"usIn":1617644856930085,"testnet":false}
        {"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}
    """

    id: int | None = None
    method: str | None = None
    params: HeartbeatParams | None = None
    result: msgspec.Raw = ABSENT
    error: RpcError | None = None


class InstrumentName(msgspec.Struct):
    """An instrument of which nothing but the name can be read."""

    instrument_name: str


class Instrument(InstrumentName):
    """One element of the result of public/get_instruments. Answers before 2022 lack the fields with defaults.

    https://docs.deribit.com/api-reference/market-data/public-get_instruments

        {"price_index":"btc_usd","kind":"future","instrument_name":"BTC-PERPETUAL","instrument_type":"reversed",
         "expiration_timestamp":32503708800000,"creation_timestamp":1534167754000,"is_active":true,"tick_size":0.5,
         "contract_size":10.0,"instrument_id":124972,"min_trade_amount":10.0,"settlement_currency":"BTC",
         "settlement_period":"perpetual","base_currency":"BTC","counter_currency":"USD","quote_currency":"USD"}
    """

    kind: str
    base_currency: str
    quote_currency: str
    tick_size: msgspec.Raw
    contract_size: msgspec.Raw
    min_trade_amount: msgspec.Raw
    creation_timestamp: Id | None = None
    expiration_timestamp: Id | None = None
    settlement_currency: str | None = None
    settlement_period: str | None = None
    instrument_type: str | None = None
    future_type: str | None = None
    option_type: str | None = None
    strike: msgspec.Raw = ABSENT
    price_index: str | None = None
    instrument_id: Id = 0
    state: str | None = None


class Instruments(msgspec.Struct):
    """The body of public/get_instruments: `result`, or `error`. `usOut` is the venue's time in microseconds."""

    result: list[msgspec.Raw] | None = None
    error: RpcError | None = None
    usOut: Id = 0  # noqa: N815 # the venue's word
