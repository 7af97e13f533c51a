"""OKX's recordings of 2021 and 2022: every checksum, every trade, and the damage that must show."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.normalize import normalize_capture
from penstock.drift import Drift
from penstock.errors import PayloadError
from providers.okx import checksums, payloads
from providers.okx.oracle import Oracle
from providers.okx.vocabulary import VOCABULARY
from simulator import captures
from tests.unit.okx_frames import T0_MS, Feed, gaps

R1 = ["cryptofeed-2021-07/OKEX.0.gz", "cryptofeed-2021-07/OKEX.ws.1.0.gz"]
R2 = ["cryptofeed-2022-02"]
TOO_FINE = "ELON-USDT"


def frames(fixtures: Path, files: list[str]) -> list[tuple[str, bytes, int]]:
    """(raw channel, payload, receive time) of what was received, in order."""
    found = []
    for frame in captures.read([fixtures / "okx" / file for file in files], "okx"):
        if frame.kind == "rest":
            kind = re.search("instType=([A-Z]+)", frame.url)
            assert kind
            found.append((f"rest/instruments/{kind[1]}", frame.payload, frame.ts_recv))
        elif frame.kind == "ws":
            found.append((payloads.channel_of(frame.payload), frame.payload, frame.ts_recv))
    return found


@pytest.mark.parametrize(("files", "all_of_them", "ours"), [(R1, 1504, 1504), (R2, 3679, 2068)])
def test_every_checksum_is_recomputed_and_right(
    fixtures: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], all_of_them: int, ours: int
):
    """By the oracle all of them. By the normalizer, after each message, those of instruments that DBN prices can hold: in
    R2 1,602 are of ELON-USDT, and 9 of snapshots that came twice, because it was subscribed twice."""
    oracle = Oracle()
    for channel, payload, ts_recv in frames(fixtures, files):
        oracle.read(channel, payload, ts_recv)
    assert oracle.checksums == all_of_them
    computed: list[int] = []
    original = checksums.Ladder.checksum

    def spied(self: checksums.Ladder) -> int:
        computed.append(original(self))
        return computed[-1]

    monkeypatch.setattr(checksums.Ladder, "checksum", spied)
    summary = normalize_capture([fixtures / "okx" / file for file in files], "okx", None)
    sent = dict.fromkeys(payload for channel, payload, _ in frames(fixtures, files) if channel.startswith("books"))
    wanted = [json.loads(payload) for payload in sent if TOO_FINE.encode() not in payload]
    assert computed == [frame["data"][0]["checksum"] for frame in wanted]
    assert len(computed) == ours
    assert not summary.quarantined
    assert set(summary.gaps) <= {"definition_number_precision", "no_definition"}


def test_three_connections_of_one_venue_merge_into_one_book(fixtures: Path):
    """R1 was recorded on three at once, which cut the same changes differently: no gap, and no trade twice."""
    folder = fixtures / "okx" / "cryptofeed-2021-07"
    one = normalize_capture([folder / "OKEX.0.gz", folder / "OKEX.ws.1.0.gz"], "okx", None)
    all_three = normalize_capture([folder], "okx", None)
    assert all_three.frames == 5 + 1616 + 1559 + 1534
    assert set(all_three.gaps) == {"definition_number_precision"}
    assert all_three.records["TRADES"] == one.records["TRADES"]


def test_a_message_that_is_lost_from_a_recording_shows(fixtures: Path):
    """Take one out that changes the best 25 levels: the next checksum of its book is wrong, and only of its book."""
    feed = Feed(archive=True)
    channel, skipped, declared = "books-l2-tbt.XMR-USDT-SWAP", 0, Counter[str]()
    for name, payload, ts_recv in frames(fixtures, R1):
        if name == channel and '"update"' in payload.decode():
            skipped += 1
            if skipped == 3:
                continue
        feed.ms = ts_recv // 10**6 - T0_MS
        declared.update(one for one, reason in gaps(feed.envelope(name, payload)) if reason == "checksum")
    assert declared == {channel: 1}


def test_the_samples_are_read(fixtures: Path):
    """Single messages of 2021 to 2025: what is of the API v5 and complete is published or control, all words are known."""
    lines = (fixtures / "okx/crypto-msg-parser/okx.jsonl").read_bytes().splitlines()
    folder = fixtures / "okx" / "nautilus"
    lists = [("SWAP", "swap"), ("SPOT", "spot"), ("FUTURES", "futures")]
    feed, drift = Feed(), Drift(VOCABULARY)
    for kind, name in lists:
        body = (folder / f"http_get_instruments_{name}.json").read_bytes()
        assert list(drift.unknown(body)) == []
        assert not gaps(feed.rest(f"rest/instruments/{kind}", body))
    refused: Counter[str] = Counter()
    for payload in [*lines, *(path.read_bytes() for path in sorted(folder.glob("ws_*.json")))]:
        channel = payloads.channel_of(payload)
        if channel == "control":
            continue  # REST answers, and one message of the API v3
        assert list(drift.unknown(payload.replace(b"candle1D", b"candle1m"))) == []
        try:
            feed.envelope(channel, payload)
        except PayloadError as error:
            refused[f"{channel.partition('.')[0]} {error.reason}"] += 1
    # candle1D is not subscribed; the documentation's BTC-USDT example has sizes of contracts.
    assert refused == {"candle1D unknown_frame": 1}


def test_an_old_api_is_refused_and_not_misread(fixtures: Path):
    """API v3 of OKEx, retired in 2022, has `table` where v5 has `arg`."""
    (payload,) = [
        line for line in (fixtures / "okx/crypto-msg-parser/okx.jsonl").read_bytes().splitlines() if b'"table"' in line
    ]
    assert payloads.channel_of(payload) == "control"
    with pytest.raises(PayloadError) as error:
        Feed().frame(payload)
    assert error.value.reason == "unknown_frame"


def test_merge_keys_find_the_copies_of_two_connections(fixtures: Path):
    """Trades of R1's connections 1 and 2: equal keys for equal messages, with the venue's time and id."""

    def trades(number: int) -> dict[bytes, Any]:
        files = [f"cryptofeed-2021-07/OKEX.ws.{number}.0.gz"]
        listed = [
            (channel, payload) for channel, payload, _ in frames(fixtures, files) if channel.startswith("trades.")
        ]
        keys = [payloads.merge_key(channel, payload) for channel, payload in listed]
        assert all(
            key.sequence == int(json.loads(payload)["data"][0]["tradeId"])
            and key.ts_event == int(json.loads(payload)["data"][0]["ts"]) * 10**6
            for key, (_, payload) in zip(keys, listed, strict=True)
        )
        return {key.identity: key for key in keys}

    assert trades(1) == trades(2)
    assert len(trades(1)) == 36
