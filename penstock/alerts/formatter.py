"""Groups of alerts to one Discord message. Everything that is shown passes the redactor here, and only here."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from penstock.alerts.event import Alert, Severity
from penstock.alerts.grouping import Group
from penstock.alerts.meanings import MEANINGS
from penstock.alerts.redaction import Redactor

LIMIT: Final = 2000
"""Discord's, of the content of one message. Counted here in UTF-16 units, the larger of the ways to count."""

GROUPS_PER_MESSAGE: Final = 5
BLOCK: Final = 1250
BLOCK_OF_SEVERAL: Final = 560
LEAST_DETAILS: Final = 140
LINKS: Final = 500
FIELDS_SHOWN: Final = 12
VALUE_SHOWN: Final = 300
SUPPRESS_EMBEDS: Final = 4

MARKS: Final = {Severity.WARNING: "🟡", Severity.ERROR: "🟠", Severity.CRITICAL: "🔴"}

_MENTION: Final = re.compile(r"@(?=everyone|here)|<(?=[@#/]|a?:|t:|id:)", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^\w .,:;/#()+-]|_(?=_)")


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Alerts that were given up since the last message got through, and since when (UNIX ns)."""

    count: int
    since_ns: int


class Formatter:
    """`logs_url` and `runbook_url` are what a log's name and a runbook section are put behind; empty for no links.

    An AWS console address wants its log group encoded twice, which `logs_url` shows by ending in `log-group/`.
    """

    def __init__(self, redactor: Redactor, logs_url: str = "", runbook_url: str = "") -> None:
        self._redactor = redactor
        self._logs_url = logs_url
        self._runbook_url = runbook_url

    def message(self, groups: Sequence[Group], undelivered: Undelivered | None = None) -> tuple[dict[str, Any], int]:
        """The body of an Execute Webhook request with as many of `groups`, from the first, as fit; and how many do."""
        parts = [_notice(undelivered)] if undelivered is not None and undelivered.count else []
        size = BLOCK if len(groups) == 1 else BLOCK_OF_SEVERAL
        taken = 0
        for group in groups[:GROUPS_PER_MESSAGE]:
            block = self.block(group, size)
            if taken and units("\n\n".join([*parts, block])) > LIMIT:
                break
            parts.append(block)
            taken += 1
        body = {
            "content": "\n\n".join(parts), "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS,
            "username": "Penstock",
        }  # fmt: skip
        return body, taken

    def block(self, group: Group, size: int = BLOCK) -> str:
        """One group: what and where, what it means, how often, the newest occurrence's details, where to look.

        At most `size` UTF-16 units, and LINKS more for the links.
        """
        alert = group.sample
        head = "\n".join(line for line in (self._title(alert), self._meaning(alert), _often(group)) if line)
        head = cut(head, size - LEAST_DETAILS)
        details = fenced(self._details(alert), size - units(head) - 1)
        return "\n".join(part for part in (head, details, self._links(alert)) if part)

    def _title(self, alert: Alert) -> str:
        mark, word = ("🟢", "RESOLVED") if alert.resolved else (MARKS[alert.severity], alert.severity.name)
        where = " ".join(part for part in (self._plain(alert.provider), self._plain(alert.instance)) if part)
        service = self._plain(alert.service.replace("_", " "))
        what = self._plain(alert.event.replace("_", " "))
        places = " · ".join(part for part in (where, service) if part)
        return f"{mark} **{word}: {what}**" + (f" · {places}" if places else "")

    def _meaning(self, alert: Alert) -> str:
        return "" if alert.resolved else MEANINGS.get(alert.event, "")

    def _details(self, alert: Alert) -> str:
        lines = []
        if alert.reason:
            lines.append(cut(self._redactor.field("reason", alert.reason), 2 * VALUE_SHOWN))
        shown = alert.fields[:FIELDS_SHOWN]
        width = min(max((len(name) for name, _ in shown), default=0), 20)
        for name, value in shown:
            text = cut(self._redactor.field(name, value), 2 * VALUE_SHOWN if name == "exception" else VALUE_SHOWN)
            label = self._plain(name)[:40]
            if "\n" in text:
                lines += [f"{label}:", *(f"  {line}" for line in text.splitlines())]
            else:
                lines.append(f"{label:<{width}}  {text}")
        if alert.log and not self._logs_url:
            lines.append(f"{'log':<{width}}  {cut(self._redactor.text(alert.log), VALUE_SHOWN)}")
        return "\n".join(lines)

    def _links(self, alert: Alert) -> str:
        links = []
        if self._runbook_url and alert.runbook:
            section = re.sub(r"[^a-z0-9-]", "", alert.runbook[:80].lower().replace("_", "-").replace(" ", "-"))
            links.append(("What to do", f"{self._runbook_url}#{section}"))
        if self._logs_url and alert.log:
            group = quote(alert.log[:200], safe="", errors="replace")
            if self._logs_url.endswith("log-group/"):
                group = group.replace("%", "$25")
            links.append(("Logs", f"{self._logs_url}{group}"))
        line = ""
        for word, url in [*links, *alert.links]:
            more = f"{' · ' if line else ''}[{word}](<{re.sub(r'[\s<>()]', '', url)}>)"
            if units(line + more) <= LINKS:
                line += more
        return line

    def _plain(self, text: str) -> str:
        """A name outside of a fence: no markup, no mention, no line break."""
        text = cut(_readable(self._redactor.text(text[:200])), 40)
        return _UNSAFE.sub("", text.replace("\n", " ")).strip()


def fenced(text: str, size: int) -> str:
    """`text` in a code fence it cannot leave, at most `size` UTF-16 units in all; empty where there is nothing to show."""
    text = _readable(text).replace("`", "'").strip("\n")
    text = cut(_MENTION.sub(lambda found: found[0] + "\u200b", text), size - 8)
    return f"```\n{text}\n```" if text.strip() else ""


def units(text: str) -> int:
    """The length of `text` in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, size: int) -> str:
    """`text`, shortened to `size` UTF-16 units with an ellipsis where it is longer."""
    if units(text) <= size:
        return text
    if size < 1:
        return ""
    return text.encode("utf-16-le", "replace")[: 2 * (size - 1)].decode("utf-16-le", "ignore") + "…"


def _readable(text: str) -> str:
    """Without control, direction and private characters; lone surrogates are no text."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character)[0] != "C"
        else " "
        if character in "\t\r"
        else ""
        for character in text
    )


def _often(group: Group) -> str:
    if group.count == 1:
        return f"at {_clock(group.last_ns)} UTC"
    first, last = _clock(group.first_ns), _clock(group.last_ns)
    same_day = first[:10] == last[:10]
    when = f"at {last}" if first == last else f"{first} to {last[11:] if same_day else last}"
    return f"**{group.count - 1:,} similar**, {when} UTC; the newest:"


def _notice(undelivered: Undelivered) -> str:
    return (
        f"⚠️ **{undelivered.count:,} alerts before this one were not delivered**: Discord did not take them "
        f"since {_clock(undelivered.since_ns)} UTC. They are in the logs only."
    )


def _clock(time_ns: int) -> str:
    try:
        return dt.datetime.fromtimestamp(time_ns / 1e9, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
