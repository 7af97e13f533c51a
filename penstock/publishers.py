"""The one table of publisher ids: DBN's `publisher_id` for each provider, never reused, never renumbered.

Databento's own ids are dense from 1 and no private range is documented, so ours start at 60001
(https://github.com/databento/dbn, rust/dbn/src/publishers.rs, read 2026-08).
PRIMARY and REPLICA of a provider share one id: the lane is in the channel, not in the record.
"""

from __future__ import annotations

from typing import NamedTuple


class Publisher(NamedTuple):
    """`dataset` goes into DBN metadata (at most 15 characters), `venue` into `exchange` (4 characters)."""

    publisher_id: int
    provider: str
    dataset: str
    venue: str


PUBLISHERS = {
    publisher.provider: publisher
    for publisher in (
        Publisher(60001, "binance_spot", "BINANCE.SPOT", "BNCS"),
        Publisher(60002, "binance_usdm", "BINANCE.USDM", "BNCU"),
        Publisher(60003, "coinbase_advanced", "COINBASE.ADV", "CBSE"),
        Publisher(60004, "coinbase_exchange", "COINBASE.EXCH", "CBSX"),
        Publisher(60005, "deribit", "DERIBIT.MAIN", "DRBT"),
        Publisher(60006, "kraken", "KRAKEN.SPOT", "KRKN"),
        Publisher(60007, "okx", "OKX.MAIN", "OKEX"),
        Publisher(60008, "bybit", "BYBIT.MAIN", "BYBT"),
        Publisher(60009, "databento", "DATABENTO.LIVE", "DBNT"),
        Publisher(60010, "rest", "REST.POLL", "REST"),
    )
}
