"""What the completeness report of a stored day declares missing, told to a strategy as the live feed would tell it.

A gap in the venue's numbering is a Loss, a time in which neither lane received a channel is Stale until it is Live again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from nautilus_trader.model.data import CustomData

from strategies.feed.config import ArbiterConfig
from strategies.feed.custom import MARKERS, Marker
from strategies.feed.dataset import Dataset, Part
from strategies.feed.instruments import Listing
from strategies.feed.notices import Live, Loss, Stale

BOTH: Final = "BOTH"
"""The lane of a loss that neither lane could cover."""

_SILENCE_NS: Final = int(ArbiterConfig().silence_s * 1e9)


class Declared(NamedTuple):
    """A notice of one schema (`MBO`) of one instrument and when it is told (UNIX ns)."""

    at: int
    listing: Listing
    schema: str
    notice: Loss | Stale | Live

    def data(self) -> CustomData:
        """The notice as the live client hands it to strategies."""
        return CustomData(MARKERS, Marker(self.listing.id, self.schema, self.notice, self.at))


def declared(dataset: Dataset, parts: Iterable[Part], listings: Iterable[Listing], folder: Path) -> list[Declared]:
    """Everything declared of the listings in some parts, in order of time. `folder` takes what must be fetched."""
    known = {(listing.provider, listing.id.symbol.value): listing for listing in listings}
    found: list[Declared] = []
    for part in parts:
        report = dataset.report(part)
        if report is None or not (report["gaps"] or any(channel["uncovered"] for channel in report["channels"])):
            continue
        symbols = _symbols(dataset, part, folder)
        for schema, channel, at, notice in _notices(report):
            listings_of = (known.get((part.provider, symbol)) for symbol in symbols.get((schema, channel), ()))
            found += [Declared(at, listing, schema, notice) for listing in listings_of if listing is not None]
    return sorted(found, key=lambda each: each.at)


def _notices(report: Mapping[str, Any]) -> Iterator[tuple[str, str, int, Loss | Stale | Live]]:
    for gap in report["gaps"]:
        loss = Loss(BOTH, gap["reason"], gap["expected"], gap["got"], covered=False)
        yield gap["schema"], gap["channel"], gap["ts_event"], loss
    for channel in report["channels"]:
        for gap in channel["uncovered"]:
            # Live, a channel is silent for a while before it is called so; a shorter break is not noticed.
            if gap["end"] - gap["start"] > _SILENCE_NS:
                stale = gap["start"] + _SILENCE_NS
                yield channel["schema"], channel["channel"], stale, Stale(_SILENCE_NS)
                yield channel["schema"], channel["channel"], gap["end"], Live(BOTH)


def _symbols(dataset: Dataset, part: Part, folder: Path) -> dict[tuple[str, str], set[str]]:
    """Whose data came on which channel: DBN has no venue channels, the Parquet beside it has."""
    symbols: dict[tuple[str, str], set[str]] = {}
    for schema, key in part.keys.items():
        path = dataset.file(f"parquet/{key.removeprefix('canonical/').removesuffix('.dbn.zst')}.parquet", folder)
        for batch in pq.ParquetFile(path).iter_batches(columns=["symbol", "channel"]):
            for pair in pa.Table.from_batches([batch]).group_by(["symbol", "channel"]).aggregate([]).to_pylist():
                symbols.setdefault((schema.upper().replace("-", "_"), pair["channel"]), set()).add(pair["symbol"])
    return symbols
