"""When the next request to one webhook is allowed, by what Discord said of the last ones."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from typing import Final

PER_MINUTE: Final = 25
"""Our own limit, below the 30 a minute that a channel takes, so that the usual answer is not a 429."""

LONGEST_S: Final = 3600.0
UNSAID_S: Final = 5.0
"""After a 429 without a readable delay."""


class Limits:
    """Of one webhook. Times are monotonic seconds of the caller's clock."""

    def __init__(self, per_minute: int = PER_MINUTE) -> None:
        self._sent: deque[float] = deque(maxlen=per_minute)
        self._not_before_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request is allowed; 0 where it is now."""
        allowed_s = self._not_before_s
        if len(self._sent) == self._sent.maxlen:
            allowed_s = max(allowed_s, self._sent[0] + 60.0)
        return max(0.0, allowed_s - now_s)

    def sent(self, now_s: float) -> None:
        """A request goes out; refused ones count like others."""
        self._sent.append(now_s)

    def pause(self, seconds: float, now_s: float) -> None:
        """No request for so long."""
        self._not_before_s = max(self._not_before_s, now_s + min(max(seconds, 0.0), LONGEST_S))

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> float:
        """Learn from an answer (header names in lower case). Returns seconds for which ALL webhooks must pause, else 0."""
        if headers.get("x-ratelimit-remaining") == "0":
            self.pause(_seconds(headers.get("x-ratelimit-reset-after")) or 0.0, now_s)
        if status != 429:
            return 0.0
        said = _object(body)
        delays = (_seconds(said.get("retry_after")), _seconds(headers.get("retry-after")))
        wait_s = max((delay for delay in delays if delay is not None), default=UNSAID_S)
        self.pause(wait_s, now_s)
        # Without Discord's JSON it is the proxy before Discord that refused, and that one counts by address.
        everywhere = said.get("global") is True or "x-ratelimit-global" in headers or "retry_after" not in said
        return min(wait_s, LONGEST_S) if everywhere else 0.0


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type] # whatever it is, it was refused or is a number
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _object(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
