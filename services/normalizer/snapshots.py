"""When a normalizer's state is written out again: book images going round, definitions now and then.

Times are the envelopes' own; no clock is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Final

from penstock import telemetry
from penstock.normalizing import Message, Normalizer
from penstock.timestamps import NS_PER_S

IMAGES_EVERY_S: Final = 5
DEFINITIONS_EVERY_S: Final = 60


class Rounds:
    """Asked once a second (by a heartbeat's `ts_recv`, UNIX ns), gives what is due.

    A round of images starts every 5 s, or when the one before has come to its end, and gives a fifth of the books
    (as many as that had) each time, at least one. A normalizer that yields lazily builds just these, at that moment. An
    exception of the normalizer ends the round and is logged.
    """

    def __init__(self, normalizer: Normalizer) -> None:
        self._normalizer = normalizer
        self._round: Iterator[Message] = iter(())
        self._round_began = 0
        self._ended = True
        self._round_size = 0
        self._last_size = 0
        self._definitions_began = 0
        self._log: Any = telemetry.logger()

    def images(self, ts_recv: int) -> list[Message]:
        """The images due now."""
        try:
            share = max(1, ceil(self._last_size / IMAGES_EVERY_S))
            due = self._take(share)
            if self._ended and ts_recv - self._round_began >= IMAGES_EVERY_S * NS_PER_S:
                self._last_size, self._round_size = self._round_size, 0
                self._round_began, self._ended = ts_recv, False
                images = self._normalizer.images(ts_recv)
                if isinstance(images, Sequence):
                    # All are built already: kept for later they would only grow old.
                    self._ended = True
                    return [*due, *images]
                self._round = iter(images)
                due += self._take(share - len(due))
        except RuntimeError:
            # A book came or went while the round was under way; the next round has it.
            self._log.info("images_interrupted", stage="normalizing")
            self._round, self._ended = iter(()), True
            return []
        except Exception as error:  # noqa: BLE001 # the stream goes on; logged with its stage
            self._log.error("images_failed", stage="normalizing", exc_info=error)
            self._round, self._ended = iter(()), True
            return []
        return due

    def _take(self, share: int) -> list[Message]:
        due = [message for _, message in zip(range(share), self._round, strict=False)]
        self._round_size += len(due)
        self._ended = self._ended or len(due) < share
        return due

    def definitions(self, ts_recv: int) -> list[Message]:
        """The definitions due now: all of them once a minute, the first time a minute after the first call."""
        if not self._definitions_began:
            self._definitions_began = ts_recv
        if ts_recv - self._definitions_began < DEFINITIONS_EVERY_S * NS_PER_S:
            return []
        self._definitions_began = ts_recv
        return self._all_definitions(ts_recv)

    def everything(self, ts_recv: int) -> Iterator[Message]:
        """Every definition and every image, now."""
        yield from self._all_definitions(ts_recv)
        try:
            yield from self._normalizer.images(ts_recv)
        except Exception as error:  # noqa: BLE001 # the stream goes on; logged with its stage
            self._log.error("images_failed", stage="normalizing", exc_info=error)

    def _all_definitions(self, ts_recv: int) -> list[Message]:
        try:
            return list(self._normalizer.definitions(ts_recv))
        except Exception as error:  # noqa: BLE001 # the stream goes on; logged with its stage
            self._log.error("definitions_failed", stage="normalizing", exc_info=error)
            return []
