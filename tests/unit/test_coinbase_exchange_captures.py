"""Coinbase Exchange's recordings: what they show of the venue's rules, and how they are read."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

import providers
from penstock.cli.normalize import normalize_capture
from penstock.drift import Drift
from penstock.errors import PayloadError
from penstock.normalizing import Message
from penstock.payloads import CONTROL
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.coinbase_exchange.normalizer import Normalizer
from providers.coinbase_exchange.payloads import channel_of, event_time, merge_key, rest_channel
from providers.coinbase_exchange.vocabulary import VOCABULARY
from simulator import captures
from tests.contract import naive
from tests.unit.coinbase_exchange_frames import INFO, PRODUCT, T0, Feed, data, gaps

MUTATIONS = 10_000
QUOTE = {
    "type": "ticker", "sequence": 9, "product_id": "BTC-USD", "price": "100.5", "open_24h": "99", "volume_24h": "12.5",
    "low_24h": "98", "high_24h": "102", "volume_30d": "400", "best_bid": "100", "best_bid_size": "1", "best_ask": "101",
    "best_ask_size": "60", "side": "buy", "time": "2026-09-21T14:13:20.5Z", "trade_id": 7, "last_size": "0.1",
}  # fmt: skip


@pytest.fixture
def recording(fixtures: Path) -> Path:
    return fixtures / "coinbase" / "cryptofeed-2021-04-17"


def frames(recording: Path) -> list[Envelope]:
    found = []
    for number, frame in enumerate(captures.read(recording, "coinbase_exchange"), 1):
        if frame.kind != "sent":
            channel = rest_channel(frame.url) if frame.kind == "rest" else channel_of(frame.payload)
            found.append(
                Envelope(sequence=number, ts_recv=frame.ts_recv, connection=frame.connection, channel=channel,
                         kind=KIND_FRAME, payload=frame.payload)
            )  # fmt: skip
    return found


def test_the_recording_is_whole(recording: Path):
    """9,719 updates, 97 matches and 10 last matches: no gap, no refusal, every trade."""
    summary = normalize_capture([recording], "coinbase_exchange", None)
    assert (summary.frames, summary.data, summary.control) == (9947, 9944, 3)
    assert (summary.quarantined, summary.gaps) == ({}, {})
    assert summary.records["TRADES"] == 107
    assert summary.records["DEFINITION"] == 162


def test_hot_as_in_an_archive_but_for_history(recording: Path):
    """Live, the ten trades of before the subscription are not published, and nothing is asked for."""
    normalizer = Normalizer(INFO)
    outputs = [output for envelope in frames(recording) for output in normalizer.normalize(envelope)]
    assert not gaps(outputs)
    assert all(isinstance(output, Message) for output in outputs)
    assert len(data(outputs, "TRADES")) == 97


def test_what_the_venue_does(recording: Path):
    """Times of updates never fall, every trade shows as an update of its very time and level, trade ids have no hole."""
    times: defaultdict[str, list[str]] = defaultdict(list)
    levels, trades, ids = set(), list[tuple[str, str, str, Decimal]](), defaultdict[str, list[int]](list)
    for envelope in frames(recording):
        message = json.loads(envelope.payload)
        if envelope.channel.startswith("level2.") and message["type"] == "l2update":
            times[message["product_id"]].append(message["time"])
            levels |= {(envelope.channel[7:], message["time"], side, Decimal(p)) for side, p, _ in message["changes"]}
        elif envelope.channel.startswith("matches."):
            ids[message["product_id"]].append(message["trade_id"])
            if message["type"] == "match":
                trades.append((message["product_id"], message["time"], message["side"], Decimal(message["price"])))
    assert all(sorted(each) == each for each in times.values())
    assert len(trades) == 97
    assert set(trades) <= levels
    assert all(each == list(range(each[0], each[0] + len(each))) for each in ids.values())


def test_single_messages_of_2021_and_2022(fixtures: Path):
    lines = (fixtures / "coinbase" / "crypto-msg-parser" / "coinbase_pro.jsonl").read_bytes().splitlines()
    assert [channel_of(line) for line in lines] == ["matches.BTC-USD", "level2.BTC-USD", "full.BTC-USD", CONTROL]
    feed, drift = Feed(archive=True), Drift(VOCABULARY)
    assert len(data(feed.take("matches.BTC-USD", lines[0]), "TRADES")) == 1
    assert gaps(feed.take("level2.BTC-USD", lines[1])) == [("level2.BTC-USD", "no_snapshot")]
    feed.take("full.BTC-USD", lines[2])
    feed.take("rest/book/BTC-USD", lines[3])
    assert not [word for line in lines for word in drift.unknown(line)]


def test_the_exchange_is_not_advanced_trade(fixtures: Path):
    """Frames of the venue's other protocol are refused by name, not misread."""
    for path in sorted((fixtures / "coinbase" / "nautilus").glob("ws_*.json")):
        frame = path.read_bytes()
        with pytest.raises(PayloadError) as refused:
            Feed().take(channel_of(frame), frame)
        assert refused.value.reason in {"unknown_frame", "shape"}


def test_mutated_frames_raise_nothing_but_payload_errors(recording: Path):
    dice = random.Random("mutations")
    envelopes = [envelope for envelope in frames(recording) if len(envelope.payload) < 20_000]
    normalizer = Normalizer(INFO)
    normalizer.normalize(frames(recording)[0])
    refused = 0
    for _ in range(MUTATIONS):
        envelope = Envelope()
        envelope.CopyFrom(dice.choice(envelopes))
        payload = bytearray(envelope.payload)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(payload))
            payload[at : at + dice.choice((0, 1, 1, 3))] = dice.choice(
                (b"", b"0", b"9", b'"', b"\xff", b"-", b"{", b"1e9")
            )
        envelope.payload = bytes(payload)
        envelope.channel = channel_of(envelope.payload) if dice.random() < 0.5 else envelope.channel
        event_time(envelope.channel, envelope.payload)
        merge_key(envelope.channel, envelope.payload)
        try:
            normalizer.normalize(envelope)
        except PayloadError:
            refused += 1
    assert MUTATIONS / 4 < refused < MUTATIONS


# --- quotes, definitions, keys --------------------------------------------------------------------------------------


def test_a_ticker_is_a_quote_and_figures_that_are_repeated_every_ten_seconds():
    feed = Feed()
    outputs = feed.frame(QUOTE)
    (quote,), (figures,) = data(outputs, "MBP_1"), data(outputs, "STATISTICS")
    assert len(figures) == 4 * 80
    assert quote[48:80] == (100 * 10**9).to_bytes(8, "little") + (101 * 10**9).to_bytes(8, "little") + (10**8).to_bytes(
        4, "little"
    ) + b"\xff\xff\xff\xff" + bytes(8), "an ask beyond u32 lots has no size"
    assert not data(feed.frame(QUOTE | {"sequence": 10}), "STATISTICS")
    later = feed.frame(QUOTE | {"sequence": 11, "price": "100.6", "time": "2026-09-21T14:13:21Z"})
    assert len(data(later, "STATISTICS")[0]) == 80
    again = feed.frame(QUOTE | {"sequence": 12, "price": "100.6", "time": "2026-09-21T14:13:31Z"})
    assert len(data(again, "STATISTICS")[0]) == 4 * 80
    assert not feed.frame(QUOTE | {"sequence": 11}), "old"


def test_a_ticker_of_2021_has_no_sizes_and_an_empty_side_no_price():
    old = {key: value for key, value in QUOTE.items() if not key.endswith("_size")}
    (quote,) = data(Feed().frame(old), "MBP_1")
    assert quote[64:72] == b"\xff" * 8
    assert naive.TRADE.unpack(quote[:48])[9] & 2, "F_PUBLISHER_SPECIFIC says that the sizes are unknown"
    (quote,) = data(Feed().frame(QUOTE | {"best_ask": "", "best_ask_size": "0"}), "MBP_1")
    assert int.from_bytes(quote[56:64], "little") == 2**63 - 1


def test_listings_come_change_and_go():
    feed = Feed()
    other = PRODUCT | {"id": "NEW-USD", "base_currency": "NEW"}
    added = feed.rest("rest/products", [PRODUCT, other])
    assert [output.channel for output in added] == ["definition.NEW-USD", "status.NEW-USD"]
    assert not feed.rest("rest/products", [PRODUCT, other])
    feed.match(1)
    changed = feed.rest("rest/products", [PRODUCT | {"quote_increment": "0.1"}, other])
    assert gaps(changed) == [("matches.BTC-USD", "definition")]
    gone = feed.rest("rest/products", [PRODUCT | {"quote_increment": "0.1"}])
    assert [output.channel for output in gone] == ["definition.NEW-USD", "status.NEW-USD"]
    assert [output.channel for output in feed.normalizer.definitions(T0)] == ["definition.BTC-USD"]
    halted = feed.frame({"type": "status", "products": [PRODUCT | {"quote_increment": "0.1", "cancel_only": True}]})
    assert [output.channel for output in halted] == ["status.BTC-USD"]


def test_a_product_without_definition_is_declared_and_asked_for():
    feed = Feed()
    outputs = feed.match(1, product_id="NONE-USD")
    assert gaps(outputs) == [("matches.NONE-USD", "no_definition")]
    assert not gaps(feed.match(2, product_id="NONE-USD"))


def test_keys_are_of_the_trade_and_of_the_order():
    match = b'{"type":"match","trade_id":7,"product_id":"BTC-USD","sequence":9,"time":"2026-09-21T14:13:20Z"}'
    assert merge_key("matches.BTC-USD", match)[:2] == (T0, 7)
    last = match.replace(b"match", b"last_match", 1)
    assert merge_key("matches.BTC-USD", last).identity != merge_key("matches.BTC-USD", match).identity
    order = b'{"sequence":9,"type":"open","product_id":"BTC-USD","time":"2026-09-21T14:13:20Z"}'
    assert merge_key("full.BTC-USD", order) == (T0, 9, b"open-9")
    assert channel_of(order) == "full.BTC-USD"


def test_names_of_rest_answers():
    base = "https://api.exchange.coinbase.com/products"
    assert rest_channel(base) == "rest/products"
    assert rest_channel(f"{base}/BTC-USD/book?level=3") == "rest/book/BTC-USD"
    assert rest_channel(f"{base}/BTC-USD/trades?limit=1000") == "rest/trades/BTC-USD"
    assert providers.info("coinbase_exchange").schema_of("rest/trades/BTC-USD") == "TRADES"
