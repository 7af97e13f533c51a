"""Recordings are read wholly, exactly and in arrival order."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from simulator.captures import CaptureError, Frame, read

NS = 1_000_000_000


def table(fixtures: Path) -> list[tuple[str, Path, str, int]]:
    """(provider, file, format, messages) of every recording in the fixtures' table."""
    rows = []
    for line in (fixtures / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 5 and cells[3] in {"CF1", "CF2", "HFT"}:
            rows.append((cells[1], fixtures / cells[2].strip("`"), cells[3], int(cells[4].replace(",", ""))))
    return rows


def count(frames) -> Counter[str]:
    return Counter(frame.kind for frame in frames)


def test_every_recording_has_the_counted_messages(fixtures):
    """The frames of each file are as many as its row says; HFT rows count the REST snapshot too."""
    rows = table(fixtures)
    assert len(rows) > 50
    for provider, path, kind, messages in rows:
        found = count(read(path, provider))
        assert found["ws"] + (found["rest"] if kind == "HFT" else 0) == messages, path


def test_binance_spot_two_days(fixtures):
    """Both days together are 99,574 messages in order, with the one depth snapshot in its place."""
    folder = fixtures / "binance_spot" / "hftbacktest"
    # Given in the wrong order: the times decide.
    frames = list(read([folder / "btcusdt_20240809.gz", folder / "btcusdt_20240808.gz"], "binance_spot"))
    assert len(frames) == 99_574
    times = [frame.ts_recv for frame in frames]
    assert times == sorted(times)
    (snapshot,) = [frame for frame in frames if frame.kind == "rest"]
    assert snapshot.url == "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"
    assert snapshot.connection == 0
    assert frames.index(snapshot) < 60
    assert frames[0].ts_recv == 1723161253937085768


def test_coinbase_capture(fixtures):
    """One connection, REST products first, what the client sent, and sequence_num 0 to 1029 in order."""
    frames = list(read(fixtures / "coinbase" / "cryptofeed-2026-08", "coinbase_advanced"))
    assert count(frames) == {"rest": 1, "sent": 5, "ws": 1030}
    assert frames[0].url == "https://api.coinbase.com/api/v3/brokerage/market/products"
    numbers = [json.loads(frame.payload)["sequence_num"] for frame in frames if frame.kind == "ws"]
    assert numbers == list(range(1030))
    assert {(frame.connection, frame.url) for frame in frames if frame.kind == "ws"} == {
        (1, "wss://advanced-trade-ws.coinbase.com")
    }


def test_deribit_directory(fixtures):
    """A CF1 set is merged: instruments from one file, frames from another, in time order."""
    frames = list(read(fixtures / "deribit" / "cryptofeed-2021-07", "deribit"))
    assert count(frames) == {"rest": 4, "sent": 1, "ws": 136}
    times = [frame.ts_recv for frame in frames]
    assert times == sorted(times)
    assert frames[0].url == "https://www.deribit.com/api/v2/public/get_instruments?currency=BTC&expired=false"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_cf1_lines(tmp_path):
    """Every line kind is told apart, times are exact, payloads stay as they are, reconnects count."""
    path = write(
        tmp_path / "X.ws.1.0",
        'configuration: {"trades": []}\n'
        'https://x/rest?a=1&b=2 -> 1600000000.1: {"note": "a <- 1: b"}\n'
        "wss://x/ws <-> 1600000000.5\n"
        'wss://x/ws <- 1600000000.6: {"subscribe": 1}\n'
        '1600000001.8063161: [1,"a: b", 2]\r\n'
        "\n"
        "wss://x/ws <-> 1600000002.5\n"
        "1600000003: 0.10\n",
    )
    assert list(read(path, "x")) == [
        Frame(1600000000_100000000, 0, "rest", "https://x/rest?a=1&b=2", b'{"note": "a <- 1: b"}'),
        Frame(1600000000_600000000, 1, "sent", "wss://x/ws", b'{"subscribe": 1}'),
        Frame(1600000001_806316100, 1, "ws", "wss://x/ws", b'[1,"a: b", 2]\r'),
        Frame(1600000003_000000000, 2, "ws", "wss://x/ws", b"0.10"),
    ]


def test_cf2_lines(tmp_path):
    """Connections written one after the other come out in arrival order; binary frames are decoded; times are exact."""
    binary = base64.b64encode(b"\x00\xff").decode()
    lines = [
        '{"t":"header","exchange":"X","recorded":1.5}',
        '{"t":"connect","conn":"b","ts":1600000000.1,"addr":"wss://b"}',
        '{"t":"recv","conn":"b","ts":1600000000.123456789,"data":"{\\"p\\":1.10}"}',
        '{"t":"recv","conn":"b","ts":1600000005,"b64":"' + binary + '"}',
        '{"t":"connect","conn":"a","ts":1600000000.2,"addr":"wss://a"}',
        '{"ts":1600000001.5,"data":"two","conn":"a","t":"recv"}',
        '{"t":"http","conn":"h","ts":1600000000.0,"url":"https://x/y","data":"[]"}',
    ]
    path = tmp_path / "X.jsonl.zst"
    # Two Zstandard frames in one file, as an appending recorder leaves them.
    half = "\n".join(lines[:3]) + "\n"
    rest = "\n".join(lines[3:]) + "\n"
    path.write_bytes(b"".join(zstandard.ZstdCompressor().compress(part.encode()) for part in (half, rest)))
    assert list(read([path], "x")) == [
        Frame(1600000000 * NS, 0, "rest", "https://x/y", b"[]"),
        Frame(1600000000_123456789, 1, "ws", "wss://b", b'{"p":1.10}'),
        Frame(1600000001_500000000, 2, "ws", "wss://a", b"two"),
        Frame(1600000005 * NS, 1, "ws", "wss://b", b"\x00\xff"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 0, "a recording, found an empty file"),
        ("hello\n", 1, "the first line of a CF1, CF2 or HFT recording"),
        ("wss://x <-> 1.5\n\nnonsense\n", 3, "a CF1 line"),
        ("wss://x <-> 1.5\n1.1234567891: {}\n", 2, "at most 9 decimals, found '1.1234567891'"),
        ("1.5: {}\n", 1, "before the first frame"),
        ('{"t":"header"}\n{"t":"recv","conn":"a","ts":1.5,"data":"x"}\n', 2, "a connect line of 'a'"),
        ('{"t":"header"}\n{"t":"recv","conn":"a","ts":1e9,"data":"x"}\n', 2, "UNIX seconds"),
        ('{"t":"header"}\n{"t":"other"}\n', 2, "a CF2 line"),
        ('{"t":"header"}\n{"t":"http","ts":1.5}\n', 2, "data or b64 in a http line"),
        ('{"t":"header"}\n{"t":"http","ts":1.5,"b64":"%%%"}\n', 2, "a CF2 line"),
        ('1723161253937085768 {"lastUpdateId":1}\n', 1, "no bare depth snapshot for 'x'"),
        ("1723161253937085768 {}\n17231612539370857 {}\n", 2, "`<UNIX ns, 19 digits> <payload>`"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, line, expected):
    """The error names the file, the line and what was expected."""
    path = write(tmp_path / "bad", text)
    with pytest.raises(CaptureError) as error:
        list(read(path, "x"))
    assert str(error.value).startswith(f"{path}, line {line}: expected ")
    assert expected in str(error.value)


def test_a_damaged_archive_is_named(tmp_path):
    """A cut-off gzip or Zstandard file raises CaptureError, after the lines that are whole."""
    lines = b"".join(b"%d {}\n" % (1723161253937085768 + number) for number in range(5000))
    whole = {"a.gz": gzip.compress(lines), "a.zst": zstandard.ZstdCompressor().compress(lines)}
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CaptureError, match="an intact archive"):
            list(read(tmp_path / name, "x"))


def test_a_missing_file_is_named(tmp_path):
    """A path that cannot be read is an error of its own, as is an empty directory."""
    with pytest.raises(CaptureError, match="No such file"):
        list(read(tmp_path / "nowhere.gz", "x"))
    with pytest.raises(CaptureError, match="at least one recording"):
        list(read(tmp_path, "x"))
