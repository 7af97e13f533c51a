"""The errors of the pipeline. The type of an error says what its caller does; callers branch on nothing else."""

from __future__ import annotations


class PenstockError(Exception):
    """Base of every error raised on purpose."""


class ConnectionLost(PenstockError):
    """The peer is gone or silent: the caller reconnects, after `retry_after_s` where the peer named a delay."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Terminal(PenstockError):
    """Retrying cannot help: the process says why in one line and exits non-zero."""


class ConfigError(Terminal):
    """The configuration names something that does not exist or has no meaning."""


class StaleEpoch(Terminal):
    """A newer owner of this provider and instance exists, or may exist: the caller steps down."""


class PayloadError(PenstockError):
    """One payload cannot be understood exactly: the caller counts it, keeps its bytes and goes on.

    `reason` is one of few fixed words (a metric label); `field`, `value` and `expected` are for the person who reads it.
    """

    def __init__(self, reason: str, field: str, value: object, expected: str) -> None:
        text = repr(value)
        super().__init__(f"{field} is {text[:120]}{'…' if len(text) > 120 else ''}, expected {expected}")
        self.reason = reason
        self.field = field
        self.value = value
        self.expected = expected
