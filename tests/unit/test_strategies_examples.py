"""The example strategies in Nautilus's own engine: what they do, and what they leave when the data is not whole."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from penstock import dbn
from penstock.book import Book
from penstock.errors import ConfigError
from penstock.lots import SCALE
from strategies import settings
from strategies.carry.strategy import CarryConfig, CarryStrategy
from strategies.ema_cross.strategy import EmaCrossConfig, EmaCrossStrategy
from strategies.feed.books import doubted
from strategies.feed.notices import Live, Loss, Stale
from strategies.imbalance import config as imbalance
from strategies.imbalance.strategy import ImbalanceConfig, ImbalanceStrategy
from strategies.run import names
from strategies.spread.strategy import SpreadConfig, SpreadStrategy
from tests.unit.strategy_market import Market, instrument, orders

PERP, OTHER = instrument("binance_usdm", "BTCUSDT"), instrument("bybit", "BTCUSDT-LINEAR")
SPOT = instrument("binance_spot", "BTCUSDT", "SPOT")
STALE, LIVE = Stale(1_300_000_000), Live("PRIMARY")
LOST = Loss("PRIMARY", "sequence", 1, 2, False)
FOLDER = Path(settings.__file__).parent


def trending(market: Market, up: int, down: int, between: Callable[[], None] = lambda: None) -> None:
    """A trade a second, up and then down by a dollar each, and `between` at the top."""
    price = 60_000
    for step in range(up + down):
        if step == up:
            between()
        price += 1 if step < up else -1
        market.wait(1)
        market.quote(0, str(price))
        market.trade(0, str(price), lots=1000)


def ema(market: Market, *, allow_short: bool = False) -> EmaCrossStrategy:
    return EmaCrossStrategy(EmaCrossConfig(instrument_ids=market.ids, bar_s=2, fast=2, slow=5, allow_short=allow_short))


def test_the_averages_cross_on_bars_built_from_trades() -> None:
    """Long while prices rise, flat when they have fallen for a while; short only where allowed."""
    for allow_short, wanted in ((False, ["BUY 0.001", "SELL 0.001"]), (True, ["BUY 0.001", "SELL 0.002"])):
        market = Market(PERP)
        trending(market, 20, 30)
        made = [f"{side} {quantity}" for _, side, quantity in orders(market.run(ema(market, allow_short=allow_short)))]
        assert [text.replace(" MARKET", "") for text in made] == wanted


def test_the_averages_forget_what_was_before_a_silence() -> None:
    """Stale at the top and live again at once: the averages begin anew and need five whole bars to speak."""
    market = Market(PERP)

    def silence() -> None:
        market.notice(0, "TRADES", STALE)
        market.wait(0.01)
        market.notice(0, "TRADES", LIVE)

    trending(market, 20, 8, silence)
    assert [side for _, side, _ in orders(market.run(ema(market)))] == ["BUY"]
    market = Market(PERP)
    trending(market, 20, 8)
    assert [side for _, side, _ in orders(market.run(ema(market)))] == ["BUY", "SELL"]


def test_no_average_while_trades_are_stale_or_lost() -> None:
    """Nothing is bought on trades that stay STALE, nor on bars each of which lost trades on both lanes; a loss that the
    other lane covered changes nothing."""
    bought = []
    for what, every in ((STALE, False), (LOST, True), (LOST._replace(covered=True), True)):
        market = Market(PERP)
        market.notice(0, "TRADES", what)
        for step in range(40):
            market.wait(1)
            market.quote(0, str(60_000 + step))
            market.trade(0, str(60_000 + step))
            if every:
                market.notice(0, "TRADES", what)
        bought.append(len(orders(market.run(ema(market)))))
    assert bought == [0, 0, 1]


def maker(market: Market, **fields: object) -> ImbalanceStrategy:
    return ImbalanceStrategy(ImbalanceConfig(instrument_ids=market.ids, pause_s=1, **fields))  # type: ignore[arg-type]


def two_sided(market: Market, bids: int, asks: int, *, doubtful: bool = False) -> None:
    """A book of ten levels a side around 60,000 and its quote; `bids` and `asks` are the lots of each level."""
    flags = dbn.F_MAYBE_BAD_BOOK if doubtful else 0
    book, now = Book(PERP.publisher.publisher_id, PERP.instrument_id), market.now
    levels = [(60_000 - n) * SCALE for n in range(1, 11)], [(60_000 + n) * SCALE for n in range(1, 11)]
    book.replace([(price, bids) for price in levels[0]], [(price, asks) for price in levels[1]], now, now, 1)
    market.record(doubted(book.image(now, now, 1)) if flags else book.image(now, now, 1))
    market.quote(0, "60000", half="1")


def resting(market: Market, strategy: ImbalanceStrategy) -> list[tuple[str, str, str]]:
    """(side, price, status) of every order, in the order they were made."""
    engine = market.run(strategy)
    found = sorted(engine.cache.orders(), key=lambda order: (order.ts_init, order.client_order_id.value))
    made = [(order.side_string(), str(Decimal(str(order.price)).normalize()), order.status_string()) for order in found]
    assert all(order.is_post_only for order in found)
    engine.dispose()
    return made


def test_the_maker_quotes_both_sides_and_follows_the_price() -> None:
    """At the best bid and ask, post-only; moved when they moved, once a pause; taken back at the end."""
    market = Market(PERP)
    two_sided(market, 5, 5)
    market.wait(0.5)
    market.quote(0, "60010")  # too soon to move
    market.wait(1)
    market.quote(0, "60000.5", half="0.6")
    market.wait(0.1)
    market.quote(0, "60000.5", half="0.6")
    assert resting(market, maker(market)) == [
        ("BUY", "59999", "CANCELED"), ("SELL", "60001", "FILLED"),
        ("BUY", "59999.9", "CANCELED"), ("SELL", "60001.1", "CANCELED"),
    ]  # fmt: skip


@pytest.mark.parametrize(("bids", "asks", "side", "left"), [(50, 5, b"B", "BUY"), (5, 50, b"A", "SELL")])
def test_the_maker_takes_back_the_side_the_market_leans_against(bids: int, asks: int, side: bytes, left: str) -> None:
    """Book and trades lean the same way: one side only. The book alone moves nothing."""
    for traded, wanted in ((False, {"BUY", "SELL"}), (True, {left})):
        market = Market(PERP)
        if traded:
            market.trade(0, "60000", lots=1, side=side)
        two_sided(market, bids, asks)
        assert {made for made, *_ in resting(market, maker(market))} == wanted


@pytest.mark.parametrize("what", ["stale book", "stale quotes", "lost on both", "doubtful"])
def test_the_maker_quotes_nothing_on_data_that_is_not_whole(what: str) -> None:
    """Both orders are taken back at once, and none is made while it lasts."""
    market = Market(PERP)
    two_sided(market, 5, 5)
    market.wait(2)
    if what == "doubtful":
        two_sided(market, 5, 5, doubtful=True)
    else:
        market.notice(0, "MBP_1" if what == "stale quotes" else "MBO", LOST if what == "lost on both" else STALE)
    known = market.now + (0 if what == "doubtful" else 10**6)
    if what != "lost on both":  # after which the feed flags the book itself
        market.wait(2)
        market.quote(0, "60005", half="6")
    engine = market.run(maker(market))
    orders_made = engine.cache.orders()
    assert [order.status_string() for order in orders_made] == ["CANCELED", "CANCELED"]
    assert {order.ts_closed for order in orders_made} == {known}
    engine.dispose()


def test_the_maker_holds_no_more_than_it_may() -> None:
    """Sold into at every price of a rising market, it stops at its bound."""
    market = Market(PERP)
    two_sided(market, 5, 5)
    for step in range(10):
        market.wait(1)
        market.quote(0, str(60_010 + 5 * step))
    engine = market.run(maker(market, max_orders=3))
    assert {str(each.signed_decimal_qty()) for each in engine.cache.positions()} == {"-0.003"}
    engine.dispose()


def spread(market: Market, **fields: object) -> SpreadStrategy:
    return SpreadStrategy(SpreadConfig(instrument_ids=market.ids, memory=20, **fields))  # type: ignore[arg-type]


def apart(market: Market, gaps: list[int], between: Callable[[], None] = lambda: None, at: int = -1) -> None:
    """A quote of each venue every 0.1 s, the first dearer by `gap` dollars."""
    for step, gap in enumerate(gaps):
        if step == at:
            between()
        market.wait(0.1)
        market.quote(1, "60000")
        market.quote(0, str(60_000 + gap))


QUIET = [0, 2, -2, 1, -1] * 10


def test_the_spread_is_sold_when_wide_and_bought_back() -> None:
    """Dear at the first: sold there and bought at the second; both undone when the gap closes; the mirror image too."""
    for gap, first, second in ((100, "SELL", "BUY"), (-100, "BUY", "SELL")):
        market = Market(PERP, OTHER)
        apart(market, [*QUIET, gap, gap, 0, 0, 0])
        made = orders(market.run(spread(market)))
        assert [(name.partition(".")[2], side, quantity) for name, side, quantity in made] == [
            ("BINANCE_USDM", first, "0.010"),
            ("BYBIT", second, "0.010"),
            ("BINANCE_USDM", second, "0.010"),
            ("BYBIT", first, "0.010"),
        ]


def test_the_spread_needs_both_sides_whole_and_fresh() -> None:
    """Nothing is sold on a gap to quotes that are STALE, or older than a second."""
    market = Market(PERP, OTHER)
    apart(market, [*QUIET, 100, 100], lambda: market.notice(1, "MBP_1", STALE), at=len(QUIET))
    assert orders(market.run(spread(market))) == []
    market = Market(PERP, OTHER)
    apart(market, QUIET)
    market.wait(2)
    market.quote(0, "60100")
    assert orders(market.run(spread(market))) == []
    market = Market(PERP, OTHER)
    apart(market, QUIET)
    market.notice(1, "MBP_1", LOST)
    market.wait(0.1)
    market.quote(0, "60100")
    assert orders(market.run(spread(market))) == []
    assert len(orders(_wide().run(spread(_wide())))) == 2


def _wide() -> Market:
    market = Market(PERP, OTHER)
    apart(market, [*QUIET, 100])
    return market


def test_a_leg_that_fails_closes_the_other() -> None:
    """The second venue refuses (nothing to trade with): the first leg is undone and nothing follows."""
    market = Market(PERP, OTHER)
    apart(market, QUIET)
    for _ in range(6):
        market.wait(0.1)
        market.quote(1, "60000", lots=1)  # 0.001 of the 0.010 wanted: the rest is cancelled
        market.quote(0, "60100")
    strategy = spread(market)
    made = orders(market.run(strategy))
    assert strategy.broken
    net = sum(Decimal(quantity) * (1 if side == "BUY" else -1) for name, side, quantity in made if "USDM" in name)
    assert net == 0
    assert len([name for name, _, _ in made if "USDM" in name]) == 2


def carry(market: Market) -> CarryStrategy:
    return CarryStrategy(CarryConfig(instrument_ids=market.ids, enter_bps=Decimal(1)))


def funded(market: Market, rates: list[str], between: Callable[[], None] = lambda: None, at: int = -1) -> None:
    """Two seconds at each rate; mark at the index."""
    for step, rate in enumerate(rates):
        if step == at:
            between()
        market.statistic(0, dbn.STAT_MARK_PRICE, "60000")
        market.statistic(0, dbn.STAT_FIXING_PRICE, "60000")
        if rate:
            market.statistic(0, dbn.STAT_FUNDING_RATE, rate)
        for _ in range(2):
            market.wait(1)
            market.quote(0, "60000")
            market.quote(1, "60000")


def test_carry_is_held_while_it_pays() -> None:
    """Short the perpetual and long the coin above one basis point; both closed when the rate turns."""
    market = Market(PERP, SPOT)
    funded(market, ["0.00005", "0.0003", "0.0003", "0.00005", "-0.0001", "-0.0001"])
    made = orders(market.run(carry(market)))
    assert [(name.partition(".")[2], side, quantity) for name, side, quantity in made] == [
        ("BINANCE_USDM", "SELL", "0.010"),
        ("BINANCE_SPOT", "BUY", "0.010"),
        ("BINANCE_USDM", "BUY", "0.010"),
        ("BINANCE_SPOT", "SELL", "0.010"),
    ]


def test_carry_with_legs_that_differ_is_closed() -> None:
    """Half of the hedge is filled: both are closed, and not entered again before the next rate."""
    market = Market(PERP, SPOT)
    market.statistic(0, dbn.STAT_MARK_PRICE, "60000")
    market.statistic(0, dbn.STAT_FIXING_PRICE, "60000")
    market.statistic(0, dbn.STAT_FUNDING_RATE, "0.0003")
    for _ in range(6):
        market.wait(1)
        market.quote(0, "60000")
        market.quote(1, "60000", lots=5)
    made = orders(market.run(carry(market)))
    assert [(name.partition(".")[2], side, quantity) for name, side, quantity in made] == [
        ("BINANCE_USDM", "SELL", "0.010"),
        ("BINANCE_SPOT", "BUY", "0.005"),
        ("BINANCE_USDM", "BUY", "0.010"),
        ("BINANCE_SPOT", "SELL", "0.005"),
    ]


def test_carry_waits_for_the_rate_of_now() -> None:
    """Not entered on a rate from before a silence, nor while statistics are STALE, nor far below the index."""
    market = Market(PERP, SPOT)
    market.statistic(0, dbn.STAT_FUNDING_RATE, "0.0003")
    market.notice(0, "STATISTICS", STALE)
    funded(market, ["", ""], lambda: market.notice(0, "STATISTICS", LIVE), at=1)
    assert orders(market.run(carry(market))) == []
    market = Market(PERP, SPOT)
    funded(market, ["0.0003"] * 3, lambda: None)
    strategy = CarryStrategy(CarryConfig(instrument_ids=market.ids, max_discount_bps=Decimal(-1)))
    assert orders(market.run(strategy)) == []


@pytest.mark.parametrize("name", names())
def test_every_example_has_a_file_that_configures_it(name: str) -> None:
    """The file beside the strategy loads, names only what the strategy has, and the strategy starts with it."""
    module = __import__(f"strategies.{name}.config", fromlist=["config"])
    chosen = settings.load(FOLDER / name / "config.yaml")
    settings.check(chosen)
    market = Market(PERP, OTHER)
    made = settings.configured(module, market.ids[: len(chosen.instruments)], chosen.strategy)
    module.STRATEGY(made)
    assert len((FOLDER / name / "strategy.py").read_text().splitlines()) < 150
    with pytest.raises(ConfigError, match="strategy has no setting 'nonsense', expected one of"):
        settings.configured(imbalance, market.ids, {"nonsense": 1})
