"""The simulated venues of a backtest: one for each provider, with its instruments, money, latency and fees."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel, LatencyModel, MakerTakerFeeModel
from nautilus_trader.model.enums import AccountType, BookType, OmsType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Currency, Money

from strategies.backtest.settings import Simulation
from strategies.feed.instruments import Listing

_BPS: Final = Decimal(10_000)


def add(engine: BacktestEngine, listings: list[Listing], simulation: Simulation, *, with_books: set[str]) -> None:
    """Add every provider of the listings as a venue. `with_books` are the providers whose books are stored."""
    for provider in sorted({listing.provider for listing in listings}):
        instruments = [charged(listing.instrument, simulation) for listing in listings if listing.provider == provider]
        walks = simulation.fills == "book" and provider in with_books
        engine.add_venue(
            venue=Venue(provider),
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            starting_balances=[Money(simulation.balance, currency) for currency in _currencies(instruments)],
            default_leverage=Decimal(simulation.leverage),
            book_type=BookType.L2_MBP if walks else BookType.L1_MBP,
            fill_model=FillModel(),
            fee_model=MakerTakerFeeModel(),
            latency_model=LatencyModel(base_latency_nanos=int(simulation.order_latency_ms * 1e6)),
            # What an order takes is gone until the level changes, and a resting order waits behind what was there.
            liquidity_consumption=walks,
            queue_position=walks,
            use_random_ids=False,
        )
        for instrument in instruments:
            engine.add_instrument(instrument)


def charged(instrument: Instrument, simulation: Simulation) -> Instrument:
    """The instrument with the simulation's fees: definitions carry none, since they depend on who trades."""
    fields: dict[str, Any] = instrument.to_dict(instrument)
    fields["maker_fee"] = str(Decimal(str(simulation.maker_bps)) / _BPS)
    fields["taker_fee"] = str(Decimal(str(simulation.taker_bps)) / _BPS)
    return type(instrument).from_dict(fields)


def _currencies(instruments: list[Instrument]) -> list[Currency]:
    found: dict[str, Currency] = {}
    for each in instruments:
        for currency in (each.get_base_currency(), each.quote_currency, each.get_settlement_currency()):
            if currency is not None:
                found[currency.code] = currency
    return [currency for _, currency in sorted(found.items())]
