"""Faults of one connection, applied to finished frames after the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from penstock import clock

PER_FRAME: Final = ("drop", "duplicate", "reorder")

Record = Callable[[str, str, int], None]
"""Writes a fault line: kind, channel, the ledger line that was hit."""


@dataclass(slots=True)
class Armed:
    """A fault that waits for its next `left` matching channels."""

    kind: str
    pattern: str
    left: int


def claim(armed: list[Armed], channel: str, *kinds: str) -> str | None:
    """Use up one of the earliest armed fault of these kinds that matches the channel; its kind, None without one."""
    for fault in armed:
        if fault.kind in kinds and fnmatchcase(channel, fault.pattern):
            fault.left -= 1
            if not fault.left:
                armed.remove(fault)
            return fault.kind
    return None


class Tampering:
    """The faults of one connection. `active` is False, and costs nothing, while there is none."""

    def __init__(self, record: Record) -> None:
        self.active = False
        self._record = record
        self._armed: list[Armed] = []
        self._held: tuple[str, bytes] | None = None
        self._stalled_until = 0

    def arm(self, kind: str, pattern: str, count: int) -> None:
        self._armed.append(Armed(kind, pattern, count))
        self.active = True

    def stall(self, seconds: float) -> None:
        """Withhold every frame for some time; they are lost. The ledger gets a stall_end line with the first that is not."""
        self._stalled_until = clock.monotonic_ns() + int(seconds * 1e9)
        self.active = True

    def control(self, frame: bytes, last_entry: int) -> list[bytes]:
        """What becomes of a frame that is no data: only a stall concerns it."""
        return [] if self._stalled(last_entry) else [frame]

    def data(self, channel: str, frame: bytes, entry: int) -> list[bytes]:
        """The frames to send instead of `frame`, the one that carries ledger line `entry`."""
        if self._stalled(entry):
            return []
        if self._held is not None and self._held[0] == channel:
            frames, self._held = [frame, self._held[1]], None
        else:
            frames = self._hit(channel, frame, entry)
        self.active = bool(self._armed or self._held)
        return frames

    def _hit(self, channel: str, frame: bytes, entry: int) -> list[bytes]:
        kind = claim(self._armed, channel, *PER_FRAME)
        if kind is None:
            return [frame]
        self._record(kind, channel, entry)
        if kind == "duplicate":
            return [frame, frame]
        if kind == "reorder":
            self._held = (channel, frame)
        return []

    def _stalled(self, entry: int) -> bool:
        if not self._stalled_until:
            return False
        if clock.monotonic_ns() < self._stalled_until:
            return True
        self._stalled_until = 0
        # `entry` is the first one delivered again.
        self._record("stall_end", "*", entry)
        return False


_NUMBER: Final = re.compile(r'(?<=[:\[,])(\s*)("?)-?[0-9]+(?:\.[0-9]+)?\2(?=[,\]}])')


def garbage(sample: bytes, number: int) -> bytes:
    """An unparsable frame made of a real one; four kinds take turns by `number`. Valid UTF-8: it goes as a text frame."""
    text = sample.decode()
    half = len(text) // 2
    frames = (
        lambda: text[:half],
        lambda: "\x00\x01\x02\x7f\ufffd\ufeff\U0010ffff" + text[half:],
        lambda: _NUMBER.sub(r"\1\2NaN\2", text),
        lambda: _NUMBER.sub(r'\1{"unexpected":[null]}', text),
    )
    return frames[number % len(frames)]().encode()
