"""The NautilusTrader data client: what a strategy subscribes comes from Redis, both lanes arbitrated.

For NautilusTrader >=1.231,<2. A venue in Nautilus is a provider here: `BTCUSDT.BINANCE_SPOT`. Requests for past data
are answered from the stored dataset, and live data joins it (`requests.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.live.config import LiveDataClientConfig
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.model.data import CustomData, OrderBookDeltas
from nautilus_trader.model.identifiers import ClientId, InstrumentId

from penstock.clock import time_ns
from penstock.errors import PayloadError, Terminal
from penstock.telemetry import logger
from strategies.feed import bars, depth
from strategies.feed.arbiter import Stream
from strategies.feed.codec import Codec
from strategies.feed.config import ArbiterConfig
from strategies.feed.custom import PULSES, Liquidation, Marker, Pulse
from strategies.feed.feed import Feed
from strategies.feed.history import History
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.notices import Beat, LaneSwitch, Live, Output, Stale
from strategies.feed.requests import Requests

_STATISTICS: Final = "STATISTICS"


class PenstockDataClientConfig(LiveDataClientConfig, frozen=True):
    """`redis_urls`: the nodes, tried in turn, each lane beginning at another. `instrument_ids`: everything strategies
    may use, as `SYMBOL.PROVIDER`; their definitions are awaited for at most `definitions_timeout_s` when connecting.
    `names`: by which other Nautilus ids strategies know some of them (`BTCUSDT-PERP.BINANCE`). `traded`: the
    `SYMBOL.PROVIDER` of those whose orders go to a venue. `history`: the URL of the stored dataset (`file:///…`, `s3://…`)
    that answers requests for past data; "": there is none.
    """

    redis_urls: tuple[str, ...] = ("redis://127.0.0.1:6379",)
    instrument_ids: tuple[str, ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012 # msgspec copies it
    traded: tuple[str, ...] = ()
    definitions_timeout_s: float = 30.0
    history: str = ""
    arbiter: ArbiterConfig = ArbiterConfig()


class PenstockDataClient(Requests):
    """Trades, quotes, book deltas, depths, venues' bars, marks, indices, funding rates, status and instruments of the
    configured listings; the feed's notices and liquidations as custom data (`strategies.feed.custom`)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: PenstockDataClientConfig,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> None:
        super().__init__(
            history=History(config.history, config.names) if config.history else None,
            loop=loop,
            client_id=ClientId(name),
            venue=None,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=InstrumentProvider(),
            config=config,
        )
        self.feed = Feed(config.redis_urls, self._deliver, config.arbiter)
        self.codec = Codec()
        self.delivered: dict[tuple[str, str], int] = {}
        """Objects handed to Nautilus, by (provider, schema)."""
        self._settings = config
        self._definitions = Definitions(config.names, config.traded)
        self._by_key: dict[tuple[str, int], Listing] = {}
        self._interests: dict[tuple[InstrumentId, str], int] = {}
        self._depths = depth.Depths()
        self._running: asyncio.Task[None] | None = None

    # --- connection ---------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        wanted: dict[str, list[str]] = {}
        for text in self._settings.instrument_ids:
            key = InstrumentId.from_str(text)
            wanted.setdefault(key.venue.value, []).append(key.symbol.value)
        timeout_s = self._settings.definitions_timeout_s
        for provider, symbols in wanted.items():
            for record in await self.feed.directory.await_definitions({provider: symbols}, timeout_s):
                listing = self._definitions.listing(provider, record)
                self._learn(listing)
                # The lots and ticks by which everything else is read may change: listen for that too.
                self.feed.want(
                    "DEFINITION", provider, f"definition.{listing.instrument.raw_symbol.value}", listing.dbn_id
                )
        self._running = self.create_task(self._run(), log_msg="feed")

    async def _disconnect(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))

    async def _run(self) -> None:
        await self.feed.run()

    def _learn(self, listing: Listing) -> None:
        self._listings[listing.id] = listing
        self._by_key[listing.provider, listing.dbn_id] = listing
        self.codec.learn(listing)
        self._instrument_provider.add(listing.instrument)
        self._handle_data(listing.instrument)

    # --- delivery -----------------------------------------------------------------------------------------------

    def _deliver(self, stream: Stream, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if not isinstance(output, bytes):
                self._notify(stream, output)
            elif stream.schema == "DEFINITION":
                self._define(stream.provider, output)
            else:
                key = (stream.provider, stream.schema)
                for made in self.codec.objects(output):
                    self.delivered[key] = self.delivered.get(key, 0) + 1
                    self._live(stream, made)
                    if isinstance(made, OrderBookDeltas) and (top := self._depths.apply(made)) is not None:
                        self._handle_data(top)

    def _define(self, provider: str, record: bytes) -> None:
        known = self.codec.listing(record)
        try:
            listing = self._definitions.listing(provider, record)
        except PayloadError as error:
            self.codec.refused[error.reason] += 1
            self._log.error(f"A definition of {provider} was refused: {error}")
            return
        # Definitions are republished all the time: only what says something else than times is news.
        if known is None or known.instrument.to_dict(known.instrument) | _TIMELESS != (
            listing.instrument.to_dict(listing.instrument) | _TIMELESS
        ):
            self._learn(listing)

    def _notify(self, stream: Stream, notice: Output) -> None:
        listing = self._by_key.get((stream.provider, stream.instrument_id))
        if listing is None or isinstance(notice, bytes):
            return
        if isinstance(notice, Beat):
            if (Pulse, listing.id) in self._watched:
                self._handle_data(CustomData(PULSES, Pulse(listing.id, stream.schema, notice, time_ns())))
            return
        self._log.info(f"{listing.id} {stream.schema}: {notice}")
        if isinstance(notice, LaneSwitch | Stale | Live):
            event = {LaneSwitch: "lane_switched", Stale: "feed_stale", Live: "feed_live"}[type(notice)]
            logger().info(event, instrument=listing.id.value, schema=stream.schema, **notice._asdict())
        self._mark(listing.id, stream.schema, notice)

    # --- subscriptions ------------------------------------------------------------------------------------------

    async def _want(self, instrument_id: InstrumentId, schema: str) -> None:
        listing = self._listing(instrument_id)
        self._interests[instrument_id, schema] = self._interests.get((instrument_id, schema), 0) + 1
        if self._interests[instrument_id, schema] == 1:
            self._expect(instrument_id, schema)
            await self.feed.subscribe(schema, listing.provider, listing.dbn_id)

    async def _drop(self, instrument_id: InstrumentId, schema: str) -> None:
        count = self._interests.get((instrument_id, schema), 0)
        if count > 1:
            self._interests[instrument_id, schema] = count - 1
        elif count == 1:
            del self._interests[instrument_id, schema]
            self._forget(instrument_id, schema)
            listing = self._listings[instrument_id]
            await self.feed.unsubscribe(schema, listing.provider, listing.dbn_id)

    async def _subscribe_trade_ticks(self, command: Any) -> None:
        await self._want(command.instrument_id, "TRADES")

    async def _unsubscribe_trade_ticks(self, command: Any) -> None:
        await self._drop(command.instrument_id, "TRADES")

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        await self._want(command.instrument_id, "MBP_1")

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        await self._drop(command.instrument_id, "MBP_1")

    async def _subscribe_order_book_deltas(self, command: Any) -> None:
        await self._want(command.instrument_id, "MBO")

    async def _unsubscribe_order_book_deltas(self, command: Any) -> None:
        await self._drop(command.instrument_id, "MBO")

    async def _subscribe_order_book_depth(self, command: Any) -> None:
        schema = self._depth_schema(command.instrument_id)
        if schema == "MBO":
            self._depths.watch(command.instrument_id)
        await self._want(command.instrument_id, schema)

    async def _unsubscribe_order_book_depth(self, command: Any) -> None:
        self._depths.forget(command.instrument_id)
        await self._drop(command.instrument_id, self._depth_schema(command.instrument_id))

    def _depth_schema(self, instrument_id: InstrumentId) -> str:
        return depth.schema(self._listing(instrument_id).provider)

    async def _subscribe_bars(self, command: Any) -> None:
        await self._want(command.bar_type.instrument_id, bars.schema(command.bar_type))

    async def _unsubscribe_bars(self, command: Any) -> None:
        await self._drop(command.bar_type.instrument_id, bars.schema(command.bar_type))

    async def _subscribe_instrument_status(self, command: Any) -> None:
        await self._want(command.instrument_id, "STATUS")

    async def _unsubscribe_instrument_status(self, command: Any) -> None:
        await self._drop(command.instrument_id, "STATUS")

    async def _subscribe_mark_prices(self, command: Any) -> None:
        await self._want(command.instrument_id, _STATISTICS)

    async def _unsubscribe_mark_prices(self, command: Any) -> None:
        await self._drop(command.instrument_id, _STATISTICS)

    _subscribe_index_prices = _subscribe_funding_rates = _subscribe_mark_prices
    _unsubscribe_index_prices = _unsubscribe_funding_rates = _unsubscribe_mark_prices

    async def _subscribe_instrument(self, command: Any) -> None:
        """Definitions of all configured listings are always listened to."""

    async def _subscribe_instruments(self, command: Any) -> None:
        """Definitions of all configured listings are always listened to."""

    async def _unsubscribe_instrument(self, command: Any) -> None:
        """Definitions stay listened to: the codec needs them."""

    async def _unsubscribe_instruments(self, command: Any) -> None:
        """Definitions stay listened to: the codec needs them."""

    async def _subscribe(self, command: Any) -> None:
        kind = command.data_type.type
        if kind not in {Marker, Pulse, Liquidation} or command.instrument_id is None:
            raise Terminal(
                f"{command.data_type} is not offered, expected DataType(Marker|Pulse|Liquidation) and an instrument_id"
            )
        if kind is Liquidation:
            await self._want(command.instrument_id, _STATISTICS)
        self._watched.add((kind, command.instrument_id))

    async def _unsubscribe(self, command: Any) -> None:
        self._watched.discard((command.data_type.type, command.instrument_id))
        if command.data_type.type is Liquidation:
            await self._drop(command.instrument_id, _STATISTICS)


_TIMELESS: Final = {"ts_event": 0, "ts_init": 0}


class PenstockDataClientFactory(LiveDataClientFactory):
    """`node.add_data_client_factory("PENSTOCK", PenstockDataClientFactory)`"""

    @staticmethod
    def create(  # type: ignore[override] # each client has a configuration of its own
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: PenstockDataClientConfig,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> PenstockDataClient:
        """A client, called by the node when it is built."""
        return PenstockDataClient(loop, name, config, msgbus, cache, clock)
