"""How one batch processor does: its gauges, and the signs of work by which it is healthy."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock import telemetry
from penstock.health import Signs
from services.batch_processor.lane import Lane
from services.batch_processor.uploads import Uploads

_LOOP_S, _DURABLE_S, _STORED_S = 15.0, 10.0, 600.0

_waiting: Final = telemetry.gauge("batch_processor", "uploads_waiting")
_lag: Final = telemetry.gauge("batch_processor", "upload_lag_seconds")
_free: Final = telemetry.gauge("batch_processor", "spool_free_bytes")


def signs() -> Signs:
    """Session managers send a heartbeat each second, so something becomes durable all the time; what is closed must be
    stored at some time. Neither is mended by a new start, so only a loop that stands is no life."""
    return Signs(live={"loop": _LOOP_S}, ready={"durable": _DURABLE_S, "stored": _STORED_S})


class Vitals:
    """Looks at the lanes and the uploads once a second."""

    def __init__(self, spool: Path, lanes: Mapping[str, Lane], uploads: Uploads, shown: Signs) -> None:
        self._spool = spool
        self._lanes = lanes
        self._uploads = uploads
        self._signs = shown
        self._positions: dict[str, tuple[int, int]] = {}

    async def run(self, reporter: telemetry.Reporter) -> None:
        """Look and report for ever."""
        while True:
            self.look()
            reporter.tick()
            await asyncio.sleep(1)

    def look(self) -> None:
        """Bring the gauges and the signs up to date."""
        lag_s = self._uploads.lag_s
        _waiting.set(self._uploads.waiting)
        _lag.set(round(lag_s, 3))
        _free.set(shutil.disk_usage(self._spool).free)
        positions = {provider: lane.position for provider, lane in self._lanes.items()}
        self._signs.seen("loop")
        if positions != self._positions:
            self._signs.seen("durable")
        if lag_s < _STORED_S:
            self._signs.seen("stored")
        self._positions = positions
