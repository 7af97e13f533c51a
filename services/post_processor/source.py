"""The raw objects of one provider and day, as the two batch processors left them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from penstock import channels
from penstock.errors import Terminal
from penstock.objectstore import ObjectStore
from penstock.objectstore_raw import SESSION, Row, day_path, is_raw_key, rows

FILLED: Final = len(channels.INSTANCES)
"""The lane of trades that neither instance received and REST brought."""


class RawChannel(NamedTuple):
    """One venue channel of the day; `keys` are its objects by instance, in PRIMARY, REPLICA order, `filled` those of the
    target with what the venue answered when it was asked for missing trades."""

    schema: str
    channel: str
    keys: tuple[tuple[str, ...], ...]
    filled: tuple[str, ...] = ()

    @property
    def observed(self) -> bool:
        """True for what the session managers observed of themselves."""
        return (self.schema, self.channel) == ("SYSTEM", SESSION)

    @property
    def objects(self) -> list[tuple[int, str]]:
        """(lane, key) of every object."""
        return [(lane, key) for lane, keys in enumerate(self.keys) for key in keys]


class Source:
    """What there is of one provider (upper case) and day."""

    def __init__(self, store: ObjectStore, provider: str, day: dt.date) -> None:
        self._store = store
        found: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        for lane, instance in enumerate(channels.INSTANCES):
            root = f"instance={instance}/provider={provider}/"
            for schema, channel, prefix in self._folders(root):
                keys = tuple(key for key in store.list(f"{prefix}{day_path(day)}/") if is_raw_key(key))
                if keys:
                    found.setdefault((schema, channel), [()] * len(channels.INSTANCES))[lane] = keys
        self.channels = [RawChannel(*where, tuple(keys)) for where, keys in sorted(found.items())]

    @property
    def keys(self) -> list[str]:
        """Every object's key, sorted."""
        return sorted(key for channel in self.channels for _, key in channel.objects)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the keys: objects never change, so it stands for everything in them."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()

    def session(self) -> list[tuple[int, Row]]:
        """What the session managers observed, as (lane, row), each once, in order of time."""
        found = {row for part in self.channels if part.observed for row in raw_rows(self._store, part.objects)}
        return sorted(found, key=lambda seen: (seen[1].ts_recv, seen[0], *seen[1]))

    def _folders(self, root: str) -> Iterator[tuple[str, str, str]]:
        for schema in self._store.folders(root):
            for channel in self._store.folders(f"{root}{schema}/"):
                name = channels.decode(channel.removeprefix("channel="))
                yield schema.removeprefix("schema="), name, f"{root}{schema}/{channel}/"


def raw_rows(store: ObjectStore, objects: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """Every row of the (lane, key) objects as (lane, row), object by object. Raises Terminal for one that is not whole."""
    for lane, key in objects:
        try:
            yield from ((lane, row) for row in rows(store.get(key)))
        except (ValueError, EOFError, OSError) as error:
            raise Terminal(f"{key}: {error}") from None


def provider_names(store: ObjectStore) -> list[str]:
    """The providers (upper case) that either instance has objects of."""
    return sorted(
        {
            folder.removeprefix("provider=")
            for instance in channels.INSTANCES
            for folder in store.folders(f"instance={instance}/")
        }
    )
