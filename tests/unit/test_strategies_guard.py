"""What holds for every strategy of a live run, and what a configuration file may say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide, OrderStatus
from nautilus_trader.trading.strategy import Strategy

from penstock.errors import ConfigError
from strategies import execution, settings
from strategies.feed.instruments import Definitions
from strategies.feed.notices import Live, Loss, Stale
from strategies.guard import guarded
from strategies.health import Health
from strategies.settings import Settings
from strategies.sizing import of_base, passive, quantity, smallest
from tests.unit.strategy_market import Market, instrument, inverse

PERP = instrument("binance_usdm", "BTCUSDT")
LISTED = Definitions().listing("BINANCE_USDM", PERP.record(1, 2)).instrument
STALE, LIVE = Stale(1), Live("PRIMARY")


class Quoter(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Bids far below the market at each quote and knows nothing of stale data."""

    def __init__(self, market: Market) -> None:
        super().__init__(StrategyConfig())
        self.market = market
        self.heard: list[Any] = []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.market.ids[0])

    def on_quote_tick(self, tick: QuoteTick) -> None:
        price = passive(LISTED, tick.bid_price.as_decimal() - 100, OrderSide.BUY)
        self.submit_order(self.order_factory.limit(tick.instrument_id, OrderSide.BUY, smallest(LISTED), price))

    def on_data(self, data: Any) -> None:
        self.heard.append(data)


def guarded_run(chosen: Settings, *, admitted: bool = True) -> tuple[list[OrderStatus], int]:
    """Quotes before, during and after a silence: what became of the order of each, and what the strategy heard."""
    market = Market(PERP)
    for notice in (STALE, LIVE, None):
        market.wait(1)
        market.quote(0, "60000")
        if notice is not None:
            market.wait(1)
            market.notice(0, "MBP_1", notice)
    strategy = guarded(Quoter, chosen, {market.ids[0]: 10_000}, lambda: admitted)(market)
    engine = market.run(strategy)
    found = [order.status for order in sorted(engine.cache.orders(), key=lambda order: order.ts_init)]
    engine.dispose()
    return found, len(strategy.heard)


def test_orders_on_stale_data_by_policy() -> None:
    """Cancelled and none sent; none sent; as the strategy likes. It hears of it in any case."""
    keep: Any = "keep"
    cancelled, accepted, denied = OrderStatus.CANCELED, OrderStatus.ACCEPTED, OrderStatus.DENIED
    assert guarded_run(Settings(on_stop=keep)) == ([cancelled, denied, accepted], 2)
    assert guarded_run(Settings(on_stop=keep, on_stale="hold")) == ([accepted, denied, accepted], 2)
    assert guarded_run(Settings(on_stop=keep, on_stale="ignore")) == ([accepted] * 3, 2)


def test_orders_at_the_end_by_policy() -> None:
    """`cancel` leaves none working, `keep` keeps them even where the strategy itself would cancel."""
    cancelled = OrderStatus.CANCELED
    assert guarded_run(Settings())[0] == [cancelled, OrderStatus.DENIED, cancelled]

    class Tidy(Quoter):
        def on_stop(self) -> None:
            self.cancel_all_orders(self.market.ids[0])

    market = Market(PERP)
    market.quote(0, "60000")
    engine = market.run(guarded(Tidy, Settings(on_stop="keep"), {market.ids[0]: 100}, lambda: True)(market))
    assert [order.status for order in engine.cache.orders()] == [OrderStatus.ACCEPTED]
    engine.dispose()


@pytest.mark.parametrize(
    ("limit", "enabled", "wanted"), [(59, True, "DENIED"), (60, True, "ACCEPTED"), (1, False, "ACCEPTED")]
)
def test_an_order_above_its_limit_is_denied(limit: int, enabled: bool, wanted: str) -> None:
    """0.001 BTC at 59,899.5 dollars; the strategy hears that it was denied and why."""
    market = Market(PERP)
    market.quote(0, "60000")

    class Listener(Quoter):
        def on_order_denied(self, event: Any) -> None:
            self.heard.append(event.reason)

    chosen = Settings(risk=settings.Risk(enabled=enabled), on_stop="keep")
    strategy = guarded(Listener, chosen, {market.ids[0]: limit}, lambda: True)(market)
    engine = market.run(strategy)
    assert [order.status_string() for order in engine.cache.orders()] == [wanted]
    assert strategy.heard == (["notional 59.8995 is more than max_notional 59"] if wanted == "DENIED" else [])
    engine.dispose()


def test_a_run_that_is_not_admitted_orders_nothing() -> None:
    """The strategy does not begin."""
    assert guarded_run(Settings(), admitted=False) == ([], 0)


def test_health() -> None:
    """Stale until live, per schema; a loss the other lane covered is none; an unseen or doubtful book is unfit."""
    from nautilus_trader.model.data import OrderBookDeltas

    from penstock import dbn
    from penstock.book import Book
    from strategies.feed.custom import Marker

    market = Market(PERP)
    (key,) = market.ids
    health = Health()

    def said(schema: str, notice: Any) -> bool:
        return health.note(Marker(key, schema, notice, 1))

    assert health.fit(key, "TRADES", "MBP_1")
    assert said("MBP_1", STALE)
    assert (health.fit(key, "MBP_1"), health.fit(key, "TRADES"), health.stale) == (False, True, {(key, "MBP_1")})
    assert not said("MBP_1", LIVE)
    assert health.fit(key, "MBP_1")
    assert not said("TRADES", Loss("PRIMARY", "sequence", 1, 2, True))
    assert not health.lost(key, "TRADES")
    assert said("TRADES", Loss("PRIMARY", "sequence", 1, 2, False))
    assert (health.lost(key, "TRADES"), health.lost(key, "TRADES")) == (True, False)
    assert not health.fit(key, "MBO")
    book = Book(PERP.publisher.publisher_id, PERP.instrument_id)
    book.replace([(10**9, 1)], [(2 * 10**9, 1)], 1, 1, 1)
    for flags, fit in ((0, True), (dbn.F_MAYBE_BAD_BOOK, False)):
        image = bytearray(book.image(1, 1, 1))
        for at in range(36, len(image), 56):
            image[at] |= flags
        (deltas,) = market.codec.objects(bytes(image))
        assert isinstance(deltas, OrderBookDeltas)
        health.book(deltas)
        assert health.fit(key, "MBO") is fit


def test_orders_are_on_the_venues_steps() -> None:
    """Quantities down to whole steps, none below the smallest order; prices to the tick away from the market."""
    assert str(quantity(LISTED, Decimal("0.0129"))) == "0.012"
    assert quantity(LISTED, Decimal("0.0009")) is None
    assert str(passive(LISTED, Decimal("60000.19"), OrderSide.BUY)) == "60000.100000000"
    assert str(passive(LISTED, Decimal("60000.11"), OrderSide.SELL)) == "60000.200000000"
    # What goes to a venue has the venue's decimals: some refuse a price that is written with more.
    for traded, text in (((), "60000.100000000"), (("BTCUSDT.BINANCE_USDM",), "60000.1")):
        record = instrument("binance_usdm", "BTCUSDT").record(1, 2)
        made = Definitions({}, traded).listing("BINANCE_USDM", record).instrument
        assert str(passive(made, Decimal("60000.19"), OrderSide.BUY)) == text
    assert str(of_base(LISTED, Decimal("0.01"), Decimal(60_000))) == "0.010"
    dollars = Definitions().listing("DERIBIT", inverse().record(1, 2)).instrument
    assert str(of_base(dollars, Decimal("0.01"), Decimal(60_055))) == "600"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("instruments: [DERIBIT]", r"instruments has 'DERIBIT', expected PROVIDER:SYMBOL"),
        ("instruments: 5", r"instruments: expected `array`, got `int`"),
        ("nonsense: 1", r"Object contains unknown field `nonsense`"),
        ("on_stale: panic", r"on_stale: invalid enum value 'panic', expected cancel or hold or ignore"),
        (
            "execution: {DERIBIT: {adapter: nasdaq}}",
            r"expected sandbox or binance or bybit or okx or deribit or kraken",
        ),
        ("risk: {orders_per_s: 0}", r"risk.orders_per_s: expected `int` >= 1"),
        ("a: [", r"expected node content"),
    ],
)
def test_a_bad_file_is_one_readable_line(tmp_path: Path, text: str, wanted: str) -> None:
    """The file, the key, the value, what was expected."""
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=wanted) as error:
        settings.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    """No instruments, execution or limits of what is not traded, no such file, no such format."""
    for chosen, wanted in (
        (Settings(), "no instruments"),
        (Settings(instruments=("DERIBIT:X",), execution={"OKX": settings.Execution()}), "execution names OKX"),
        (Settings(instruments=("DERIBIT:X",), risk=settings.Risk(max_notional_of={"OKX:Y": 1})), "names OKX:Y"),
    ):
        with pytest.raises(ConfigError, match=wanted):
            settings.check(chosen)
    for name, wanted in (("no.yaml", "No such file"), ("run.ini", r"expected a \.yaml or \.toml file")):
        with pytest.raises(ConfigError, match=wanted):
            settings.load(tmp_path / name)
    (tmp_path / "run.toml").write_text('instruments = ["DERIBIT:X"]\n[risk]\nmax_notional = 7\n')
    assert settings.load(tmp_path / "run.toml").risk.max_notional == 7


def real(provider: str, symbol: str, **fields: Any) -> Settings:
    chosen = settings.Execution(key="TEST_KEY", secret="TEST_SECRET", passphrase="TEST_WORD", **fields)
    return Settings(instruments=(f"{provider}:{symbol}",), execution={provider: chosen})


REAL = [
    ("binance", "BINANCE_SPOT", "BTCUSDT", "testnet", "BTCUSDT.BINANCE"),
    ("binance", "BINANCE_USDM", "BTCUSDT", "live", "BTCUSDT-PERP.BINANCE"),
    ("binance", "BINANCE_USDM", "BTCUSDT_261225", "demo", "BTCUSDT_261225.BINANCE"),
    ("bybit", "BYBIT", "BTCUSDT-LINEAR", "testnet", "BTCUSDT-LINEAR.BYBIT"),
    ("okx", "OKX", "BTC-USDT-SWAP", "demo", "BTC-USDT-SWAP.OKX"),
    ("deribit", "DERIBIT", "BTC-PERPETUAL", "testnet", "BTC-PERPETUAL.DERIBIT"),
    ("kraken", "KRAKEN", "BTC/USD", "live", "BTC/USD.KRAKEN"),
]


@pytest.mark.parametrize(("adapter", "provider", "symbol", "environment", "name"), REAL, ids=lambda value: str(value))
def test_real_execution_is_chosen_by_the_file(
    adapter: str, provider: str, symbol: str, environment: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each adapter's own configuration and factory, the keys from the named environment values, the adapter's names."""
    for key in ("KEY", "SECRET", "WORD"):
        monkeypatch.setenv(f"TEST_{key}", f"the {key}")
    chosen = real(provider, symbol, adapter=adapter, environment=environment)
    folder = provider.lower()
    record = instrument(folder, symbol).record(1, 2)
    listed = Definitions({f"{symbol}.{provider}": name}).listing(provider, record).instrument
    assert execution.alias(chosen, chosen.instruments[0]).value == name == listed.id.value
    (account,) = execution.accounts(chosen, {provider: [listed]})
    assert (account.venue, account.config.api_key, account.config.api_secret) == (
        adapter.upper(),
        "the KEY",
        "the SECRET",
    )
    assert account.config.instrument_provider.load_ids == frozenset({listed.id})
    assert account.factory.__name__.lower() == f"{adapter}liveexecclientfactory"
    assert execution.is_real(chosen)


def test_real_execution_that_cannot_be_is_refused() -> None:
    """Keys missing, an environment or a provider the adapter does not have: one line each."""
    for chosen, wanted in (
        (real("DERIBIT", "X", adapter="deribit"), "TEST_KEY, TEST_SECRET missing from the environment"),
        (real("DERIBIT", "X", adapter="deribit", environment="demo"), "deribit has live or testnet"),
        (real("DERIBIT", "X", adapter="okx"), "adapter okx trades OKX; sandbox trades all"),
        (
            Settings(instruments=("OKX:X",), execution={"OKX": settings.Execution(adapter="okx", environment="demo")}),
            "key, secret, passphrase missing, expected the names of environment values",
        ),
    ):
        (provider,) = chosen.execution
        with pytest.raises(ConfigError, match=wanted):
            execution.accounts(chosen, {provider: [LISTED]})


def test_an_order_that_would_mean_something_else_is_known() -> None:
    """Contracts there and coins here: OKX's perpetual counts in hundredths of a coin."""
    assert execution.differences(LISTED, LISTED) == ""
    fields = LISTED.to_dict(LISTED)
    contracts = type(LISTED).from_dict(fields | {"multiplier": "0.01", "size_increment": "1.000"})
    assert execution.differences(LISTED, contracts) == (
        "BTCUSDT.BINANCE_USDM: size step 0.001 here and 1 there, multiplier 1 here and 0.01 there"
    )
    assert "not among the adapter's instruments" in execution.differences(LISTED, None)
