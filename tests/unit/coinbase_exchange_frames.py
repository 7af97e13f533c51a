"""Coinbase Exchange's frames by hand, and a normalizer that takes them; shared by this provider's tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import providers
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope, Kind
from penstock.session import Credentials
from providers.coinbase_exchange.normalizer import Normalizer
from providers.coinbase_exchange.payloads import channel_of
from tests.contract import naive

INFO = providers.info("coinbase_exchange")
T0 = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
CREDENTIALS = Credentials(
    {
        "COINBASE_EXCHANGE_API_KEY": "key",
        "COINBASE_EXCHANGE_API_SECRET": base64.b64encode(b"secret").decode(),
        "COINBASE_EXCHANGE_API_PASSPHRASE": "phrase",
    }
)
PRODUCT = {
    "id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "quote_increment": "0.01",
    "base_increment": "0.00000001", "status": "online",
}  # fmt: skip


def at(seconds: float) -> str:
    """A venue time so long after 2026-09-21T14:13:20Z, which is T0."""
    micros = round(seconds * 1_000_000)
    minutes, rest = divmod(20_000_000 + micros, 60_000_000)
    return f"2026-09-21T14:{13 + minutes:02d}:{rest // 1_000_000:02d}.{rest % 1_000_000:06d}Z"


class Feed:
    """A normalizer that knows BTC-USD. Times are seconds after T0; what it returns is of the last frame."""

    def __init__(self, *, archive: bool = False) -> None:
        self.normalizer = Normalizer(INFO, archive=archive)
        self.now = 0.0
        self.rest("rest/products", [PRODUCT])

    def frame(self, message: dict[str, Any], connection: int = 1) -> list[Output]:
        payload = json.dumps(message).encode()
        return self.take(channel_of(payload), payload, connection)

    def rest(self, channel: str, body: object) -> list[Output]:
        return self.take(channel, json.dumps(body).encode(), 0)

    def take(self, channel: str, payload: bytes, connection: int = 1, kind: Kind = KIND_FRAME) -> list[Output]:
        ts_recv = T0 + round(self.now * SECOND)
        envelope = Envelope(ts_recv=ts_recv, connection=connection, channel=channel, kind=kind, payload=payload)
        return list(self.normalizer.normalize(envelope))

    # --- frames, of now ---------------------------------------------------------------------------------------------

    def snapshot(
        self, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]], connection: int = 1
    ) -> list[Output]:
        message = {"type": "snapshot", "product_id": "BTC-USD", "bids": bids, "asks": asks, "time": at(self.now)}
        return self.frame(message, connection)

    def update(self, *changes: Sequence[str], when: float | None = None, connection: int = 1) -> list[Output]:
        time = at(self.now if when is None else when)
        return self.frame(
            {"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": time}, connection
        )  # fmt: skip

    def match(self, trade_id: int, kind: str = "match", **fields: Any) -> list[Output]:
        message = {
            "type": kind, "trade_id": trade_id, "maker_order_id": "m", "taker_order_id": "t", "side": "sell",
            "size": "0.5", "price": "100.00", "product_id": "BTC-USD", "sequence": 1, "time": at(self.now),
        }  # fmt: skip
        return self.frame(message | fields)

    def heartbeat(self, last_trade_id: int, sequence: int = 1) -> list[Output]:
        message = {"type": "heartbeat", "sequence": sequence, "last_trade_id": last_trade_id, "product_id": "BTC-USD"}
        return self.frame(message | {"time": at(self.now)})

    def order(self, kind: str, sequence: int, order_id: str, **fields: str | None) -> list[Output]:
        message = {"type": kind, "product_id": "BTC-USD", "time": at(self.now), "sequence": sequence}
        return self.frame(message | {"order_id": order_id, "side": "buy"} | fields)


def gaps(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    """(channel, reason) of each gap."""
    return [
        (output.channel, naive.gap_reason(output.data))
        for output in outputs
        if isinstance(output, Message) and naive.is_gap(output.data)
    ]


def data(outputs: Sequence[Output], schema: str) -> list[bytes]:
    """The messages of a schema that are no gaps."""
    messages = [output for output in outputs if isinstance(output, Message) and output.schema == schema]
    return [message.data for message in messages if not naive.is_gap(message.data)]


def resyncs(outputs: Sequence[Output]) -> list[str]:
    return [output.channel for output in outputs if isinstance(output, Resync)]


def trade_ids(outputs: Sequence[Output]) -> list[int]:
    return [int(naive.TRADE.unpack(message[:48])[13]) for message in data(outputs, "TRADES")]
