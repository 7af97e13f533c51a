"""Raw objects: how received payloads are laid out in keys and CSV rows, written by one service and read by another.

A row is one line, always: a payload that is one line of printable UTF-8 stands there as it was received, in RFC 4180
quotes; any other (line breaks, control characters, bytes that are not UTF-8) as `base64:` and its base64, so that every
CSV and SQL reader gives back every byte. A payload that itself starts with `base64:` is written in base64 too.
"""

from __future__ import annotations

import datetime as dt
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Final, NamedTuple

from isal import igzip

from penstock import channels
from penstock.timestamps import NS_PER_S

SESSION: Final = "session"
"""The channel, under schema SYSTEM, of what a session manager observed: connections, drops, holes."""

PLAUSIBLE_NS: Final = 15 * 60 * NS_PER_S
"""A payload time further than this from its receive time is not believed: the receive time stands in for it."""

HEADER: Final = b"ts_recv,epoch,connection,sequence,payload\n"
COALESCED_HEADER: Final = b"ts_recv,instance,epoch,connection,sequence,payload\n"

MAX_CHANNEL_BYTES: Final = 200
"""The longest channel, percent-encoded, that gets a partition of its own: with the rest of its key it is a file name."""

_BASE64: Final = b"base64:"
_CONTROLS: Final = bytes.maketrans(bytes([*range(32), 127]), b" " * 33)
_KEY: Final = re.compile(r"/([0-9]+)-([0-9]+)-([0-9]+)(\.conflict-[0-9a-f]+)?\.csv\.gz$")


class Row(NamedTuple):
    """One received payload. `ts_recv` is UNIX ns; epoch and sequence count as in raw.proto."""

    ts_recv: int
    epoch: int
    connection: int
    sequence: int
    payload: bytes


def payload_time(ts_event: int, ts_recv: int) -> int:
    """Where a row stands in time (UNIX ns): at its payload's own time, unless that is 0 or not to be believed."""
    return ts_event if ts_event and -PLAUSIBLE_NS <= ts_event - ts_recv <= PLAUSIBLE_NS else ts_recv


class Partition(NamedTuple):
    """Where rows of one channel and UTC day are. `provider` is upper case, `channel` the venue's own string."""

    instance: str
    provider: str
    schema: str
    channel: str
    day: dt.date

    @property
    def prefix(self) -> str:
        """The part of its objects' keys up to the last `/`, inclusive."""
        return (
            f"instance={self.instance}/provider={self.provider}/schema={self.schema}/"
            f"channel={segment(self.channel)}/{day_path(self.day)}/"
        )

    def key(self, epoch: int, first: int, last: int) -> str:
        """The key of the object that holds envelopes `first` to `last` (inclusive) of this partition's."""
        return f"{self.prefix}{epoch}-{first}-{last}.csv.gz"


def segment(channel: str) -> str:
    """A venue channel as one part of an object key."""
    return channels.encode(channel).replace("/", "%2F")


def day_path(day: dt.date) -> str:
    """`year=2026/month=08/day=09`."""
    return f"year={day.year:04d}/month={day.month:02d}/day={day.day:02d}"


def is_raw_key(key: str) -> bool:
    """True for the keys that `Partition.key` makes, and for what a writer put aside beside a conflicting one."""
    return _KEY.search(key) is not None


def quoted(payload: bytes) -> bytes:
    """A payload as the last field of a row, in quotes."""
    return b'"%b"' % _escaped(payload)


def unquoted(field: bytes) -> bytes:
    """The inverse of `quoted`. Raises ValueError where `field` is not one quoted field."""
    if len(field) < 2 or field[:1] != b'"' or field[-1:] != b'"':
        raise ValueError(f"payload field is {field[:40]!r}, expected it in quotes")
    text = field[1:-1].replace(b'""', b'"')
    return b64decode(text[len(_BASE64) :], validate=True) if text.startswith(_BASE64) else text


def row(ts_recv: int, epoch: int, connection: int, sequence: int, payload: bytes) -> bytes:
    """One line of an object. Written out by hand: csv.writer takes four times as long."""
    return b"".join((f'{ts_recv},{epoch},{connection},{sequence},"'.encode(), _escaped(payload), b'"\n'))


def rows(data: bytes) -> Iterator[Row]:
    """The rows of a stored raw object. Raises ValueError where it is not whole."""
    text: bytes = igzip.decompress(data)  # type: ignore[no-untyped-call]
    if not text.startswith(HEADER) or not text.endswith(b"\n"):
        raise ValueError(f"object starts with {text[:50]!r}, expected {HEADER!r} and whole lines")
    for line in text[len(HEADER) : -1].split(b"\n") if len(text) > len(HEADER) else ():
        ts_recv, epoch, connection, sequence, payload = line.split(b",", 4)
        yield Row(int(ts_recv), int(epoch), int(connection), int(sequence), unquoted(payload))


def _escaped(payload: bytes) -> bytes:
    # translate() gives back the payload itself where it has nothing to replace: the fastest way to see that.
    one_line = payload.translate(_CONTROLS) == payload
    if not one_line or payload.startswith(_BASE64) or not (payload.isascii() or _is_utf8(payload)):
        return _BASE64 + b64encode(payload)
    return payload.replace(b'"', b'""')


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
