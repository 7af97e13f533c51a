"""A recording as the envelopes a session manager would have made of it, with the definitions it lacks before it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

import providers
from penstock.errors import ConfigError
from penstock.payloads import REST, Payloads, channels_on
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from simulator import captures
from simulator.recording import Recording

_HEAD_FRAMES: Final = 100
"""Recorders fetch instrument lists before anything else."""
_SYMBOL_PARAMETERS: Final = (
    "symbol", "product_id", "instrument_name", "currency", "instId", "instType", "category", "pair",
)  # fmt: skip


class Capture(NamedTuple):
    """`definitions` come from elsewhere, `source` saying where, and are not part of the recording; `envelopes` are."""

    definitions: list[Envelope]
    source: str
    envelopes: Iterator[Envelope]


def read(paths: Sequence[Path], provider: str, definitions: Path | None = None) -> Capture:
    """Read one recording. `definitions` as in `normalize_capture`.

    Raises ConfigError for definitions that cannot be read and captures.CaptureError for a recording that cannot.
    """
    info, payloads = providers.info(provider), providers.payloads(provider)
    frames = _received(captures.read(paths, provider))
    first = next(frames, None)
    if first is None:
        return Capture([], "the recording", iter(()))
    bodies: Sequence[tuple[str, bytes]] = ()
    source = "the recording"
    if definitions is not None:
        bodies, source = _definitions(definitions, info), f"--definitions is {str(definitions)!r}"
    elif not _defines(info, paths):
        symbols = Recording(list(captures.read(paths, provider))).symbols()
        bodies = list(providers.offline_definitions(provider, symbols).items())
        source = f"{provider}'s offline definitions" if bodies else source
    known = [
        Envelope(ts_recv=first.ts_recv, channel=channel, kind=KIND_FRAME, payload=body) for channel, body in bodies
    ]
    everything = enumerate(chain((first,), frames), 1)
    return Capture(known, source, (_envelope(frame, sequence, payloads) for sequence, frame in everything))


def rest_channel(url: str) -> str:
    """The raw channel of a REST answer: `rest/`, the last word of the path, and the symbol asked for, if any."""
    parts = urlsplit(url)
    word = parts.path.rstrip("/").rpartition("/")[2]
    query = parse_qs(parts.query)
    symbols = [query[name][0] for name in _SYMBOL_PARAMETERS if name in query]
    return REST + "/".join([word, *symbols[:1]])


def _received(frames: Iterable[captures.Frame]) -> Iterator[captures.Frame]:
    return (frame for frame in frames if frame.kind != "sent")


def _rest_channel(payloads: Payloads, url: str) -> str:
    # A venue with the symbol in the path names the channel itself.
    named: Callable[[str], str] = getattr(payloads, "rest_channel", rest_channel)
    return named(url)


def _envelope(frame: captures.Frame, sequence: int, payloads: Payloads) -> Envelope:
    rest = frame.kind == "rest"
    return Envelope(
        sequence=sequence,
        ts_recv=frame.ts_recv,
        connection=frame.connection,
        channel=_rest_channel(payloads, frame.url) if rest else channels_on(payloads, frame.url)(frame.payload),
        kind=KIND_FRAME,
        payload=frame.payload,
    )


def _definitions(path: Path, info: ProviderInfo) -> list[tuple[str, bytes]]:
    """The (channel, body) pairs of an instrument list: a REST body by itself, or the REST answers of a recording."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--definitions is {str(path)!r}: {error.strerror}") from None
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    try:
        msgspec.json.decode(content)
    except msgspec.DecodeError:
        recorded = captures.read(path, info.name)
        return [
            (_rest_channel(providers.payloads(info.name), frame.url), frame.payload)
            for frame in recorded
            if frame.kind == "rest"
        ]
    session = providers.session_class(info.name)(info, info.endpoints, info.symbols, None)
    return [(session.definitions()[0].channel, content)]


def _defines(info: ProviderInfo, paths: Sequence[Path]) -> bool:
    """Whether the recording itself holds an instrument list: looked for among the REST answers of its start."""
    payloads = providers.payloads(info.name)
    head = islice(captures.read(paths, info.name), _HEAD_FRAMES)
    return any(
        frame.kind == "rest" and info.schema_of(_rest_channel(payloads, frame.url)) == "DEFINITION" for frame in head
    )
