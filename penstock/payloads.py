"""What can be told of a raw payload without decoding it: its venue channel, its time, and what makes two copies one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

CONTROL: Final = "control"
"""Channel of frames that belong to no venue channel: acknowledgements, heartbeats, errors."""

REST: Final = "rest/"
"""Prefix of the channels of REST responses: `rest/` and the venue's path, the symbol last where there is one."""


class MergeKey(NamedTuple):
    """What two lanes' copies of one message have in common.

    `ts_event` is venue time in UNIX ns (0 where the message has none), `sequence` the venue's own id (0 where it has
    none) and `identity` bytes that are equal exactly for copies of the same message.
    """

    ts_event: int
    sequence: int
    identity: bytes


class Payloads(Protocol):
    """The functions every providers/<name>/payloads.py offers. All are pure and cheap: they look, they do not decode.

    A venue that sends secrets in control frames (Deribit's answer to public/auth holds tokens) also has
    `redact(frame: bytes) -> bytes`, which returns a control frame without them and every other one as it is, and never
    raises. It is the one exception to storing every frame byte for byte: what it returns is stamped, stored and sent on,
    while the Session gets the frame itself.
    """

    def channel_of(self, frame: bytes) -> str:
        """The venue channel of a frame, in the words it is subscribed by; CONTROL where it has none. Never raises."""
        ...

    def event_time(self, channel: str, payload: bytes) -> int:
        """Venue time of a payload in UNIX ns, 0 where it has none or none can be read. Never raises.

        It is what `merge_key` has as `ts_event`, without the price of an identity.
        """
        ...

    def merge_key(self, channel: str, payload: bytes) -> MergeKey:
        """The lane-independent key of a stored payload. Never raises: what cannot be read has ts_event 0."""
        ...


def channels_on(payloads: Payloads, url: str) -> Callable[[bytes], str]:
    """`channel_of` for the frames of one connection to `url`.

    Some venues' frames do not say all of it: on Bybit BTCUSDT is a spot pair and a future, and only the connection tells
    which. Their module offers `channel_on(url)`, which returns the function for that connection.
    """
    named: Callable[[str], Callable[[bytes], str]] | None = getattr(payloads, "channel_on", None)
    return payloads.channel_of if named is None else named(url)


def redactor(payloads: Payloads) -> Callable[[bytes], bytes]:
    """What makes control frames fit to be stored: the provider's `redact`, or nothing where it has none."""
    offered: Callable[[bytes], bytes] | None = getattr(payloads, "redact", None)
    return offered or bytes
