"""Both entries of the alerts against a Discord with the real limits, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import clock
from penstock.alerts import messages, settings
from penstock.alerts.event import Alert, Severity
from penstock.alerts.grouping import Group
from penstock.alerts.handler import Batches
from penstock.alerts.local import LocalAlerts
from penstock.alerts.sender import Sender
from penstock.errors import ConnectionLost
from simulator.discord import Discord, dropped, told

SECRET = "k3y-0f-the-h0use"
NOW = 1_795_246_526_000_000_000


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    server = Discord()
    await server.start()
    yield server
    await server.stop()


class Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        self.lines.append({"event": event, **fields})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


def line(number: int, level: str = "error") -> dict[str, Any]:
    """One of a dozen kinds of errors, each time with other numbers, ids and texts from the venue."""
    provider = ("deribit", "okx", "kraken")[number % 3]
    reasons = (
        f"timeout after {number / 7:.3f} s",
        f"answered 50{number % 2 * 3}",
        f"order {number:x}-9f is unknown",
        "reset",
    )
    return {
        "event": "request_failed", "level": level, "service": "session_manager", "provider": provider,
        "instance": "PRIMARY", "reason": reasons[number // 3 % 4], "authorization": f"Bearer {SECRET}",
        "channel": f"book.BTC-{number}", "time": "2026-11-21T07:44:13.5Z",
    }  # fmt: skip


def group(number: int) -> Group:
    return Group.of(Alert(Severity.ERROR, "kind " + "abcdefghijklmnopqrstuvwxyz"[number], NOW))


async def deliver(sender: Sender) -> None:
    wait_s: float | None = 0.0
    while wait_s is not None:
        await asyncio.sleep(wait_s)
        wait_s = await asyncio.to_thread(sender.pump)


async def test_a_storm_becomes_a_handful_of_messages_within_the_limits(discord: Discord):
    """10,000 errors of 15 kinds at once: each is counted in a few messages; nothing is refused, no secret shown."""
    log = Log()
    environ = {"HOOK": discord.url("all"), "VENUE_API_KEY": SECRET}
    alerts = LocalAlerts(environ, "HOOK", log, window_s=0.3)
    with alerts:
        for number in range(10_000):
            alerts.heard(line(number), "logs/session_manager.log")
        # What comes after the first messages is held back, until the end here; waiting for it must not stop the server.
        await asyncio.to_thread(alerts.close)
    contents = discord.contents("all")
    assert 1 <= len(contents) <= 10
    assert discord.counted("all") == 10_000
    assert alerts.sender.dropped == discord.early == discord.hooks["all"].refused == 0
    assert all(len(content.encode("utf-16-le")) // 2 <= 2000 for content in contents)
    assert all(message["allowed_mentions"] == {"parse": []} for message in discord.hooks["all"].messages)
    assert SECRET not in json.dumps(discord.hooks["all"].messages) + json.dumps(log.lines)


async def test_a_storm_that_overflows_is_counted_too(discord: Discord):
    """More at once than the thread's queue holds: what a person reads adds up to what happened."""
    log = Log()
    alerts = LocalAlerts({"HOOK": discord.url("all")}, "HOOK", log, window_s=0.1, told=400)
    for number in range(10_000):  # the thread does not run yet, as if it were busy
        alerts.heard(line(number), "")
    with alerts:
        await asyncio.to_thread(alerts.close)
    told_of = discord.counted("all") + max(dropped(content) for content in discord.contents("all"))
    assert told_of == 10_000
    assert sum(entry["count"] for entry in log.of("alerts_dropped")) == alerts.sender.dropped == 9_600


async def test_the_headers_keep_us_below_the_limit(discord: Discord):
    """Twelve messages, five are allowed per 2 s: we wait as told, and Discord never has to refuse."""
    sender = settings.sender({"HOOK": discord.url("all")}, Log(), "HOOK")
    began = clock.monotonic_s()
    for number in range(12):
        sender.offer(group(number))
        await deliver(sender)
    assert discord.hooks["all"].requests == 12
    assert discord.hooks["all"].refused == discord.early == 0
    assert clock.monotonic_s() - began > 3.5


async def test_refusals_are_obeyed(discord: Discord):
    """A 429 closes one webhook for as long as it says; a global one, or the proxy's, closes all. Nothing is lost."""
    log = Log()
    environ = {"HOOK": discord.url("all"), "HOOK_CRITICAL": discord.url("critical")}
    sender = settings.sender(environ, log, "HOOK")
    discord.limit_next(0.5)
    discord.limit_next(0.4, everywhere=True)
    discord.limit_next(0.3, proxy=True)
    sender.offer(group(1))
    sender.offer(Group.of(Alert(Severity.CRITICAL, "worst", NOW)))
    await deliver(sender)
    assert discord.early == 0
    assert sum(hook.refused for hook in discord.hooks.values()) == len(log.of("discord_limited")) == 3
    assert (discord.counted("critical"), discord.counted("all")) == (1, 1)


async def test_an_outage_is_survived_and_owned_up_to(discord: Discord):
    """Discord is away while more kinds come than are kept: then the first message says how many are missing."""
    log = Log()
    sender = settings.sender({"HOOK": discord.url("all")}, log, "HOOK")
    sender._queued = 6
    await discord.stop()
    for number in range(20):
        sender.offer(group(number % 10))
    assert await asyncio.to_thread(sender.pump) is not None
    assert log.of("discord_unreachable")
    await discord.start()
    discord.broken["all"] = 503
    answered = asyncio.create_task(deliver(sender))
    await discord.answered.wait()
    discord.broken.clear()
    await answered
    contents = discord.contents("all")
    assert dropped(contents[0]) == sender.dropped == sum(entry["count"] for entry in log.of("alerts_dropped")) > 0
    assert discord.counted("all") + sender.dropped == 20
    assert not any(dropped(content) for content in contents[1:])
    assert discord.url("all") not in json.dumps(log.lines)


def subscription(lines: list[dict[str, Any]]) -> dict[str, Any]:
    body = {
        "messageType": "DATA_MESSAGE", "logGroup": "/penstock/prod/session_manager",
        "logEvents": [{"id": str(i), "timestamp": NOW // 10**6, "message": json.dumps(one)} for i, one in enumerate(lines)],
    }  # fmt: skip
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(body).encode())).decode()}}


def record(identifier: str, body: Any) -> dict[str, Any]:
    return {"messageId": identifier, "body": body if isinstance(body, str) else json.dumps(body)}


ALARM = {
    "AlarmName": "penstock-prod-deribit-both-lanes-down",
    "AlarmDescription": "severity=critical provider=deribit runbook=both_lanes_down No lane of Deribit has data.",
    "NewStateValue": "ALARM", "OldStateValue": "OK", "NewStateReason": "Threshold Crossed: 3 datapoints [0.0 (21/11/26)]",
    "StateChangeTime": "2026-11-21T07:44:13.123+0000", "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:x",
}  # fmt: skip


async def test_the_lambda_gives_back_what_was_not_delivered(discord: Discord):
    """Logs, an alarm, a dead task and rubbish in one batch; the channel for errors is down. Only its ids come back."""
    environ = {"HOOK": discord.url("errors"), "HOOK_CRITICAL": discord.url("critical")}
    batches = Batches(settings.sender(environ, Log(), "HOOK"))
    task = {
        "detail-type": "ECS Task State Change", "region": "eu-west-1",
        "detail": {"lastStatus": "STOPPED", "stopCode": "EssentialContainerExited", "group": "service:deribit-primary"},
    }  # fmt: skip
    event = {
        "Records": [
            record("logs", subscription([line(number) for number in range(50)])),
            record("alarm", {"Type": "Notification", "Message": json.dumps(ALARM)}),
            record("task", task),
            record("control", {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "check"}]}),
            record("rubbish", "not json"),
        ]
    }
    discord.broken["errors"] = 500
    answer = await asyncio.to_thread(batches.handle, event, clock.monotonic_s() + 0.3)
    failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
    assert failed == {"logs", "task", "rubbish"}
    assert "**CRITICAL: both lanes down** · deribit" in discord.contents("critical")[0]
    discord.broken.clear()
    again = {"Records": [one for one in event["Records"] if one["messageId"] in {"logs", "task"}]}
    answer = await asyncio.to_thread(batches.handle, again, clock.monotonic_s() + 5)
    assert answer == {"batchItemFailures": []}
    assert discord.counted("errors") == 51


async def test_a_storm_through_the_lambda_is_told_once_and_the_rest_is_counted(discord: Discord):
    """10,000 errors in 100 messages of the queue: the first of each kind is told, the others wait for the next message."""
    batches = Batches(settings.sender({"HOOK": discord.url("all"), "VENUE_API_KEY": SECRET}, Log(), "HOOK"))
    for invocation in range(10):
        first = 1_000 * invocation
        records = [
            record(str(part), subscription([line(first + 100 * part + number) for number in range(100)]))
            for part in range(10)
        ]
        answer = await asyncio.to_thread(batches.handle, {"Records": records}, clock.monotonic_s() + 60)
        assert answer == {"batchItemFailures": []}
    contents = discord.contents("all")
    assert 1 <= len(contents) <= 10
    assert discord.counted("all") + batches._grouping.held == 10_000
    assert discord.early == discord.hooks["all"].refused == 0
    assert SECRET not in json.dumps(discord.hooks["all"].messages)


async def test_a_direct_invocation_is_offered_again(discord: Discord):
    batches = Batches(settings.sender({"HOOK": discord.url("all")}, Log(), "HOOK"))
    discord.broken["all"] = 502
    event = subscription([line(1), line(2)])
    with pytest.raises(ConnectionLost):
        await asyncio.to_thread(batches.handle, event, clock.monotonic_s() + 0.2)
    discord.broken.clear()
    # What Lambda writes into the failure destination, an SQS queue:
    wrapped = {"Records": [record("x", {"version": "1.0", "requestPayload": event})]}
    assert await asyncio.to_thread(batches.handle, wrapped, clock.monotonic_s() + 5) == {"batchItemFailures": []}
    assert sum(told(content) for content in discord.contents("all")) == 2
    with pytest.raises(messages.Unreadable):
        await asyncio.to_thread(batches.handle, {"hello": "world"}, clock.monotonic_s() + 5)
