"""What `penstock trade ema_cross` runs."""

from __future__ import annotations

from collections.abc import Sequence

from nautilus_trader.model.identifiers import InstrumentId

from strategies.ema_cross.strategy import EmaCrossConfig, EmaCrossStrategy

STRATEGY = EmaCrossStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> EmaCrossConfig:
    """The strategy's configuration for these instruments."""
    return EmaCrossConfig(instrument_ids=tuple(instrument_ids))
