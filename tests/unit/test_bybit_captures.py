"""Recordings of Bybit: the account of every frame, books against a naive one, no gap, mutations, peeks."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

import providers
from penstock.cli import capture
from penstock.drift import Drift
from penstock.errors import PayloadError
from penstock.normalizing import Message
from penstock.payloads import CONTROL
from penstock.raw.v1.raw_pb2 import Envelope
from providers.bybit import payloads
from providers.bybit.normalizer import Normalizer
from providers.bybit.peeks import seq_of
from simulator import captures
from tests.contract.recorded import Capture, Run
from tests.unit.bybit_frames import INFO, LISTS, T0, listed, normalizer, recording, snapshot, ticker, trades

RECORDING = "bybit/cryptofeed-2026-08/BYBIT.jsonl.zst"
RETIRED = "bybit/cryptofeed-2021-04-17"


def test_the_recording_of_2026_is_whole(fixtures):
    """3,229 frames in, all understood; 2,148 book messages without a gap, equal to the oracle's; 347 trades."""
    run = Run("bybit", Capture(files=[RECORDING], books="touched"), fixtures)
    result = run.result()
    assert (result.frames, result.data, result.control, result.quarantined) == (3229, 3205, 24, {})
    assert {reason for reason in result.gaps if not reason.startswith("definition_")} == set()
    assert (result.trades, result.drift) == (347, [])
    assert result.records["OHLCV_1M"] == 6
    assert result.books_compared >= 2148


def test_the_retired_api_is_refused_by_name(fixtures):
    """Every data frame of 2021, and its instrument list; the acknowledgements say nothing."""
    result = Run("bybit", Capture(files=[RETIRED]), fixtures).result()
    assert (result.frames, result.data, result.control, result.quarantined) == (3343, 0, 16, {"retired_api": 3327})
    assert not result.records


def test_single_messages_of_2021_and_2022_are_refused_or_control(fixtures):
    """None of the retired API becomes a record."""
    lines = (fixtures / "bybit" / "crypto-msg-parser" / "bybit.jsonl").read_bytes().splitlines()
    reasons: Counter[str] = Counter()
    for line in filter(None, lines):
        channel = payloads.channel_of(line)
        try:
            outputs = normalizer().normalize(Envelope(ts_recv=T0, channel=channel, kind=1, payload=line))
        except PayloadError as error:
            reasons[error.reason] += 1
        else:
            assert not outputs
            reasons["control"] += 1
    assert reasons["retired_api"] >= 10
    assert set(reasons) <= {"retired_api", "control"}


def test_single_messages_of_v5(fixtures):
    """Instruments of every category, a book, a ticker; a trade on a topic that v5 does not have is refused."""
    folder = fixtures / "bybit" / "nautilus"
    made = Normalizer(INFO)
    names = {
        "linear": ("linear", "linear_symbol_type"), "inverse": ("inverse_symbol_type",), "option": ("option_symbol_id",),
        "spot": ("spot", "spot_xstocks"),
    }  # fmt: skip
    published: Counter[str] = Counter()
    for category, files in names.items():
        for name in files:
            body = (folder / f"http_get_instruments_{name}.json").read_bytes()
            channel = payloads.rest_channel(f"https://x/v5/market/instruments-info?category={category}")
            outputs = made.normalize(Envelope(ts_recv=T0, channel=channel, kind=1, payload=body))
            published.update(output.schema for output in outputs if isinstance(output, Message))
    assert published == {"DEFINITION": 8, "STATUS": 8}
    on = payloads.channel_on("wss://stream.bybit.com/v5/public/linear")

    def normalize(name: str) -> set[str]:
        body = (folder / f"ws_{name}.json").read_bytes()
        outputs = made.normalize(Envelope(ts_recv=T0, channel=on(body), kind=1, payload=body))
        return {output.schema for output in outputs if isinstance(output, Message)}

    assert normalize("ticker_linear") == {"MBP_1", "STATISTICS"}
    for name, reason in (("orderbook_snapshot", "shape"), ("public_trade", "retired_api")):
        with pytest.raises(PayloadError) as refused:
            normalize(name)
        assert refused.value.reason == reason
    for name in ("ack", "failure"):
        body = (folder / f"ws_subscription_{name}.json").read_bytes()
        assert on(body) == CONTROL
        assert made.normalize(Envelope(ts_recv=T0, channel=CONTROL, kind=1, payload=body)) == ()


def test_the_url_says_which_market(fixtures):
    """The same topic of two connections is two channels; replays find the instruments by both."""
    envelopes = recording(fixtures)
    assert {e.channel.split(".")[0] for e in envelopes if e.connection == 1 and e.channel != CONTROL} == {"linear"}
    assert {e.channel.split(".")[0] for e in envelopes if e.connection == 2 and e.channel != CONTROL} == {"spot"}
    from providers.bybit.simulator import symbols_in

    frames = [frame for frame in captures.read(fixtures / RECORDING, "bybit") if frame.kind == "ws"]
    assert symbols_in(frames) == [
        "BTCUSDT-LINEAR", "BTCUSDT-SPOT", "DOGEUSDT-LINEAR", "ETHUSDT-LINEAR", "ETHUSDT-SPOT", "SOLUSDT-LINEAR"
    ]  # fmt: skip


def test_a_new_word_is_drift(fixtures):
    """The recording's own words are known; one more is said once."""
    vocabulary = providers.vocabulary("bybit")
    assert vocabulary is not None
    drift = Drift(vocabulary)
    assert not [word for e in recording(fixtures) for word in drift.unknown(e.payload)]
    assert list(drift.unknown(b'{"topic":"x","type":"auction","newField":1}')) == [
        "value type=auction",
        "field newField",
    ]


def mutated(payload: bytes, dice: random.Random) -> bytes:
    """A payload with a byte changed, a piece cut out or doubled, or a word exchanged."""
    data = bytearray(payload)
    at = dice.randrange(len(data))
    match dice.randrange(5):
        case 0:
            data[at] = dice.randrange(256)
        case 1:
            del data[at : at + dice.randrange(1, 40)]
        case 2:
            data[at:at] = data[at : at + dice.randrange(1, 40)]
        case 3:
            words = (b"null", b"-1", b"1e9", b'"NaN"', b"[]", b"{}", b"9" * 30, b'"\\ud800"', b"true")
            data[at : at + 6] = dice.choice(words)
        case _:
            for digit in [i for i, byte in enumerate(data) if 48 <= byte <= 57][:: max(1, dice.randrange(40))]:
                data[digit] = dice.randrange(48, 58)
    return bytes(data)


def test_ten_thousand_mutated_frames_raise_nothing_but_payload_error(fixtures):
    """Peeks answer for any bytes; what is refused leaves a normalizer that goes on."""
    dice = random.Random(6)
    envelopes = [e for e in recording(fixtures) if len(e.payload) < 30_000]
    samples = [dice.choice(envelopes) for _ in range(2_000)]
    samples += [listed(category, item) for category, item in LISTS.items()]
    samples += [snapshot(1), trades({}), ticker("snapshot", markPrice="1", delta="0.1", fundingRate="0.1")]
    made, reasons = normalizer(), Counter[str]()
    for number in range(10_000):
        sample = dice.choice(samples)
        payload = mutated(sample.payload, dice)
        channel = sample.channel if number % 3 else payloads.channel_on("wss://x/v5/public/linear")(payload)
        payloads.merge_key(channel, payload)
        payloads.event_time(channel, payload)
        seq_of(payload)
        try:
            made.normalize(Envelope(ts_recv=sample.ts_recv, connection=1, channel=channel, kind=1, payload=payload))
        except PayloadError as error:
            reasons[error.reason] += 1
    assert sum(reasons.values()) > 2_000
    assert reasons["json"] > 500


@pytest.mark.parametrize(
    ("url", "frame", "channel"),
    [
        ("wss://stream.bybit.com/v5/public/spot", b'{"topic":"orderbook.200.X","ts":1}', "spot.orderbook.200.X"),
        ("ws://127.0.0.1:9/bybit/v5/public/linear", b'{ "type": "x", "topic" : "tickers.X" }', "linear.tickers.X"),
        ("wss://stream.bybit.com/v5/public/misc/status", b'{"topic":"system.status"}', "misc.system.status"),
        ("wss://stream.bybit.com/realtime_public", b'{"topic":"trade.X"}', "trade.X"),
        ("wss://stream.bybit.com/v5/public/rfq", b'{"topic":"rfq.open"}', "rfq.open"),
        ("wss://stream.bybit.com/v5/public/spot", b'{"success":true,"op":"subscribe"}', CONTROL),
        ("wss://stream.bybit.com/v5/public/spot", b'{"topic":"rest/x"}', CONTROL),
        ("wss://stream.bybit.com/v5/public/option", b'{"data":{"successTopics":["tickers.X"]}}', CONTROL),
    ],
)
def test_the_channel_of_a_frame(url, frame, channel):
    """The category of the URL, then the topic."""
    assert payloads.channel_on(url)(frame) == channel


def test_copies_of_one_message_have_one_key():
    """The push's own time is not part of it; what differs otherwise is another message."""
    first = snapshot(7).payload
    later = first.replace(b'"ts":%d' % (T0 + 8), b'"ts":%d' % (T0 + 99))
    assert first != later
    channel = "linear.orderbook.200.BTCUSDT"
    assert payloads.merge_key(channel, first) == payloads.merge_key(channel, later)
    assert payloads.merge_key(channel, first) != payloads.merge_key(channel, snapshot(8).payload)
    assert payloads.merge_key(channel, first)[:2] == ((T0 + 7) * 10**6, 70)
    assert payloads.event_time("linear.publicTrade.BTCUSDT", trades({}).payload) == T0 * 10**6
    body = json.dumps({"retCode": 0, "result": {"list": [{"time": 1}]}, "time": T0}).encode()
    assert payloads.event_time("rest/instruments-info/spot", body) == T0 * 10**6


def test_twice_the_same_bytes(fixtures: Path):
    """Nothing but the envelopes decides what comes out."""

    def bytes_of() -> list[bytes]:
        made = Normalizer(INFO, archive=True)
        return [
            output.data
            for e in capture.read([fixtures / RECORDING], "bybit").envelopes
            for output in made.normalize(e)
            if isinstance(output, Message)
        ]

    assert bytes_of() == bytes_of()
