"""What a strategy's orders came to: fills, positions, profit and loss, by currency.

Amounts are exact decimals, added up from fills alone. Of a linear contract `q` at price `p` costs `q·p` of the quote
currency; an inverse one, whose quantity is in the quote currency, earns `q/p` of the coin when bought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import merge
from typing import Any, Final, NamedTuple

from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import LiquiditySide, OrderSide
from nautilus_trader.model.events import OrderFilled

from strategies.backtest.series import Series
from strategies.feed.instruments import Listing

_WORDS: Final = {
    "OrderSubmitted": "submitted",
    "OrderFilled": "fills",
    "OrderRejected": "rejected",
    "OrderDenied": "denied",
    "OrderCanceled": "canceled",
    "OrderExpired": "expired",
}
_ZERO: Final = Decimal(0)


class Fill(NamedTuple):
    """One fill. `ts` is venue-side time (UNIX ns), `quantity` is positive, `position` the one after it, signed.

    `realized` is what it brought in the instrument's settlement currency, fee not counted; `fee` in the same currency.
    """

    ts: int
    instrument: str
    buy: bool
    quantity: Decimal
    price: Decimal
    maker: bool
    fee: Decimal
    position: Decimal
    realized: Decimal


@dataclass(slots=True)
class Account:
    """One instrument: amounts in `currency`, quantities in `unit`, prices in `quote`."""

    instrument: str
    currency: str
    unit: str
    quote: str
    inverse: bool
    fills: list[Fill] = field(default_factory=list)
    prices: Series = field(default_factory=Series)
    position: Decimal = _ZERO
    basis: Decimal = _ZERO
    """What the open position has brought (negative: cost) so far."""
    realized: Decimal = _ZERO
    fees: Decimal = _ZERO

    @property
    def last(self) -> Decimal:
        """The last price seen; 0 where there was none."""
        return self.prices.last

    @property
    def unrealized(self) -> Decimal:
        """What closing at the last price would bring."""
        return self.basis + self.worth(self.position, self.last) if self.position else _ZERO

    @property
    def net(self) -> Decimal:
        """Realized and unrealized, fees paid."""
        return self.realized + self.unrealized - self.fees

    @property
    def turnover(self) -> Decimal:
        """What was bought and sold, in `currency`."""
        return sum((abs(self.worth(fill.quantity, fill.price)) for fill in self.fills), _ZERO)

    def worth(self, quantity: Decimal, price: Decimal) -> Decimal:
        """What a signed position is worth at a price, up to the constant that its basis carries."""
        if not self.inverse:
            return quantity * price
        return -quantity / price if price else _ZERO

    def fill(self, ts: int, *, buy: bool, quantity: Decimal, price: Decimal, maker: bool, fee: Decimal) -> None:
        """Take a fill in: average cost, first closing what is open."""
        signed = quantity if buy else -quantity
        realized = _ZERO
        closing = min(quantity, abs(self.position)) if self.position * signed < 0 else _ZERO
        if closing:
            released = self.basis * (closing / abs(self.position))
            realized = released - self.worth(closing if buy else -closing, price)
            self.basis -= released
            self.position += closing if buy else -closing
        opening = quantity - closing
        self.basis -= self.worth(opening if buy else -opening, price)
        self.position += opening if buy else -opening
        self.realized += realized
        self.fees += fee
        self.fills.append(Fill(ts, self.instrument, buy, quantity, price, maker, fee, self.position, realized))

    def equity(self) -> Iterator[tuple[int, Decimal]]:
        """(UNIX ns, net profit and loss) at every kept price and every fill, in order."""
        cash, position, price = _ZERO, _ZERO, _ZERO
        moments: Iterator[tuple[int, int, Any]] = merge(
            ((ts, 0, value) for ts, value in self.prices.points),
            ((fill.ts, 1, fill) for fill in self.fills),
            key=lambda moment: moment[:2],
        )
        for ts, _, what in moments:
            if isinstance(what, Fill):
                signed = what.quantity if what.buy else -what.quantity
                cash -= self.worth(signed, what.price) + what.fee
                position += signed
                price = price or what.price
            else:
                price = what
            yield ts, cash + (self.worth(position, price) if position else _ZERO)


@dataclass(frozen=True, slots=True)
class Results:
    """`accounts` in the order of the instruments asked for, `orders` counted by what became of them."""

    accounts: list[Account]
    orders: dict[str, int]

    @property
    def currencies(self) -> list[str]:
        """The currencies in which there was profit or loss, most fills first."""
        fills = Counter({account.currency: 0 for account in self.accounts})
        for account in self.accounts:
            fills[account.currency] += len(account.fills)
        return [currency for currency, _ in fills.most_common()]

    def equity(self, currency: str) -> list[tuple[int, Decimal]]:
        """(UNIX ns, net profit and loss) of all instruments that settle in a currency, from 0."""
        latest: dict[str, Decimal] = {}
        points: list[tuple[int, Decimal]] = []
        mine = [account for account in self.accounts if account.currency == currency]
        for ts, name, value in merge(*(_named(account) for account in mine)):
            latest[name] = value
            points.append((ts, sum(latest.values(), _ZERO)))
        return points

    def drawdown(self, currency: str) -> list[tuple[int, Decimal]]:
        """(UNIX ns, distance below the highest equity so far): 0 or negative."""
        high, points = _ZERO, []
        for ts, value in self.equity(currency):
            high = max(high, value)
            points.append((ts, value - high))
        return points


class Ledger:
    """Listens to prices and order events and keeps what the results are made of."""

    def __init__(self, listings: Sequence[Listing], samples: int) -> None:
        self._accounts = {listing.id: _account(listing, samples) for listing in listings}
        self._orders: Counter[str] = Counter()
        self._quoted: set[Any] = set()

    def price(self, made: Any) -> None:
        """Note what an object says of its instrument's price: the middle of a quote, a trade where there are none."""
        if isinstance(made, QuoteTick):
            self._quoted.add(made.instrument_id)
            middle = (made.bid_price.as_decimal() + made.ask_price.as_decimal()) / 2
            self._accounts[made.instrument_id].prices.add(made.ts_init, middle)
        elif isinstance(made, TradeTick) and made.instrument_id not in self._quoted:
            self._accounts[made.instrument_id].prices.add(made.ts_init, made.price.as_decimal())

    def on_event(self, event: Any) -> None:
        """Take an order event."""
        if (word := _WORDS.get(type(event).__name__)) is not None:
            self._orders[word] += 1
        if isinstance(event, OrderFilled):
            self._accounts[event.instrument_id].fill(
                event.ts_event,
                buy=event.order_side == OrderSide.BUY,
                quantity=event.last_qty.as_decimal(),
                price=event.last_px.as_decimal(),
                maker=event.liquidity_side == LiquiditySide.MAKER,
                fee=event.commission.as_decimal(),
            )

    def results(self) -> Results:
        """What it came to."""
        return Results(list(self._accounts.values()), {word: self._orders[word] for word in _WORDS.values()})


def _account(listing: Listing, samples: int) -> Account:
    instrument = listing.instrument
    inverse = bool(getattr(instrument, "is_inverse", False))
    base = instrument.get_base_currency()
    quote = instrument.quote_currency.code
    return Account(
        instrument=listing.id.value,
        currency=instrument.get_settlement_currency().code if inverse else quote,
        unit=quote if inverse else (base.code if base is not None else "contracts"),
        quote=quote,
        inverse=inverse,
        prices=Series(samples),
    )


def _named(account: Account) -> Iterator[tuple[int, str, Decimal]]:
    return ((ts, account.instrument, value) for ts, value in account.equity())
