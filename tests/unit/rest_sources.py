"""Sources for the tests of the REST poller, and what reads their bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import databento_dbn
import msgspec

import providers
from penstock import markers
from penstock.dbn import RTYPE_ERROR, VERSION
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope, Kind
from providers.rest.facts import described
from providers.rest.loading import read
from providers.rest.normalizer import Normalizer
from providers.rest.source import RestInfo, Source

T0 = 1_790_000_000_000_000_000
SECOND = 1_000_000_000

DESK: dict[str, Any] = {
    "name": "desk",
    "title": "A desk",
    "base_url": "https://desk.example/v1",
    "limits": {"count": 100, "per_s": 1},
    "instruments": [{"symbol": "BTC-USD", "base": "BTC", "quote": "USD", "lot": "0.001", "tick": "0.01"}],
    "endpoints": [],
}

TRADES: dict[str, Any] = {
    "name": "trades",
    "schema": "TRADES",
    "path": "/trades/{symbol}",
    "items": "[*]",
    "order": "oldest_first",
    "fields": {
        "id": {"path": "id", "consecutive": True},
        "price": "p",
        "size": "q",
        "time": {"path": "t", "unit": "ms"},
        "side": {"path": "s", "of": "aggressor", "buy": ["b"], "sell": ["s"]},
    },
}


def file(folder: Path, tree: dict[str, Any], name: str = "desk.yaml") -> Path:
    """The tree as a YAML file; JSON is YAML."""
    path = folder / name
    path.write_text(json.dumps(tree), "utf-8")
    return path


def source(*endpoints: dict[str, Any], **changes: Any) -> Source:
    """A desk with these endpoints, checked by nothing but its structs."""
    return msgspec.convert(DESK | {"endpoints": list(endpoints)} | changes, Source)


def info(*sources: Source) -> RestInfo:
    return described(providers.info("rest"), sources)


def shipped(folder: Path, text: str) -> Source:
    """The source that a YAML text describes."""
    path = folder / "source.yaml"
    path.write_text(text, "utf-8")
    return read(path)


def trade(
    number: object, *, price: object = "100.5", size: object = "0.002", side: object = "b", ms: int = 1
) -> dict[str, Any]:
    return {"id": number, "p": price, "q": size, "s": side, "t": 1_790_000_000_000 + ms}


class Reader:
    """A normalizer, and its outputs as plain values."""

    def __init__(self, *sources: Source, archive: bool = False) -> None:
        self.normalizer = Normalizer(info(*sources), archive=archive)
        self.now = T0
        self.symbols: dict[int, str] = {}

    def send(self, channel: str, payload: bytes, kind: Kind = KIND_FRAME, connection: int = 0) -> list[tuple[Any, ...]]:
        """(schema, channel, record) of each record, ("gap", channel, reason, expected, got), ("resync", channel)."""
        envelope = Envelope(
            sequence=1, ts_recv=self.now, connection=connection, channel=channel, kind=kind, payload=payload
        )
        return [fact for output in self.normalizer.normalize(envelope) for fact in facts(output)]

    def body(self, channel: str, content: object) -> list[tuple[Any, ...]]:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.send(channel, payload)

    def tell(self, kind: Kind, content: object, connection: int = 0, channel: str = "session") -> list[tuple[Any, ...]]:
        return self.send(channel, json.dumps(content).encode(), kind, connection)


def facts(output: Output) -> list[tuple[Any, ...]]:
    if isinstance(output, Resync):
        return [("resync", output.channel)]
    assert isinstance(output, Message)
    if output.data[1] == RTYPE_ERROR:
        gap = markers.parse(output.data[16:318].split(b"\0", 1)[0].decode())
        assert isinstance(gap, markers.Gap)
        return [("gap", output.channel, *gap)]
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=VERSION)
    decoder.write(output.data)
    return [(output.schema, output.channel, record) for record in decoder.decode()]


def ids(found: list[tuple[Any, ...]]) -> list[Any]:
    """The sequences of trades, with ("gap", reason, expected, got) and "definition" in their places."""
    return [
        ("gap", *fact[2:]) if fact[0] == "gap" else fact[2].sequence if fact[0] == "TRADES" else fact[0].lower()
        for fact in found
    ]
