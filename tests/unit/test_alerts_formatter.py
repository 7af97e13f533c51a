"""Messages: whatever the text, Discord takes them, fences hold, nobody is mentioned, no secret is in them."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.alerts.event import Alert, Severity
from penstock.alerts.formatter import GROUPS_PER_MESSAGE, Formatter, Undelivered, units
from penstock.alerts.grouping import Group
from penstock.alerts.redaction import Redactor
from penstock.alerts.sources import from_log

NASTY = st.sampled_from(
    ["```", "`", "@everyone", "@here", "<@1234>", "<@&1>", "<#5>", "\n", "\u202e", "**", "](", "😀" * 40, "\ud800"]
)
TEXT = st.lists(st.text(max_size=400) | NASTY, max_size=30).map("".join)
GROUPS = st.builds(
    Group,
    st.just("f"),
    st.builds(
        Alert,
        severity=st.sampled_from(Severity), event=TEXT, time_ns=st.integers(), service=TEXT, provider=TEXT,
        instance=TEXT, reason=TEXT,
        fields=st.lists(st.tuples(TEXT, TEXT), max_size=14).map(tuple), log=TEXT, runbook=TEXT, resolved=st.booleans(),
    ),
    st.integers(1, 10**9), st.integers(0, 2**63), st.integers(0, 2**63),
)  # fmt: skip
NOTICE = (
    "⚠️ **17 alerts before this one were not delivered**: Discord did not take them since 2026-11-21 07:09:58 UTC. "
    "They are in the logs only."
)
RUNBOOK = "https://example.com/docs/runbook.md"
CONSOLE = "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"


def content(line: dict[str, object], redactor: Redactor | None = None) -> str:
    alert = from_log(line, 1_795_246_526_000_000_000, "/penstock/prod/normalizer/okx")
    assert alert is not None
    body, taken = Formatter(redactor or Redactor(), CONSOLE, RUNBOOK).message([Group.of(alert)])
    assert taken == 1
    text = body["content"]
    assert isinstance(text, str)
    return text


@given(
    st.lists(GROUPS, min_size=1, max_size=7), st.none() | st.builds(Undelivered, st.integers(1, 10**9), st.integers())
)
def test_any_text_makes_a_message_that_discord_takes(groups: list[Group], undelivered: Undelivered | None):
    body, taken = Formatter(Redactor(), CONSOLE, RUNBOOK).message(groups, undelivered)
    text = body["content"]
    assert 1 <= taken <= GROUPS_PER_MESSAGE
    assert 0 < units(text) <= 2000
    assert body["allowed_mentions"] == {"parse": []}
    # Fences: only whole lines of three, in pairs; no other backtick can open or close one.
    assert text.count("`") == 3 * len(re.findall(r"^```$", text, re.MULTILINE))
    assert text.count("```") % 2 == 0
    assert not re.search(r"@(everyone|here)|<@|<#", text)
    json.dumps(body).encode()
    text.encode()


SECRETS = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-_!$%&' \"\\", min_size=8, max_size=90
)
# What stands before and after the secret; `{}` is the secret.
PLACES = [
    "{}", "key={} and more", '{{"a": "{}"}}', "https://user:{}@redis:6379/0", "wss://venue/ws?listenKey={}",
    "Authorization: Bearer {}", "password: {}", "https://discord.com/api/webhooks/123/{}",
]  # fmt: skip


@given(
    SECRETS.filter(lambda text: len(text.strip()) > 7 and not text.strip("/=-_ ").isalpha()),
    st.sampled_from(PLACES),
    TEXT,
)
def test_a_known_secret_is_in_no_message(secret: str, place: str, around: str):
    """The value of an environment variable with a secret's name, in whatever form it was logged."""
    redactor = Redactor.of_environment({"OKX_SECRET_KEY": secret, "HOME": "/home/x"})
    for written in (
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode(),
    ):
        logged = place.replace("{}", written).replace("{{", "{").replace("}}", "}")
        # A letter in front would make another word of it, which nobody logs.
        text = content(
            {"event": "x", "level": "error", "reason": f"{around} {logged}", "note": f"{logged} {around[:50]}"},
            redactor,
        )
        shown = text.replace("'", "`")
        assert written.replace("'", "`") not in shown


@pytest.mark.parametrize(
    "logged",
    [
        "Authorization: Basic {}", "authorization={}", "{{'Authorization': 'Bearer {}'}}", "Bearer {}", "token={}",
        "api_key: '{}'",
        'apiKey="{}"', "OKX_SECRET_KEY={}", "KRAKEN_WS_TOKEN: {}", "signature={}&x=1", "Cookie: {}", "x-api-key: {}",
        "https://discord.com/api/webhooks/1234567890/{}", "https://ptb.discordapp.com/api/v10/webhooks/1/{}?wait=true",
        "redis://:{}@cache:6379", "https://api.venue.com/v1/x?{}", "postgres://penstock:{}@db/x",
    ],
)  # fmt: skip
def test_an_unknown_secret_is_recognized_by_where_it_stands(logged: str):
    secret = "hunter2!short"
    assert secret not in content({"event": "x", "level": "error", "reason": "failed: " + logged.replace("{}", secret)})


@pytest.mark.parametrize(
    "secret",
    [
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "123e4567-e89b-12d3-a456-426614174000",
        "-----BEGIN EC PRIVATE KEY-----\nMHcC\nAQEEI\n-----END EC PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_an_unknown_secret_is_recognized_by_its_looks(secret: str):
    text = content({"event": "x", "level": "error", "reason": f"cannot use {secret} here"})
    assert not any(part in text for part in secret.splitlines() if len(part) > 3)
    assert "here" in text


def test_payloads_are_withheld_and_the_rest_is_not():
    text = content(
        {
            "event": "payload_quarantined", "level": "warning", "provider": "okx", "reason": "number",
            "message": "account is 'Jane Doe 4711', expected a decimal", "channel": "books.BTC-25MAR22-400000-C.100ms",
            "payload": "Jane Doe", "note": 'got {"name": "Jane Doe"}',
            "path": "/var/lib/penstock/quarantine/okx-REPLICA.jsonl",
            "hint": "the venue's answer isn't what its documentation says that it would be",
        }
    )  # fmt: skip
    assert "Jane" not in text
    for kept in (
        "BTC-25MAR22-400000-C.100ms",
        "/var/lib/penstock/quarantine/okx-REPLICA.jsonl",
        "expected a decimal",
        "says that it",
    ):
        assert kept in text


def test_a_message_says_what_where_what_it_means_and_where_to_look():
    """The whole of one message, as a person reads it."""
    alert = from_log(
        {
            "event": "session_lost", "level": "error", "service": "session_manager", "provider": "okx",
            "instance": "REPLICA", "reason": "stale: no data for 30.0 s", "connection": 7, "retry_s": 0.17,
            "time": "2026-11-21T07:09:58.57Z",
        },
        0, "/penstock/prod/session_manager/okx",
    )  # fmt: skip
    assert alert is not None
    group = Group(alert.fingerprint, alert, 1284, alert.time_ns - 58 * 10**9, alert.time_ns)
    body, _ = Formatter(Redactor(), CONSOLE, RUNBOOK).message([group], Undelivered(17, alert.time_ns))
    assert body["content"].splitlines() == [
        NOTICE,
        "",
        "🟠 **ERROR: session lost** · okx REPLICA · session manager",
        "The connection to the venue ended. It reconnects by itself; the other lane should carry on.",
        "**1,283 similar**, 2026-11-21 07:09:00 to 07:09:58 UTC; the newest:",
        "```",
        "stale: no data for 30.0 s",
        "connection  7",
        "retry_s     0.17",
        "```",
        f"[What to do](<{RUNBOOK}#session-lost>) · [Logs](<{CONSOLE}$252Fpenstock$252Fprod$252Fsession_manager$252Fokx>)",
    ]
