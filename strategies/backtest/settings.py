"""How a backtest fills orders: the `backtest` part of a run's file (strategies/settings.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from penstock.errors import ConfigError


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`order_latency_ms`: from the strategy's decision to the venue's book, likewise for changes and cancels. `fills`:
    `book` walks the stored book's levels (MBO), `top` fills at the stored top of book (MBP_1), as the live sandbox does.
    Fees are charged on the notional, in basis points; a rebate is negative. Every venue begins with `balance` of each
    currency that its instruments need, and lends `leverage` times its margin.
    """

    order_latency_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 5.0
    fills: Literal["book", "top"] = "book"
    maker_bps: Annotated[float, msgspec.Meta(ge=-100, le=1_000)] = 2.0
    taker_bps: Annotated[float, msgspec.Meta(ge=-100, le=1_000)] = 5.0
    balance: Annotated[int, msgspec.Meta(gt=0)] = 1_000_000
    leverage: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10


def simulation(fields: Mapping[str, Any]) -> Simulation:
    """The settings in a run's file. Raises ConfigError that names the key and what was expected."""
    try:
        return msgspec.convert(fields, Simulation)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = f"backtest.{where.rstrip('`')}" if where else "backtest"
        raise ConfigError(f"{name}: {what[:1].lower()}{what[1:]}") from None
