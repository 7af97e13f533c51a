"""What becomes an alert, how it is configured, and that the Lambda needs nothing but Python."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.alerts import messages, settings
from penstock.alerts.event import Alert, Severity
from penstock.alerts.meanings import MEANINGS
from penstock.alerts.redaction import Redactor
from penstock.alerts.sources import from_log
from penstock.alerts.webhook import Unreachable, Webhook
from penstock.errors import ConfigError
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]
URL = "https://discord.com/api/webhooks/123/s3cr3t-t0ken"


def one(body: Any) -> Alert:
    (alert,) = messages.alerts(json.dumps(body), 7)
    return alert


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ({"level": "info"}, None), ({"level": "debug", "alert": ""}, None), ({}, None),
        ({"level": "warning"}, Severity.WARNING),
        ({"level": "error"}, Severity.ERROR), ({"level": "warning", "alert": "critical"}, Severity.CRITICAL),
        ({"level": "info", "alert": True}, Severity.WARNING), ({"level": "error", "alert": True}, Severity.ERROR),
    ],
)  # fmt: skip
def test_the_level_or_the_alert_field_decides(line: dict[str, Any], severity: Severity | None):
    alert = from_log({"event": "x", **line}, 7)
    assert (alert and alert.severity) == severity


def test_an_alarm_carries_what_its_description_says_and_its_end_is_told():
    alarm = {
        "AlarmName": "spool", "AlarmDescription": "severity=critical provider=okx instance=PRIMARY runbook=spool Full.",
        "NewStateValue": "OK", "OldStateValue": "ALARM", "NewStateReason": "1 datapoint",
        "AlarmArn": "arn:aws:cloudwatch:eu-west-1:1:alarm:spool",
    }  # fmt: skip
    alert = one({"Type": "Notification", "Message": json.dumps(alarm)})
    assert (alert.severity, alert.provider, alert.instance, alert.runbook) == (
        Severity.CRITICAL,
        "okx",
        "PRIMARY",
        "spool",
    )
    assert alert.resolved
    assert ("about", "Full.") in alert.fields
    assert alert.links[0][1].endswith("#alarmsV2:alarm/spool")
    bridge = {
        "detail-type": "CloudWatch Alarm State Change", "resources": [alarm["AlarmArn"]],
        "detail": {
            "alarmName": "spool", "configuration": {"description": alarm["AlarmDescription"]},
            "state": {"value": "OK", "reason": "1 datapoint"}, "previousState": {"value": "ALARM"},
        },
    }  # fmt: skip
    assert one(bridge) == alert


def test_a_task_that_died_is_an_error_and_one_that_was_stopped_a_warning():
    detail = {
        "lastStatus": "STOPPED", "stopCode": "EssentialContainerExited", "stoppedReason": "Essential container exited",
        "group": "service:okx-primary", "taskArn": "arn:aws:ecs:eu-west-1:1:task/penstock/0123456789abcdef0123456789abcdef",
        "containers": [{"name": "normalizer", "exitCode": 137, "reason": "OutOfMemoryError: killed"}, {"name": "sidecar"}],
    }  # fmt: skip
    event = {"detail-type": "ECS Task State Change", "region": "eu-west-1", "detail": detail}
    alert = one(event)
    assert (alert.severity, alert.service) == (Severity.ERROR, "okx-primary")
    assert ("normalizer", "exit code 137 (killed), OutOfMemoryError: killed") in alert.fields
    code = dict(alert.fields)["stop code"]
    assert Redactor().field("stop code", code) == code == "essential container exited"
    detail["stopCode"] = "ServiceSchedulerInitiated"
    assert one(event).severity is Severity.WARNING
    detail["lastStatus"] = "RUNNING"
    assert messages.alerts(json.dumps(event), 7) == []


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "{}", "[" * 100_000, '{"awslogs": {"data": "!"}}', '{"awslogs": 1}', '{"logEvents": [1]}',
        '{"AlarmName": "x"}', '{"Type": "Notification", "Message": "hello"}', '{"detail-type": "ECS Task State Change"}',
        '{"requestPayload": {"requestPayload": {"requestPayload": {"requestPayload": {}}}}}',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(body: str):
    with pytest.raises(messages.Unreadable):
        messages.alerts(body, 7)


def test_each_severity_finds_a_webhook():
    found = settings.webhooks({"H": URL, "H_CRITICAL": URL + "c"}, "H")
    assert [found[severity].url for severity in Severity] == [URL, URL, URL + "c"]
    found = settings.webhooks({"H_ERROR": URL}, "H")
    assert {webhook.name for webhook in found.values()} == {"H_ERROR"}
    with pytest.raises(ConfigError, match="H is not in the environment"):
        settings.webhooks({}, "H")


@pytest.mark.parametrize(
    "url",
    [
        "hello",
        "ftp://a/b",
        "http://discord.com/api/webhooks/1/s3cr3t",
        "https://h:99999/s3cr3t",
        "https://h",
        "https://h/ü",
    ],
)
def test_an_unusable_url_is_refused_and_not_printed(url: str):
    with pytest.raises(ConfigError) as refused:
        Webhook("H", url)
    assert url not in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_a_webhook_never_shows_its_url():
    webhook = Webhook("H", f"http://127.0.0.1:{free_port()}/api/webhooks/1/s3cr3t")
    with pytest.raises(Unreachable) as lost:
        webhook.post({"content": "x"})
    assert "s3cr3t" not in f"{webhook!r} {lost.value!r} {lost.value.__cause__!r}"


def test_the_lambda_needs_python_alone(tmp_path: Path):
    """The files that are deployed, in an interpreter without any installed package."""
    (tmp_path / "penstock").mkdir()
    for name in ("__init__.py", "clock.py", "errors.py"):
        shutil.copy(ROOT / "penstock" / name, tmp_path / "penstock" / name)
    shutil.copytree(ROOT / "penstock/alerts", tmp_path / "penstock/alerts")
    program = (
        "import sys, pkgutil, importlib\n"
        f"sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [{str(tmp_path)!r}]\n"
        "import penstock.alerts as package\n"
        "for module in pkgutil.iter_modules(package.__path__): importlib.import_module(f'penstock.alerts.{module.name}')\n"
        "from penstock.alerts.handler import handler\n"
        'body = \'{"messageType": "CONTROL_MESSAGE", "logEvents": []}\'\n'
        "print(package.__file__, handler({'Records': [{'messageId': '1', 'body': body}]}, None))\n"
    )
    environ = {"PENSTOCK_DISCORD_WEBHOOK": URL}
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=environ, capture_output=True, text=True, timeout=30
    )
    assert run.stderr == ""
    assert run.stdout == f"{tmp_path}/penstock/alerts/__init__.py {{'batchItemFailures': []}}\n"


def logged() -> set[str]:
    """The names of all events that the services log as a warning or worse."""
    found = set()
    for pattern in ("services/**/*.py", "strategies/**/*.py", "providers/**/*.py", "penstock/lease.py"):
        for file in ROOT.glob(pattern):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
                    and node.func.attr in {"warning", "error", "critical", "exception"}
                    and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
                    and node.args[0].value.isidentifier()
                ):  # fmt: skip
                    found.add(node.args[0].value)
    return found


def test_every_warning_and_error_of_the_services_is_explained():
    assert logged() - set(MEANINGS) == set()
    # Logged by a name or a level that is chosen when it happens; or made by the alerts themselves.
    made_elsewhere = {"poll_failed", "lease_unreachable", "lease_not_renewed"}
    made_elsewhere |= {"alarm", "other_alerts", "process_exited", "task_stopped", "unstructured_log_line"}
    assert set(MEANINGS) - logged() - made_elsewhere == set()
