"""What never reaches a Discord channel: secrets, and what venues and customers sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

EXAMINED: Final = 16_384
"""Characters of a text that are looked at; what comes after them is never shown."""

GONE: Final = "[redacted]"
SHORTEST_SECRET: Final = 6

_SENSITIVE: Final = (
    r"secret|token|passwd|password|passphrase|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|signature|credential"
    r"|cookie|webhook|authorization|[A-Z0-9]_KEY|[A-Z0-9]_PASS\b|[A-Z0-9]_SIGN\b"
)
_SECRET_NAME: Final = re.compile(_SENSITIVE, re.IGNORECASE)
_PAYLOAD_NAME: Final = re.compile(
    r"^(payload|body|raw|frame|data|content|excerpt|value|bytes|headers?)$", re.IGNORECASE
)

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL), GONE),
    (re.compile(r"https?:/{1,2}[^\s/]*discord(?:app)?\.com/\S*", re.IGNORECASE), GONE),
    (re.compile(r"\S*/api/(?:v\d+/)?webhooks/\S*", re.IGNORECASE), GONE),
    (re.compile(r"(?<=://)[^\s/@]+@"), f"{GONE}@"),
    (re.compile(r"(\b\w+://[^\s?#]*)[?#]\S+"), rf"\1?{GONE}"),
    (re.compile(r"(\b(?:proxy-)?authorization\b)[\"']?\s*[:=]\s*[^\r\n]*", re.IGNORECASE), rf"\1: {GONE}"),
    (re.compile(r"\b(bearer|basic|digest)\s+(?!auth)[^\s,;\"']{4,}", re.IGNORECASE), rf"\1 {GONE}"),
    (
        re.compile(
            rf"([\w-]{{0,64}}(?:{_SENSITIVE})[\w-]{{0,64}})([\"']?\s{{0,8}}[:=]\s{{0,8}})"
            r"(\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|[^\s,;&}]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{GONE}",
    ),
    # A PayloadError quotes the venue's value: "price is 'abc', expected a decimal".
    (re.compile(r"\bis .{1,400}?, expected ", re.DOTALL), "is [withheld], expected "),
    (re.compile(r"[{\[]\s*[\"'{\[].*", re.DOTALL), "[payload withheld]"),
    (re.compile(r"(?<!\w)(?:\"[^\"\n]{40,}(?:\"|$)|'[^'\n]{40,}(?:'|$))", re.MULTILINE), "[long value withheld]"),
)
_RUN: Final = re.compile(r"[A-Za-z0-9+/_=~.%-]{20,}")
_SEPARATORS: Final = re.compile(r"[/_.~%=+-]+")
_WORD: Final = re.compile(r"[a-z]{0,20}|[A-Z]{0,20}|[A-Z][a-z]{0,20}|\d{1,19}|[A-Za-z0-9]{1,7}")


class Redactor:
    """Removes secrets it knows by their values, and what looks like a secret or a payload."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        written = {form for secret in known if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        # Longest first: one secret may hold another.
        alternatives = sorted(written, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, alternatives))) if alternatives else None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Redactor:
        """One that knows the values of all variables whose names say that they are secret."""
        return cls(value for name, value in environ.items() if _SECRET_NAME.search(name))

    def __repr__(self) -> str:
        return "Redactor()"

    def text(self, text: str) -> str:
        """`text` without secrets and payloads."""
        text = text[:EXAMINED]
        if self._known is not None:
            text = self._known.sub(GONE, text)
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
        return _RUN.sub(lambda found: _unless_words(found[0]), text)

    def field(self, name: str, value: str) -> str:
        """A field's value without secrets; nothing of it where its name says what it is."""
        if _SECRET_NAME.search(name):
            return GONE
        if _PAYLOAD_NAME.match(name):
            return f"[{len(value)} characters withheld]"
        return self.text(value)


def _forms(secret: str) -> set[str]:
    """The ways in which a secret is written into logs."""
    encoded = base64.b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")
    forms = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        encoded,
    }
    return forms | {quote(secret, safe="", errors="replace"), quote(secret, errors="replace")}


def _unless_words(run: str) -> str:
    """Paths, channels and symbols are words; keys, digests and tokens are not."""
    if all(_WORD.fullmatch(part) for part in _SEPARATORS.split(run)):
        return run
    return f"[{len(run)} characters withheld]"
