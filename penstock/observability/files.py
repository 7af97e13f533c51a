"""What is made, by the name under which it is committed."""

from __future__ import annotations

import json
from typing import Any

from penstock.observability import cloudwatch


def files() -> dict[str, str]:
    """Texts by path."""
    return {
        "observability/cloudwatch_alarms.json": _json(cloudwatch.alarms()),
        "observability/cloudwatch_log_metrics.json": _json(cloudwatch.log_metrics()),
        "observability/cloudwatch_dashboard.json": _json(cloudwatch.dashboard()),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
