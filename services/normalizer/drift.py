"""Looks for schema drift in what comes in: each new word is counted, and logged once, with the channel it came on."""

from __future__ import annotations

from typing import Any, Final

from penstock import telemetry
from penstock.drift import Drift, Vocabulary
from penstock.raw.v1.raw_pb2 import Envelope
from services.normalizer.counts import Counts

_PERIOD_NS: Final = 100_000_000
_MAX_CHANNELS: Final = 65_536


class DriftWatch:
    """Ten payloads a second of each channel are looked at: a new field is in every message, and a rare message has its
    channel to itself. Time is the envelopes' `ts_recv`. Without a vocabulary nothing is looked at."""

    def __init__(self, vocabulary: Vocabulary | None, counts: Counts) -> None:
        self._drift = Drift(vocabulary) if vocabulary is not None else None
        self._counts = counts
        self._due: dict[str, int] = {}
        self._log: Any = telemetry.logger()

    def look(self, envelope: Envelope, channel: str, ts_recv: int) -> None:
        """A frame came; `channel` and `ts_recv` are the envelope's, whose fields are slow to read. Never raises."""
        due = self._due
        if self._drift is None or due.get(channel, 0) > ts_recv:
            return
        if channel in due or len(due) < _MAX_CHANNELS:
            due[channel] = ts_recv + _PERIOD_NS
        for word in self._drift.unknown(envelope.payload):
            self._counts.drift[word.partition(" ")[0]] += 1
            self._log.warning("schema_drift", stage="normalizing", channel=channel, word=word)
