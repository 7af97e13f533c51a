"""Ten thousand mutated frames of each venue, written as a recording and read as `penstock normalize` reads one."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import databento_dbn as db
import pytest

import providers
from benchmarks.frames import KINDS, stream
from penstock.cli.normalize import Summary, normalize_capture

FRAMES = 10_000
REASON = re.compile(r"[a-z][a-z0-9_]*\Z")
REST = {
    "binance_spot": {
        "rest/exchangeInfo": "https://x/api/v3/exchangeInfo", "rest/depth/BTCUSDT": "https://x/api/v3/depth?symbol=BTCUSDT",
    },
    "deribit": {"rest/get_instruments/BTC": "https://x/api/v2/public/get_instruments?currency=BTC"},
    "coinbase_advanced": {"rest/products": "https://x/api/v3/brokerage/market/products"},
}  # fmt: skip

NUMBERS = (
    b"NaN", b"Infinity", b"-0", b"-1", b"0", b"1e3", b"1E-9", b"0x10", b"1_000", b"01", b"1.", b".5", b"+1", b"null",
    b"true", b"99999999999999999999999999", b"0.0000000000000001", b"9223372036854775808", b"-9223372036854775809",
    b"4294967296", b"1" * 400, b'"', b"{}", b"[]", b'"\\u0000"', b'"1 "', b"\xd9\xa1",
)  # fmt: skip
NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
VALUE = re.compile(rb'"[^"\\]*"(?!:)|-?[0-9]+(?:\.[0-9]+)?|true|false|null')
KEY = re.compile(rb'"[^"\\]*"(?=\s*:)')

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def _flip(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(dice.choice((1, 1, 1, 3, 20))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    return frame[: dice.randrange(len(frame))]


def _splice(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    return frame[: dice.randrange(len(frame))] + other[dice.randrange(len(other)) :]


def _insert(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    at = dice.randrange(len(frame))
    junk = dice.choice(
        (b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"[" * 3000, b'{"a":' * 1500, b"\r", b"\\", b'"', b",", b"\xef\xbb\xbf")
    )
    return frame[:at] + junk + frame[at:]


def _number(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    return _replace(dice, NUMBER, frame, dice.choice(NUMBERS))


def _digit(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    """Another number of the same shape: most of these are as valid as the original."""
    found = dice.choice(list(NUMBER.finditer(frame)) or [None])
    if found is None:
        return frame
    text = bytes(dice.choice(b"0123456789") if 48 <= c <= 57 else c for c in found[0])
    return frame[: found.start()] + text + frame[found.end() :]


def _value(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    donors = VALUE.findall(other)
    return _replace(dice, VALUE, frame, dice.choice(donors) if donors else b"null")


def _key(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    keys = KEY.findall(frame)
    return _replace(dice, KEY, frame, dice.choice([*keys, b'""', b'"constructor"']))


def _repeat(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    return dice.choice((frame + frame, frame + other, b"[" + frame + b"]", b" " + frame + b" ", frame))


def _replace(dice: random.Random, pattern: re.Pattern[bytes], frame: bytes, text: bytes) -> bytes:
    found = list(pattern.finditer(frame))
    if not found:
        return frame
    at = dice.choice(found)
    return frame[: at.start()] + text + frame[at.end() :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _splice, _insert, _number, _digit, _value, _key, _repeat)


def _recording(provider: str, path: Path) -> None:
    """A CF2 recording: what must come first, whole, then mutated frames of every kind in turn, each fifth one whole."""
    dice = random.Random(f"mutations of {provider}")
    first, frames = [], []
    for kind in KINDS[provider]:
        prefix, some = stream(provider, kind, FRAMES // len(KINDS[provider]) + 1)
        first += prefix
        frames.append(some)
    turns = [envelope for group in zip(*frames, strict=True) for envelope in group][:FRAMES]
    answers = [envelope for envelope in first if envelope.channel.startswith("rest/")]
    urls = REST[provider]
    with path.open("w") as file:
        file.write(_line({"t": "connect", "conn": "1", "ts": 1_790_000_000, "addr": "wss://x"}))
        for number, envelope in enumerate([*first, *turns]):
            second = 1_790_000_000 + number // 1000
            line = {"t": "recv", "conn": "1", "ts": second}
            payload = envelope.payload
            if envelope.channel in urls:
                line |= {"t": "http", "url": urls[envelope.channel]}
            if number >= len(first) and number % 5:
                payload = dice.choice(MUTATIONS)(dice, payload, dice.choice(turns).payload) or b"\x00"
            elif number % 500 == 0:
                # Now and then the venue's REST answers come damaged as well.
                answer = dice.choice(answers)
                damaged = dice.choice(MUTATIONS)(dice, answer.payload, payload) or b"\x00"
                content = {"t": "http", "conn": "1", "ts": second, "url": urls[answer.channel]}
                file.write(_line(content | {"b64": base64.b64encode(damaged).decode()}))
            file.write(_line(line | {"b64": base64.b64encode(payload).decode()}))


def _line(content: dict[str, object]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


@pytest.fixture(scope="module", params=sorted(KINDS))
def normalized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Summary]:
    """The provider, the recording, and what became of it."""
    folder = tmp_path_factory.mktemp(request.param)
    _recording(request.param, folder / "mutated.jsonl")
    return request.param, folder, normalize_capture([folder / "mutated.jsonl"], request.param, folder / "out.dbn.zst")


def test_every_frame_is_accounted_for(normalized):
    """frames = data + control + quarantined exactly, each refusal has one of few fixed words, none is a bug."""
    _, folder, summary = normalized
    lines = (folder / "mutated.jsonl").read_text().count("\n") - 1
    refused = sum(summary.quarantined.values())
    assert summary.frames == lines == summary.data + summary.control + refused
    assert lines > FRAMES
    assert refused > FRAMES / 4
    assert "bug" not in summary.quarantined, summary.refusals
    assert all(REASON.match(reason) for reason in summary.quarantined)
    assert len(summary.quarantined) <= 24, summary.quarantined
    assert all(text and "\n" not in text for text in summary.refusals.values())
    assert summary.quarantined.keys() == summary.refusals.keys()
    assert summary.records["TRADES"] > FRAMES / 20
    assert summary.records["MBO"] > 0


def test_what_is_published_is_whole(normalized):
    """Databento's decoder reads every file to its end, and each price, size and flag is one that DBN has."""
    _, _, summary = normalized
    for output in summary.outputs:
        count = 0
        for record in _read(Path(output.path)):
            count += 1
            assert record.publisher_id > 60_000
            if isinstance(record, db.TradeMsg | db.MBOMsg):
                assert record.size > 0 or str(record.action) in {"C", "R"}
                assert str(record.side) in {"A", "B", "N"}
            if isinstance(record, db.TradeMsg):
                assert 0 < record.price < db.UNDEF_PRICE
        assert count == output.records


def test_the_same_recording_gives_the_same_bytes(normalized, tmp_path: Path):
    """Bad input is as deterministic as good input."""
    provider, folder, summary = normalized
    again = normalize_capture([folder / "mutated.jsonl"], provider, tmp_path / "out.dbn.zst")
    assert [output.sha256 for output in again.outputs] == [output.sha256 for output in summary.outputs]
    assert again.quarantined == summary.quarantined


def test_peeks_never_raise(normalized):
    """channel_of and merge_key, which the session manager and the post-processor call on any bytes, answer for all."""
    provider, folder, _ = normalized
    payloads = providers.payloads(provider)
    for line in (folder / "mutated.jsonl").read_text().splitlines()[1:]:
        payload = base64.b64decode(json.loads(line)["b64"])
        channel = payloads.channel_of(payload)
        assert isinstance(channel, str)
        assert channel
        key = payloads.merge_key(channel, payload)
        assert key.ts_event >= 0
        assert key.identity


def _read(path: Path) -> Iterator[db.DBNRecord]:
    decoder = db.DBNDecoder(compression=db.Compression("zstd"))
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            decoder.write(block)
            yield from (record for record in decoder.decode() if not isinstance(record, db.Metadata))
