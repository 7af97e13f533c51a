"""What IAM policies allow, as far as names of actions and resources say.

Conditions only ever take away, so they are left out: what is not allowed here is not allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple


class Claim(NamedTuple):
    """Whether `role` may do `action` with `resource`; names without the environment's prefix."""

    role: str
    action: str
    resource: str
    allowed: bool


_BUCKET: Final = "arn:aws:s3:::{bucket}"
_RAW: Final = _BUCKET + "-intermediate/instance={instance}/provider=DERIBIT/x.csv.gz"
_FINAL: Final = _BUCKET + "-final/raw/x"
_LEASES: Final = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/{name}-leases"


def claims(name: str, bucket: str, provider: str, secrets: Mapping[str, str]) -> list[Claim]:
    """What must hold for an environment with this provider: what each role needs, and what it must not be able to do.

    `secrets` are names, without the environment's prefix, to ARNs: an ARN ends in letters that AWS draws, and policies name
    whole ARNs, so that a refusal of an invented one would show nothing. Raises KeyError where a secret is missing.
    """
    read, other = "secretsmanager:GetSecretValue", "binance_spot" if provider != "binance_spot" else "deribit"
    publisher, admin, discord = (
        secrets[f"redis/publisher-{provider}-primary"],
        secrets["redis/admin"],
        secrets["discord"],
    )
    rows = [
        (f"{provider}-task", "dynamodb:PutItem", _LEASES, True),
        *((f"{provider}-task", action, _RAW, False) for action in ("s3:GetObject", "s3:PutObject", "s3:ListBucket")),
        (f"{provider}-task", read, discord, False),
        (f"{provider}-task", "dynamodb:DeleteItem", _LEASES, False),
        (f"{provider}-execution", read, publisher, True),
        (f"{provider}-execution", read, secrets[f"redis/publisher-{other}-primary"], False),
        (f"{provider}-execution", read, admin, False),
        ("batch-processor-primary", "s3:PutObject", _RAW.replace("{instance}", "PRIMARY"), True),
        ("batch-processor-primary", "s3:PutObject", _RAW.replace("{instance}", "REPLICA"), False),
        ("batch-processor-replica", "s3:PutObject", _RAW.replace("{instance}", "PRIMARY"), False),
        ("batch-processor-primary", "s3:DeleteObject", _RAW.replace("{instance}", "PRIMARY"), False),
        ("batch-processor-primary", "s3:PutObject", _FINAL, False),
        ("batch-processor-primary", "elasticache:Connect", "*", False),
        ("batch-processor-primary", read, publisher, False),
        ("processing-execution", read, publisher, False),
        ("post-processor", "s3:GetObject", _RAW.replace("{instance}", "REPLICA"), True),
        ("post-processor", "s3:PutObject", _FINAL, True),
        ("post-processor", "s3:PutObject", _RAW.replace("{instance}", "REPLICA"), False),
        ("post-processor", "s3:DeleteObject", _FINAL, False),
        *(("strategies-task", f"s3:{verb}Object", place, False) for verb in ("Put", "Get") for place in (_RAW, _FINAL)),
        ("alerts", "sqs:ReceiveMessage", "arn:aws:sqs:ap-northeast-1:123456789012:{name}-alerts", True),
        ("alerts", read, discord, True),
        ("alerts", read, admin, False),
        ("alerts", "s3:GetObject", _FINAL, False),
        ("instance", "s3:GetObject", _FINAL, False),
    ]  # fmt: skip
    return [
        Claim(role, action, resource.format(name=name, bucket=bucket, instance="PRIMARY"), allowed)
        for role, action, resource, allowed in rows
    ]


def broken(claims: Iterable[Claim], statements: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """The claims that do not hold. `statements` are those of all policies of a role; raises KeyError for an unknown role."""
    return [one for one in claims if allows(statements[one.role], one.action, one.resource) is not one.allowed]


def allows(statements: Sequence[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether a statement allows this and none denies it."""
    effects = {
        one["Effect"]
        for one in statements
        if _any(one["Action"], action.lower(), str.lower) and _any(one["Resource"], resource, str)
    }
    return "Allow" in effects and "Deny" not in effects


def _any(patterns: str | Sequence[str], value: str, fold: Any) -> bool:
    names = [patterns] if isinstance(patterns, str) else patterns
    # Of fnmatch's characters IAM knows `*` and `?` only.
    return any(fnmatchcase(value, fold(name).replace("[", "[[]")) for name in names)
