"""What `penstock trade imbalance` runs."""

from __future__ import annotations

from collections.abc import Sequence

from nautilus_trader.model.identifiers import InstrumentId

from strategies.imbalance.strategy import ImbalanceConfig, ImbalanceStrategy

STRATEGY = ImbalanceStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> ImbalanceConfig:
    """The strategy's configuration for these instruments."""
    return ImbalanceConfig(instrument_ids=tuple(instrument_ids))
