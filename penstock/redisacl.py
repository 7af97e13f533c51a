"""Who may do what in Redis: the ACL rules of every role, for ElastiCache users and for a server's own ACL file.

Rules only; passwords come from a secret store. Every user starts from nothing (`-@all resetkeys resetchannels`):

- `publisher-<provider>-<instance>`: one normalizer. PUBLISH on the channels of its own lane and provider, write its keys.
- `strategy`: subscribe to market data and read the keys for late joiners. SUBSCRIBE takes any market data channel. A
  pattern is allowed only where it stands literally among the rules (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/,
  2026-11): everything, a lane or both of one provider, a lane or both of one schema.
- `admin`: a person who looks for a fault; no scripting.
- `default`: nobody, so that no connection without a user and password is worth anything.

Batch processors and session managers have no user: they have nothing to do with Redis.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from penstock.channels import DATA_TYPE, INSTANCES, SCHEMAS, pattern

_NOTHING: Final = "resetkeys resetchannels -@all"
_CONNECTION: Final = "+ping +cluster|nodes"


def users(providers: Iterable[str]) -> dict[str, str]:
    """The rules by user name, for these providers (folder names)."""
    publishers = {
        f"publisher-{provider}-{instance.lower()}": publisher(provider, instance)
        for provider in sorted(providers)
        for instance in INSTANCES
    }
    return {
        "default": f"off {_NOTHING}",
        "admin": "on allkeys allchannels +@all -@scripting",
        "strategy": strategy(providers),
        **publishers,
    }


def publisher(provider: str, instance: str) -> str:
    """The rules of one normalizer: each schema by name, as a `*` in its place would also match dots."""
    name = provider.upper()
    channels = (pattern(instance, schema, name) for schema in sorted(SCHEMAS))
    keys = (f"DEFINITION.{name}", f"CHANNELS.{name}", f"SNAPSHOT.{instance}.MBO.{name}.*")
    return " ".join(
        (
            f"on {_NOTHING} {_CONNECTION} +publish +hset +set",
            *(f"&{channel}" for channel in channels),
            *(f"%W~{key}" for key in keys),
        )
    )


def strategy(providers: Iterable[str]) -> str:
    """The rules of whoever reads the hot path."""
    lanes = (*INSTANCES, None)
    patterns = [
        f"{DATA_TYPE}.*",
        *(f"{DATA_TYPE}.{lane}.*" for lane in INSTANCES),
        *(pattern(lane, None, provider) for lane in lanes for provider in map(str.upper, sorted(providers))),
        *(f"{DATA_TYPE}.{lane or '*'}.{schema}.*" for lane in lanes for schema in sorted(SCHEMAS)),
    ]
    return " ".join(
        (
            f"on {_NOTHING} {_CONNECTION} +subscribe +unsubscribe +psubscribe +punsubscribe +hmget +hgetall +get",
            *(f"&{one}" for one in patterns),
            *(f"%R~{prefix}.*" for prefix in ("DEFINITION", "CHANNELS", "SNAPSHOT")),
        )
    )


def acl_file(rules: dict[str, str], passwords: dict[str, str]) -> str:
    """An ACL file for a server of one's own. A user without a password is left out, `default` stays as it is."""
    lines = [
        f"user {name} {rule} >{passwords[name]}" if name in passwords else f"user {name} {rule}"
        for name, rule in rules.items()
        if name in passwords or name == "default"
    ]
    return "\n".join((*lines, ""))
