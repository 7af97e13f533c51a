"""Deribit's real recordings through the normalizer, held against readings that share no code with it."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import databento_dbn as dbn
import pytest

import providers
from penstock.dbn import records
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.deribit import payloads
from providers.deribit.definitions import from_names
from providers.deribit.normalizer import Normalizer

INFO = providers.info("deribit")
CAPTURES = ("cryptofeed-2021-04-05", "cryptofeed-2021-07")


class Frame(NamedTuple):
    ts_recv: int
    connection: int
    channel: str
    payload: bytes


def read(path: Path) -> Iterator[Frame]:
    """The received frames of a CF1 file."""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        if match := re.match(r"^(\S+) -> ([0-9.]+): (.*)$", line):
            currency = match[1].split("currency=")[1].split("&")[0]
            yield Frame(nanoseconds(match[2]), 0, f"rest/get_instruments/{currency}", match[3].encode())
        elif match := re.match(r"^([0-9]+(?:\.[0-9]+)?): (.*)$", line):
            payload = match[2].encode()
            yield Frame(nanoseconds(match[1]), 1, payloads.channel_of(payload), payload)


def nanoseconds(text: str) -> int:
    return int(Decimal(text) * 10**9)


def capture(fixtures: Path, name: str) -> list[Frame]:
    frames = [frame for path in sorted((fixtures / "deribit" / name).iterdir()) for frame in read(path)]
    if not any(frame.channel.startswith("rest/") for frame in frames):
        names = {frame.channel.split(".")[1] for frame in frames if frame.channel != "control"}
        frames.append(Frame(frames[0].ts_recv - 1, 0, "rest/get_instruments/any", from_names(names)))
    return sorted(frames, key=lambda frame: frame.ts_recv)


def envelopes(frames: list[Frame]) -> Iterator[Envelope]:
    for i, (ts_recv, connection, channel, payload) in enumerate(frames, 1):
        yield Envelope(
            sequence=i, ts_recv=ts_recv, connection=connection, channel=channel, kind=KIND_FRAME, payload=payload
        )


def decoded(message: Message) -> list[Any]:
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    return list(decoder.decode())


class Mirror:
    """A book rebuilt by a reader of the published records."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[str, int, int]] = {}

    def apply(self, message: Message) -> None:
        for record in decoded(message):
            if str(record.action) == "R":
                self.orders.clear()
            elif str(record.action) == "C":
                del self.orders[record.order_id]
            else:
                self.orders[record.order_id] = (str(record.side), record.price, record.size)

    def levels(self, lot: Decimal) -> dict[tuple[str, Decimal], Decimal]:
        found: dict[tuple[str, Decimal], Decimal] = {}
        for side, price, size in self.orders.values():
            key = (side, Decimal(price).scaleb(-9))
            found[key] = found.get(key, Decimal(0)) + size * lot
        return found


class Naive:
    """The same book straight from the venue's JSON."""

    def __init__(self) -> None:
        self.levels: dict[tuple[str, Decimal], Decimal] = {}

    def apply(self, payload: bytes) -> None:
        data = json.loads(payload, parse_float=Decimal, parse_int=Decimal)["params"]["data"]
        if data["type"] == "snapshot":
            self.levels.clear()
        for letter, side in (("B", data["bids"]), ("A", data["asks"])):
            for _, price, amount in side:
                self.levels[letter, price] = amount
        self.levels = {key: amount for key, amount in self.levels.items() if amount}


@pytest.mark.parametrize("archive", [False, True], ids=["live", "archive"])
@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_is_read_whole_without_gap_and_its_books_are_right_after_every_message(
    fixtures: Path, name: str, archive: bool
) -> None:
    """frames = data + control, nothing quarantined, no gap, no resync, every book equal to a naive one, none crossed."""
    frames, normalizer = capture(fixtures, name), Normalizer(INFO, archive=archive)
    lots: dict[int, Decimal] = {}
    mirrors: dict[str, Mirror] = {}
    naive: dict[str, Naive] = {}
    kinds: Counter[str] = Counter()
    for envelope in envelopes(frames):
        kinds["control" if INFO.schema_of(envelope.channel) == "SYSTEM" else "data"] += 1
        for output in normalizer.normalize(envelope):
            assert isinstance(output, Message)
            for record in decoded(output):
                assert not isinstance(record, dbn.ErrorMsg)
                if isinstance(record, dbn.InstrumentDefMsg):
                    lots[record.instrument_id] = Decimal(record.unit_of_measure_qty).scaleb(-9)
            if output.schema == "MBO":
                mirrors.setdefault(output.channel, Mirror()).apply(output)
        if envelope.channel.startswith("book."):
            naive.setdefault(envelope.channel, Naive()).apply(envelope.payload)
            symbol = envelope.channel.split(".")[1]
            found = mirrors[envelope.channel].levels(lots[instrument_id("deribit", symbol)])
            assert found == naive[envelope.channel].levels
            best_bid = max((price for side, price in found if side == "B"), default=Decimal(-1))
            best_ask = min((price for side, price in found if side == "A"), default=Decimal("inf"))
            assert best_bid < best_ask
    assert kinds["data"] + kinds["control"] == len(frames)
    assert kinds["control"] == 1  # the reply to the subscription
    assert len(mirrors) == 10


@pytest.mark.parametrize("name", CAPTURES)
def test_the_same_capture_gives_the_same_bytes(fixtures: Path, name: str) -> None:
    """Two runs are equal byte for byte."""
    frames = capture(fixtures, name)
    runs = [
        [output for envelope in envelopes(frames) for output in normalizer.normalize(envelope)]
        for normalizer in (Normalizer(INFO), Normalizer(INFO))
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 200


def test_two_lanes_of_one_capture_merge_into_the_same_books(fixtures: Path) -> None:
    """Every frame twice, as from two lanes: no gap, no second copy of a book message."""
    frames = capture(fixtures, CAPTURES[0])
    one, two = Normalizer(INFO, archive=True), Normalizer(INFO, archive=True)
    single = [o for envelope in envelopes(frames) for o in one.normalize(envelope)]
    double = [o for envelope in envelopes([f for f in frames for _ in (1, 2)]) for o in two.normalize(envelope)]

    def of(outputs: list[Output]) -> list[Output]:
        return [output for output in outputs if isinstance(output, Message) and output.schema != "MBP_1"]

    assert of(single) == of(double)


def definitions(*names: str) -> bytes:
    """A get_instruments body for inverse futures and BTC options."""
    rows = []
    for name in names:
        option = name.endswith(("-C", "-P"))
        rows.append(
            {
                "instrument_name": name, "kind": "option" if option else "future", "base_currency": "BTC",
                "quote_currency": "BTC" if option else "USD", "tick_size": 0.0005 if option else 0.5,
                "contract_size": 1.0 if option else 10.0, "min_trade_amount": 0.1 if option else 10.0,
                "instrument_type": "reversed", "settlement_currency": "BTC", "strike": 1000.0, "option_type": "call",
                "settlement_period": "perpetual" if name.endswith("PERPETUAL") else "month",
            }
        )  # fmt: skip
    return json.dumps({"jsonrpc": "2.0", "result": rows}).encode()


def samples(fixtures: Path) -> list[bytes]:
    """Single real frames of 2021 to 2025: book, grouped book, trades, quote, ticker."""
    lines = (fixtures / "deribit/crypto-msg-parser/deribit.jsonl").read_bytes().splitlines()
    return lines + [path.read_bytes() for path in sorted((fixtures / "deribit/nautilus").glob("ws_*.json"))]


def started(names: list[str]) -> Normalizer:
    normalizer = Normalizer(INFO)
    frame = Frame(1, 0, "rest/get_instruments/any", definitions(*names))
    normalizer.normalize(next(envelopes([frame])))
    return normalizer


def names_in(frames: list[bytes]) -> list[str]:
    return sorted({name for frame in frames for name in re.findall(r'"instrument_name":\s*"([^"]+)"', frame.decode())})


def test_trades_of_the_samples_are_exact(fixtures: Path) -> None:
    """Price, size in lots, taker side, time and trade_seq of every recorded trade; a combo's leg is marked."""
    frames = [frame for frame in samples(fixtures) if payloads.channel_of(frame).startswith("trades.")]
    normalizer = started(names_in(frames))
    found, wanted = [], []
    for i, payload in enumerate(frames):
        frame = Frame(i + 2, 1, payloads.channel_of(payload), payload)
        for output in normalizer.normalize(next(envelopes([frame]))):
            assert isinstance(output, Message)
            for r in decoded(output):
                found.append((r.ts_event, Decimal(r.price).scaleb(-9), r.size, str(r.side), r.sequence, int(r.flags)))
        for trade in json.loads(payload, parse_float=Decimal)["params"]["data"]:
            lot = Decimal("0.1") if trade["instrument_name"].endswith("-C") else Decimal(10)
            flags = 128 | (2 if "combo_trade_id" in trade else 0)
            side = "B" if trade["direction"] == "buy" else "A"
            wanted.append(
                (
                    trade["timestamp"] * 10**6, trade["price"], trade["amount"] / lot, side, trade["trade_seq"], flags,
                )
            )  # fmt: skip
    assert found == wanted
    assert len(found) == 4
    assert [row[-1] for row in found] == [128, 128, 130, 128]


def test_ten_thousand_damaged_frames_are_refused_or_published_whole(fixtures: Path) -> None:
    """Nothing but PayloadError is raised, what is published is whole DBN, and a refused frame changes no book."""
    rng = random.Random(11)
    frames = capture(fixtures, CAPTURES[0])
    normalizer = started(names_in(samples(fixtures)))
    for envelope in envelopes(frames):
        normalizer.normalize(envelope)
    originals = [frame for frame in frames if frame.channel != "control"]
    originals += [Frame(1, 1, payloads.channel_of(payload), payload) for payload in samples(fixtures)]
    small = [frame for frame in originals if len(frame.payload) < 5000]
    refused: Counter[str] = Counter()
    for i in range(10_000):
        frame = rng.choice(small)
        payload = damaged(rng, frame.payload)
        channel = payloads.channel_of(payload) if rng.random() < 0.5 else frame.channel
        payloads.merge_key(channel, payload)
        before = list(normalizer.images(1)) if i % 16 == 0 else None
        envelope = Envelope(
            sequence=i + 1, ts_recv=frames[-1].ts_recv + i, connection=1, channel=channel, kind=KIND_FRAME,
            payload=payload,
        )  # fmt: skip
        try:
            for output in normalizer.normalize(envelope):
                assert not isinstance(output, Message) or list(records(output.data))
        except PayloadError as error:
            refused[error.reason] += 1
            if before is not None:
                assert list(normalizer.images(1)) == before
    assert refused["json"] > 1000
    assert {"shape", "number_format"} <= refused.keys()


def damaged(rng: random.Random, payload: bytes) -> bytes:
    match rng.randrange(6):
        case 0:
            at = rng.randrange(len(payload))
            return payload[:at] + bytes([rng.randrange(256)]) + payload[at + 1 :]
        case 1:
            return payload[: rng.randrange(len(payload))]
        case 2:
            at, end = sorted(rng.randrange(len(payload)) for _ in (1, 2))
            return payload[:at] + payload[end:]
        case 3:
            values = [
                b"null", b"true", b"-1", b"1e400", b"1e-30", b'"7"', b"{}", b"[[]]", b"9" * 40, b"0.1234567891", b"-0.0",
                b"9223372036.854775807", b"4294967295", b"1E9",
            ]  # fmt: skip
            return replaced(rng, rb"(?<=[:,\[])-?[0-9][0-9.]*", payload, rng.choice(values))
        case 4:
            return replaced(rng, rb'"[a-z_]+"(?=\s*:)', payload, b'"other"')
        case _:
            return replaced(rng, rb'(?<=:)\s*"[^"]*"', payload, rng.choice([b'"x"', b"null", b"1", b'"\\u0000"']))


def replaced(rng: random.Random, pattern: bytes, payload: bytes, value: bytes) -> bytes:
    found = list(re.finditer(pattern, payload))
    if not found:
        return payload[1:]
    match = rng.choice(found)
    return payload[: match.start()] + value + payload[match.end() :]
