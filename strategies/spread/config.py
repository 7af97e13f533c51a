"""What `penstock trade spread` runs."""

from __future__ import annotations

from collections.abc import Sequence

from nautilus_trader.model.identifiers import InstrumentId

from strategies.spread.strategy import SpreadConfig, SpreadStrategy

STRATEGY = SpreadStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> SpreadConfig:
    """The strategy's configuration for these instruments."""
    return SpreadConfig(instrument_ids=tuple(instrument_ids))
