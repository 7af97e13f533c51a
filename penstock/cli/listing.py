"""`penstock providers`: what each provider carries, under which limits, and what it was shown to work against."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from rich import box
from rich.table import Table

import providers
from penstock import config
from penstock.provider import Limit, ProviderInfo


def rows() -> list[dict[str, Any]]:
    """One object per provider, for a program to read."""
    return [_row(providers.info(name)) for name in providers.names()]


def table() -> Table:
    """The same for a person."""
    found = Table("provider", "channel", "stored as", "status, limits, keys", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in providers.names():
        info = providers.info(name)
        for n, (rule, fact) in enumerate(zip_longest(info.channels, _facts(info))):
            stored = (rule.pattern, rule.schema) if rule is not None else ("", "")
            found.add_row("" if n else info.name, *stored, fact or "")
        found.add_section()
    return found


def _row(info: ProviderInfo) -> dict[str, Any]:
    limits = info.limits
    return {
        "name": info.name,
        "title": info.title,
        "publisher_id": info.publisher_id,
        "stream": info.endpoints.stream,
        "rest": info.endpoints.rest,
        "symbols": info.symbols,
        "schemas": sorted({rule.schema for rule in info.channels}),
        "channels": {rule.pattern: rule.schema for rule in info.channels},
        "limits": {
            "connects": [limits.connects.count, limits.connects.per_s],
            "messages": [limits.messages.count, limits.messages.per_s],
            "requests": [limits.requests.count, limits.requests.per_s],
            "channels_per_connection": limits.channels_per_connection,
        },
        "shown_against": info.evidence,
        "credentials": {name: _is_set(name) for name in info.credentials},
    }


def _facts(info: ProviderInfo) -> list[str]:
    limits = info.limits
    keys = [f"{name} {'✓' if _is_set(name) else '✗'}" for name in info.credentials]
    return [
        info.title,
        *(f"{'✓' if kind in info.evidence else '✗'} {kind}" for kind in ("simulator", "recordings", "live")),
        _limit(limits.connects, "connects"),
        _limit(limits.messages, "messages"),
        _limit(limits.requests, "requests"),
        f"{limits.channels_per_connection} channels/socket",
        *(keys or ["needs no keys"]),
    ]


def _limit(limit: Limit, what: str) -> str:
    return f"{limit.count} {what}/{limit.per_s:g} s"


def _is_set(name: str) -> bool:
    return bool(config.environment().get(name))
