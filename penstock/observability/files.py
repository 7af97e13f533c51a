"""What is made, by the name under which it is committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.observability import cloudwatch, grafana, prometheus, tables


def files(root: Path) -> dict[str, str]:
    """Texts by path. `root` is the project's folder: what is made of docs/telemetry.md are its tables only."""
    page = (root / tables.PAGE).read_text("utf-8")
    return {
        "observability/cloudwatch_alarms.json": _json(cloudwatch.alarms()),
        "observability/cloudwatch_log_metrics.json": _json(cloudwatch.log_metrics()),
        "observability/cloudwatch_dashboard.json": _json(cloudwatch.dashboard()),
        "observability/grafana_dashboard.json": _json(grafana.dashboard()),
        "observability/prometheus_rules.json": _json(prometheus.rules()),
        tables.PAGE: tables.filled(page),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
