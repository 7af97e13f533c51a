"""The Lambda entry: batches from SQS, or a log group's subscription, to Discord.

Reserve a concurrency of one: the limits of a webhook are kept in this process. `handler` is what AWS calls.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from penstock import clock
from penstock.alerts import messages, secret, settings
from penstock.alerts.event import Alert
from penstock.alerts.grouping import Grouping
from penstock.alerts.sender import Sender
from penstock.errors import ConnectionLost

RESERVED_S: Final = 7.0
"""Kept back at the end of an invocation: one request that times out, and the answer to SQS."""

UNTOLD_S: Final = 30.0
"""How long an invocation may take where its context does not say."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell what is in `event`. SQS gets back the ids of messages that did not reach Discord, and offers them again.

    A direct invocation has no ids to give back: it raises ConnectionLost, and Lambda offers the whole event again.
    """
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    left_s = remaining() / 1000 if remaining is not None else UNTOLD_S
    return _batches().handle(event, clock.monotonic_s() + left_s - RESERVED_S)


def log(event: str, fields: Mapping[str, Any]) -> None:
    """One JSON line on stdout, where CloudWatch Logs finds it; a metric filter counts `alerts_dropped`."""
    level = "error" if event in {"alerts_dropped", "alerts_undelivered", "alert_unreadable"} else "warning"
    sys.stdout.write(json.dumps({"event": event, "level": level, "service": "alerts", **fields}) + "\n")
    sys.stdout.flush()


class Batches:
    """What outlives an invocation: what was told lately, and what Discord said of its limits."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._grouping = Grouping(window_s=0.0)

    def handle(self, event: Mapping[str, Any], until_s: float) -> dict[str, Any]:
        """As `handler`; gives up waiting at `until_s` (monotonic seconds)."""
        if "Records" not in event:
            if self._tell({"": self._alerts_of(event)}, until_s):
                raise ConnectionLost("Discord did not take the alerts in time")
            return {}
        failed: set[str] = set()
        found: dict[str, list[Alert]] = {}
        for record in event["Records"]:
            identifier = str(record["messageId"])
            try:
                found[identifier] = messages.alerts(record["body"], clock.time_ns())
            except messages.Unreadable as error:
                # Offered again until SQS moves it to the dead-letter queue, where a person can read it.
                log("alert_unreadable", {"message_id": identifier, "reason": str(error)})
                failed.add(identifier)
        failed |= self._tell(found, until_s)
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in sorted(failed)]}

    def _alerts_of(self, event: Mapping[str, Any]) -> list[Alert]:
        try:
            return messages.alerts_of(event, clock.time_ns())
        except messages.Unreadable as error:
            log("alert_unreadable", {"message_id": "", "reason": str(error)})
            raise

    def _tell(self, found: Mapping[str, list[Alert]], until_s: float) -> set[str]:
        """Deliver; returns the ids whose alerts are not all delivered."""
        carriers: dict[str, set[str]] = {}
        for identifier, alerts in found.items():
            for alert in alerts:
                carriers.setdefault(self._grouping.add(alert, clock.monotonic_s()), set()).add(identifier)
        for group in self._grouping.due(clock.monotonic_s()):
            self._sender.offer(group)
        if self._grouping.held:
            log("alerts_held", {"count": self._grouping.held, "reason": "told lately; counted into the next message"})
        self._pump(until_s)
        undelivered = self._sender.take_back()
        for group in undelivered:
            self._grouping.untold(group.fingerprint)
        if undelivered:
            log("alerts_undelivered", {"count": sum(group.count for group in undelivered), "reason": "offered again"})
        return {identifier for group in undelivered for identifier in carriers.get(group.fingerprint, ())}

    def _pump(self, until_s: float) -> None:
        while (wait_s := self._sender.pump()) is not None:
            if clock.monotonic_s() + wait_s >= until_s:
                return
            time.sleep(wait_s)


@lru_cache(maxsize=1)
def _batches() -> Batches:
    # penstock.config needs a third-party package, which this Lambda does not have.
    return Batches(settings.sender(secret.filled(os.environ), log))  # noqa: TID251
