"""Refused payloads, kept for a person: JSON lines in two files that together never exceed a bound."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock import clock, telemetry
from penstock.errors import PayloadError
from penstock.raw.v1.raw_pb2 import Envelope
from penstock.timestamps import NS_PER_S

FLUSH_S: Final = 0.25
PENDING_BYTES: Final = 4 * 1024 * 1024
"""Bytes waiting for the disk beyond which further payloads are counted in `unkept` and not kept."""


class Quarantine:
    """Appends to `<name>.jsonl`; at half of `limit` bytes that becomes `<name>.1.jsonl`, replacing the one before.

    The hot path only appends to memory: `run` writes, in a thread. The disk being full or slow costs payloads here and
    nothing else.
    """

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self._path = folder / f"{name}.jsonl"
        self._previous = folder / f"{name}.1.jsonl"
        self._half = limit // 2
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._logged: dict[str, tuple[int, int]] = {}
        self._log: Any = telemetry.logger()
        self.unkept = 0

    def keep(self, envelope: Envelope, epoch: int, error: PayloadError) -> None:
        """Keep one refused payload, and log its reason at most once a second per reason."""
        self._report(envelope, error)
        line = msgspec.json.encode(
            {
                "ts_recv": envelope.ts_recv,
                "epoch": epoch,
                "connection": envelope.connection,
                "sequence": envelope.sequence,
                "channel": envelope.channel,
                "reason": error.reason,
                "field": error.field,
                "message": str(error).encode("utf-8", "replace").decode(),
                "payload": base64.b64encode(envelope.payload).decode(),
            }
        )
        if self._pending_bytes + len(line) > PENDING_BYTES or len(line) >= self._half:
            self.unkept += 1
            return
        self._pending.append(line)
        self._pending_bytes += len(line)

    async def run(self) -> None:
        """Write what is kept, for ever; a last time when cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                if self._pending:
                    await asyncio.to_thread(self._write, self._take())
        finally:
            if self._pending:
                self._write(self._take())

    def _take(self) -> list[bytes]:
        lines, self._pending, self._pending_bytes = self._pending, [], 0
        return lines

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab")
            try:
                for line in lines:
                    if file.tell() + len(line) >= self._half:
                        file.close()
                        self._path.replace(self._previous)
                        file = self._path.open("ab")
                    file.write(line + b"\n")
            finally:
                file.close()
        except OSError as error:
            self.unkept += len(lines)
            self._log.error("quarantine_unwritable", stage="quarantine", path=str(self._path), reason=str(error))

    def _report(self, envelope: Envelope, error: PayloadError) -> None:
        now = clock.monotonic_ns()
        last, silent = self._logged.get(error.reason, (now - NS_PER_S, 0))
        if now - last < NS_PER_S:
            self._logged[error.reason] = (last, silent + 1)
            return
        self._logged[error.reason] = (now, 0)
        self._log.warning(
            "payload_quarantined",
            stage="normalizing",
            reason=error.reason,
            message=str(error),
            channel=envelope.channel,
            sequence=envelope.sequence,
            unlogged=silent,
        )
