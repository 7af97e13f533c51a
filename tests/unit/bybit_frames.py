"""Bybit's messages as the venue would send them, envelopes, and readers of what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import databento_dbn as db

import providers
from penstock.cli import capture
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import KIND_DROPPED, KIND_FRAME, Envelope
from providers.bybit.normalizer import Normalizer

INFO = providers.info("bybit")
T0 = 1_786_310_818_000
"""Milliseconds."""

MS = 1_000_000
LINEAR = {
    "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT",
    "launchTime": "1584230400000", "deliveryTime": "0", "priceFilter": {"tickSize": "0.10"}, "settleCoin": "USDT",
    "lotSizeFilter": {"minOrderQty": "0.001", "qtyStep": "0.001"}, "symbolId": 5,
}  # fmt: skip
SPOT = {
    "symbol": "BTCUSDT", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT", "symbolId": 9,
    "priceFilter": {"tickSize": "0.1"}, "lotSizeFilter": {"basePrecision": "0.000001", "minOrderQty": "0.000001"},
}  # fmt: skip
INVERSE = LINEAR | {
    "symbol": "BTCUSD", "contractType": "InversePerpetual", "quoteCoin": "USD", "settleCoin": "BTC",
    "priceFilter": {"tickSize": "0.50"}, "lotSizeFilter": {"minOrderQty": "1", "qtyStep": "1"},
}  # fmt: skip
OPTION = {
    "symbol": "BTC-30JUN25-100000-C", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USD", "settleCoin": "USDC",
    "optionsType": "Call", "launchTime": "1700000000000", "deliveryTime": "1751270400000",
    "priceFilter": {"tickSize": "5"}, "lotSizeFilter": {"qtyStep": "0.01", "minOrderQty": "0.01"},
}  # fmt: skip
LISTS = {"linear": LINEAR, "spot": SPOT, "inverse": INVERSE, "option": OPTION}


def recording(fixtures: Path) -> list[Envelope]:
    """The recording of 2026-08, definitions included."""
    return list(capture.read([fixtures / "bybit" / "cryptofeed-2026-08" / "BYBIT.jsonl.zst"], "bybit").envelopes)


def envelope(channel: str, body: Any, *, ts_ms: int = T0, connection: int = 1, kind: Any = KIND_FRAME) -> Envelope:
    payload = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return Envelope(
        sequence=1, ts_recv=ts_ms * MS + 3 * MS, connection=connection, channel=channel, kind=kind, payload=payload
    )


def listed(category: str, *items: dict[str, Any], symbol: str = "", code: int = 0, ts_ms: int = T0) -> Envelope:
    """An instruments-info answer."""
    channel = f"rest/instruments-info/{category}" + (f"/{symbol}" if symbol else "")
    body = {"retCode": code, "retMsg": "OK", "result": {"category": category, "list": items}, "time": ts_ms}
    return envelope(channel, body, ts_ms=ts_ms, connection=0)


def book(
    u: int, bids: Any = (), asks: Any = (), *, seq: int | None = None, kind: str = "delta", ts_ms: int | None = None,
    channel: str = "linear.orderbook.200.BTCUSDT", connection: int = 1,
) -> Envelope:  # fmt: skip
    """An orderbook message; times and seq rise with `u`."""
    _, topic = channel.split(".", 1)
    data = {
        "s": topic.split(".")[-1],
        "b": list(bids),
        "a": list(asks),
        "u": u,
        "seq": seq if seq is not None else u * 10,
    }
    at = ts_ms if ts_ms is not None else T0 + u
    return envelope(
        channel, {"topic": topic, "type": kind, "ts": at + 1, "data": data, "cts": at}, ts_ms=at, connection=connection
    )


def snapshot(u: int, **more: Any) -> Envelope:
    return book(u, [["100.0", "1.5"], ["99.9", "2"]], [["100.1", "0.5"]], kind="snapshot", **more)


def trades(*items: dict[str, Any], channel: str = "linear.publicTrade.BTCUSDT") -> Envelope:
    """A publicTrade message; items override one trade's fields."""
    symbol = channel.split(".")[-1]
    plain = {
        "T": T0,
        "s": symbol,
        "S": "Buy",
        "v": "0.004",
        "p": "100.1",
        "i": "a-1",
        "BT": False,
        "RPI": False,
        "seq": 5,
    }
    body = {"topic": channel.split(".", 1)[1], "type": "snapshot", "ts": T0, "data": [plain | item for item in items]}
    return envelope(channel, body)


def ticker(
    kind: str, channel: str = "linear.tickers.BTCUSDT", *, cs: int = 1, ts_ms: int = T0, **fields: str
) -> Envelope:
    data = {"symbol": channel.split(".", 2)[2]} | fields
    body = {"topic": channel.split(".", 1)[1], "type": kind, "data": data, "cs": cs, "ts": ts_ms}
    return envelope(channel, body, ts_ms=ts_ms)


def dropped(channel: str) -> Envelope:
    return envelope(channel, {"first": 3, "last": 4}, kind=KIND_DROPPED)


def normalizer(*categories: str, archive: bool = False) -> Normalizer:
    """One that knows the instruments of these categories, all where none is named."""
    made = Normalizer(INFO, archive=archive)
    for category in categories or tuple(LISTS):
        made.normalize(listed(category, LISTS[category]))
    return made


def records(outputs: Any) -> list[Any]:
    """Every DBN record of the messages."""
    decoder = db.DBNDecoder(has_metadata=False, input_version=3)
    for output in outputs:
        if isinstance(output, Message):
            decoder.write(output.data)
    return list(decoder.decode())


def gaps(outputs: Any) -> list[tuple[str, str, str]]:
    """(schema, channel, reason) of every gap marker."""
    return [
        (output.schema, output.channel, records([output])[0].err.split("reason=")[1].split(" ")[0])
        for output in outputs
        if isinstance(output, Message) and output.data[1] == 0x15
    ]


def refusal(made: Normalizer, frame: Envelope) -> PayloadError:
    """The error a frame is refused with."""
    try:
        made.normalize(frame)
    except PayloadError as error:
        return error
    raise AssertionError(f"{frame.channel} was not refused")


def of_schema(outputs: Any, schema: str) -> list[Output]:
    return [output for output in outputs if isinstance(output, Message) and output.schema == schema]
