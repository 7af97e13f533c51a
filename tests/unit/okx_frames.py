"""OKX's frames, made by hand for tests."""

from __future__ import annotations

import json
from typing import Any

import databento_dbn as dbn

import providers
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope, Kind
from providers.okx import payloads
from providers.okx.normalizer import Normalizer

INFO = providers.info("okx")
NS = 1_000_000
T0_MS = 1_790_000_000_000


def instrument(inst_id: str, **words: object) -> dict[str, object]:
    """An instrument: spot, or a linear contract of 0.01 in the base currency."""
    parts = inst_id.split("-")
    kind = {2: "SPOT", 3: "SWAP" if parts[-1] == "SWAP" else "FUTURES"}.get(len(parts), "OPTION")
    spot = kind == "SPOT"
    facts: dict[str, object] = {
        "instId": inst_id, "instType": kind, "tickSz": "0.1", "lotSz": "0.00000001" if spot else "1",
        "minSz": "0.00001" if spot else "1", "state": "live", "baseCcy": parts[0] if spot else "",
        "quoteCcy": parts[1] if spot else "", "settleCcy": "" if spot else "USDT",
        "uly": "" if spot else "-".join(parts[:2]),
        "ctVal": "" if spot else "0.01", "ctMult": "" if spot else "1", "ctValCcy": "" if spot else parts[0],
        "ctType": "" if spot else "linear", "listTime": "1606468572000", "expTime": "", "optType": "", "stk": "",
    }  # fmt: skip
    return facts | words


def listed(*instruments: dict[str, object]) -> bytes:
    """A body of GET /api/v5/public/instruments."""
    return json.dumps({"code": "0", "msg": "", "data": instruments}).encode()


def push(channel: str, *data: object, action: str | None = None) -> bytes:
    """A data frame of a raw channel."""
    name, _, subject = channel.partition(".")
    key = "instType" if name in {"instruments", "liquidation-orders"} else "instId"
    words: dict[str, object] = {"arg": {"channel": name, key: subject}}
    if action:
        words["action"] = action
    return json.dumps(words | {"data": list(data)}).encode()


def book(
    channel: str, action: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], ms: int = 0, **words: object
) -> bytes:
    """A frame of a book channel; `words` are seqId, prevSeqId, checksum."""
    levels = {"bids": [[*level, "0", "1"] for level in bids], "asks": [[*level, "0", "1"] for level in asks]}
    return push(channel, {**levels, "ts": str(T0_MS + ms), **words}, action=action)


def trade(inst_id: str, trade_id: int, ms: int = 0, **words: object) -> dict[str, object]:
    """An element of `trades`."""
    facts = {
        "instId": inst_id,
        "tradeId": str(trade_id),
        "px": "100.5",
        "sz": "3",
        "side": "buy",
        "ts": str(T0_MS + ms),
    }
    return facts | words


class Feed:
    """A normalizer and the envelopes it is given."""

    def __init__(self, *instruments: dict[str, object], archive: bool = False) -> None:
        self.normalizer = Normalizer(INFO, archive=archive)
        self.number = 0
        self.ms = 0
        if instruments:
            self.learned = self.rest("rest/instruments/" + str(instruments[0]["instType"]), listed(*instruments))

    def envelope(self, channel: str, payload: bytes, kind: Kind = KIND_FRAME, connection: int = 1) -> list[Output]:
        """Normalize one envelope, received a millisecond after the one before."""
        self.number += 1
        self.ms += 1
        ts_recv = (T0_MS + self.ms) * NS
        made = Envelope(
            sequence=self.number, ts_recv=ts_recv, connection=connection, channel=channel, kind=kind, payload=payload
        )
        return list(self.normalizer.normalize(made))

    def rest(self, channel: str, body: bytes) -> list[Output]:
        return self.envelope(channel, body, connection=0)

    def frame(self, payload: bytes) -> list[Output]:
        """Normalize a frame on the channel that its bytes say."""
        return self.envelope(payloads.channel_of(payload), payload)


def decoded(message: Output) -> list[Any]:
    """The records of a message by Databento's decoder."""
    assert isinstance(message, Message)
    decoder: Any = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


def gaps(outputs: list[Output]) -> list[tuple[str, str]]:
    """(channel, reason) of the gap markers."""
    found = []
    for output in outputs:
        if isinstance(output, Message):
            for record in decoded(output):
                if isinstance(record, dbn.ErrorMsg):
                    found.append((output.channel, str(record.err).split("reason=")[1].split(" ")[0]))
    return found
