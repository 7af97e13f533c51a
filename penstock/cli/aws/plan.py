"""`penstock plan-table`: what environments/prod would make for nine providers, and which service lives where.

The plan is that of terraform/tests/prod.tftest.hcl, so it needs no AWS.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from penstock.cli.aws.terraform import ROOT
from penstock.errors import ConfigError, Terminal


class Planned(NamedTuple):
    """Resources by type, and the outputs."""

    resources: Counter[str]
    services: dict[str, dict[str, Any]]
    instances: dict[str, dict[str, Any]]


def planned(plugins: str) -> Planned:
    """The plan. Raises ConfigError without Terraform or its provider, Terminal where the test fails."""
    if shutil.which("terraform") is None:
        raise ConfigError("terraform is not on PATH: https://developer.hashicorp.com/terraform/install")
    init = ["init", "-input=false", "-no-color", *([f"-plugin-dir={plugins}"] if plugins else [])]
    done = _terraform(*init)
    if done.returncode:
        raise ConfigError(f"terraform init failed, is TF_PLUGIN_DIR or the network there? {done.stderr[-500:]}")
    done = _terraform("test", "-json", "-verbose", "-filter=tests/prod.tftest.hcl")
    if done.returncode:
        raise Terminal(f"terraform test failed: {done.stdout[-800:]}")
    return read(done.stdout.splitlines())


def read(lines: Iterable[str]) -> Planned:
    """The first plan in the lines of `terraform test -json -verbose`. Raises Terminal where there is none."""
    for line in lines:
        found = json.loads(line)
        if found.get("type") == "test_plan":
            plan = found["test_plan"]
            made = Counter(one["type"] for one in plan["resource_changes"] if one["change"]["actions"] == ["create"])
            outputs = {name: one.get("after") for name, one in plan["output_changes"].items()}
            return Planned(made, outputs["services"], outputs["instances"])
    raise Terminal("terraform test printed no plan")


def show(plan: Planned, console: Console) -> None:
    """Two tables: services by placement, and resources by type."""
    services = Table(title=f"environments/prod, nine providers: {len(plan.services)} services")
    for column in ("service", "role", "zone", "desired", "min/max %", "placement"):
        services.add_column(column)
    for name, one in sorted(plan.services.items()):
        bounds = f"{one['minimum_percent']}/{one['maximum_percent']}"
        services.add_row(name, one["role"], one["zone"], str(one["desired"]), bounds, one["placement"])
    console.print(services)
    instances = Table(title="instances")
    for column in ("role", "zone", "type", "min..max"):
        instances.add_column(column)
    for role, one in sorted(plan.instances.items()):
        instances.add_row(role, one["availability_zone"], one["instance_type"], f"{one['minimum']}..{one['maximum']}")
    console.print(instances)
    resources = Table(title=f"{plan.resources.total()} resources to create")
    resources.add_column("type")
    resources.add_column("number", justify="right")
    for kind, number in plan.resources.most_common():
        resources.add_row(kind, str(number))
    console.print(resources)


def _terraform(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["terraform", f"-chdir={ROOT}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # fixed words
