"""What `penstock digests` runs."""

from __future__ import annotations

from collections.abc import Sequence

from nautilus_trader.model.identifiers import InstrumentId

from strategies.witness.strategy import WitnessConfig, WitnessStrategy

STRATEGY = WitnessStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> WitnessConfig:
    """The strategy's configuration for these instruments."""
    return WitnessConfig(instrument_ids=tuple(instrument_ids))
