"""Binance USD-M futures' recordings on the hot path: the facts about them that the design rests on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from penstock.drift import Drift
from penstock.normalizing import Output
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.binance_usdm.normalizer import Normalizer
from providers.binance_usdm.payloads import channel_of
from providers.binance_usdm.vocabulary import VOCABULARY
from simulator.captures import read
from tests.unit.binance_usdm_frames import EXCHANGE_INFO, INFO, MBP_1, REFERENCE, data, decoded, envelope, gaps

SOME = 18_000


def recording(fixtures: Path, *files: str, some: int = SOME) -> list[Envelope]:
    """The first frames of a recording, after its definitions."""
    folder = fixtures / "binance_usdm"
    found = []
    for frame in islice(read([folder / file for file in files], "binance_usdm"), some):
        channel = channel_of(frame.payload)
        if frame.kind == "rest":
            channel = EXCHANGE_INFO if "exchangeInfo" in frame.url else f"rest/depth/{_symbol(frame.url)}"
        if frame.kind != "sent":
            found.append(Envelope(ts_recv=frame.ts_recv, channel=channel, kind=KIND_FRAME, payload=frame.payload))
    return found


def _symbol(url: str) -> str:
    return url.partition("symbol=")[2].partition("&")[0]


def normalized(envelopes: list[Envelope], *, archive: bool = False) -> list[Output]:
    normalizer = Normalizer(INFO, archive=archive)
    normalizer.normalize(envelope(EXCHANGE_INFO, REFERENCE, envelopes[0].ts_recv))
    return [output for item in envelopes for output in normalizer.normalize(item)]


HFT = pytest.mark.parametrize(
    "files", [("btcusdt_20240808.gz",), ("ethusdt_20240718.gz", "ethusdt_20240719.gz")], ids=["btcusdt", "ethusdt"]
)


@HFT
def test_the_hot_path_finds_no_gap_and_says_what_the_archive_says(fixtures: Path, files: tuple[str, ...]) -> None:
    """Without holes and copies, live and archive differ in nothing; ETHUSDT's second file goes on where the first ends."""
    envelopes = recording(fixtures, *(f"hftbacktest/{file}" for file in files))
    hot = normalized(envelopes)
    assert not gaps(hot)
    assert [hashlib.sha256(repr(out).encode()).digest() for out in hot] == [
        hashlib.sha256(repr(out).encode()).digest() for out in normalized(envelopes, archive=True)
    ]
    assert set(Counter(message.schema for message in data(hot))) == {"MBO", "MBP_1", "TRADES"}


@HFT
def test_every_quantity_is_whole_lots_and_every_id_chains(fixtures: Path, files: tuple[str, ...]) -> None:
    """The facts behind lot, `pu` and trade ids, straight from the JSON."""
    last: dict[str, int] = {}
    adjacent = updates = 0
    for item in recording(fixtures, *(f"hftbacktest/{file}" for file in files)):
        body = json.loads(item.payload)
        said = body.get("data", body)
        quantities = [
            level[1]
            for side in ("b", "a", "bids", "asks")
            if isinstance(levels := said.get(side), list)
            for level in levels
        ]
        quantities += [said[name] for name in ("q", "A", "B") if name in said]
        assert not [text for text in quantities if Decimal(text) % Decimal("0.001")]
        kind = said.get("e")
        if kind == "depthUpdate":
            updates += 1
            adjacent += said["U"] == said["pu"] + 1
            assert last.get(kind, said["pu"]) == said["pu"] < said["U"] <= said["u"]
            last[kind] = said["u"]
        elif kind == "trade":
            assert said["X"] == "MARKET"
            assert said["t"] == last.get(kind, said["t"] - 1) + 1
            last[kind] = said["t"]
        elif kind == "bookTicker":
            assert said["u"] > last.get(kind, 0)
            last[kind] = said["u"]
    assert adjacent < updates / 20, "that U follows pu is the exception: only pu tells"


def test_every_quote_has_the_venues_numbers(fixtures: Path) -> None:
    """Prices, sizes, ids and the matching engine's time of each."""
    lot = Decimal("0.001")
    envelopes = [one for one in recording(fixtures, "hftbacktest/btcusdt_20240808.gz") if "bookTicker" in one.channel]
    messages = data(normalized(envelopes), "MBP_1")
    for item, message in zip(envelopes, messages, strict=True):
        said, fields = json.loads(item.payload)["data"], MBP_1.unpack(message.data)
        assert (fields[4], fields[11], fields[13]) == (said["T"] * 1_000_000, item.ts_recv, said["u"] % 2**32)
        assert [Decimal(field) / 10**9 for field in fields[14:16]] == [Decimal(said["b"]), Decimal(said["a"])]
        assert [field * lot for field in fields[16:18]] == [Decimal(said["B"]), Decimal(said["A"])]


def test_the_contracts_of_2021_are_all_defined(fixtures: Path) -> None:
    """122 of them: 119 perpetuals that trade, one that is pending, two quarterly futures."""
    (first, *_) = recording(fixtures, "cryptofeed-2021-07")
    assert first.channel == EXCHANGE_INFO
    outputs = Normalizer(INFO).normalize(first)
    records = [decoded(message)[0] for message in data(outputs, "DEFINITION")]
    assert Counter(record.security_type for record in records) == {"PERP": 120, "FUT": 2}
    assert {record.raw_symbol for record in records if record.security_type == "FUT"} == {
        "BTCUSDT_210924",
        "ETHUSDT_210924",
    }
    assert {record.expiration for record in records if record.security_type == "FUT"} == {1_632_470_400_000 * 10**6}
    assert all(record.min_lot_size_round_lot == 1 for record in records), "then every step was what the venue prints"
    states = Counter(decoded(message)[0].action.value for message in data(outputs, "STATUS"))
    assert states == {7: 121, 1: 1}


def test_no_recorded_word_is_unknown_and_a_new_one_is_noticed(fixtures: Path) -> None:
    """Of messages and lists; of the single messages of the present API as well."""
    drift = Drift(VOCABULARY)
    for name in ("cryptofeed-2021-07", "hftbacktest/btcusdt_20240808.gz"):
        for item in recording(fixtures, name, some=3000):
            assert not list(drift.unknown(item.payload))
    for path in sorted((fixtures / "binance_usdm" / "nautilus").iterdir()):
        assert not list(drift.unknown(path.read_bytes())), path.name
    assert list(drift.unknown(b'{"e":"novelty","zz":1}')) == ["value e=novelty", "field zz"]


def test_single_messages_of_the_present_api_are_read(fixtures: Path) -> None:
    """Documented and edited samples: new fields (`st`, `ps`) are passed over."""
    normalizer = Normalizer(INFO)
    reference = json.loads(REFERENCE)
    reference["symbols"] += [reference["symbols"][0] | {"symbol": "BNBUSDT", "pair": "BNBUSDT", "baseAsset": "BNB"}]
    normalizer.normalize(envelope(EXCHANGE_INFO, reference))
    streams = {
        "agg_trade_stream": "aggTrade", "book_ticker_stream": "bookTicker", "depth_update_stream": "depth@100ms",
        "kline_stream_closed": "kline_1m", "ticker_stream": "ticker", "trade_stream": "trade",
    }  # fmt: skip
    schemas = []
    for path in sorted((fixtures / "binance_usdm" / "nautilus").iterdir()):
        said = json.loads(path.read_bytes())
        channel = f"{said['s'].lower()}@{streams[path.stem]}"
        schemas += [
            message.schema
            for message in data(normalizer.normalize(envelope(channel, {"stream": channel, "data": said})))
        ]
    assert schemas == ["TRADES", "MBP_1", "OHLCV_1M", "STATISTICS", "TRADES"], "a book says nothing before its snapshot"
