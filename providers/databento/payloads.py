"""What a Databento gateway sends, told apart and read without decoding.

Lines of text until the session starts, e.g. `cram=YJuPQ5Uqa4ZsFdHc5mIVHPN9CxWCjmFT\\n`
(https://databento.com/docs/api-reference-live?live=raw), then DBN records, little endian. Each begins with the header
`<BBHIQ`: length in words of four bytes, rtype, publisher_id, instrument_id, ts_event
(https://databento.com/docs/standards-and-conventions/common-fields-enums-types, both read 2026-11). What was received is
a whole frame of penstock.framing: records of one type, and more than one only where they are one MBO event.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.errors import PayloadError
from penstock.framing import MBO, METADATA, SIZES, captured_at
from penstock.payloads import CONTROL, MergeKey

METADATA_CHANNEL: Final = "metadata"
MAPPING_CHANNEL: Final = "symbol_mapping"

DEFINITION, ERROR, MAPPING, SYSTEM, STATISTICS = 0x13, 0x15, 0x16, 0x17, 0x18

CHANNELS: Final[dict[int, str]] = {
    0x00: "trades", 0x01: "mbp-1", 0x0A: "mbp-10", 0x12: "status", DEFINITION: "definition", 0x14: "imbalance",
    MAPPING: MAPPING_CHANNEL, STATISTICS: "statistics", 0x20: "ohlcv-1s", 0x21: "ohlcv-1m", 0x22: "ohlcv-1h",
    0x23: "ohlcv-1d", 0x24: "ohlcv-eod", MBO: "mbo", 0xB1: "cmbp-1", 0xC0: "cbbo-1s", 0xC1: "cbbo-1m", 0xC2: "tcbbo",
    0xC3: "bbo-1s", 0xC4: "bbo-1m",
}  # fmt: skip
"""rtype → the schema by which such records are subscribed; system and error records are control."""

UNTIMED: Final = frozenset({DEFINITION, MAPPING})
"""Sent when a session starts whatever their age: they stand where they were received."""

UNSET: Final = 255
"""The code of notices without one."""


class Notice(NamedTuple):
    """A SystemMsg or ErrorMsg: `code` is DBN's SystemCode or ErrorCode; the records of DBN 1 have none."""

    is_error: bool
    code: int
    text: str


def is_record(frame: bytes) -> bool:
    """Whether a frame is of DBN records: no line of the gateway has a record's type as its second letter."""
    return len(frame) >= 16 and frame[1] in SIZES and frame[0] * 4 in SIZES[frame[1]]


def channel_of(frame: bytes) -> str:
    """See penstock.payloads.Payloads: the schema; which instrument it is of says the header."""
    if frame.startswith(METADATA):
        return METADATA_CHANNEL
    return CHANNELS.get(frame[1], CONTROL) if is_record(frame) else CONTROL


def event_time(channel: str, payload: bytes) -> int:
    """See penstock.payloads.Payloads: Databento's capture time, in which order the records come."""
    if channel in {CONTROL, METADATA_CHANNEL} or not is_record(payload) or payload[1] in UNTIMED:
        return 0
    return captured_at(payload)


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """See penstock.payloads.Payloads. Two sessions get the same bytes, so a record is its own identity. Its sequence is
    of no use here: it counts within one of the venue's feeds, and a channel holds instruments of several."""
    return MergeKey(event_time(channel, payload), 0, payload)


def fields(line: bytes) -> dict[str, str]:
    """The `key=value|…` of a line of the gateway. Raises PayloadError for what is no line of ASCII."""
    try:
        text = line.decode("ascii").rstrip("\r\n")
    except UnicodeDecodeError:
        raise PayloadError("unknown_frame", "line", line, "ASCII text") from None
    pairs = (part.partition("=") for part in text.split("|"))
    return {key: value for key, _, value in pairs}


def notice(frame: bytes) -> Notice | None:
    """The SystemMsg or ErrorMsg in a frame; None where it is something else."""
    if not is_record(frame) or frame[1] not in {ERROR, SYSTEM}:
        return None
    is_error, code, text = frame[1] == ERROR, UNSET, frame[16:]
    if len(frame) == SIZES[ERROR][0]:
        # ErrorMsg ends with its code and is_last, SystemMsg with its code.
        code, text = frame[318 if is_error else 319], frame[16:318]
    return Notice(is_error, code, text.split(b"\0", 1)[0].decode("ascii", "replace"))
