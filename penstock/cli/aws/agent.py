"""What ECS and its agents are to the services: run here what their task definitions say, as far as processes can.

Environment, secrets, volumes and the order of containers are the definition's own. Paths of volumes become folders of this
run, one set per role, as each role has an instance of its own; a metrics port becomes a free one, because the instances of
this run share one network. Users, limits and read-only roots are not imitated: those need containers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from penstock import clock
from penstock.cli.aws.api import Emulator
from penstock.cli.process import Process
from penstock.cli.valkey import free_port

_AGAIN_S: Final = 1.0

type Heard = Callable[[str, str, dict[str, Any]], None]
"""Called with log group, stream and the line."""


@dataclass(slots=True)
class Container:
    """One container of a running task."""

    name: str
    process: Process
    needs: tuple[str, ...]
    restart_after_s: float | None
    never_again: tuple[int, ...] = ()


@dataclass(slots=True)
class Task:
    """A service's one task: the containers of its newest start, and how often it was started."""

    service: str
    make: Callable[[], list[Container]]
    containers: list[Container] = field(default_factory=list)
    starts: int = 0
    ended: list[dict[str, Any]] = field(default_factory=list)
    stopping: bool = False
    runner: asyncio.Task[None] | None = None

    def container(self, name: str) -> Process:
        """The process of one container. Raises KeyError."""
        for container in self.containers:
            if container.name == name:
                return container.process
        raise KeyError(name)


class Agent:
    """Runs tasks until told to stop them. `heard` gets every log line, `stopped` every task that ended unasked."""

    def __init__(
        self, emulator: Emulator, cluster: str, directory: Path, hosts: Path, heard: Heard,
        stopped: Callable[[Task, dict[str, Any]], None],
    ) -> None:  # fmt: skip
        self._emulator = emulator
        self._cluster = cluster
        self._directory = directory
        self._hosts = hosts
        self._heard = heard
        self._stopped = stopped
        self.tasks: dict[str, Task] = {}

    def services(self) -> dict[str, dict[str, Any]]:
        """Service to its description, as ECS gives it. Blocks."""
        ecs = self._emulator.client("ecs")
        found: dict[str, dict[str, Any]] = {}
        for page in ecs.get_paginator("list_services").paginate(cluster=self._cluster):
            arns = page["serviceArns"]
            for start in range(0, len(arns), 10):
                for one in ecs.describe_services(cluster=self._cluster, services=arns[start : start + 10])["services"]:
                    found[one["serviceName"]] = one
        return found

    async def start(self, service: str, definition: str, role: str) -> Task:
        """Run a service's task and keep it running, one at a time."""
        task = self.tasks[service] = Task(service, partial(self._containers, service, definition, role, {}))
        task.runner = asyncio.create_task(self._keep(task), name=service)
        return task

    async def run_once(self, name: str, definition: str, overrides: Mapping[str, Any]) -> int:
        """Run a task that ends by itself; its container's exit code."""
        containers = await asyncio.to_thread(self._containers, name, definition, "fargate", overrides)
        await containers[0].process.run()
        return containers[0].process.exits[-1]

    async def stop(self, service: str) -> None:
        """SIGTERM to containers, those that need others first, and no new task."""
        task = self.tasks[service]
        task.stopping = True
        await self._halt(task)
        if task.runner is not None:
            await task.runner

    async def _keep(self, task: Task) -> None:
        while not task.stopping:
            task.containers = await asyncio.to_thread(task.make)
            task.starts += 1
            runs = [asyncio.create_task(_keep(container, task)) for container in _in_order(task.containers)]
            await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
            await self._halt(task)
            await asyncio.gather(*runs)
            if not task.stopping:
                event = _event(task, self._cluster)
                task.ended.append(event)
                self._stopped(task, event)
                await asyncio.sleep(_AGAIN_S)

    async def _halt(self, task: Task) -> None:
        for container in reversed(_in_order(task.containers)):
            await container.process.stop()

    def _containers(self, name: str, definition: str, role: str, overrides: Mapping[str, Any]) -> list[Container]:
        found = self._emulator.client("ecs").describe_task_definition(taskDefinition=definition)["taskDefinition"]
        volumes = {volume["name"]: volume for volume in found.get("volumes", ())}
        containers = []
        for one in found["containerDefinitions"]:
            environ = {item["name"]: item["value"] for item in one.get("environment", ())}
            environ |= {item["name"]: self._secret(item["valueFrom"]) for item in one.get("secrets", ())}
            for override in overrides.get("containerOverrides", ()):
                if override["name"] == one["name"]:
                    environ |= {item["name"]: item["value"] for item in override.get("environment", ())}
            places = {
                mount["containerPath"]: self._folder(volumes[mount["sourceVolume"]], name, role)
                for mount in one.get("mountPoints", ())
            }
            environ = {key: _placed(value, places) for key, value in environ.items()}
            containers.append(self._container(name, one, environ))
        return containers

    def _container(self, task: str, one: Mapping[str, Any], environ: dict[str, str]) -> Container:
        if "PENSTOCK_METRICS_PORT" in environ:
            environ["PENSTOCK_METRICS_PORT"] = str(free_port())
        # Where the emulator has no port of its own for metrics, the newest `stats` line is what this run looks at.
        environ |= {**self._emulator.environ, "PENSTOCK_STATS_S": "1"}
        module = "strategies.run" if one["name"] == "strategies" else f"services.{one['name']}"
        log = self._directory / "logs" / f"{task}-{one['name']}.log"
        process = Process(f"{task}/{one['name']}", [module, *one.get("command", ())], log, environ, restart=False)
        options = one["logConfiguration"]["options"]
        stream = f"{options['awslogs-stream-prefix']}/{one['name']}/{task}"
        process.on_event = lambda _, line: self._heard(options["awslogs-group"], stream, line)
        policy = one.get("restartPolicy") or {}
        return Container(
            one["name"], process, tuple(item["containerName"] for item in one.get("dependsOn", ())),
            float(policy.get("restartAttemptPeriod", 300)) if policy.get("enabled") else None,
            tuple(policy.get("ignoredExitCodes", ())),
        )  # fmt: skip

    def _secret(self, reference: str) -> str:
        arn, key = ":".join(reference.split(":")[:7]), reference.split(":")[7:8]
        text = self._emulator.secret(arn)
        return str(json.loads(text)[key[0]]) if key and key[0] else text

    def _folder(self, volume: Mapping[str, Any], task: str, role: str) -> Path:
        source = str((volume.get("host") or {}).get("sourcePath") or "")
        folder = self._hosts / role / source.lstrip("/") if source else self._hosts / "tasks" / task / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


async def _keep(container: Container, task: Task) -> None:
    """Run a container, and again in place as its restart policy says."""
    while True:
        began_s = clock.monotonic_s()
        container.process.metrics = {}  # the last run's would say of this one that it is connected
        await container.process.run()
        code = container.process.exits[-1]
        if task.stopping or container.restart_after_s is None or code in container.never_again:
            return
        # A container that did not run for the policy's time is not restarted in place: its task ends.
        if clock.monotonic_s() - began_s < container.restart_after_s:
            return


def _in_order(containers: list[Container]) -> list[Container]:
    return sorted(containers, key=lambda container: len(container.needs))


def _placed(value: str, places: Mapping[str, Path]) -> str:
    for path in sorted(places, key=len, reverse=True):
        if path in value:
            return value.replace(path, str(places[path]))
    return value


def _event(task: Task, cluster: str) -> dict[str, Any]:
    """ECS Task State Change, as EventBridge gets it:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html, read 2026-11."""
    return {
        "clusterArn": cluster, "lastStatus": "STOPPED", "desiredStatus": "STOPPED", "group": f"service:{task.service}",
        "taskArn": f"{cluster.replace(':cluster/', ':task/')}/{task.starts:032x}",
        "stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited",
        "containers": [
            {
                "name": container.name, "lastStatus": "STOPPED",
                "exitCode": _exit_code(container.process),
            }
            for container in task.containers if container.process.exits
        ],
    }  # fmt: skip


def _exit_code(process: Process) -> int:
    """As a shell says it: a signal's number above 128."""
    code = process.exits[-1]
    return code if code >= 0 else 128 - code
