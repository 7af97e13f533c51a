"""Binance USD-M futures' hand-made frames, as envelopes; shared by this provider's tests."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import databento_dbn

import providers
from penstock.dbn import RTYPE_ERROR, records
from penstock.markers import Gap, parse
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope, Kind
from providers.binance_usdm.normalizer import Normalizer

INFO = providers.info("binance_usdm")
REFERENCE = (Path(providers.__file__).parent / "binance_usdm" / "reference.json").read_bytes()
T0 = 1_723_161_256_299_000_123
E0 = 1_723_161_256_299
MS = 1_000_000
NEVER = 4_133_404_800_000

TRADES, DEPTH, QUOTES = "btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker"
MARK, LIQUIDATIONS, CONTRACT = "btcusdt@markPrice@1s", "btcusdt@forceOrder", "!contractInfo"
SNAPSHOT, EXCHANGE_INFO, OPEN_INTEREST = "rest/depth/BTCUSDT", "rest/exchangeInfo", "rest/openInterest/BTCUSDT"

MBO = struct.Struct("<BBHIQQqIBBccQiI")
TRADE = struct.Struct("<BBHIQqIccBBQiI")
MBP_1 = struct.Struct("<BBHIQqIccBBQiIqqIIII")
STAT = struct.Struct("<BBHIQQQqqIiHHBB18x")


class Record(NamedTuple):
    """An MBO record, as struct reads it."""

    ts_event: int
    order_id: int
    price: int
    size: int
    flags: int
    action: bytes
    side: bytes
    ts_recv: int
    sequence: int


class Statistic(NamedTuple):
    """A STATISTICS record, as struct reads it."""

    kind: int
    price: int
    quantity: int
    ts_event: int
    ts_ref: int
    flags: int


def mbo(message: Message) -> list[Record]:
    return [Record(f[4], f[5], f[6], f[7], f[8], f[10], f[11], f[12], f[14]) for f in MBO.iter_unpack(message.data)]


def statistics(message: Message) -> list[Statistic]:
    return [Statistic(f[11], f[7], f[8], f[4], f[6], f[14]) for f in STAT.iter_unpack(message.data)]


def decoded(message: Message) -> list[Any]:
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


def compact(frame: Any) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def envelope(
    channel: str, payload: bytes | str | dict[str, Any], ts_recv: int = T0, kind: Kind = KIND_FRAME, connection: int = 1
) -> Envelope:
    if isinstance(payload, dict):
        payload = compact(payload)
    if isinstance(payload, str):
        payload = payload.encode()
    return Envelope(sequence=1, ts_recv=ts_recv, connection=connection, channel=channel, kind=kind, payload=payload)


def of(stream: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"stream": stream, "data": data}


def trade(number: Any, **changed: Any) -> dict[str, Any]:
    data = {
        "e": "aggTrade", "E": E0 + 2, "a": number, "s": "BTCUSDT", "p": "61800.20", "q": "0.020", "nq": "0.020",
        "f": 1, "l": 2, "T": E0 + 1, "m": True, "st": 1,
    }  # fmt: skip
    return of(TRADES, data | changed)


def match(number: Any, **changed: Any) -> dict[str, Any]:
    data = {
        "e": "trade", "E": E0 + 2, "T": E0 + 1, "s": "BTCUSDT", "t": number, "p": "61800.20", "q": "0.020",
        "X": "MARKET", "m": False,
    }  # fmt: skip
    return of("btcusdt@trade", data | changed)


def depth(
    previous: Any, first: Any, last: Any, bids: Sequence[Any] = (), asks: Sequence[Any] = (), **changed: Any
) -> dict[str, Any]:
    data = {
        "e": "depthUpdate", "E": E0, "T": E0 - 1, "s": "BTCUSDT", "U": first, "u": last, "pu": previous, "b": bids,
        "a": asks,
    }  # fmt: skip
    return of(DEPTH, data | changed)


def snapshot(last: Any, bids: Any, asks: Any) -> dict[str, Any]:
    return {"lastUpdateId": last, "E": E0 + 5, "T": E0 + 4, "bids": bids, "asks": asks}


def quote(update: Any, **changed: Any) -> dict[str, Any]:
    data = {
        "e": "bookTicker", "u": update, "s": "BTCUSDT", "b": "61800.20", "B": "3.330", "a": "61800.30", "A": "1.546",
        "T": E0 - 1, "E": E0,
    }  # fmt: skip
    return of(QUOTES, data | changed)


def mark(**changed: Any) -> dict[str, Any]:
    data = {
        "e": "markPriceUpdate", "E": E0, "s": "BTCUSDT", "p": "58940.14924532", "ap": "58940.14924532",
        "P": "58905.14663658", "i": "58857.26693664", "r": "0.00058455", "T": 1_723_190_400_000, "st": 1,
    }  # fmt: skip
    return of(MARK, data | changed)


def liquidation(**changed: Any) -> dict[str, Any]:
    order = {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.020", "p": "9911", "ap": "9910", "X": "FILLED",
        "l": "0.006", "z": "0.014", "T": E0 - 3,
    }  # fmt: skip
    return of(LIQUIDATIONS, {"e": "forceOrder", "E": E0, "o": order | changed})


def ticker(**changed: Any) -> dict[str, Any]:
    data = {
        "e": "24hrTicker", "E": E0, "s": "BTCUSDT", "p": "-1.0", "P": "-0.1", "w": "58000.0", "c": "58940.10", "Q": "0.002",
        "o": "58941.10", "h": "60000.00", "l": "57000.00", "v": "122474.816", "q": "1", "O": E0 - 86_400_000, "C": E0,
        "F": 1, "L": 2, "n": 2, "st": 1,
    }  # fmt: skip
    return of("btcusdt@ticker", data | changed)


def bar(**changed: Any) -> dict[str, Any]:
    data = {
        "t": 1_638_747_660_000, "T": 1_638_747_719_999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "1.10",
        "c": "1.20", "h": "1.30", "l": "1.00", "v": "191.5", "n": 100, "x": True, "q": "1", "V": "5", "Q": "1", "B": "0",
    }  # fmt: skip
    return of("btcusdt@kline_1m", {"e": "kline", "E": E0, "s": "BTCUSDT", "k": data | changed})


def contract(**changed: Any) -> dict[str, Any]:
    data = {
        "e": "contractInfo", "E": E0, "s": "BTCUSDT", "ps": "BTCUSDT", "ct": "PERPETUAL", "dt": NEVER,
        "ot": 1_569_398_400_000, "cs": "TRADING", "st": 1,
    }  # fmt: skip
    return of(CONTRACT, data | changed)


def listed(symbol: str = "BTCUSDT", tick: str = "0.10", step: str = "0.001", **changed: Any) -> dict[str, Any]:
    """An entry of exchangeInfo."""
    entry = {
        "symbol": symbol, "pair": symbol.partition("_")[0], "contractType": "PERPETUAL", "deliveryDate": NEVER,
        "onboardDate": 1_569_398_400_000, "status": "TRADING", "baseAsset": symbol[:3], "quoteAsset": "USDT",
        "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": step},
        ],
    }  # fmt: skip
    return entry | changed


def info(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"timezone": "UTC", "symbols": list(entries)}


def defined(*, archive: bool = False) -> Normalizer:
    """A normalizer that knows BTCUSDT and ETHUSDT."""
    normalizer = Normalizer(INFO, archive=archive)
    normalizer.normalize(envelope(EXCHANGE_INFO, REFERENCE))
    return normalizer


def feed(normalizer: Normalizer, *frames: dict[str, Any], ts_recv: int = T0) -> list[Output]:
    """Frames by what they are: stream messages, exchangeInfo, open interest, or snapshots."""
    outputs: list[Output] = []
    for frame in frames:
        rest = EXCHANGE_INFO if "symbols" in frame else OPEN_INTEREST if "openInterest" in frame else SNAPSHOT
        outputs += normalizer.normalize(envelope(frame.get("stream", rest), frame, ts_recv))
    return outputs


def gaps(outputs: Iterable[Output]) -> list[Gap]:
    found = []
    for output in outputs:
        if isinstance(output, Message) and output.data[1] == RTYPE_ERROR:
            gap = parse(output.data[16:318].rstrip(b"\0").decode())
            assert isinstance(gap, Gap)
            found.append(gap)
    return found


def data(outputs: Iterable[Output], schema: str = "") -> list[Message]:
    """The messages that are no markers; each is checked to be whole records."""
    found = []
    for output in outputs:
        if isinstance(output, Message):
            kinds = {rtype for rtype, _ in records(output.data)}
            if RTYPE_ERROR not in kinds and schema in {"", output.schema}:
                found.append(output)
    return found


def resyncs(outputs: Iterable[Output]) -> list[str]:
    return [output.channel for output in outputs if isinstance(output, Resync)]


class Rebuilt:
    """A book as a subscriber rebuilds it from MBO records, in lots; parts of a level add up."""

    def __init__(self) -> None:
        self.orders: dict[int, int] = {}
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def apply(self, message: Message) -> None:
        for record in mbo(message):
            if record.action == b"R":
                self.orders, self.bids, self.asks = {}, {}, {}
                continue
            levels = self.bids if record.side == b"B" else self.asks
            old = self.orders.pop(record.order_id, 0)
            assert bool(old) == (record.action != b"A"), "A adds what was not there, M and C change what was"
            new = 0 if record.action == b"C" else record.size
            if new:
                self.orders[record.order_id] = new
            levels[record.price] = levels.get(record.price, 0) + new - old
            if not levels[record.price]:
                del levels[record.price]
