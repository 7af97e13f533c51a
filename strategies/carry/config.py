"""What `penstock trade carry` runs."""

from __future__ import annotations

from collections.abc import Sequence

from nautilus_trader.model.identifiers import InstrumentId

from strategies.carry.strategy import CarryConfig, CarryStrategy

STRATEGY = CarryStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> CarryConfig:
    """The strategy's configuration for these instruments."""
    return CarryConfig(instrument_ids=tuple(instrument_ids))
