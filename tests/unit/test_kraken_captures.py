"""Kraken's recordings through the normalizer, held against a second reading of the documentation."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest

import providers
from penstock.book import Book, Change, Level
from penstock.cli import capture
from penstock.dbn import BID
from penstock.drift import Drift
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.normalizing import Message
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.kraken import payloads
from providers.kraken.normalizer import Normalizer
from providers.kraken.oracle import Oracle
from providers.kraken.vocabulary import VOCABULARY
from tests.contract import naive

INFO = providers.info("kraken")
CAPTURE = "kraken/cryptofeed-2021-04-17"
LOT = Decimal("1e-8")
HEAVY = frozenset({"book.SC/EUR", "book.OMG/USD", "book.ADA/BTC"})
"""Books of cheap coins: in lots of 1e-8 a level takes thousands of records, all of them six million."""

REVIEWED = "438bacc06d8d30a8c7331017887bcd054c5fb01a9b51ec8c9384ac9080d5b5bf"
"""SHA-256 of the MBO messages of the other seven books."""


@pytest.fixture(scope="module")
def envelopes(fixtures: Path) -> list[Envelope]:
    return list(capture.read([fixtures / CAPTURE], "kraken").envelopes)


def normalized(normalizer: Normalizer, envelope: Envelope) -> list[Message]:
    return [output for output in normalizer.normalize(envelope) if isinstance(output, Message)]


def test_every_checksum_is_recomputed_by_the_second_reading(envelopes: list[Envelope]):
    oracle = Oracle()
    for envelope in envelopes:
        oracle.read(envelope.channel, envelope.payload, envelope.ts_recv)
    assert oracle.checksums == 4269
    assert len(oracle.trades) == 10
    assert len(oracle.books) == 10


class Unpacked(Book):
    """A book that keeps its levels and makes no records of them."""

    def update(self, changes: Iterable[Change], *_: int) -> bytes:  # type: ignore[override]
        for side, price, size in changes:
            levels = self.bids if side == BID else self.asks
            levels[price] = size
            if not size:
                del levels[price]
        return b""

    def replace(self, bids: Iterable[Level], asks: Iterable[Level], *_: int) -> bytes:  # type: ignore[override]
        self.bids, self.asks = dict(bids), dict(asks)
        return b""


def test_every_checksum_is_checked_by_the_normalizer(envelopes: list[Envelope], monkeypatch: pytest.MonkeyPatch):
    """All ten books, the heavy ones too: a checksum that differs would be a gap, and one changed anywhere is."""
    monkeypatch.setattr("providers.kraken.books.Book", Unpacked)
    normalizer, checked = Normalizer(INFO), 0
    for envelope in envelopes:
        outputs = normalizer.normalize(envelope)
        if envelope.channel.startswith("book."):
            assert not outputs
            checked += b'"c":' in envelope.payload
    assert checked == 4269
    last = next(e for e in reversed(envelopes) if e.channel.startswith("book."))
    wrong = Envelope(
        channel=last.channel, kind=KIND_FRAME, payload=last.payload.replace(b'"c":"', b'"c":"1'), ts_recv=10**18
    )
    assert len(normalizer.normalize(wrong)) == 2


def test_books_equal_the_second_reading_after_every_message(envelopes: list[Envelope]):
    """Every checksum is right, as a wrong one would be a gap; live the same bytes as in an archive, and as reviewed."""
    digest = hashlib.sha256()
    oracle, books, compared = Oracle(), dict[str, naive.Book](), Counter[str]()
    first, second = Normalizer(INFO, archive=True), Normalizer(INFO)
    for envelope in envelopes:
        if envelope.channel in HEAVY:
            continue
        oracle.read(envelope.channel, envelope.payload, envelope.ts_recv)
        outputs = normalized(first, envelope)
        assert outputs == normalized(second, envelope), "live as in an archive"
        for schema, channel, data in outputs:
            if schema != "MBO":
                assert schema == "DEFINITION" or not naive.is_gap(data)
                continue
            assert not naive.is_gap(data), f"{channel}: {naive.gap_reason(data)}"
            digest.update(data)
            books.setdefault(channel, naive.Book()).apply(data)
            assert not books[channel].bad
            assert books[channel].levels(LOT) == oracle.books[channel]
            compared[channel] += 1
    assert len(compared) == 7
    assert oracle.checksums == 2531
    assert sum(compared.values()) == 1923, "messages that change the best ten"
    assert digest.hexdigest() == REVIEWED


def test_a_lost_message_of_the_recording_is_declared_or_the_book_is_right(envelopes: list[Envelope]):
    """Of the changes of a 1,000-level book most are below the best ten: those lost leave what is published right."""
    dice, declared = random.Random(1), 0
    mine = [e for e in envelopes if e.channel in {"rest/AssetPairs", "book.BTC/CHF"}]
    for _ in range(12):
        lost, oracle, book = dice.randrange(2, 200), Oracle(), naive.Book()
        normalizer = Normalizer(INFO)
        for position, envelope in enumerate(mine[: lost + 50]):
            oracle.read(envelope.channel, envelope.payload, envelope.ts_recv)
            if position == lost:
                continue
            for schema, _, data in normalized(normalizer, envelope):
                if schema == "MBO" and naive.is_gap(data):
                    declared += 1
                    book.bad = True
                elif schema == "MBO":
                    book.apply(data)
            if position and book.bad:
                break
            assert not position or book.levels(LOT) == oracle.books["book.BTC/CHF"], f"message {lost} lost"
    assert 0 < declared <= 12


def test_frames_are_data_control_or_refused(fixtures: Path):
    """The single messages: the API v1's are read, those of Kraken Futures refused by name."""
    lines = (fixtures / "kraken/crypto-msg-parser/kraken.jsonl").read_bytes().splitlines()
    listed = json.loads(
        gzip.decompress((fixtures / CAPTURE / "KRAKEN.0.gz").read_bytes()).split(b": ", 1)[1].splitlines()[0]
    )
    normalizer = Normalizer(INFO, archive=True)
    normalizer.normalize(Envelope(channel="rest/AssetPairs", kind=KIND_FRAME, payload=json.dumps(listed).encode()))
    outcome: Counter[str] = Counter()
    for line in lines:
        channel = payloads.channel_of(line)
        try:
            outputs = normalized(normalizer, Envelope(channel=channel, kind=KIND_FRAME, payload=line, ts_recv=10**18))
            outcome[channel.partition(".")[0]] += 1
            for message in outputs:
                outcome["gap" if naive.is_gap(message.data) else message.schema] += 1
        except PayloadError as error:
            outcome[error.reason] += 1
    # The one book update is of another day than the snapshot: a checksum cannot be right. PERP/EUR was not listed yet.
    assert outcome == {
        "trade": 1, "TRADES": 1, "book": 3, "MBO": 2, "gap": 2, "ohlc": 1, "ticker": 1, "MBP_1": 1, "STATISTICS": 1,
        "unknown_frame": 6, "shape": 2,
    }  # fmt: skip


def test_the_shapes_of_v2(fixtures: Path):
    """Single messages, edited by whoever kept them: three levels whose checksum is of others."""
    folder = fixtures / "kraken/nautilus"
    normalizer = Normalizer(INFO)

    def read(name: str, channel: str = "") -> list[Message]:
        payload = (folder / name).read_bytes()
        found = channel or payloads.channel_of(payload)
        return normalized(normalizer, Envelope(channel=found, kind=KIND_FRAME, payload=payload, ts_recv=10**18))

    (definition, status) = read("http_asset_pairs.json", "rest/AssetPairs")
    assert naive.definition(definition.data)[1] == naive.Definition("BTC/USDT", LOT)
    assert status.channel == "status.BTC/USDT"
    tokenized = read("http_asset_pairs_tokenized.json", "rest/AssetPairs")
    assert [message.channel for message in tokenized if message.schema == "DEFINITION"] == [
        "definition.AAPLx/USD", "definition.BTC/USDT",
    ]  # fmt: skip
    normalizer = Normalizer(INFO)
    body = json.loads((folder / "http_asset_pairs.json").read_bytes())
    body["result"]["XBTUSDT"] |= {"wsname": "XBT/USD"}
    payload = json.dumps(body).encode()
    normalizer.normalize(Envelope(channel="rest/AssetPairs", kind=KIND_FRAME, payload=payload, ts_recv=1))
    gap, snapshot = read("ws_book_snapshot.json")
    assert naive.gap_reason(gap.data) == "checksum"
    assert naive.MBO.unpack(snapshot.data[56:112])[3] == instrument_id("kraken", "BTC/USD")
    assert naive.MBO.unpack(snapshot.data[56:112])[4] == 1696613755_440295000
    assert len(read("ws_book_update.json")) == 1
    assert read("ws_pong.json") == read("ws_subscribe_response.json") == []


def test_no_word_of_the_recordings_is_unknown(fixtures: Path, envelopes: list[Envelope]):
    drift = Drift(VOCABULARY)
    bodies = [envelope.payload for envelope in envelopes]
    for path in (fixtures / "kraken/nautilus").glob("ws_*.json"):
        bodies.append(path.read_bytes())
    bodies += [path.read_bytes() for path in (fixtures / "kraken/nautilus").glob("http_asset_pairs*.json")]
    assert [word for body in bodies for word in drift.unknown(body)] == []
    assert list(drift.unknown(b'{"channel":"gossip","brand_new":1}')) == ["value channel=gossip", "field brand_new"]


def test_mutated_frames_raise_nothing_but_payload_errors(envelopes: list[Envelope]):
    dice = random.Random(7)
    light = [e for e in envelopes if e.channel not in HEAVY and len(e.payload) < 2000]
    normalizer = Normalizer(INFO)
    normalizer.normalize(next(e for e in envelopes if e.channel == "rest/AssetPairs"))
    outcome: Counter[str] = Counter()
    for _ in range(10_000):
        envelope = dice.choice(light)
        payload = bytearray(envelope.payload)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(payload))
            kind = dice.randrange(4)
            if kind == 0:
                payload[at] = dice.randrange(256)
            elif kind == 1:
                del payload[at]
            elif kind == 2:
                payload[at:at] = dice.choice([b"9" * 20, b'"', b"[", b"]", b",", b"-", b"e9", b"null", b"\xff"])
            else:
                del payload[at:]
            if not payload:
                payload = bytearray(b"x")
        raw = bytes(payload)
        payloads.merge_key(payloads.channel_of(raw), raw)
        for channel in {envelope.channel, payloads.channel_of(raw)}:
            try:
                normalizer.normalize(Envelope(channel=channel, kind=KIND_FRAME, payload=raw, ts_recv=envelope.ts_recv))
                outcome["read"] += 1
            except PayloadError as error:
                outcome[error.reason] += 1
    assert outcome["json"] > 1000
    assert outcome["read"] > 500
