"""Recordings of real venues, as frames in arrival order.

Four formats, told apart by content (compressed with gzip or Zstandard, or not):

- CF1, cryptofeed raw capture 1: text lines of several kinds, a set of files in a directory
- CF2, cryptofeed capture 2: JSON lines with a key `t`, several connections one after the other
- HFT, hftbacktest collector: lines `<ns> <json>`, Binance REST depth snapshots among the WebSocket messages
- DBN, Databento's files: metadata, then records, which are frames as a live gateway's are

Times stay integers: the recorder's decimal text becomes nanoseconds without a float. Payloads stay the recorded bytes.
"""

from __future__ import annotations

import gzip
import heapq
import re
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

import msgspec
import zstandard

from penstock.errors import Terminal
from penstock.framing import FramingError
from simulator import captures_dbn

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1 << 20
_UNREADABLE: Final = (EOFError, zlib.error, zstandard.ZstdError, OSError)  # BadGzipFile is an OSError

# In this order: a REST body may look like a frame, never the other way round.
_CF1_OPENED: Final = re.compile(rb"^(\S+) <-> ([0-9.]+)$")
_CF1_SENT: Final = re.compile(rb"^(\S+) <- ([0-9.]+): (.*)$", re.DOTALL)
_CF1_REST: Final = re.compile(rb"^(\S+) -> ([0-9.]+): (.*)$", re.DOTALL)
_CF1_FRAME: Final = re.compile(rb"^([0-9]+(?:\.[0-9]+)?): (.*)$", re.DOTALL)
_HFT_LINE: Final = re.compile(rb"^([0-9]{19}) (.+)$", re.DOTALL)
_HFT_STREAM: Final = re.compile(rb'^\{"stream":"([^"@]+)@')

_DEPTH_URLS: Final = {
    # https://developers.binance.com/docs/binance-spot-api-docs/rest-api and /docs/derivatives, read 2026-08
    "binance_spot": "https://api.binance.com/api/v3/depth?symbol={}&limit=1000",
    "binance_usdm": "https://fapi.binance.com/fapi/v1/depth?symbol={}&limit=1000",
    "binance_coinm": "https://dapi.binance.com/dapi/v1/depth?symbol={}&limit=1000",
}


class CaptureError(Terminal):
    """A recording cannot be read: names the file, the line and what was expected there."""

    def __init__(self, path: Path, line: int, expected: str) -> None:
        super().__init__(f"{path}, line {line}: expected {expected}")


class Frame(NamedTuple):
    """One recorded message. `kind` rest is a response body (connection 0), sent is what the client sent.

    `ts_recv` is the recorder's clock in UNIX ns, `connection` counts WebSocket connections from 1 in order of opening,
    `url` is the endpoint or the request's URL.
    """

    ts_recv: int
    connection: int
    kind: Literal["ws", "rest", "sent"]
    url: str
    payload: bytes


def read(paths: Path | Iterable[Path], provider: str) -> Iterator[Frame]:
    """The frames of one recording, in arrival order.

    A directory stands for the files in it. `provider` names the URL of HFT depth snapshots, which the format lacks.
    Files are merged on time; frames of equal time keep the order of their file. CF1 and CF2 files are held in memory
    one by one while they are read, HFT files are not. Raises CaptureError, also for a damaged archive.
    """
    files = _files([paths] if isinstance(paths, Path) else list(paths))
    connections = count(1)
    parts = sorted((_Part(path, provider, connections) for path in files), key=lambda part: (part.first, part.path))
    return heapq.merge(*(part.frames for part in parts), key=lambda frame: frame.ts_recv)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    if not files:
        raise CaptureError(paths[0] if paths else Path(), 0, "at least one recording")
    return files


class _Part:
    """One file: its frames in arrival order, and the time of the first to order files by."""

    def __init__(self, path: Path, provider: str, connections: Iterator[int]) -> None:
        self.path = path
        if captures_dbn.is_dbn(_head(path)):
            self._start(_dbn(path, next(connections)))
            return
        lines = _lines(path)
        start = next(lines, None)
        if start is None:
            raise CaptureError(path, 0, "a recording, found an empty file")
        lines = _chain(start, lines)
        text = start[1]
        if _HFT_LINE.match(text):
            frames = _hft(path, lines, provider)
        elif text.startswith(b'{"') and b'"t":"' in text[:200]:
            frames = _sorted(_cf2(path, lines, connections))
        elif _is_cf1(text):
            frames = _sorted(_cf1(path, lines, connections))
        else:
            raise CaptureError(path, start[0], "the first line of a CF1, CF2 or HFT recording")
        self._start(frames)

    def _start(self, frames: Iterator[Frame]) -> None:
        first = next(frames, None)
        self.first = 0 if first is None else first.ts_recv
        self.frames: Iterator[Frame] = iter(()) if first is None else _chain(first, frames)


def _chain[T](first: T, rest: Iterator[T]) -> Iterator[T]:
    yield first
    yield from rest


def _sorted(frames: Iterator[Frame]) -> Iterator[Frame]:
    # CF2 writes connections one after the other and CF1 answers can carry later times than what follows them.
    return iter(sorted(frames, key=lambda frame: frame.ts_recv))


def _is_cf1(line: bytes) -> bool:
    if line.startswith(b"configuration: "):
        return True
    return any(kind.match(line) for kind in (_CF1_OPENED, _CF1_SENT, _CF1_REST, _CF1_FRAME))


# --- lines --------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without its line feed) of every line that is not empty."""
    number, rest = 0, b""
    try:
        for chunk in _chunks(path):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                number += 1
                if line:
                    yield number, line
    except _UNREADABLE as error:
        raise _unreadable(path, number, error) from None
    if rest:
        yield number + 1, rest


def _head(path: Path) -> bytes:
    """The first bytes of the decompressed content."""
    try:
        return next(_chunks(path), b"")[:16]
    except _UNREADABLE as error:
        raise _unreadable(path, 0, error) from None


def _unreadable(path: Path, number: int, error: Exception) -> CaptureError:
    if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
        return CaptureError(path, number, f"a readable file ({error.strerror})")
    return CaptureError(path, number + 1, f"an intact archive ({error})")


def _chunks(path: Path) -> Iterator[bytes]:
    """The decompressed content. Raises what the decompressors raise, and EOFError for a cut-off Zstandard frame."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == _ZSTD_MAGIC:
            yield from _zstd(file)
            return
        with gzip.open(file) if magic.startswith(_GZIP_MAGIC) else nullcontext(file) as plain:
            while chunk := plain.read(_CHUNK):
                yield chunk


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    # Not stream_reader: it takes the end of a cut-off file for the end of the data.
    frame = None
    while data := file.read(_CHUNK):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data = b""
            if frame.eof:
                data, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError("the last Zstandard frame is cut off")


def _ns(path: Path, line: int, text: bytes) -> int:
    """UNIX seconds with a decimal fraction as nanoseconds, exactly."""
    seconds, _, fraction = text.partition(b".")
    if not seconds.isdigit() or (fraction and not fraction.isdigit()) or len(fraction) > 9:
        raise CaptureError(path, line, f"UNIX seconds with at most 9 decimals, found {text[:40].decode('latin-1')!r}")
    return int(seconds + fraction.ljust(9, b"0"))


# --- formats ------------------------------------------------------------------------------------------------------


def _cf1(path: Path, lines: Iterable[tuple[int, bytes]], connections: Iterator[int]) -> Iterator[Frame]:
    connection, url = 0, ""
    for number, line in lines:
        if line.startswith(b"configuration: "):
            continue
        if found := _CF1_OPENED.match(line):
            connection, url = next(connections), found[1].decode()
        elif found := _CF1_SENT.match(line):
            yield Frame(_ns(path, number, found[2]), connection, "sent", found[1].decode(), found[3])
        elif found := _CF1_REST.match(line):
            yield Frame(_ns(path, number, found[2]), 0, "rest", found[1].decode(), found[3])
        elif found := _CF1_FRAME.match(line):
            if not connection:
                raise CaptureError(path, number, "a line `<url> <-> <time>` before the first frame")
            yield Frame(_ns(path, number, found[1]), connection, "ws", url, found[2])
        else:
            raise CaptureError(path, number, "a CF1 line: `<time>: <payload>` or `<url> <->, <- or -> <time>…`")


class _Line(msgspec.Struct):
    """A CF2 line. `ts` stays text: as a JSON number it would become a float."""

    t: Literal["header", "http", "connect", "send", "recv"]
    conn: str = ""
    ts: msgspec.Raw = msgspec.Raw()
    addr: str = ""
    url: str = ""
    data: str | None = None
    b64: str = ""


def _cf2(path: Path, lines: Iterable[tuple[int, bytes]], connections: Iterator[int]) -> Iterator[Frame]:
    decode = msgspec.json.Decoder(_Line).decode
    opened: dict[str, tuple[int, str]] = {}
    for number, text in lines:
        try:
            line = decode(text)
            payload = b64decode(line.b64, validate=True) if line.data is None else line.data.encode()
        except (msgspec.DecodeError, Base64Error) as error:
            raise CaptureError(path, number, f"a CF2 line ({error})") from None
        if line.t == "header":
            continue
        if line.t != "connect" and line.data is None and not line.b64:
            raise CaptureError(path, number, f"data or b64 in a {line.t} line")
        ts_recv = _ns(path, number, bytes(line.ts))
        if line.t == "connect":
            opened[line.conn] = (next(connections), line.addr)
        elif line.t == "http":
            yield Frame(ts_recv, 0, "rest", line.url, payload)
        elif line.conn not in opened:
            raise CaptureError(path, number, f"a connect line of {line.conn!r} before its first frame")
        else:
            yield Frame(
                ts_recv, opened[line.conn][0], "sent" if line.t == "send" else "ws", opened[line.conn][1], payload
            )


def _hft(path: Path, lines: Iterable[tuple[int, bytes]], provider: str) -> Iterator[Frame]:
    symbol = ""
    for number, line in lines:
        found = _HFT_LINE.match(line)
        if found is None:
            raise CaptureError(path, number, "`<UNIX ns, 19 digits> <payload>`")
        ts_recv, payload = int(found[1]), found[2]
        if payload.startswith(b'{"lastUpdateId"'):
            if provider not in _DEPTH_URLS or not symbol:
                raise CaptureError(path, number, f"no bare depth snapshot for {provider!r} before a stream's message")
            yield Frame(ts_recv, 0, "rest", _DEPTH_URLS[provider].format(symbol), payload)
            continue
        if not symbol and (stream := _HFT_STREAM.match(payload)):
            symbol = stream[1].decode().upper()
        # The format does not say where connections begin: a recording is one, over all its files.
        yield Frame(ts_recv, 1, "ws", "", payload)


def _dbn(path: Path, connection: int) -> Iterator[Frame]:
    try:
        for ts_recv, payload in captures_dbn.read(_chunks(path)):
            yield Frame(ts_recv, connection, "ws", "", payload)
    except FramingError as error:
        raise CaptureError(path, 0, f"whole DBN records ({error})") from None
    except _UNREADABLE as error:
        raise _unreadable(path, 0, error) from None
