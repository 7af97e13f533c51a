"""What a provider's protocol needs, as data: connections to hold, frames to send, requests to make.

A Session decides and the session manager does; so a protocol is tested without a socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, runtime_checkable

from penstock.provider import Endpoints, Limit, ProviderInfo


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets by their environment name. Never printed: neither repr nor str shows a value."""

    values: dict[str, str] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        return self.values[name]


POLL: Final = "poll:"
"""Scheme of the URLs of plans without a stream: all their data comes by Requests that are polls."""


class Plan(NamedTuple):
    """One connection to hold: where, and the venue channels that must be acknowledged on it.

    `requests`: the published limit of the host that a `poll:` plan asks, where it is another than the provider's own;
    such plans share their limit by URL, and one host's refusals hold up no other.
    """

    url: str
    channels: tuple[str, ...]
    requests: Limit | None = None


class Send(NamedTuple):
    """Send this text frame on the connection. `secret` frames are never logged."""

    text: str
    secret: bool = False


class Poll(NamedTuple):
    """What makes a Request one of many: it feeds the plan's `channel`, which is vouched for in heartbeats while the last
    answer is at most `within_s` old. One that fails is not repeated; the next poll is.

    `conditional`: ask only for what is newer than the last body. The answer 304 is then a sign of life without a body.
    """

    channel: str
    within_s: float
    conditional: bool = False


class Request(NamedTuple):
    """GET this URL; the body becomes an envelope on `channel` (connection 0), which starts with `rest/`."""

    channel: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    poll: Poll | None = None


class Subscribed(NamedTuple):
    """The venue acknowledged these channels, in the words of the plan."""

    channels: tuple[str, ...]


class Rejected(NamedTuple):
    """The venue refused; `terminal` means retrying cannot help (bad credentials, unknown channel)."""

    reason: str
    terminal: bool = False


class Reconnect(NamedTuple):
    """The venue asked for, or the session needs, a new connection. With `overlap` the venue goes on serving this one for a
    while (notices of a shutdown): it is kept until its successor is subscribed."""

    reason: str
    overlap: bool = False


class Warn(NamedTuple):
    """The venue said something that a person should know; it is logged, and nothing else changes."""

    reason: str


Action = Send | Request | Subscribed | Rejected | Reconnect | Warn


class Session(Protocol):
    """What one provider's protocol needs, as data. The session manager does all I/O, timing, pacing and retrying.

    One object serves one connection plan at a time per `plan`; it may keep per-plan state (request ids), reset in
    `opened`. `now_ns` is handed in (UNIX ns) where a signature or token needs it.
    """

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None: ...

    def definitions(self) -> Sequence[Request]:
        """The REST requests that yield every definition; made before the first connection and then periodically."""
        ...

    def plans(self) -> Sequence[Plan]:
        """The connections that together carry every wanted channel, within the venue's limits."""
        ...

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """What to do when the socket is open: authenticate, set heartbeats, subscribe. Sends are paced by the caller."""
        ...

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """Called for CONTROL frames only. Raises PayloadError for one that cannot be read."""
        ...

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """What to do once every channel of the plan is acknowledged: REST snapshots, where the venue needs them."""
        ...

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """How to get a new snapshot of one channel of the plan, and of nothing else."""
        ...

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Called about once a second while open: application pings, token renewals."""
        ...

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """A REST request that shows whether the venue moved on, on `channel` rest/probe/<venue channel>.

        Without a channel, asked when the connection has been silent for half of `stale_after_s`: the plan's liveliest;
        None where the protocol's own heartbeats prove life. With one, asked when that channel has been silent while
        others were not: None where no request can show it.
        """
        ...

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """True where the probe's `body` proves that the venue published data newer than `last_frame`, the last frame
        received on venue channel `channel`; the probe's Request.channel names it after `rest/probe/`."""
        ...


@runtime_checkable
class Polling(Protocol):
    """What a Session of `poll:` plans may have in addition."""

    def answered(self, plan: Plan, request: Request, body: bytes | None, now_ns: int) -> Sequence[Action]:
        """Called with each answer to a poll; `body` is None where nothing is newer. Never raises for what is in it."""
        ...

    def refused(self, plan: Plan, request: Request) -> None:
        """Called where the host refused a poll by a status of 400 to 499: asking the same again cannot help."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A Session that can have the venue send again what came while there was no connection."""

    def resume(self, previous: Session, last: Mapping[str, bytes]) -> None:
        """Called before `opened` where the plan had a connection before: its Session, and the last frame of each data
        channel that any of the plan's connections received."""
        ...
