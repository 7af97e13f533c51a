"""The texts of the simulated venue: client requests and answers to them, stream messages, REST bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from simulator.conflation import Window
from simulator.market import ONE, Fill, LevelChange, Listing, Statistics, decimal

_FIRST_UPDATE: Final = 5_123_107_832_006  # beyond 32 bits, as the real ones are
_UPDATE_STEP: Final = 7  # ids are shared by the whole venue: one symbol's are far apart
_MS: Final = 1_000_000
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_FUNDING_MS: Final = 8 * 3_600_000
_RATE: Final = 10  # of 1e-9: rates have eight decimals
NEVER_MS: Final = 4_133_404_800_000
ONBOARD_MS: Final = 1_569_398_400_000


class Call(msgspec.Struct):
    """What a client sends: {"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}."""

    method: str
    id: int | str | None = None
    params: list[str] = []


_CALL: Final = msgspec.json.Decoder(Call)


def read(text: str) -> Call | str:
    """A client's frame, or the answer to one that is none."""
    try:
        return _CALL.decode(text)
    except msgspec.ValidationError as error:
        return refuse(None, 2, f"Invalid request: {error}")
    except (msgspec.DecodeError, RecursionError) as error:
        return refuse(None, 3, f"Invalid JSON: {error}")


def reply(call: Call, result: object) -> str:
    return msgspec.json.encode({"result": result, "id": call.id}).decode()


def unknown(call: Call) -> str:
    variants = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
    return refuse(call.id, 2, f"Invalid request: unknown variant `{call.method}`, expected one of {variants}")


def refuse(number: int | str | None, code: int, text: str) -> str:
    return msgspec.json.encode({"error": {"code": code, "msg": text}, "id": number}).decode()


def update_id(sequence: int) -> int:
    """The update id after the listing's event `sequence`."""
    return _FIRST_UPDATE + sequence * _UPDATE_STEP


class Aggregate(NamedTuple):
    """Fills of one taker order at one price."""

    number: int
    first: int
    last: int
    price: int
    quantity: int
    aggressor: str


@dataclass(slots=True)
class Bar:
    """One minute of a listing, prices and volume at 1e-9. Where nothing traded it stands still at the last price."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    trades: int = 0

    @classmethod
    def begin(cls, ms: int, price: int) -> Bar:
        return cls(ms - ms % _MINUTE_MS, price, price, price, price)

    def add(self, fill: Fill) -> None:
        self.high, self.low, self.close = max(self.high, fill.price), min(self.low, fill.price), fill.price
        self.volume += fill.quantity
        self.trades += 1

    def over(self, ms: int) -> bool:
        return ms >= self.start_ms + _MINUTE_MS


def old_aggregate(ms: int, trade: Aggregate) -> str:
    """An element of aggTrades over REST."""
    maker = "true" if trade.aggressor == "sell" else "false"
    return (
        f'{{"a":{trade.number},"p":"{price(trade.price)}","q":"{quantity(trade.quantity)}","f":{trade.first},'
        f'"l":{trade.last},"T":{ms},"m":{maker}}}'
    )


def aggregate_trade(channel: str, symbol: str, ms: int, trade: Aggregate) -> str:
    maker = "true" if trade.aggressor == "sell" else "false"
    return (
        f'{{"stream":"{channel}","data":{{"e":"aggTrade","E":{ms},"a":{trade.number},"s":"{symbol}",'
        f'"p":"{price(trade.price)}","q":"{quantity(trade.quantity)}","nq":"{quantity(trade.quantity)}",'
        f'"f":{trade.first},"l":{trade.last},"T":{ms},"m":{maker},"st":1}}}}'
    )


def book_ticker(channel: str, symbol: str, ms: int, update: int, bid: tuple[int, int], ask: tuple[int, int]) -> str:
    return (
        f'{{"stream":"{channel}","data":{{"e":"bookTicker","u":{update},"s":"{symbol}","ps":"{symbol}",'
        f'"b":"{price(bid[0])}","B":"{quantity(bid[1])}","a":"{price(ask[0])}","A":"{quantity(ask[1])}",'
        f'"T":{ms},"E":{ms},"st":1}}}}'
    )


def depth_update(channel: str, window: Window, ms: int, previous: int) -> str:
    """`T` is when the last of the window's events happened, `ms` when this is sent."""
    symbol = window.listing.symbol
    bids = [change for change in window.changes if change.side == "bid"]
    asks = [change for change in window.changes if change.side == "ask"]
    return (
        f'{{"stream":"{channel}","data":{{"e":"depthUpdate","E":{ms},"T":{window.ts_ns // _MS},"s":"{symbol}",'
        f'"ps":"{symbol}","U":{update_id(window.first)},"u":{update_id(window.last)},"pu":{previous},'
        f'"b":{_changes(bids)},"a":{_changes(asks)},"st":1}}}}'
    )


def mark_price(channel: str, symbol: str, ms: int, figures: dict[str, int]) -> str:
    return (
        f'{{"stream":"{channel}","data":{{"e":"markPriceUpdate","E":{ms},"s":"{symbol}","p":"{decimal(figures["p"], 8)}",'
        f'"ap":"{decimal(figures["p"], 8)}","P":"{decimal(figures["P"], 8)}","i":"{decimal(figures["i"], 8)}",'
        f'"r":"{decimal(figures["r"], 8)}","T":{next_funding(ms)},"st":1}}}}'
    )


def figures_of(statistics: Statistics) -> dict[str, int]:
    """What `@markPrice` says, at 1e-9 under the venue's names."""
    rate = statistics.funding // _RATE * _RATE
    return {"p": statistics.mark, "i": statistics.index, "P": statistics.index, "r": rate}


def next_funding(ms: int) -> int:
    return ms - ms % _FUNDING_MS + _FUNDING_MS


def ticker(channel: str, symbol: str, ms: int, figures: Statistics) -> str:
    change = figures.last - figures.open
    average = figures.turnover * ONE // figures.volume if figures.volume else 0
    return (
        f'{{"stream":"{channel}","data":{{"e":"24hrTicker","E":{ms},"s":"{symbol}","p":"{decimal(change, 2)}",'
        f'"P":"{decimal(change * 100 // (figures.open // ONE or 1), 3)}","w":"{decimal(average, 2)}",'
        f'"c":"{price(figures.last)}","Q":"0.001","o":"{price(figures.open)}","h":"{price(figures.high)}",'
        f'"l":"{price(figures.low)}","v":"{quantity(figures.volume)}","q":"{decimal(figures.turnover, 2)}",'
        f'"O":{ms - ms % _MINUTE_MS - _DAY_MS},"C":{ms},"F":1,"L":2,"n":2,"st":1}}}}'
    )


def kline(channel: str, symbol: str, ms: int, bar: Bar, finished: bool) -> str:
    over = "true" if finished else "false"
    return (
        f'{{"stream":"{channel}","data":{{"e":"kline","E":{ms},"s":"{symbol}","k":{{"t":{bar.start_ms},'
        f'"T":{bar.start_ms + _MINUTE_MS - 1},"s":"{symbol}","i":"1m","f":-1,"L":-1,"o":"{price(bar.open)}",'
        f'"c":"{price(bar.close)}","h":"{price(bar.high)}","l":"{price(bar.low)}","v":"{quantity(bar.volume)}",'
        f'"n":{bar.trades},"x":{over},"q":"0","V":"0","Q":"0","B":"0"}}}}}}'
    )


def liquidation(channel: str, symbol: str, ms: int, fill: Fill, fill_ms: int) -> str:
    """The taker's order was the liquidation's."""
    side, size, at = fill.aggressor.upper(), quantity(fill.quantity), price(fill.price)
    return (
        f'{{"stream":"{channel}","data":{{"e":"forceOrder","E":{ms},"o":{{"s":"{symbol}","S":"{side}","o":"LIMIT",'
        f'"f":"IOC","q":"{size}","p":"{at}","ap":"{at}","X":"FILLED","l":"{size}","z":"{size}","T":{fill_ms}}},"st":1}}}}'
    )


def contract_info(channel: str, symbol: str, ms: int, status: str) -> str:
    return (
        f'{{"stream":"{channel}","data":{{"e":"contractInfo","E":{ms},"s":"{symbol}","ps":"{symbol}","ct":"PERPETUAL",'
        f'"dt":{NEVER_MS},"ot":{ONBOARD_MS},"cs":"{status}","st":1}}}}'
    )


def contract(listing: Listing, status: str) -> dict[str, object]:
    """An entry of exchangeInfo."""
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_MS,
        "onboardDate": ONBOARD_MS,
        "status": status,
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "marginAsset": listing.quote,
        "pricePrecision": 2,
        "quantityPrecision": len(decimal(listing.lot).partition(".")[2]),
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": price(listing.tick), "tickSize": price(listing.tick)},
            {"filterType": "LOT_SIZE", "minQty": quantity(listing.lot), "stepSize": quantity(listing.lot)},
        ],
    }


def price(value: int) -> str:
    return decimal(value, 2)


def quantity(value: int) -> str:
    return decimal(value, 3)


def _changes(changes: Sequence[LevelChange]) -> str:
    levels = [f'["{price(at)}","{quantity(size)}"]' for _, at, size, _ in changes]
    return f"[{','.join(levels)}]"
