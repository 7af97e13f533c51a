"""The instrument and channel whose trades the benchmarks of consumers publish."""

from __future__ import annotations

import providers
from penstock.instruments import FUTURE, Instrument

PROVIDER, CHANNEL = "DERIBIT", "trades.BTC-PERPETUAL.raw"
PERP = Instrument(
    providers.info("deribit").publisher, "BTC-PERPETUAL", 10 * 10**9, "USD", 5 * 10**8, FUTURE, "PERP", "BTC", "USD",
    "BTC", "INV",
)  # fmt: skip
