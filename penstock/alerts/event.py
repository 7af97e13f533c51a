"""One alert: what happened, where, how bad, and which other alerts are the same thing again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

FINGERPRINTED: Final = 400
"""Characters of a reason that tell one alert from another."""

_QUOTED: Final = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"")
_STATUS: Final = re.compile(r"\b(answered|http|status)(?:[ /=:]|/1\.1 )+([1-5])(\d\d)\b", re.IGNORECASE)
_SYMBOL: Final = re.compile(r"\b[A-Z0-9]{2,}(?:[-_/:.@][A-Z0-9]+)+\b")
_NUMBERED: Final = re.compile(r"[^\s,;()\[\]{}=]*\d[^\s,;()\[\]{}=]*")
_REPEATED: Final = re.compile(r"#(?:[\s,;]+#)+")


class Severity(IntEnum):
    """How bad it is; each may have a Discord channel of its own."""

    WARNING = 1
    ERROR = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that happened, as its source told it: nothing in it is redacted yet, the formatter does that.

    `time_ns` is UNIX nanoseconds. `log` names a log group or a file. `runbook` is a section of the runbook. `links` are
    (word, URL) made by this package, never taken from a text.
    """

    severity: Severity
    event: str
    time_ns: int
    service: str = ""
    provider: str = ""
    instance: str = ""
    reason: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    log: str = ""
    runbook: str = ""
    links: tuple[tuple[str, str], ...] = ()
    resolved: bool = False

    @property
    def fingerprint(self) -> str:
        """The same for alerts that differ only in numbers, ids, symbols, times and quoted values."""
        parts = (self.service, self.provider, self.instance, self.event, normalized(self.reason), str(self.resolved))
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]


def normalized(text: str) -> str:
    """`text` without what differs between two occurrences of one problem. An HTTP status stays: 404 is not 503."""
    text = _STATUS.sub(
        lambda found: f"{found[1]} {'abcde'[int(found[2]) - 1]}{_letters(found[3])}", text[:FINGERPRINTED]
    )
    text = _SYMBOL.sub("#", _QUOTED.sub("#", text))
    return _REPEATED.sub("#", _NUMBERED.sub("#", text)).casefold()


def _letters(digits: str) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in digits)
