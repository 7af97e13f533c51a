"""`subscribe`: both lanes of some instruments' channels as one async iterator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, Self

from penstock.client.backlog import Backlog
from penstock.client.items import Item, Message, Notice
from penstock.client.listing import Listing
from penstock.errors import ConfigError, PayloadError
from penstock.telemetry import logger
from strategies.feed.arbiter import RTYPES, Stream
from strategies.feed.config import ArbiterConfig
from strategies.feed.feed import Feed
from strategies.feed.notices import Beat, Output

_DEFINITION: Final = "DEFINITION"
_BUFFER_BYTES: Final = 64 * 1024 * 1024


def subscribe(
    url: str | Sequence[str],
    *,
    provider: str,
    schema: str | Sequence[str],
    symbols: str | Sequence[str],
    heartbeats: bool = False,
    definitions_timeout_s: float = 30.0,
    buffer_bytes: int = _BUFFER_BYTES,
    arbiter: ArbiterConfig | None = None,
) -> Subscription:
    """Both lanes of one or several schemas of a provider's instruments, arbitrated.

    `url`: redis[s]://[user:password@]host[:port], or several of them: nodes of one server or cluster, of which each
    lane begins at another. `provider` and `schema` in any case, `mbp-1` or `MBP_1`. `heartbeats`: yield a Notice for
    each lane's heartbeat too. `definitions_timeout_s`: how long to wait for the definitions of all symbols.
    `buffer_bytes`: how much may wait for a slow consumer before it loses, declared, what comes next.

    Raises ConfigError for what cannot be subscribed; entering or iterating raises Terminal where no definition comes.
    """
    return Subscription(
        _several(url),
        provider.upper(),
        tuple(_schema(name) for name in _several(schema)),
        _several(symbols),
        heartbeats=heartbeats,
        definitions_timeout_s=definitions_timeout_s,
        buffer_bytes=buffer_bytes,
        arbiter=arbiter or ArbiterConfig(),
    )


class Subscription:
    """What `subscribe` made. Iterate it; within `async with` to end it at a known point, else it ends with its loop.

    One consumer at a time. After its end it may be used again, from the then present on.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        provider: str,
        schemas: tuple[str, ...],
        symbols: tuple[str, ...],
        *,
        heartbeats: bool,
        definitions_timeout_s: float,
        buffer_bytes: int,
        arbiter: ArbiterConfig,
    ) -> None:
        if not urls or not schemas or not symbols:
            raise ConfigError("subscribe: expected at least one URL, one schema and one symbol")
        self.listings: dict[str, Listing] = {}
        """Every wanted instrument by symbol, from entering on; replaced when a new definition comes."""
        self.feed: Feed | None = None
        """The feed while it runs: its `arbiter` counts duplicates, its streams what they lost and switched."""
        self._urls, self._provider, self._schemas, self._symbols = urls, provider, schemas, symbols
        self._heartbeats = heartbeats
        self._definitions_timeout_s = definitions_timeout_s
        self._buffer_bytes = buffer_bytes
        self._config = arbiter
        self._by_id: dict[int, Listing] = {}
        self._backlog: Backlog | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("a subscription has one consumer at a time: call subscribe() again for another")
        backlog = Backlog(self._buffer_bytes, self._item)
        feed = Feed(self._urls, backlog.put, self._config)
        try:
            await self._define(feed, backlog)
            for schema in self._schemas:
                for listing in self.listings.values():
                    if schema != _DEFINITION:
                        await feed.subscribe(schema, self._provider, listing.instrument_id)
        except BaseException:
            await feed.directory.close()
            raise
        self.feed, self._backlog = feed, backlog
        self._running = asyncio.create_task(feed.run(), name=f"feed {self._provider}")
        backlog.fed_by(self._running)
        return self

    async def __aexit__(self, *_: object) -> None:
        running, self._running, self._backlog, self.feed = self._running, None, None, None
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._items()

    async def _items(self) -> AsyncIterator[Item]:
        async with contextlib.AsyncExitStack() as stack:
            if self._backlog is None:
                await stack.enter_async_context(self)
            backlog = self._backlog
            assert backlog is not None
            while (item := await backlog.get()) is not None:
                yield item

    async def _define(self, feed: Feed, backlog: Backlog) -> None:
        self.listings, self._by_id = {}, {}
        wanted = {self._provider: self._symbols}
        for record in await feed.directory.await_definitions(wanted, self._definitions_timeout_s):
            listing = self._learn(record)
            channel = f"definition.{listing.symbol}"
            # The lots by which everything else is read may change: listen for that whether it is wanted or not.
            feed.want(_DEFINITION, self._provider, channel, listing.instrument_id)
            backlog.put(feed.arbiter.stream(_DEFINITION, self._provider, channel), [record])

    def _learn(self, record: bytes) -> Listing:
        listing = Listing.read(self._provider, record)
        self.listings[listing.symbol] = self._by_id[listing.instrument_id] = listing
        return listing

    def _item(self, stream: Stream, output: Output) -> Item | None:
        if isinstance(output, bytes) and stream.schema == _DEFINITION:
            try:
                self._learn(output)
            except PayloadError as error:
                logger().warning("definition_refused", provider=self._provider, error=str(error))
                return None
        if stream.schema not in self._schemas or (listing := self._by_id.get(stream.instrument_id)) is None:
            return None
        if isinstance(output, bytes):
            return Message(stream.schema, stream.channel, listing, output)
        if isinstance(output, Beat) and not self._heartbeats:
            return None
        return Notice(stream.schema, stream.channel, listing, output)


def _schema(name: str) -> str:
    schema = name.upper().replace("-", "_")
    if schema not in RTYPES:
        raise ConfigError(f"schema is {name!r}, expected some of {', '.join(sorted(RTYPES))}")
    return schema


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
