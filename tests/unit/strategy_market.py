"""Nautilus's own backtest engine as a market for tests: instruments of some providers, records through the codec, and
the feed's notices, into one strategy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USD, USDT
from nautilus_trader.model.data import CustomData
from nautilus_trader.model.enums import AccountType, BookType, OmsType
from nautilus_trader.model.identifiers import ClientId, InstrumentId, Venue
from nautilus_trader.model.objects import Money

import providers
from penstock import dbn
from penstock.instruments import FUTURE, SPOT, Instrument
from penstock.lots import SCALE
from strategies.feed.codec import Codec
from strategies.feed.custom import MARKERS, Marker
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.notices import Notice

T = 1_700_000_000 * 10**9
S = 10**9


def instrument(provider: str, symbol: str, kind: str = "PERP") -> Instrument:
    """A linear perpetual (or spot) of BTC in USDT, lots of 0.001 BTC, ticks of 0.1."""
    return Instrument(
        providers.info(provider).publisher, symbol, SCALE // 1000, "BTC", SCALE // 10,
        SPOT if kind == "SPOT" else FUTURE, kind, "BTC", "USDT", "" if kind == "SPOT" else "USDT",
        "" if kind == "SPOT" else "LIN",
    )  # fmt: skip


def inverse(symbol: str = "BTC-PERPETUAL") -> Instrument:
    """Deribit's perpetual in lots of ten dollars."""
    return Instrument(
        providers.info("deribit").publisher, symbol, 10 * SCALE, "USD", SCALE // 2, FUTURE, "PERP", "BTC", "USD",
        "BTC", "INV",
    )  # fmt: skip


class Market:
    """Collects records in time's order; `run` puts them through the engine."""

    def __init__(self, *instruments: Instrument) -> None:
        definitions = Definitions()
        self.codec = Codec()
        self.listings: list[Listing] = []
        self._instruments = dict(zip(range(len(instruments)), instruments, strict=True))
        self._data: list[Any] = []
        self.now = T
        for each in instruments:
            listing = definitions.listing(each.publisher.provider.upper(), each.record(T, T))
            self.codec.learn(listing)
            self.listings.append(listing)

    @property
    def ids(self) -> tuple[InstrumentId, ...]:
        return tuple(listing.id for listing in self.listings)

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * S)

    def record(self, data: bytes) -> None:
        """A message of any schema, received 1 ms after `now`."""
        self._data += self.codec.objects(data)

    def _of(self, which: int) -> tuple[int, int]:
        each = self._instruments[which]
        return each.publisher.publisher_id, each.instrument_id

    def quote(self, which: int, mid: str, half: str = "0.5", lots: int = 1000) -> None:
        bid, ask = (int((Decimal(mid) + sign * Decimal(half)) * SCALE) for sign in (-1, 1))
        self.record(dbn.mbp_1(*self._of(which), self.now, dbn.F_LAST, self.now + 10**6, 1, bid, ask, lots, lots))

    def trade(self, which: int, price: str, lots: int = 1, side: bytes = b"B") -> None:
        self.record(
            dbn.trade(
                *self._of(which),
                self.now,
                int(Decimal(price) * SCALE),
                lots,
                side,
                dbn.F_LAST,
                self.now + 10**6,
                len(self._data) + 1,
            )
        )  # fmt: skip

    def statistic(self, which: int, kind: int, price: str) -> None:
        self.record(
            dbn.statistic(*self._of(which), self.now, self.now + 10**6, kind, price=int(Decimal(price) * SCALE))
        )

    def notice(self, which: int, schema: str, what: Notice) -> None:
        """What the feed says of one schema."""
        self._data.append(CustomData(MARKERS, Marker(self.ids[which], schema, what, self.now + 10**6)))  # type: ignore[arg-type] # no Beat

    def run(self, strategy: Any) -> BacktestEngine:
        """The engine after the run: its cache has the orders and positions. Dispose of it."""
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
        for venue in sorted({listing.id.venue.value for listing in self.listings}):
            engine.add_venue(
                Venue(venue), OmsType.NETTING, AccountType.MARGIN,
                [Money(1_000_000, USDT), Money(1000, BTC), Money(1_000_000, USD)], book_type=BookType.L1_MBP,
            )  # fmt: skip
        for listing in self.listings:
            engine.add_instrument(listing.instrument)
        engine.add_strategy(strategy)
        plain = [made for made in self._data if not isinstance(made, CustomData)]
        custom = [made for made in self._data if isinstance(made, CustomData)]
        engine.add_data(plain, validate=False)
        if custom:
            engine.add_data(custom, client_id=ClientId("FEED"))
        engine.run()
        return engine


def orders(engine: BacktestEngine) -> list[tuple[str, str, str]]:
    """(instrument, side, filled quantity) of every order, in order; the engine is gone afterwards."""
    found = sorted(engine.cache.orders(), key=lambda order: (order.ts_init, order.client_order_id.value))
    made = [(order.instrument_id.value, order.side_string(), str(order.filled_qty)) for order in found]
    engine.dispose()
    return made
