"""Binance spot's recordings and hand-made frames, as envelopes; shared by this provider's tests."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import providers
from penstock.dbn import RTYPE_ERROR, records
from penstock.markers import Gap, parse
from penstock.normalizing import Message, Output, Resync
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope, Kind
from providers.binance_spot.normalizer import Normalizer
from providers.binance_spot.payloads import channel_of

INFO = providers.info("binance_spot")
REFERENCE = (Path(providers.__file__).parent / "binance_spot" / "reference.json").read_bytes()
T0 = 1_723_161_253_937_085_768
E0 = 1_723_161_253_937
LOT = 1_000  # of BTCUSDT at 1e-9: 0.000001

TRADES, DEPTH, QUOTES = "btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"
SNAPSHOT, EXCHANGE_INFO = "rest/depth/BTCUSDT", "rest/exchangeInfo"

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


def mbo(message: Message) -> list[Record]:
    return [Record(f[4], f[5], f[6], f[7], f[8], f[10], f[11], f[12], f[14]) for f in MBO.iter_unpack(message.data)]


def envelope(
    channel: str, payload: bytes | str | dict[str, Any], ts_recv: int = T0, kind: Kind = KIND_FRAME, connection: int = 1
) -> Envelope:
    if isinstance(payload, dict):
        payload = json.dumps(payload, separators=(",", ":"))
    if isinstance(payload, str):
        payload = payload.encode()
    return Envelope(sequence=1, ts_recv=ts_recv, connection=connection, channel=channel, kind=kind, payload=payload)


def trade(trade_id: Any, **changed: Any) -> dict[str, Any]:
    data = {
        "e": "trade", "E": E0 + 2, "s": "BTCUSDT", "t": trade_id, "p": "61837.63000000", "q": "0.02000000",
        "T": E0 + 1, "m": True, "M": True,
    }  # fmt: skip
    return {"stream": TRADES, "data": data | changed}


def depth(first: Any, last: Any, bids: Any = (), asks: Any = (), **changed: Any) -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": E0, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return {"stream": DEPTH, "data": data | changed}


def quote(update: Any, **changed: Any) -> dict[str, Any]:
    data = {
        "u": update, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000",
        "A": "1.54698000",
    }  # fmt: skip
    return {"stream": QUOTES, "data": data | changed}


def snapshot(last: Any, bids: Any, asks: Any) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": bids, "asks": asks}


def definition(symbol: str = "BTCUSDT", **changed: str) -> dict[str, Any]:
    """An exchangeInfo of one symbol; `changed` are fields of its filters or its status."""
    price = {"filterType": "PRICE_FILTER", "tickSize": changed.get("tickSize", "0.01000000")}
    size = {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"}
    size |= {name: text for name, text in changed.items() if name in size}
    base, quote_ = symbol[:-4], symbol[-4:]
    status = changed.get("status", "TRADING")
    entry = {"symbol": symbol, "status": status, "baseAsset": base, "quoteAsset": quote_, "filters": [price, size]}
    return {"timezone": "UTC", "symbols": [entry]}


def defined(*, archive: bool = False) -> Normalizer:
    """A normalizer that knows BTCUSDT."""
    normalizer = Normalizer(INFO, archive=archive)
    normalizer.normalize(envelope(EXCHANGE_INFO, REFERENCE))
    return normalizer


def feed(normalizer: Normalizer, *frames: dict[str, Any], ts_recv: int = T0) -> list[Output]:
    """Frames by what they are: stream messages, or snapshots."""
    outputs: list[Output] = []
    for frame in frames:
        channel = frame.get("stream", SNAPSHOT)
        outputs += normalizer.normalize(envelope(channel, frame, ts_recv))
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

    def apply(self, message: Message) -> list[tuple[bytes, int]]:
        """Returns the levels that were touched."""
        touched = []
        for record in mbo(message):
            if record.action == b"R":
                self.__init__()  # type: ignore[misc] # start anew
                continue
            levels = self.bids if record.side == b"B" else self.asks
            old = self.orders.pop(record.order_id, 0)
            assert bool(old) == (record.action != b"A"), "A adds what was not there, M and C change what was"
            new = 0 if record.action == b"C" else record.size
            assert record.action != b"C" or record.size == old
            if new:
                self.orders[record.order_id] = new
            levels[record.price] = levels.get(record.price, 0) + new - old
            if not levels[record.price]:
                del levels[record.price]
            touched.append((record.side, record.price))
        return touched


class Naive:
    """The venue's book straight from its JSON, with nothing but Decimal."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.bids = {Decimal(p): Decimal(q) for p, q in snapshot["bids"]}
        self.asks = {Decimal(p): Decimal(q) for p, q in snapshot["asks"]}

    def apply(self, update: dict[str, Any]) -> None:
        for side, levels in ((update["b"], self.bids), (update["a"], self.asks)):
            for price, quantity in side:
                if Decimal(quantity):
                    levels[Decimal(price)] = Decimal(quantity)
                else:
                    levels.pop(Decimal(price), None)


def hft(fixtures: Path, day: str) -> Iterator[Envelope]:
    """One day of the HFT capture; its bare depth snapshot has no URL."""
    with gzip.open(fixtures / "binance_spot" / "hftbacktest" / f"btcusdt_{day}.gz", "rb") as lines:
        for line in lines:
            ts_recv, _, payload = line.rstrip(b"\n").partition(b" ")
            bare = payload.startswith(b'{"lastUpdateId"')
            yield envelope(SNAPSHOT if bare else channel_of(payload), payload, int(ts_recv), connection=int(not bare))


def cf1(fixtures: Path, name: str) -> list[Envelope]:
    """A CF1 set in order of receipt."""
    found = []
    for path in sorted((fixtures / "binance_spot" / name).iterdir()):
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        for line in text.splitlines():
            if match := re.match(r"^(\S+) -> ([0-9.]+): (.*)$", line):
                symbol = re.search(r"symbol=([A-Z0-9]+)", match[1])
                channel = f"rest/depth/{symbol[1]}" if symbol else EXCHANGE_INFO
                found.append(envelope(channel, match[3], int(Decimal(match[2]) * 10**9), connection=0))
            elif match := re.match(r"^([0-9]+(?:\.[0-9]+)?): (.*)$", line):
                payload = match[2].encode()
                found.append(envelope(channel_of(payload), payload, int(Decimal(match[1]) * 10**9)))
    return sorted(found, key=lambda item: item.ts_recv)


def normalized(normalizer: Normalizer, envelopes: Sequence[Envelope]) -> list[list[Output]]:
    return [list(normalizer.normalize(item)) for item in envelopes]
