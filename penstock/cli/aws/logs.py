"""Log lines to CloudWatch Logs as the awslogs driver sends them, and what log subscriptions make of them.

The emulator stores lines and subscriptions and brings neither to a function, so this does: a line that matches a log group's
subscription goes to the subscribed function in the form that CloudWatch Logs uses.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from penstock import clock
from penstock.cli.aws.api import Emulator

_EVERY_S: Final = 0.5
_CONDITION: Final = re.compile(r'\$\.(\w+) = "([^"]*)"')

type Invoke = Callable[[dict[str, Any]], Awaitable[Any]]


class Logs:
    """Takes lines at once and ships them twice a second. `function` is called with subscriptions' events."""

    def __init__(self, emulator: Emulator, function: Invoke) -> None:
        self._client = emulator.client("logs")
        self._function = function
        self._waiting: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._streams: set[tuple[str, str]] = set()
        self._filters: dict[str, list[str]] = {}
        self.shipped = 0
        self.subscribed = 0

    def heard(self, group: str, stream: str, line: Mapping[str, Any]) -> None:
        """Keep a line for the next shipment."""
        event = {"timestamp": clock.time_ns() // 1_000_000, "message": json.dumps(line)}
        self._waiting.setdefault((group, stream), []).append(event)

    async def run(self) -> None:
        """Ship for ever."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Ship what there is."""
        waiting, self._waiting = self._waiting, {}
        for (group, stream), events in waiting.items():
            for start in range(0, len(events), 1000):
                await asyncio.to_thread(self._put, group, stream, events[start : start + 1000])
            await self._subscriptions(group, stream, events)

    def _put(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        if (group, stream) not in self._streams:
            with suppress(self._client.exceptions.ResourceAlreadyExistsException):
                self._client.create_log_stream(logGroupName=group, logStreamName=stream)
            self._streams.add((group, stream))
        self._client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        self.shipped += len(events)

    async def _subscriptions(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        if group not in self._filters:
            found = await asyncio.to_thread(self._client.describe_subscription_filters, logGroupName=group)
            self._filters[group] = [one["filterPattern"] for one in found["subscriptionFilters"]]
        for pattern in self._filters[group]:
            chosen = [event for event in events if matches(pattern, json.loads(event["message"]))]
            if chosen:
                self.subscribed += len(chosen)
                await self._function(_event(group, stream, pattern, chosen))


def matches(pattern: str, line: Mapping[str, Any]) -> bool:
    """Whether a pattern of the form { ($.field = "text") || … } selects a line; `*` stands for any text.

    Raises ValueError for a pattern of another form.
    """
    conditions = _CONDITION.findall(pattern)
    rest = _CONDITION.sub("", pattern)
    if not conditions or set(rest) - set("{}()| "):
        raise ValueError(f"the filter pattern is {pattern!r}, expected comparisons of fields with texts, joined by ||")
    return any(
        isinstance(line.get(name), str) and re.fullmatch(re.escape(text).replace(r"\*", ".*"), line[name], re.DOTALL)
        for name, text in conditions
    )


def _event(group: str, stream: str, pattern: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    body = {
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": stream,
        "subscriptionFilters": [pattern], "logEvents": [{"id": str(i), **event} for i, event in enumerate(events)],
    }  # fmt: skip
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(body).encode())).decode()}}
