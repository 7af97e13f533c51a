"""The raw table on Hive's own OpenCSVSerde, which Athena uses: Spark's jars have it. Every payload comes back byte for byte.

Needs a JDK and the dependency group `spark` (`uv sync --group spark`); skips without.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

import providers
from penstock.cli import capture
from penstock.lake.glue import described
from penstock.lake.tables import tables
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from penstock.timestamps import NS_PER_S
from services.batch_processor.chunks import Chunker
from tests.contract.recorded import load, path_of

if find_spec("pyspark") is None:
    pytest.skip("pyspark, which ships the SerDe, is not installed: uv sync --group spark", allow_module_level=True)
if shutil.which("javac") is None:
    pytest.skip("there is no JDK on PATH", allow_module_level=True)

pytestmark = pytest.mark.timeout(900)

Read = tuple[str, ...]

NASTY = [
    b'{"a":"say \\"hi\\""}', b'{"a":"back\\\\slash"}', b'{"a":"\\\\\\""}', b'"', b'""', b"\\", b'\\"', b",", b'a,b,"c"', b"",
    b"'", "€ 日本 🚀".encode(), b"line\nbreak", b"tab\there", b"\x01", b"\x00\xff", b"base64:AAAA", b"cr\rlf", b" spaces ",
    b"\xc2\x85next\xe2\x80\xa8line", b"NULL", b"\\N", b'{"a":"\\u0001"}', b'"quoted",1\\', b"\xef\xbb\xbfbom", b"\\",
]  # fmt: skip

OPENS = ("--add-opens", "java.base/java.net=ALL-UNNAMED")
"""Hive 2.3 looks into java.net.URI, which Java 17 must be told to allow."""

TABLE = described(tables(providers.names()), {"intermediate": "s3://i", "final": "s3://f"})["raw_intermediate"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path with Spark's jars and the compiled reader."""
    spec = find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    classes = tmp_path_factory.mktemp("classes")
    path = f"{classes}:{Path(spec.origin).parent}/jars/*"
    source = Path(__file__).parent / "serde/ReadBack.java"
    subprocess.run(["javac", "-cp", path, "-d", str(classes), str(source)], check=True, timeout=300)
    return path


def written(folder: Path, provider: str, payloads: list[tuple[str, bytes]]) -> None:
    """(channel, payload) as the batch processor writes them, sequences from 1."""
    chunker = Chunker(providers.info(provider), providers.payloads(provider), "PRIMARY", 86_400 * NS_PER_S, 1 << 30)
    chunks = []
    for n, (channel, payload) in enumerate(payloads, 1):
        at = 1_786_276_800 * NS_PER_S + n
        envelope = Envelope(sequence=n, ts_recv=at, connection=1, channel=channel, kind=KIND_FRAME, payload=payload)
        chunks += chunker.feed(7, envelope)
    for chunk in [*chunks, *chunker.close()]:
        data, _ = chunk.finish()
        path = folder / chunk.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read_back(reader: str, folder: Path, serde: Mapping[str, str] = TABLE["serde_parameters"]) -> Iterator[Read]:
    """Every row through the SerDe with our table's own parameters, as text."""
    stated = {
        **serde, "skip.header.line.count": TABLE["parameters"]["skip.header.line.count"],
        "columns": ",".join(column["name"] for column in TABLE["columns"]),
        "columns.types": ",".join(column["type"] for column in TABLE["columns"]),
    }  # fmt: skip
    command = ["java", *OPENS, "-cp", reader, "ReadBack", *(f"{name}={value}" for name, value in stated.items())]
    paths = "\n".join(map(str, sorted(folder.rglob("*.csv.gz"))))
    done = subprocess.run(command, input=paths.encode(), capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        yield tuple(base64.b64decode(part).decode() for part in line.decode().split(" "))


def compare(reader: str, folder: Path, provider: str, payloads: list[tuple[str, bytes]]) -> None:
    written(folder, provider, payloads)
    found = {}
    for _, epoch, connection, sequence, text in read_back(reader, folder):
        assert (epoch, connection) == ("7", "1")
        assert sequence not in found
        found[sequence] = base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()
    assert found == {str(n): payload for n, (_, payload) in enumerate(payloads, 1)}


def test_nasty_payloads_come_back(reader: str, tmp_path: Path) -> None:
    """Quotes, backslashes, commas, unicode, control bytes: what was received is what is read."""
    compare(reader, tmp_path, "deribit", [("book.X.raw", payload) for payload in NASTY])


def test_the_serdes_own_escape_would_lose_backslashes(reader: str, tmp_path: Path) -> None:
    """Without our escape character the same rows differ: these tests would see it."""
    written(tmp_path, "deribit", [("book.X.raw", payload) for payload in NASTY[:2]])
    found = [row[-1].encode() for row in read_back(reader, tmp_path, {"separatorChar": ",", "quoteChar": '"'})]
    assert found != NASTY[:2]


@pytest.mark.parametrize("provider", ["deribit", "binance_spot"])
def test_recordings_come_back(reader: str, tmp_path: Path, fixtures: Path, provider: str) -> None:
    """The first recording of a provider, of each channel 200 rows."""
    taken: Counter[str] = Counter()
    payloads = []
    for channel, payload in recorded(fixtures, provider, load(provider).captures[0].files):
        taken[channel] += 1
        if taken[channel] <= 200:
            payloads.append((channel, payload))
    compare(reader, tmp_path, provider, payloads)


@pytest.mark.chaos
@pytest.mark.parametrize("provider", providers.names())
def test_every_row_of_every_recording_comes_back(reader: str, tmp_path: Path, fixtures: Path, provider: str) -> None:
    """The same for everything that was recorded."""
    if not path_of(provider).exists() or not load(provider).captures:
        pytest.skip(f"{provider} has no recordings")
    for n, recording in enumerate(load(provider).captures):
        payloads = recorded(fixtures, provider, recording.files)
        compare(reader, tmp_path / str(n), provider, payloads)
        print(
            f"{provider} {recording.files[0]}: {len(payloads):,} rows, {sum(len(p) for _, p in payloads):,} bytes equal"
        )


def recorded(fixtures: Path, provider: str, files: list[str]) -> list[tuple[str, bytes]]:
    found = capture.read([fixtures / name for name in files], provider)
    return [(envelope.channel, envelope.payload) for envelope in found.envelopes]
