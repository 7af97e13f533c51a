"""Prices and quantities of orders, on the venue's steps.

The feed's prices have nine decimals, because data may lie between the ticks; an order may not. Nautilus's simulated
matching fills only at prices that are written with all of them, a venue takes only its own tick's.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Price, Quantity

from strategies.feed.instruments import DECIMALS


def quantity(instrument: Instrument, wanted: Decimal) -> Quantity | None:
    """`wanted` (in the instrument's quantity) rounded down to its step; None where that is less than its minimum."""
    step = instrument.size_increment.as_decimal()
    amount = wanted // step * step
    least = instrument.min_quantity.as_decimal() if instrument.min_quantity is not None else step
    # With the instrument's own decimals: Nautilus's matching takes no others.
    return Quantity.from_str(f"{amount:.{instrument.size_precision}f}") if amount >= max(least, step) else None


def of_base(instrument: Instrument, base: Decimal, price: Decimal) -> Quantity | None:
    """The quantity that moves with `base` units of the coin: an inverse contract counts quote currency instead."""
    return quantity(instrument, base * price if instrument.is_inverse else base)


def smallest(instrument: Instrument) -> Quantity:
    """The smallest order."""
    return instrument.min_quantity or instrument.size_increment


def passive(instrument: Instrument, price: Decimal, side: OrderSide) -> Price:
    """The tick at `price` or the next one away from the market: down for a buy, up for a sell."""
    tick = instrument.price_increment.as_decimal().normalize()
    rounding = ROUND_FLOOR if side == OrderSide.BUY else ROUND_CEILING
    digits = (instrument.info or {}).get(DECIMALS, instrument.price_precision)
    return Price.from_str(f"{(price / tick).to_integral_value(rounding) * tick:.{digits}f}")
