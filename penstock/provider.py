"""The contracts between a provider's folder and the services that run it.

A provider is a folder `providers/<name>/` of pure parts; it never reconnects, sleeps, reads a clock or opens a socket:

- `provider.yaml`   static facts, loaded as ProviderInfo
- `payloads.py`     the venue's message structs, and peeks into a frame without decoding it (module `Payloads`)
- `session.py`      class `Session`: what to connect to, subscribe to and answer
- `normalizer.py`   class `Normalizer`: envelopes to DBN messages
- `definitions.py`  instruments from the venue's REST answers
- `simulator.py`    the venue's own wire protocol over the simulated market
- `facts.py`        optional: `complete(info)` adds what follows from configuration of its own (see providers/rest)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec
import yaml

from penstock.channels import SCHEMAS
from penstock.errors import ConfigError
from penstock.publishers import FIRST_ID, Publisher
from penstock.raw.v1.raw_pb2 import Envelope

CONTROL: Final = "control"
"""Channel of frames that belong to no venue channel: acknowledgements, heartbeats, errors."""

REST: Final = "rest/"
"""Prefix of the channels of REST responses: `rest/` and the venue's path, the symbol last where there is one."""


class Limit(msgspec.Struct, frozen=True):
    """At most `count` within any `per_s` seconds."""

    count: int
    per_s: float


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The venue's published limits; the services keep to half of each. Sources stand beside them in provider.yaml.

    `ban_s`: HTTP statuses by which the venue bans an address, beside 418 and 429, and for how many seconds.
    """

    connects: Limit
    messages: Limit
    requests: Limit
    channels_per_connection: int
    ban_s: dict[int, float] = {}


class ChannelRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The schema under which the raw frames of matching venue channels are stored (a shell-style `pattern`)."""

    pattern: str
    schema: str


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base URLs without a trailing slash: `stream` ws(s)://, `rest` http(s)://."""

    stream: str
    rest: str


class ProviderInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The static facts of provider.yaml.

    `publisher_id`: DBN's, unique among providers, never reused. `dataset`: at most 15 characters; `venue`: 4.
    `evidence`: what the provider has been shown to work against: simulator, recordings, live.
    `stale_after_s`: a connection without data for this long is probed and, where the venue is ahead, declared lost.
    `heartbeat_s`: on every live connection the venue sends a frame at least this often, whatever the market does; one
    without any is declared lost within `stale_after_s` (0: no such promise, or not within `stale_after_s`).
    `max_connection_s`: the venue closes connections of this age (0: never); the manager rotates before.
    `credentials`: environment names that must all be set for an authenticated session; empty where none exists.
    """

    name: str
    title: str
    publisher_id: Annotated[int, msgspec.Meta(ge=FIRST_ID, lt=2**16)]
    dataset: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    venue: Annotated[str, msgspec.Meta(min_length=4, max_length=4)]
    evidence: tuple[Literal["simulator", "recordings", "live"], ...]
    endpoints: Endpoints
    symbols: tuple[str, ...]
    limits: Limits
    channels: tuple[ChannelRule, ...]
    stale_after_s: float = 6.0
    heartbeat_s: float = 0.0
    max_connection_s: float = 0.0
    credentials: tuple[str, ...] = ()

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.publisher_id, self.name, self.dataset, self.venue)

    @property
    def segment(self) -> str:
        """The provider's part of channel names and object keys."""
        return self.name.upper()

    def schema_of(self, channel: str) -> str:
        """The schema segment (`MBO`, `TRADES`, …) of a venue channel's raw frames; SYSTEM where no rule matches."""
        for rule in self.channels:
            if fnmatchcase(channel, rule.pattern):
                return rule.schema
        return "SYSTEM"


def load_info(path: Path) -> ProviderInfo:
    """Read a provider.yaml. Raises ConfigError naming the file and the field."""
    try:
        info = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), ProviderInfo)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if info.name != path.parent.name:
        raise ConfigError(f"{path}: name is {info.name!r}, expected the folder's name {path.parent.name!r}")
    for rule in info.channels:
        if rule.schema not in SCHEMAS:
            raise ConfigError(
                f"{path}: channels: schema is {rule.schema!r}, expected one of {', '.join(sorted(SCHEMAS))}"
            )
    return info


# --- normalizing --------------------------------------------------------------------------------------------------


class Message(NamedTuple):
    """One event of one instrument: `data` is 1..n whole DBN v3 records, F_LAST on the last.

    `channel` is the venue's channel string with the symbol in it, so that each Redis channel is of one instrument.
    """

    schema: str
    channel: str
    data: bytes


class Resync(NamedTuple):
    """The state of this venue channel (as subscribed) is lost: a new snapshot is wanted."""

    channel: str


Output = Message | Resync


class Normalizer(Protocol):
    """Turns envelopes into DBN messages. Pure and deterministic: no I/O, no clock, no environment, no randomness.

    `archive=False` (hot): venue replays of old trades at subscription are not published, except what fills a hole
    behind the last trade seen. Continuity is checked by the venue's own rule.
    `archive=True` (cold, one recording or the coalesced day): every distinct trade is published once, and sequences
    that only count within one connection are not checked, because the input may be two lanes merged.
    """

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None: ...

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """Called for every envelope in order, of every kind and channel.

        Raises PayloadError where the payload cannot be understood exactly; the normalizer's state is then as before the
        call, and for sequenced data the loss shows as a gap at the next message.
        """
        ...

    def images(self, ts_recv: int) -> Iterable[Message]:
        """A snapshot message (R, A…, F_SNAPSHOT) of each synchronized book, for late joiners."""
        ...

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """A DEFINITION message of every known instrument, for periodic republication."""
        ...


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


# --- sessions -----------------------------------------------------------------------------------------------------


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
