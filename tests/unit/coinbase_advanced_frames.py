"""Coinbase Advanced Trade's recording and hand-made frames, as envelopes; shared by this provider's tests."""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import zstandard

import providers
from penstock.dbn import RTYPE_ERROR, records
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.coinbase_advanced.normalizer import Normalizer
from providers.coinbase_advanced.payloads import channel_of

INFO = providers.info("coinbase_advanced")
T0 = 1_786_309_548_000_000_000

MBO = struct.Struct("<BBHIQQqIBBccQiI")
TRADE = struct.Struct("<BBHIQqIccBBQiI")
MBP_1 = struct.Struct("<BBHIQqIccBBQiIqqIIII")
STAT = struct.Struct("<BBHIQQQqqIiHHBB18x")


class Mbo(NamedTuple):
    """The fields of an MBO record that tests look at."""

    action: bytes
    side: bytes
    price: int
    size: int
    flags: int
    order_id: int


def mbo(data: bytes) -> list[Mbo]:
    found = []
    for _, record in records(data):
        _, _, _, _, _, order_id, price, size, flags, _, action, side, _, _, _ = MBO.unpack(record)
        found.append(Mbo(action, side, price, size, flags, order_id))
    return found


def capture(fixtures: Path) -> Iterator[Envelope]:
    """The recording as a session manager would have sent it."""
    path = fixtures / "coinbase" / "cryptofeed-2026-08" / "COINBASE.jsonl.zst"
    sequence = 0
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
            entry = json.loads(line, parse_float=Decimal)
            if entry["t"] not in ("http", "recv"):
                continue
            sequence += 1
            payload, rest = entry["data"].encode(), entry["t"] == "http"
            yield Envelope(
                sequence=sequence,
                ts_recv=int(entry["ts"] * 10**9),
                connection=0 if rest else 1,
                channel="rest/products" if rest else channel_of(payload),
                kind=KIND_FRAME,
                payload=payload,
            )


def envelope(frame: dict[str, object] | bytes, connection: int = 1, ts_recv: int = T0, channel: str = "") -> Envelope:
    payload = frame if isinstance(frame, bytes) else json.dumps(frame, separators=(",", ":")).encode()
    return Envelope(
        sequence=1, ts_recv=ts_recv, connection=connection, channel=channel or channel_of(payload), kind=KIND_FRAME,
        payload=payload,
    )  # fmt: skip


def stamp(ns: int) -> str:
    """A venue time text of UNIX ns."""
    second = dt.datetime.fromtimestamp(ns // 10**9, dt.UTC)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09}Z"


def product(name: str = "BTC-USD", **changes: object) -> dict[str, object]:
    base, quote = name.split("-")
    return {
        "product_id": name, "base_increment": "0.00000001", "price_increment": "0.01", "base_min_size": "0.00000001",
        "base_currency_id": base, "quote_currency_id": quote, "product_type": "SPOT", "status": "online",
    } | changes  # fmt: skip


def products(*listed: dict[str, object], ts_recv: int = T0) -> Envelope:
    body = {"products": list(listed) or [product("BTC-USD"), product("ETH-USD")]}
    return envelope(json.dumps(body).encode(), 0, ts_recv, "rest/products")


def numbered(channel: str, number: int, events: Sequence[object], at: int | None = None) -> dict[str, object]:
    at = T0 + number * 10**6 if at is None else at
    return {"channel": channel, "timestamp": stamp(at), "sequence_num": number, "events": list(events)}


def level_event(
    kind: str, levels: Sequence[tuple[str, str, str]], name: str = "BTC-USD", at: int = T0
) -> dict[str, object]:
    updates = [
        {"side": side, "event_time": stamp(at), "price_level": price, "new_quantity": quantity}
        for side, price, quantity in levels
    ]
    return {"type": kind, "product_id": name, "updates": updates}


def trade(number: int, name: str = "BTC-USD", side: str = "BUY", size: str = "1", at: int = T0) -> dict[str, object]:
    return {
        "product_id": name, "trade_id": str(number), "price": "100.5", "size": size, "time": stamp(at), "side": side,
    }  # fmt: skip


def heartbeat(number: int, at: int | None = None) -> dict[str, object]:
    return numbered("heartbeats", number, [{"current_time": "-", "heartbeat_counter": number}], at)


SNAPSHOT = [("bid", "100.00", "1"), ("bid", "99.50", "2"), ("offer", "101.00", "3"), ("offer", "102.00", "4")]


def ready(*, archive: bool = False) -> Normalizer:
    """A normalizer that knows BTC-USD and ETH-USD."""
    normalizer = Normalizer(INFO, archive=archive)
    normalizer.normalize(products())
    return normalizer


def is_gap(output: Output) -> bool:
    return isinstance(output, Message) and output.data[1] == RTYPE_ERROR


def gaps(outputs: Sequence[Output]) -> list[tuple[str, str, str]]:
    """(schema, channel, reason) of each gap."""
    return [
        (output.schema, output.channel, output.data[16:].split(b" ")[1].removeprefix(b"reason=").decode())
        for output in outputs
        if isinstance(output, Message) and is_gap(output)
    ]
