"""`penstock tail`: what is on the hot path now, decoded and readable."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import databento_dbn as db
import redis

from penstock import dbn
from penstock.channels import Channel
from penstock.errors import Terminal
from penstock.lots import SCALE, decimal_text


def follow(url: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Every (channel, message) that matches, until interrupted. Raises Terminal where Redis cannot be reached."""
    client = redis.Redis.from_url(url)
    subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis-py
    try:
        subscription.psubscribe(pattern)
        for message in subscription.listen():
            yield message["channel"].decode(), message["data"]
    except redis.RedisError as error:
        # Without the URL, which may hold a password.
        raise Terminal(f"--redis cannot be used: {error}") from None


class Reader:
    """Messages to text. Lots and symbols come from the definition hash, read once per provider and when missing."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._decoder = db.DBNDecoder(has_metadata=False, input_version=dbn.VERSION)
        self._lots: dict[tuple[str, int], tuple[str, int]] = {}

    def lines(self, name: str, data: bytes, *, raw: bool, as_json: bool) -> Iterator[str]:
        """One line per record (`raw`: one per message, base64 DBN)."""
        if raw:
            yield (
                json.dumps({"channel": name, "dbn": base64.b64encode(data).decode()})
                if as_json
                else f"{name} {data.hex()}"
            )
            return
        channel = Channel.parse(name)
        list(dbn.records(data))
        self._decoder.write(data)
        for record in self._decoder.decode():
            fields = self._fields(channel, record)
            if as_json:
                yield json.dumps({"channel": name, **fields})
            else:
                yield f"{name}  " + "  ".join(f"{key} {value}" for key, value in fields.items())

    def _fields(self, channel: Channel, record: Any) -> dict[str, Any]:
        symbol, lot = self._lot(channel.provider, record.instrument_id)
        fields: dict[str, Any] = {"record": type(record).__name__, "symbol": symbol, "ts_event": record.ts_event}
        for name in ("action", "side"):
            if hasattr(record, name):
                fields[name] = str(getattr(record, name))
        if hasattr(record, "price") and record.price != dbn.UNDEF_PRICE:
            fields["price"] = decimal_text(record.price)
        if hasattr(record, "size") and record.size != dbn.UNDEF_ORDER_SIZE:
            fields["quantity"] = decimal_text(record.size * lot)
        if isinstance(record, db.MBP1Msg):
            level = record.levels[0]
            fields["bid"] = f"{decimal_text(level.bid_px)} × {decimal_text(level.bid_sz * lot)}"
            fields["ask"] = f"{decimal_text(level.ask_px)} × {decimal_text(level.ask_sz * lot)}"
        if isinstance(record, db.StatMsg):
            fields["stat_type"] = int(record.stat_type)
            if record.quantity != dbn.UNDEF_STAT_QUANTITY:
                fields["stat_quantity"] = record.quantity
        for name in ("sequence", "flags"):
            if hasattr(record, name):
                fields[name] = int(getattr(record, name))
        for name in ("msg", "err", "raw_symbol"):
            if hasattr(record, name):
                fields[name] = str(getattr(record, name))
        return fields

    def _lot(self, provider: str, instrument_id: int) -> tuple[str, int]:
        found = self._lots.get((provider, instrument_id))
        if found is None:
            known: Any = self._client.hgetall(f"DEFINITION.{provider}")
            for data in known.values():
                self._decoder.write(data)
                for record in self._decoder.decode():
                    assert isinstance(record, db.InstrumentDefMsg)
                    key = (provider, record.instrument_id)
                    self._lots[key] = (record.raw_symbol, record.unit_of_measure_qty)
            found = self._lots.get((provider, instrument_id), (f"#{instrument_id}", SCALE))
        return found
