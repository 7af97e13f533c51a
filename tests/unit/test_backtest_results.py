"""Amounts of a backtest are exact, and read as a person would write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError
from strategies.backtest.charts import frame, line, time_ticks, value_ticks
from strategies.backtest.ledger import Account, Results
from strategies.backtest.numbers import Unit, lasting, plain, signed, utc
from strategies.backtest.series import Series
from strategies.backtest.settings import simulation

D = Decimal


def account(*, inverse: bool = False, currency: str = "USDT") -> Account:
    return Account("BTCUSDT.X", currency, "USD" if inverse else "BTC", "USD" if inverse else "USDT", inverse)


def fill(mine: Account, ts: int, signed_quantity: str, price: str, fee: str = "0") -> None:
    quantity = D(signed_quantity)
    mine.fill(ts, buy=quantity > 0, quantity=abs(quantity), price=D(price), maker=False, fee=D(fee))


def test_a_linear_round_trip_with_a_flip() -> None:
    """Average cost: two buys, a sale of all and more, and back: each part realized at its own time."""
    mine = account()
    fill(mine, 1, "1", "100", "0.1")
    fill(mine, 2, "1", "110", "0.1")
    assert (mine.position, mine.realized) == (2, 0)
    fill(mine, 3, "-3", "120", "0.3")
    assert (mine.position, mine.realized) == (-1, 30)
    fill(mine, 4, "1", "90", "0.1")
    assert (mine.position, mine.realized, mine.unrealized, mine.fees) == (0, 60, 0, D("0.6"))
    assert mine.net == D("59.4")
    assert [f.realized for f in mine.fills] == [0, 0, 30, 30]


def test_an_inverse_contract_earns_the_coin() -> None:
    """10,000 USD bought at 50,000 and sold at 40,000 lose 0.2 less 0.25 coins."""
    mine = account(inverse=True, currency="BTC")
    fill(mine, 1, "10000", "50000")
    mine.prices.add(2, D(40000))
    assert mine.unrealized == D("-0.05")
    fill(mine, 3, "-10000", "40000")
    assert (mine.realized, mine.unrealized) == (D("-0.05"), 0)
    assert mine.turnover == D("0.45")


@given(
    st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10_000)), min_size=1, max_size=30),
    st.booleans(),
)
def test_what_was_earned_is_what_was_paid(fills: list[tuple[int, int]], inverse: bool) -> None:
    """However it was cut into opening and closing: realized plus open equals cash plus the position's worth, and the
    equity curve ends there."""
    mine = account(inverse=inverse)
    cash = D(0)
    for ts, (quantity, price) in enumerate(fills):
        fill(mine, ts, str(quantity), str(price), "0.01")
        cash += D(quantity) / price if inverse else -D(quantity) * price
    last = fills[-1][1]
    mine.prices.add(len(fills), D(last))
    worth = -mine.position / last if inverse else mine.position * last
    assert abs(mine.realized + mine.unrealized - (cash + worth)) < D("1e-15")
    *_, (_, end) = mine.equity()
    assert abs(end - mine.net) < D("1e-15")


def test_equity_adds_up_by_currency_and_falls_from_its_height() -> None:
    """Two instruments in one currency share a curve; another currency has its own; drawdown is from the highest point."""
    one, two, other = account(), account(), account(currency="USD")
    two.instrument, other.instrument = "ETHUSDT.X", "BTCUSD.X"
    for mine, prices in ((one, (100, 120, 90)), (two, (10, 10, 20)), (other, (1, 2, 3))):
        fill(mine, 1, "1", str(prices[0]))
        for index, price in enumerate(prices):
            mine.prices.add(10 * (index + 1), D(price))
    results = Results([one, two, other], {})
    assert [value for _, value in results.equity("USDT")][-1] == 0
    assert min(value for _, value in results.drawdown("USDT")) == -30
    assert [value for _, value in results.equity("USD")][-1] == 2
    assert results.currencies == ["USDT", "USD"]


@given(st.lists(st.integers(0, 1_000), max_size=400))
def test_a_series_keeps_first_last_and_its_bound(steps: list[int]) -> None:
    """Whatever comes: never more than twice the samples, in order, the first and the last among them."""
    series, ts = Series(samples=20), 0
    for number, step in enumerate(steps):
        ts += step
        series.add(ts, D(number))
    assert len(series.points) <= 41
    assert series.points == sorted(series.points, key=lambda point: point[0])
    if steps:
        assert series.last == len(steps) - 1
        assert series.points[0][1] in {0, len(steps) - 1} or len(series.points) > 1


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [("1234567.5", 0, "1,234,567.5"), ("-0.00001", 0, "−0.00001"), ("5E-8", 0, "0.00000005"), ("1E+3", 0, "1,000"),
     ("123456.789", 3, "123,457"), ("0.00012345678", 3, "0.000123"), ("0", 4, "0"), ("-0", 0, "0")],
)  # fmt: skip
def test_numbers_are_plain(value: str, digits: int, text: str) -> None:
    """No exponents, no trailing zeros, a real minus."""
    assert plain(D(value), digits) == text


def test_units_and_times_are_readable() -> None:
    """Small amounts get a prefix, times are UTC, lengths have two units at most."""
    unit = Unit.of("BTC", [D("-0.0000017013"), D("0.00000152")])
    assert (unit.name, unit.text(D("-0.0000017013"))) == ("µBTC", "−1.7013")
    assert Unit.of("USD", [D("0.5")]).name == "USD"
    assert signed(D(3)) == "+3"
    assert utc(1_795_246_323_072_620_404) == "2026-11-21 07:32:03"
    assert [lasting(n * 10**9) for n in (0.3, 59, 3_700, 200_000)] == ["0.3 s", "59 s", "1 h 1 min", "2 d 7 h"]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(0, 10**18), st.integers(1, 10**17))
def test_axes_have_few_round_ticks_within(low: float, span: float, start: int, length: int) -> None:
    """Between two and a dozen values, at most nine times, none outside the frame."""
    values = value_ticks(low, low + span, 5)
    assert len(values) <= 12
    assert all(low - span * 0.01 <= value <= low + span * 1.01 for value, _ in values)
    times = time_ticks(start, start + length)
    assert len(times) <= 14
    assert all(start <= ts <= start + length for ts, _ in times)


def test_a_chart_without_movement_or_points_is_still_one() -> None:
    """A flat line, one point, none: no division by zero."""
    for points in ([], [(5, 0.0)], [(5, 7.0), (6, 7.0)]):
        box = frame((5, 5), [value for _, value in points], 100, zero=False)
        assert line(box, points, "flat").endswith("</svg>")


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"fills": "mid"}, "backtest.fills: invalid enum value 'mid'"), ({"latency": 1}, "unknown field `latency`"),
     ({"balance": 0}, "backtest.balance: "), ({"order_latency_ms": "fast"}, "backtest.order_latency_ms: ")],
)  # fmt: skip
def test_a_wrong_setting_is_named(fields: dict[str, object], said: str) -> None:
    """The key and what was expected, in one line."""
    with pytest.raises(ConfigError) as refused:
        simulation(fields)
    assert said in str(refused.value)
