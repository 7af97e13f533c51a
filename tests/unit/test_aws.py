"""What `make aws-local` and the modules' pages stand on: policies, subscriptions, drift, tables of Glue, the zip."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from penstock.alerts import secret
from penstock.cli.aws import glue, policies
from penstock.cli.aws.function import build
from penstock.cli.aws.logs import matches
from penstock.cli.aws.terraform import ROOT, drift

PATTERN = '{ ($.level = "warning") || ($.level = "error") || ($.level = "critical") || ($.alert = "*") }'
LANE = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::raw/instance=PRIMARY/*"]}


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:PutObject", "arn:aws:s3:::raw/instance=PRIMARY/a/b", True),
        ("S3:putobject", "arn:aws:s3:::raw/instance=PRIMARY/a", True),
        ("s3:PutObject", "arn:aws:s3:::raw/instance=REPLICA/a", False),
        ("s3:GetObject", "arn:aws:s3:::raw/instance=PRIMARY/a", False),
    ],
)
def test_a_policy_allows_what_it_names(action: str, resource: str, allowed: bool):
    assert policies.allows([LANE], action, resource) is allowed
    assert not policies.allows([LANE, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}], action, resource)


def test_a_role_that_may_too_much_is_found():
    """Every refusal among the claims is of a role that would be caught if it were given everything."""
    names = ("discord", "redis/admin", "redis/publisher-deribit-primary", "redis/publisher-binance_spot-primary")
    claims = policies.claims(
        "x", "x", "deribit", {name: f"arn:aws:secretsmanager:::secret:x/{name}-q" for name in names}
    )
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    generous = dict.fromkeys({claim.role for claim in claims}, everything)
    assert policies.broken(claims, generous) == [claim for claim in claims if not claim.allowed]
    assert policies.broken(claims, {role: [] for role in generous}) == [claim for claim in claims if claim.allowed]


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ({"level": "warning"}, True),
        ({"level": "critical", "event": "x"}, True),
        ({"level": "info"}, False),
        ({"level": "info", "alert": "error"}, True),
        ({"alert": None, "level": "warningly"}, False),
    ],
)
def test_a_subscription_chooses_lines(line: dict[str, str], chosen: bool):
    assert bool(matches(PATTERN, line)) is chosen


def test_the_modules_subscribe_with_patterns_we_read():
    """Every filter pattern in the modules is one that the local run understands, and brings warnings."""
    texts = [path.read_text("utf-8") for path in (ROOT / "modules").rglob("*.tf")]
    patterns = {
        found.replace('\\"', '"')
        for text in texts
        for found in re.findall(r'filter_pattern\s+= "(.*)"$', text, re.MULTILINE)
    }
    assert patterns == {PATTERN}
    with pytest.raises(ValueError, match="expected comparisons"):
        matches('{ $.level = "error" && $.n > 3 }', {})


def test_only_the_emulators_own_differences_are_explained():
    def changed(
        kind: str, before: dict[str, object], after: dict[str, object], actions: list[str]
    ) -> dict[str, object]:
        return {"address": f"{kind}.x", "type": kind, "change": {"actions": actions, "before": before, "after": after}}

    group = "aws_autoscaling_group"
    explained, unexplained = drift(
        {
            "resource_changes": [
                changed(group, {"instance_maintenance_policy": []}, {"instance_maintenance_policy": [1]}, ["update"]),
                changed(group, {"instance_maintenance_policy": [2]}, {"instance_maintenance_policy": [1]}, ["update"]),
                changed(group, {"max_size": 1, "instance_maintenance_policy": []}, {"max_size": 2}, ["update"]),
                changed(group, {"max_size": 1}, {}, ["delete"]),
                changed("aws_s3_bucket", {"bucket": "a"}, {"bucket": "b"}, ["update"]),
                changed("aws_s3_bucket", {"bucket": "a"}, {"bucket": "a"}, ["no-op"]),
            ]
        }
    )
    assert len(explained) == 1
    assert [line.partition(":")[0] for line in unexplained] == [f"{group}.x"] * 3 + ["aws_s3_bucket.x"]


@pytest.mark.parametrize(
    ("kind", "attribute", "before", "after", "theirs"),
    [
        ("aws_sqs_queue", "redrive_policy", '{"n": 1}', '{"n":1}', True),
        ("aws_sqs_queue", "redrive_policy", '{"n": 1}', '{"n":2}', False),
        ("aws_autoscaling_group", "capacity_reservation_specification", [{"p": None, "t": []}], [{"p": "", "t": []}], True),
        ("aws_autoscaling_group", "capacity_reservation_specification", [{"p": None}], [{"p": "open"}], False),
        ("aws_autoscaling_group", "launch_template", [{"id": "a", "version": "1"}], [{"id": "a"}], True),
        ("aws_autoscaling_group", "launch_template", [{"id": "a", "version": "1"}], [{"id": "b"}], False),
        ("aws_launch_template", "tag_specifications", [{"resource_type": "launch-template"}], [], True),
        ("aws_launch_template", "tag_specifications", [{"resource_type": "volume"}], [], False),
        ("aws_launch_template", "latest_version", 1, None, True),
        ("aws_launch_template", "latest_version", 1, 2, False),
        ("aws_vpc_security_group_ingress_rule", "description", "other", "Redis", False),
    ],
)  # fmt: skip
def test_a_difference_is_explained_only_where_its_values_show_it(
    kind: str, attribute: str, before: object, after: object, theirs: bool
):
    change = {"actions": ["update"], "before": {attribute: before}, "after": {attribute: after}}
    explained, unexplained = drift({"resource_changes": [{"address": "x", "type": kind, "change": change}]})
    assert (len(explained), len(unexplained)) == (int(theirs), int(not theirs))


def test_a_table_of_glue_is_read_back_as_it_was_described():
    described = json.loads((ROOT.parent / "penstock/lake/tables.json").read_text("utf-8"))["tables"]
    for name in ("raw", "trades"):
        one = described[name]
        found = glue.table(
            {
                "Name": name, "Parameters": one["parameters"],
                "PartitionKeys": [{"Name": key["name"], "Type": key["type"]} for key in one["partition_keys"]],
                "StorageDescriptor": {
                    "Location": one["location"], "SerdeInfo": {"SerializationLibrary": one["serde"]},
                    "Columns": [{"Name": column["name"], "Type": column["type"]} for column in one["columns"]],
                },
            },
            "s3://FINAL",
        )  # fmt: skip
        assert found.store == "final"
        assert f"s3://FINAL/{found.folder}/{found.template}" == one["parameters"]["storage.location.template"]
        assert [column.name for column in found.columns] == [column["name"] for column in one["columns"]]


def test_the_functions_zip_is_whole_and_always_the_same(tmp_path: Path):
    """It loads without anything installed, and the same code makes the same bytes: no deployment without a change."""
    package = build(tmp_path / "a" / "alerts.zip")
    assert build(tmp_path / "b.zip").read_bytes() == package.read_bytes()
    code = f"import sys; sys.path.insert(0, {str(package)!r}); import penstock.alerts.handler as h; print(h.__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert str(package) in done.stdout, done.stderr


def test_without_a_secret_the_environment_is_taken_as_it_is():
    environ = {"PENSTOCK_DISCORD_WEBHOOK": "https://discord.com/api/webhooks/1/x"}
    assert secret.filled(environ) == environ


def test_the_modules_pages_list_every_variable_and_output():
    spec = util.spec_from_file_location("readmes", ROOT / "readmes.py")
    assert spec is not None
    assert spec.loader is not None
    readmes = util.module_from_spec(spec)
    spec.loader.exec_module(readmes)
    for module in (ROOT / "modules").iterdir():
        text = (module / "README.md").read_text("utf-8")
        assert readmes.current(module) == text, f"{module.name}: run make terraform-docs"
        for file in ("variables.tf", "outputs.tf"):
            for name in re.findall(r'^(?:variable|output) "(\w+)"', (module / file).read_text("utf-8"), re.MULTILINE):
                assert f"| `{name}` |" in text, f"{module.name}: {name} is not listed"


def test_every_variable_is_typed_and_described():
    for path in sorted(ROOT.rglob("variables.tf")):
        for name, body in re.findall(
            r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            assert re.search(r"^  type\s+= ", body, re.MULTILINE), f"{path}: {name} has no type"
            assert re.search(r"^  description\s+= ", body, re.MULTILINE), f"{path}: {name} has no description"


def test_alarms_made_here_lead_to_a_section_of_the_runbook():
    runbook = (ROOT.parent / "docs/runbook.md").read_text("utf-8")
    known = {title.strip().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)}
    known |= set(re.findall(r'<a id="([^"]+)">', runbook))
    for path in ROOT.rglob("*.tf"):
        for section in re.findall(r"runbook=([\w-]+)", path.read_text("utf-8")):
            assert section in known, f"{path}: the runbook has no section {section}"
