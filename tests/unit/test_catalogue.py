"""One catalogue: services make its metrics and no others, and everything that is made from it names nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from penstock import catalogue, telemetry
from penstock.alerts.formatter import Formatter
from penstock.alerts.redaction import Redactor
from penstock.alerts.sources import from_alarm, from_log
from penstock.catalogue import LOG_METRICS, METRICS, PREFIX, SERVICES, Kind
from penstock.observability import alarms, grafana, prometheus
from penstock.observability.files import files
from penstock.observability.panels import ROWS
from services.normalizer.counts import Counts

ROOT = Path(__file__).parents[2]
OURS = re.compile(rf"\b{PREFIX}\w+")


def names(service: str) -> set[str]:
    return {PREFIX + metric.name for metric in catalogue.of_service(service)}


def sampled() -> set[str]:
    """Every sample name of /metrics, all services together."""
    found = set()
    for metric in METRICS:
        parts = ("_bucket", "_sum", "_count") if metric.kind is Kind.DISTRIBUTION else ("",)
        found |= {metric.prometheus + part for part in parts}
    return found


@pytest.mark.parametrize("service", ["session_manager", "batch_processor", "post_processor"])
def test_a_service_makes_every_metric_of_its_rows(service: str):
    """What is documented exists. That nothing else does, `telemetry.counter` sees to: it knows only rows."""
    for path in sorted((ROOT / "services" / service).glob("*.py")):
        if re.search(r"telemetry\.(counter|gauge)\b", path.read_text("utf-8")):
            import_module(f"services.{service}.{path.stem}")
    made = {family.name for family in telemetry.REGISTRY.collect()}
    assert names(service) <= made


def test_the_normalizer_makes_exactly_its_rows():
    families = {family.name: family for family in Counts().collect()}
    assert families.keys() == names("normalizer")
    for metric in catalogue.of_service("normalizer"):
        family = families[PREFIX + metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert all(set(sample.labels) - {"le"} == set(metric.labels) for sample in family.samples)


def test_a_metric_without_a_row_does_not_start():
    with pytest.raises(KeyError, match=r"penstock\.catalogue"):
        telemetry.counter("session_manager", "forgotten")


def test_rows_are_of_known_services_with_few_dimensions():
    for metric in METRICS:
        assert metric.service in SERVICES
        assert metric.unit in {"count", "bytes", "seconds"}
        known = {"consumer", "kind", "lane", "provider", "reason", "schema"}
        assert set(metric.cloudwatch or ()) <= set(metric.labels) <= known
        assert not set(metric.labels) & set(SERVICES[metric.service])
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        if metric.unit != "count" and metric.kind is not Kind.COUNTER:
            assert metric.name.endswith(metric.unit)


def test_what_is_committed_is_what_would_be_written():
    for name, text in files(ROOT).items():
        assert (ROOT / name).read_text("utf-8") == text, f"{name} is old: run `make observability`"


def test_alarms_are_on_metrics_that_are_sent():
    made = json.loads((ROOT / "observability/cloudwatch_alarms.json").read_text("utf-8"))
    filters = json.loads((ROOT / "observability/cloudwatch_log_metrics.json").read_text("utf-8"))["filters"]
    ids = [alarm["id"] for alarm in made["alarms"]] + [alarm["id"] for alarm in made["composites"]]
    assert len(ids) == len(set(ids))
    for alarm in made["alarms"]:
        if alarm["namespace"].startswith("AWS/"):
            continue
        found = [metric for metric in METRICS if metric.name == alarm["metric"] and metric.cloudwatch is not None]
        sent = [set(metric.dimensions) for metric in found] + [
            set() for one in filters if one["metric"] == alarm["metric"]
        ]
        assert set(alarm["dimensions"]) in sent, alarm["id"]
        placeholders = {value[1:-1] for value in alarm["dimensions"].values() if value.startswith("<")}
        of = {
            "lane": {"provider", "instance"},
            "instance": {"instance"},
            "provider": {"provider"},
            "environment": set(),
            "strategy": {"strategy", "provider"},
        }
        assert placeholders == of[alarm["scope"]], alarm["id"]
    for composite in made["composites"]:
        lanes = {alarm["id"] for alarm in made["alarms"] if alarm["scope"] == "lane"}
        assert {one["id"] for one in composite["all_of"]} <= lanes
    assert set(made["left_out_for_markets_that_close"]) <= set(ids)


def test_an_alarm_tells_discord_its_severity_and_where_to_read_on():
    made = json.loads((ROOT / "observability/cloudwatch_alarms.json").read_text("utf-8"))
    for one in made["alarms"] + made["composites"]:
        text = one["description"].replace("<provider>", "okx").replace("<instance>", "REPLICA")
        assert len(text) <= 1024
        alert = from_alarm({"AlarmName": "x", "NewStateValue": "ALARM", "AlarmDescription": text}, 0)
        assert (alert.severity.name.lower(), alert.runbook) == (one["severity"], one["runbook"])
        assert "<" not in text


def test_dashboards_show_metrics_that_exist():
    known = sampled()
    shown = json.dumps(grafana.dashboard()) + json.dumps(prometheus.rules())
    assert OURS.findall(shown)
    assert set(OURS.findall(shown)) <= known
    for panel in (panel for _, row in ROWS for panel in row):
        assert panel.metric.cloudwatch is not None, panel.title
        assert (panel.statistic in {"p50", "p99"}) == (panel.metric.kind is Kind.DISTRIBUTION)
        assert (panel.statistic == "Sum") == (panel.metric.kind is Kind.COUNTER)
    panels = [panel for panel in grafana.dashboard()["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in grafana.dashboard()["panels"]}) == len(grafana.dashboard()["panels"])
    assert len(panels) >= 20


def test_widgets_do_not_overlap():
    made = json.loads((ROOT / "observability/cloudwatch_dashboard.json").read_text("utf-8"))
    places: list[tuple[dict[str, Any], set[tuple[int, int]]]] = []
    for widget in made["widgets"]:
        x, y = widget["x"], widget["y"]
        cells = {(x + i, y + j) for i in range(widget["width"]) for j in range(widget["height"])}
        assert x + widget["width"] <= 24
        assert all(not cells & other for _, other in places)
        places.append((widget, cells))


def test_log_metrics_count_events_that_are_alerts_or_logged():
    for one in LOG_METRICS:
        assert re.fullmatch(r"[a-z_]+", one.event)
        assert one.service in SERVICES


def test_every_alarm_and_every_event_has_its_section_in_the_runbook():
    page = (ROOT / "docs/runbook.md").read_text("utf-8")
    headings = [slug(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)]
    anchors = [*headings, *re.findall(r'<a id="([a-z-]+)"></a>', page)]
    assert len(anchors) == len(set(anchors)), "one anchor stands for two sections"
    wanted = {alarm.id for alarm in alarms.ALARMS} | {composite.id for composite in alarms.COMPOSITES}
    wanted |= {rule["annotations"]["runbook"].partition("#")[2] for rule in prometheus.rules()["groups"][0]["rules"]}
    assert wanted - set(anchors) == set()
    assert set(re.findall(r"\]\(#([a-z-]+)\)", page)) <= set(anchors)
    formatter = Formatter(Redactor(), runbook_url="https://example.com/runbook.md")
    for event in import_module("penstock.alerts.meanings").MEANINGS:
        alert = from_log({"event": event, "level": "error"}, 0)
        assert alert is not None
        link = re.search(r"runbook\.md#([a-z0-9-]+)", formatter._links(alert))
        assert link is not None
        assert link[1] in anchors, event


def slug(heading: str) -> str:
    """As GitHub makes an anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")


@promtool
def test_promtool_accepts_the_rules():
    command = ["promtool", "check", "rules", "observability/prometheus_rules.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(prometheus.rules()['groups'][0]['rules'])} rules found" in done.stdout


@promtool
def test_the_rules_fire_when_they_should_and_not_otherwise(tmp_path: Path):
    """PRIMARY is down from 60 s on, REPLICA from 300 s on; drops happen once; a batch processor's disk fills."""
    down = 'penstock_down_seconds{service="session_manager", provider="okx", lane='
    tests = {
        "rule_files": [str(ROOT / "observability/prometheus_rules.json")],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [
                    {"series": f'{down}"PRIMARY"}}', "values": "0 0 0+30x30"},
                    {"series": f'{down}"REPLICA"}}', "values": "0x10 0+30x20"},
                    {"series": f'{down.replace("okx", "kraken")}"PRIMARY"}}', "values": "0x30"},
                    {
                        "series": 'penstock_dropped_total{service="session_manager", provider="okx", lane="PRIMARY", '
                        'consumer="normalizer"}',
                        "values": "0x4 5x26",
                    },
                    {
                        "series": 'penstock_spool_free_bytes{service="batch_processor", lane="REPLICA"}',
                        "values": "9e9x8 4e9x22",
                    },
                    {"series": 'up{job="penstock", instance="127.0.0.1:9464"}', "values": "1x4 0x26"},
                ],
                "alert_rule_test": [
                    fired("2m", "PenstockSessionDown"),
                    fired("5m", "PenstockSessionDown", lane="PRIMARY", provider="okx", severity="error"),
                    fired("5m", "PenstockBothLanesDown"),
                    fired("12m", "PenstockBothLanesDown", provider="okx", severity="critical"),
                    fired("4m", "PenstockDropped", lane="PRIMARY", provider="okx", severity="error"),
                    fired("12m", "PenstockDropped"),
                    fired("3m", "PenstockSpoolDisk"),
                    fired("6m", "PenstockSpoolDisk", lane="REPLICA", severity="critical"),
                    fired("8m", "PenstockProcessSilent", job="penstock", instance="127.0.0.1:9464", severity="error"),
                ],
            }
        ],
    }
    path = tmp_path / "rules_test.json"
    path.write_text(json.dumps(tests), "utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def fired(at: str, name: str, **labels: str) -> dict[str, Any]:
    """What promtool compares with: the alert with `labels`, or none."""
    rules = {rule["alert"]: rule for rule in prometheus.rules()["groups"][0]["rules"]}
    expected = [{"exp_labels": labels, "exp_annotations": rules[name]["annotations"]}] if labels else []
    return {"eval_time": at, "alertname": name, "exp_alerts": expected}
