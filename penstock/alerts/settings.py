"""How alerts are configured: by environment variables, the same for both entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.alerts.event import Severity
from penstock.alerts.formatter import Formatter
from penstock.alerts.redaction import Redactor
from penstock.alerts.sender import Log, Sender
from penstock.alerts.webhook import Webhook
from penstock.errors import ConfigError

WEBHOOK: Final = "PENSTOCK_DISCORD_WEBHOOK"
LOGS_URL: Final = "PENSTOCK_ALERTS_LOGS_URL"
RUNBOOK_URL: Final = "PENSTOCK_ALERTS_RUNBOOK_URL"
LONGEST_URL: Final = 200


def sender(environ: Mapping[str, str], log: Log, webhook_env: str = WEBHOOK) -> Sender:
    """A sender for the webhooks that `environ` names. Raises ConfigError where there is none or a value is unusable.

    The variable `webhook_env` holds the URL for all severities, `<webhook_env>_CRITICAL`, `_ERROR` and `_WARNING` for one.
    """
    formatter = Formatter(
        Redactor.of_environment(environ), logs_url=_base(environ, LOGS_URL), runbook_url=_base(environ, RUNBOOK_URL)
    )
    return Sender(webhooks(environ, webhook_env), formatter, log)


def webhooks(environ: Mapping[str, str], webhook_env: str = WEBHOOK) -> dict[Severity, Webhook]:
    """A webhook per severity: its own, else the common one, else that of the nearest severity. Raises ConfigError."""
    own = {
        severity: Webhook(name, environ[name])
        for severity in Severity
        if environ.get(name := f"{webhook_env}_{severity.name}")
    }
    if common := environ.get(webhook_env):
        return {severity: own.get(severity) or Webhook(webhook_env, common) for severity in Severity}
    if not own:
        raise ConfigError(f"{webhook_env} is not in the environment: set it to the URL of a Discord webhook")
    return {
        severity: own[min(own, key=lambda other: (abs(other - severity), -other))] for severity in Severity
    }  # fmt: skip


def _base(environ: Mapping[str, str], name: str) -> str:
    url = environ.get(name, "").strip()
    if url and not (url.startswith(("https://", "http://")) and url.isascii() and len(url) <= LONGEST_URL):
        raise ConfigError(f"{name} is no http(s) URL of at most {LONGEST_URL} characters")
    return url
