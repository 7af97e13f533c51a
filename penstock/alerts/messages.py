"""What a Lambda is handed, unwrapped to alerts: subscriptions, SNS notifications, EventBridge events, failed invocations."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from penstock.alerts.event import Alert
from penstock.alerts.sources import from_alarm, from_alarm_event, from_log, from_task

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of one subscription's record, decompressed."""

NESTED: Final = 4


class Unreadable(ValueError):
    """None of the forms that we know. The text quotes nothing of it."""


def alerts(text: str, now_ns: int) -> list[Alert]:
    """The alerts in an SQS message's body. Raises Unreadable."""
    return list(_of(_json(text), now_ns, NESTED))


def alerts_of(body: Mapping[str, Any], now_ns: int) -> list[Alert]:
    """The alerts in what CloudWatch Logs invokes a Lambda with. Raises Unreadable."""
    return list(_of(body, now_ns, NESTED))


def _of(body: Any, now_ns: int, depth: int) -> Iterator[Alert]:
    if not isinstance(body, dict) or not depth:
        raise Unreadable("not an object")
    try:
        if "awslogs" in body:
            yield from _of(_subscription(body["awslogs"]["data"]), now_ns, depth - 1)
        elif "requestPayload" in body:  # an asynchronous invocation that failed, as Lambda writes it to its destination
            yield from _of(body["requestPayload"], now_ns, depth - 1)
        elif body.get("Type") == "Notification":
            yield from _of(_json(body["Message"]), now_ns, depth - 1)
        elif "logEvents" in body:
            yield from _lines(body, now_ns)
        elif "AlarmName" in body:
            yield from_alarm(body, now_ns)
        elif body.get("detail-type") == "CloudWatch Alarm State Change":
            yield from_alarm_event(body, now_ns)
        elif body.get("detail-type") == "ECS Task State Change":
            if (alert := from_task(body, now_ns)) is not None:
                yield alert
        else:
            raise Unreadable("no log subscription, alarm or task event")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise Unreadable(f"{type(error).__name__} in a known form") from None


def _lines(body: dict[str, Any], now_ns: int) -> Iterator[Alert]:
    if body.get("messageType") == "CONTROL_MESSAGE":  # CloudWatch asks whether we are there
        return
    for entry in body["logEvents"]:
        at_ns = int(entry.get("timestamp", now_ns // 1_000_000)) * 1_000_000
        try:
            line = _json(entry["message"])
        except Unreadable:
            line = None
        if not isinstance(line, dict):  # a traceback or a word of the runtime, which the filter let through
            line = {"event": "unstructured_log_line", "level": "error", "reason": str(entry["message"])}
        if (alert := from_log(line, at_ns, str(body.get("logGroup") or ""))) is not None:
            yield alert


def _subscription(data: str) -> Any:
    try:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(base64.b64decode(data, validate=True), LONGEST)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise Unreadable(f"a subscription that is no gzip: {type(error).__name__}") from None
    if not unpacker.eof:
        raise Unreadable("a subscription that is cut off or too large")
    return _json(text.decode("utf-8", "replace"))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise Unreadable("not JSON") from None
