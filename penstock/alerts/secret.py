"""Webhooks from a secret store, for the Lambda: its own environment would show them to everybody who may look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from penstock.errors import ConfigError

SECRET: Final = "PENSTOCK_ALERTS_SECRET"  # noqa: S105 # a name
"""Names a secret of AWS Secrets Manager: JSON, environment names to values."""


def filled(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` with what its secret holds. Raises ConfigError where that is no JSON of names to texts."""
    if not (name := environ.get(SECRET)):
        return environ
    import boto3  # Lambda has it; whoever has no secret need not

    text = boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
    try:
        values = json.loads(text)
        return {**environ, **{str(key): str(value) for key, value in values.items()}}
    except (ValueError, AttributeError):
        raise ConfigError(f"the secret that {SECRET} names is not JSON of names to values") from None
