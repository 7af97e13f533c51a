"""Calling a provider's normalizer so that nothing is unaccounted for: frames in = data + control + quarantined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock import telemetry
from penstock.errors import PayloadError
from penstock.normalizing import Normalizer, Output
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from services.normalizer.counts import Counts

BUG = "bug"
"""The quarantine reason of an exception that no normalizer should raise."""

MAX_KNOWN_CHANNELS = 65536


class Accounting:
    """One provider's normalizer, with every frame classified once and every refusal handed to `refused`.

    A frame is control where provider.yaml files its channel under SYSTEM, data otherwise, and quarantined where the
    normalizer refuses it, whatever its channel.
    """

    def __init__(
        self,
        info: ProviderInfo,
        normalizer: Normalizer,
        counts: Counts,
        refused: Callable[[Envelope, PayloadError], None],
    ) -> None:
        self._info = info
        self._normalizer = normalizer
        self._counts = counts
        self._refused = refused
        self._kinds: dict[str, str] = {}
        self._log: Any = telemetry.logger()

    def normalize(self, envelope: Envelope, kind: int, channel: str) -> Sequence[Output]:
        """The normalizer's outputs; none where the envelope was refused. Never raises.

        `kind` and `channel` are the envelope's: its fields are slow to read.
        """
        try:
            outputs = self._normalizer.normalize(envelope)
        except PayloadError as error:
            self._refuse(envelope, error)
            return ()
        except Exception as error:  # noqa: BLE001 # one envelope must not stop the stream; logged with its stage
            self._log.error("normalizing_failed", stage="normalizing", channel=channel, exc_info=error)
            self._refuse(envelope, PayloadError(BUG, type(error).__name__, str(error), "no exception"))
            return ()
        if kind == KIND_FRAME:
            self._counts.frames[self._kinds.get(channel) or self._classify(channel)] += 1
        return outputs

    def _refuse(self, envelope: Envelope, error: PayloadError) -> None:
        if envelope.kind == KIND_FRAME:
            self._counts.frames["quarantined"] += 1
        self._counts.quarantined[error.reason] += 1
        self._refused(envelope, error)

    def _classify(self, channel: str) -> str:
        kind = "control" if self._info.schema_of(channel) == "SYSTEM" else "data"
        if len(self._kinds) < MAX_KNOWN_CHANNELS:
            self._kinds[channel] = kind
        return kind
