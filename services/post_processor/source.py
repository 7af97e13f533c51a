"""The raw objects of one provider and day, as the two batch processors left them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from penstock import channels
from penstock.errors import Terminal
from penstock.objectstore import ObjectStore
from penstock.objectstore_raw import Row, day_path, is_raw_key, rows


class RawChannel(NamedTuple):
    """One venue channel of the day; `keys` are its objects by instance, in PRIMARY, REPLICA order."""

    schema: str
    channel: str
    keys: tuple[tuple[str, ...], ...]


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
        return sorted(key for channel in self.channels for lane in channel.keys for key in lane)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the keys: objects never change, so it stands for everything in them."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()

    def rows(self, channel: RawChannel) -> Iterator[tuple[int, Row]]:
        """Every row as (lane, row), object by object. Raises Terminal for an object that is not whole."""
        for lane, keys in enumerate(channel.keys):
            for key in keys:
                try:
                    yield from ((lane, row) for row in rows(self._store.get(key)))
                except (ValueError, EOFError, OSError) as error:
                    raise Terminal(f"{key}: {error}") from None

    def _folders(self, root: str) -> Iterator[tuple[str, str, str]]:
        for schema in self._store.folders(root):
            for channel in self._store.folders(f"{root}{schema}/"):
                name = channels.decode(channel.removeprefix("channel="))
                yield schema.removeprefix("schema="), name, f"{root}{schema}/{channel}/"


def provider_names(store: ObjectStore) -> list[str]:
    """The providers (upper case) that either instance has objects of."""
    return sorted(
        {
            folder.removeprefix("provider=")
            for instance in channels.INSTANCES
            for folder in store.folders(f"instance={instance}/")
        }
    )
