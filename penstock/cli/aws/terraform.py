"""Terraform for one environment: init, apply, and what a further plan would change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import penstock
from penstock import config
from penstock.errors import ConfigError, Terminal

ROOT: Final = Path(penstock.__file__).resolve().parent.parent / "terraform"
_LINE_BYTES: Final = 64 * 1024 * 1024
_TOLD_EVERY: Final = 40

type Doing = Callable[[Any, Any], bool]
"""Whether what stands before and after a change shows that it is the emulator's doing."""


def _not_kept(before: Any, _: Any) -> bool:
    return not before


def _both_nothing(before: Any, after: Any) -> bool:
    return not any(value for one in (*(before or ()), *(after or ())) for value in one.values())


def _same_json(before: Any, after: Any) -> bool:
    return bool(json.loads(before or "null") == json.loads(after or "null"))


def _known_later(_: Any, after: Any) -> bool:
    return after is None


def _but_for_version(before: Any, after: Any) -> bool:
    return [{**one, "version": ""} for one in before or ()] == [{**one, "version": ""} for one in after or ()]


def _with_own_tags(before: Any, after: Any) -> bool:
    return bool([one for one in before or () if one["resource_type"] != "launch-template"] == after)


_TEMPLATE: Final = (_known_later, "a new version would follow from the tags")
_RULE: Final = {"description": (_not_kept, "the emulator keeps no description of a rule that refers to a group")}

EXPLAINED: Final[Mapping[str, Mapping[str, tuple[Doing, str]]]] = {
    "aws_autoscaling_group": {
        "instance_maintenance_policy": (_not_kept, "the emulator keeps none"),
        "capacity_reservation_specification": (_both_nothing, "the emulator answers null where AWS answers nothing"),
        "launch_template": (_but_for_version, "its version follows from the template"),
    },
    "aws_launch_template": {
        "tag_specifications": (_with_own_tags, "the emulator answers the template's own tags as if an instance's"),
        "default_version": _TEMPLATE,
        "latest_version": _TEMPLATE,
    },
    "aws_sqs_queue": {"redrive_policy": (_same_json, "the same JSON, which the emulator writes with spaces")},
    "aws_vpc_security_group_egress_rule": _RULE,
    "aws_vpc_security_group_ingress_rule": _RULE,
}
"""What a plan right after an apply may want to change: type and attribute, when, and why it is the emulator's doing."""


class Terraform:
    """One environment's configuration with its state in `directory`. `plugins` is a mirror of providers, "" for none."""

    def __init__(self, environment: str, directory: Path, plugins: str, variables: Mapping[str, Any]) -> None:
        self._chdir = f"-chdir={ROOT / 'environments' / environment}"
        self._state = f"-state={directory.resolve() / 'terraform.tfstate'}"
        self._plan = directory.resolve() / "second.tfplan"
        self._init = [f"-plugin-dir={plugins}"] if plugins else []
        self._variables = directory.resolve() / "run.tfvars.json"
        self._variables.write_text(json.dumps(variables), "utf-8")
        self._environ = {
            **config.environment(),
            "TF_DATA_DIR": str(directory.resolve() / "terraform"),
            "TF_IN_AUTOMATION": "1",
        }
        # It names a file of a person's settings, which may not exist.
        self._environ.pop("TF_CLI_CONFIG_FILE", None)

    async def init(self) -> None:
        """Install the provider. Raises ConfigError where neither the mirror nor the network has it."""
        code, text = await self._run("init", "-input=false", "-no-color", *self._init)
        if code:
            raise ConfigError(f"terraform init failed, is TF_PLUGIN_DIR or the network there? {_end(text)}")

    async def apply(self, say: Callable[[str], None]) -> int:
        """How many resources were made. Raises Terminal with Terraform's own words where one was not."""
        planned, made, problems = 0, 0, list[str]()

        def line(text: str) -> None:
            nonlocal planned, made
            found = json.loads(text) if text.startswith("{") else {}
            kind = found.get("type")
            planned += kind == "planned_change"
            if kind == "apply_complete" and found["hook"]["action"] == "create":
                made += 1
                if made % _TOLD_EVERY == 0:
                    say(f"  {made} of {planned} resources")
            if kind == "diagnostic" and found.get("@level") == "error":
                problems.append(
                    f"{found['diagnostic']['summary']}: {found['diagnostic'].get('detail', '')}".strip(": ")
                )

        arguments = (
            "-auto-approve",
            "-input=false",
            "-json",
            "-parallelism=16",
            self._state,
            f"-var-file={self._variables}",
        )
        code, text = await self._run("apply", *arguments, line=line)
        if code:
            raise Terminal(f"terraform apply failed: {'; '.join(problems)[:2000] or _end(text)}")
        return made

    async def output(self) -> dict[str, Any]:
        """The outputs' values. Raises Terminal."""
        code, text = await self._run("output", "-json", self._state)
        if code:
            raise Terminal(f"terraform output failed: {_end(text)}")
        return {name: one["value"] for name, one in json.loads(text).items()}

    async def drift(self) -> tuple[list[str], list[str]]:
        """What a further apply would change: explained, unexplained. Raises Terminal."""
        arguments = ("-input=false", "-no-color", self._state, f"-var-file={self._variables}", f"-out={self._plan}")
        code, text = await self._run("plan", *arguments)
        if code:
            raise Terminal(f"the second terraform plan failed: {_end(text)}")
        code, text = await self._run("show", "-json", str(self._plan))
        if code:
            raise Terminal(f"terraform show failed: {_end(text)}")
        return drift(json.loads(text))

    async def _run(self, command: str, *arguments: str, line: Callable[[str], None] | None = None) -> tuple[int, str]:
        errors = asyncio.subprocess.DEVNULL if command == "show" else asyncio.subprocess.STDOUT
        try:
            process = await asyncio.create_subprocess_exec(
                "terraform", self._chdir, command, *arguments, env=self._environ, limit=_LINE_BYTES,
                stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError("terraform is not on PATH: https://developer.hashicorp.com/terraform/install") from None
        assert process.stdout is not None
        lines = []
        async for raw in process.stdout:
            text = raw.decode("utf-8", "replace")
            lines.append(text)
            if line is not None:
                line(text)
        return await process.wait(), "".join(lines)


def drift(plan: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A plan's changes, as sentences: those that EXPLAINED has, and the others."""
    explained, unexplained = [], []
    for one in plan.get("resource_changes", ()):
        change = one["change"]
        if change["actions"] in (["no-op"], ["read"]):
            continue
        before, after, unknown = change["before"] or {}, change["after"] or {}, change.get("after_unknown") or {}
        names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        names |= {name for name, value in unknown.items() if value and value not in ([], {}) and _any_true(value)}
        known = EXPLAINED.get(one["type"], {})
        if change["actions"] == ["update"] and all(
            name in known and known[name][0](before.get(name), after.get(name)) for name in names
        ):
            why = dict.fromkeys(known[name][1] for name in sorted(names))
            explained.append(f"{one['address']}: {', '.join(sorted(names))} ({'; '.join(why)})")
        else:
            unexplained.append(f"{one['address']}: {'/'.join(change['actions'])} {', '.join(sorted(names))}")
    return explained, unexplained


def _any_true(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_any_true, value.values()))
    return any(map(_any_true, value)) if isinstance(value, list) else bool(value)


def _end(text: str) -> str:
    return text.strip()[-800:]
