"""What a provider is, and the static facts of its provider.yaml.

A provider is a folder `providers/<name>/` of pure parts; it never reconnects, sleeps, reads a clock or opens a socket:

- `provider.yaml`   static facts, loaded as ProviderInfo
- `payloads.py`     the venue's message structs, and peeks into a frame without decoding it (penstock/payloads.py)
- `session.py`      class `Session` (penstock/session.py): what to connect to, subscribe to and answer
- `normalizer.py`   class `Normalizer` (penstock/normalizing.py): envelopes to DBN messages
- `definitions.py`  instruments from the venue's REST answers
- `simulator.py`    the venue's own wire protocol over the simulated market
- `facts.py`        optional: `complete(info)` adds what follows from configuration of its own (see providers/rest)
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

from penstock.channels import SCHEMAS
from penstock.errors import ConfigError
from penstock.publishers import FIRST_ID, Publisher


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
    `ping_s`: a WebSocket ping is sent this often, whatever comes, where the venue asks for it (0: on silence alone).
    `definitions_s`: how often the instrument lists are asked for again; large ones cost a venue's budget and our storage.
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
    ping_s: float = 0.0
    definitions_s: float = 60.0
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
