"""The dashboard for Grafana over Prometheus: the same panels as CloudWatch's, but for the nightly ones.

Made for Grafana 11 and later (schemaVersion 39;
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/, 2026-11).
"""

from __future__ import annotations

from typing import Any, Final

from penstock.catalogue import SERVICES, Kind
from penstock.observability.panels import ROWS, Panel

_UNITS: Final = {"count": "short", "bytes": "bytes", "seconds": "s"}
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99}
_WIDTH, _HEIGHT, _COLUMNS = 24, 8, 3


def dashboard() -> dict[str, Any]:
    """observability/grafana_dashboard.json, to be imported as it is."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        shown = [panel for panel in row if panel.service != "post_processor"]
        if not shown:
            continue
        heading = {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append(heading | {"gridPos": _at(0, y, _WIDTH, 1)})
        y += 1
        for index, panel in enumerate(shown):
            width = _WIDTH // _COLUMNS
            place = _at(index % _COLUMNS * width, y + index // _COLUMNS * _HEIGHT, width, _HEIGHT)
            panels.append(_graph(panel, len(panels) + 1) | {"gridPos": place})
        y += -(-len(shown) // _COLUMNS) * _HEIGHT
    return {
        "uid": "penstock", "title": "Penstock", "tags": ["penstock"], "schemaVersion": 39, "editable": True,
        "timezone": "utc", "refresh": "10s", "time": {"from": "now-3h", "to": "now"}, "panels": panels,
        "templating": {"list": [_source(), _variable("provider"), _variable("lane")]},
    }  # fmt: skip


def expression(panel: Panel) -> str:
    """The PromQL of one panel."""
    metric = panel.metric
    by = ["lane" if name == "instance" else name for name in SERVICES[metric.service]] + list(metric.cloudwatch or ())
    names = ", ".join(by)
    chosen = [f'service="{metric.service}"', *(f'{name}=~"${name}"' for name in ("lane", "provider") if name in by)]
    series = f"{{{', '.join(chosen)}}}"
    if metric.kind is Kind.DISTRIBUTION:
        rate = f"sum by (le, {names}) (rate({metric.prometheus}_bucket{series}[$__rate_interval]))"
        return f"histogram_quantile({_QUANTILES[panel.statistic]}, {rate})"
    if metric.kind is Kind.COUNTER:
        return f"sum by ({names}) (rate({metric.prometheus}{series}[$__rate_interval]))"
    return f"sum by ({names}) ({metric.prometheus}{series})"


def _graph(panel: Panel, number: int) -> dict[str, Any]:
    metric = panel.metric
    names = ["lane" if name == "instance" else name for name in SERVICES[metric.service]] + list(
        metric.cloudwatch or ()
    )
    counted = metric.kind is Kind.COUNTER
    unit = {"count": "cps", "bytes": "Bps", "seconds": "s"}[metric.unit] if counted else _UNITS[metric.unit]
    return {
        "id": number, "type": "timeseries", "title": panel.title + (" per second" if counted else ""),
        "description": metric.help, "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 5}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": "A", "datasource": _SOURCE, "expr": expression(panel),
                "legendFormat": " ".join(f"{{{{{name}}}}}" for name in names),
            }
        ],
    }  # fmt: skip


def _source() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(label: str) -> dict[str, Any]:
    query = f"label_values(penstock_frames_total, {label})"
    return {
        "name": label, "type": "query", "datasource": _SOURCE, "query": query, "definition": query, "refresh": 2,
        "multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}, "sort": 1,
    }  # fmt: skip


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}
