"""`penstock aws-local`: terraform/environments/local applied to an emulator, and the pipeline on what was made there.

Processes are started from the task definitions in ECS, their secrets come from Secrets Manager, their lines go to CloudWatch
Logs, objects into the buckets; the nightly task is run from its schedule, and alerts go through the queue and the function
to a Discord that keeps the real limits.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console

from penstock import clock
from penstock.cli.aws.agent import Agent, Task
from penstock.cli.aws.alerting import Function
from penstock.cli.aws.api import Emulator
from penstock.cli.aws.facts import Facts
from penstock.cli.aws.findings import Findings
from penstock.cli.aws.function import build
from penstock.cli.aws.logs import Logs
from penstock.cli.aws.summary import Summary
from penstock.cli.aws.terraform import Terraform
from penstock.cli.process import Process
from penstock.cli.valkey import Valkey
from penstock.errors import ConfigError, Terminal
from simulator.discord import Discord

NAME: Final = "penstock-local"
PROVIDERS: Final = ("binance_spot", "deribit")
READY_S: Final = 300.0


async def run(directory: Path, seconds: float, plugins: str, console: Console) -> int:
    """Run everything; 0 only where every point was shown. Raises Terminal where it cannot go on."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    (directory / "logs").mkdir(parents=True)
    summary = Summary(console)
    async with AsyncExitStack() as stack:
        local = Local(directory, summary, stack)
        try:
            await local.infrastructure(plugins)
            await local.start()
            await asyncio.sleep(seconds / 2)
            await local.failure()
            await local.alarm()
            await asyncio.sleep(seconds / 2)
            await local.stop()
            await local.nightly()
            findings = local.findings()
            await findings.query()
            await findings.check()
            await findings.rights(NAME, PROVIDERS)
            await findings.canaries()
            await findings.second_plan()
        except Terminal as error:
            summary.point(good=False, what="the run", figures=f"stopped: {error}")
    summary.show()
    return 0 if summary.good else 1


class Local:
    """One run. Methods are its stages, in their order."""

    def __init__(self, directory: Path, summary: Summary, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._summary = summary
        self._stack = stack
        self._emulator = Emulator(directory / "logs")
        self._valkey = Valkey(directory, embedded=True)
        self._discord = Discord()
        self._market = Process("market", self._simulator(), directory / "logs" / "market.log", restart=False)
        self._recorder: Process | None = None
        self._days: set[str] = set()
        self._outputs: dict[str, Any] = {}

    def _simulator(self) -> list[str]:
        return [
            "simulator", "--providers", ",".join(PROVIDERS), "--port", "0", "--rate", "60", "--seed", "1",
            "--ledger", str(self._directory / "ledger.jsonl"),
        ]  # fmt: skip

    # ---------------------------------------------------------------- stages

    async def infrastructure(self, plugins: str) -> None:
        """Emulator, Redis, venues and Discord come up, then Terraform makes the environment."""
        self._summary.say("starting the AWS emulator, Redis, a simulated market and a Discord")
        for process in (self._emulator.process, self._market):
            self._background(process.run(), process.name)
            self._stack.push_async_callback(process.stop, 5.0)
        await asyncio.gather(self._valkey.start(), self._discord.start(), self._emulator.ready())
        self._stack.push_async_callback(self._valkey.stop)
        self._stack.push_async_callback(self._discord.stop)
        try:
            listening = await self._market.wait_event("listening", READY_S)
        except TimeoutError:
            raise Terminal(f"the market did not start: {self._market.tail()}") from None
        self._venues: dict[str, Any] = listening["providers"]
        package = build(self._directory / "alerts.zip")
        self._summary.point(
            True,
            "emulator",
            f"{self._emulator.url}, Redis on port {self._valkey.port}, venues {', '.join(self._venues)}",
        )

        variables = {
            "endpoint_url": self._emulator.url, "redis_port": self._valkey.port, "package": str(package.resolve()),
            "venues": {
                name: {"stream": urls["stream"], "rest": urls["rest"], "symbols": urls.get("symbols", [])}
                for name, urls in self._venues.items()
            },
        }  # fmt: skip
        self._terraform = Terraform("local", self._directory, plugins, variables)
        began_s = clock.monotonic_s()
        self._summary.say("terraform init, terraform apply of environments/local")
        await self._terraform.init()
        made = await self._terraform.apply(self._summary.say)
        self._outputs = (await self._terraform.output())["environment"]
        self._summary.point(made > 0, "terraform apply", f"{made} resources in {clock.monotonic_s() - began_s:.0f} s")

    async def start(self) -> None:
        """Secrets are filled, Redis gets its users, and every ECS service is started from its task definition."""
        outputs, emulator = self._outputs, self._emulator
        self._facts = Facts(emulator, outputs)
        hooks = {
            f"PENSTOCK_DISCORD_WEBHOOK{suffix}": self._discord.url(name)
            for suffix, name in (("", "alerts"), ("_CRITICAL", "critical"))
        }
        secrets = emulator.client("secretsmanager")
        await asyncio.to_thread(
            secrets.put_secret_value, SecretId=outputs["alerts"]["secret"], SecretString=json.dumps(hooks)
        )
        users = await asyncio.to_thread(self._facts.make_redis_users, self._valkey.port)
        self._summary.point(
            users > 0,
            "Redis users",
            f"{users} with passwords from Secrets Manager and the module's rules; default is off",
        )

        function = Function(
            emulator, f"{NAME}-alerts", self._directory / "alerts.zip", self._directory / "logs" / "function.log"
        )
        await function.start()
        self._stack.push_async_callback(function.stop)
        self._function = function
        self._logs = Logs(emulator, function.call)
        self._background(self._logs.run(), "logs")
        self._background(function.serve(outputs["alerts"]["queue_url"]), "queue")

        # Paths of Unix sockets may have about 100 bytes.
        hosts = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-")))
        cluster = await asyncio.to_thread(self._facts.cluster_arn)
        self._agent = Agent(emulator, cluster, self._directory, hosts, self._logs.heard, self._stopped)
        services = await asyncio.to_thread(self._agent.services)
        self._placed(services)
        order = sorted(services, key=lambda name: (not name.startswith("batch-"), name.startswith("strategy-"), name))
        for name in order:
            await self._agent.start(name, services[name]["taskDefinition"], outputs["services"][name]["role"])
            self._stack.push_async_callback(self._end, name)
        # The recorder sets its own buffer's limit, which readers may not.
        admin = outputs["redis_users"]["admin"]["secret_arn"]
        reader = json.loads(await asyncio.to_thread(emulator.secret, admin))["url"]
        self._recorder = Process(
            "recorder", ["checker", "record", "--redis", reader, "--out", str(self._directory / "stream.bin")],
            self._directory / "logs" / "recorder.log", restart=False,
        )  # fmt: skip
        self._background(self._recorder.run(), "recorder")
        self._stack.push_async_callback(self._recorder.stop, 5.0)
        await self._until(self._all_up, "every session is connected and the strategy hears both lanes")
        processes = sum(len(task.containers) for task in self._agent.tasks.values())
        self._summary.point(
            True,
            "services",
            f"{len(services)} ECS services as {processes} processes from their task definitions; every session is connected",
        )

    async def failure(self) -> None:
        """kill -9 of a session manager: its task ends, another starts, and Discord is told."""
        task = self._agent.tasks["deribit-primary"]
        before = len(self._discord.contents("alerts"))
        began_s = clock.monotonic_s()
        self._summary.say("kill -9 of the session manager in the task deribit-primary")
        await self._kill(task)
        if not task.ended:
            # One that has run for a minute is restarted within its task; killed again at once, the task ends.
            await self._kill(task)
        await self._until(
            lambda: any("deribit-primary" in text for text in self._discord.contents("alerts")[before:]),
            "Discord is told of the task",
        )
        told_s = clock.monotonic_s() - began_s
        for text in self._discord.contents("alerts")[before:]:
            self._summary.say(f"Discord: {' / '.join(text.splitlines()[:6])}")
        await self._until(self._all_up, "the session is back")
        self._summary.point(
            bool(task.ended), "a failure reaches Discord",
            f"ECS event → EventBridge → SQS → function → Discord after {told_s:.1f} s; "
            f"session back after {clock.monotonic_s() - began_s:.1f} s; "
            f"{self._logs.shipped} lines in CloudWatch Logs, {self._logs.subscribed} of them brought by subscriptions",
        )  # fmt: skip

    async def _kill(self, task: Task) -> None:
        process, ended = task.container("session_manager"), len(task.ended)
        starts = process.starts
        process.kill()
        await self._until(lambda: len(task.ended) > ended or process.starts > starts, "the killed process is missed")

    async def alarm(self) -> None:
        """An alarm's notification goes the way of the topic."""
        alarms = self._emulator.client("cloudwatch")
        found = (
            await asyncio.to_thread(alarms.describe_alarms, AlarmNamePrefix=f"{NAME}-deribit-session-down-primary")
        )["MetricAlarms"]
        if not found:
            raise Terminal("there is no alarm session-down of deribit PRIMARY")
        notice = {
            **{name: found[0][name] for name in ("AlarmName", "AlarmDescription", "AlarmArn")},
            "NewStateValue": "ALARM", "OldStateValue": "OK", "NewStateReason": "2 datapoints were greater than 60.0",
        }  # fmt: skip
        topic = found[0]["AlarmActions"][0]
        # The emulator does not evaluate alarms: what CloudWatch would publish is published here.
        await asyncio.to_thread(
            self._emulator.client("sns").publish, TopicArn=topic, Message=json.dumps(notice), Subject="ALARM"
        )
        await self._until(
            lambda: any("alarm" in text and "session-down" in text for text in self._discord.contents("alerts")),
            "the alarm is told",
        )
        refused = sum(hook.refused for hook in self._discord.hooks.values())
        self._summary.point(
            refused == 0 and self._discord.early == 0,
            "an alarm reaches Discord",
            f"SNS → SQS → function → Discord; Discord refused {refused}",
        )

    async def stop(self) -> None:
        """The market closes, what was received is delivered and stored."""
        self._summary.say("closing the market and stopping the services in the order the data flows")
        address = urlsplit(next(iter(self._venues.values()))["rest"])
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{address.scheme}://{address.netloc}/control/stop") as response,
        ):
            response.raise_for_status()
        await asyncio.sleep(4)
        for kind in ("lanes", "strategy-", "batch-"):
            names = [
                name
                for name in self._agent.tasks
                if (name.startswith(("strategy-", "batch-")) is False if kind == "lanes" else name.startswith(kind))
            ]
            await asyncio.gather(*(self._agent.stop(name) for name in names))
        assert self._recorder is not None
        await self._recorder.stop()
        await self._logs.flush()
        objects = await asyncio.to_thread(self._facts.objects, "intermediate")
        self._days = {
            "-".join(part.split("=")[1] for part in key.split("/") if part.startswith(("year=", "month=", "day=")))
            for key in objects
        }
        lanes = {key.split("/")[0] for key in objects}
        self._summary.point(
            len(lanes) == 2,
            "raw objects",
            f"{len(objects)} in s3://{self._outputs['buckets']['intermediate']}, lanes {', '.join(sorted(lanes))}",
        )

    async def nightly(self) -> None:
        """The nightly task, as the scheduler would start it: once for each day there is."""
        schedule = self._outputs["schedule"]
        found = await asyncio.to_thread(
            self._emulator.client("scheduler").get_schedule, GroupName=schedule["group"], Name=schedule["name"]
        )
        target = found["Target"]
        codes = []
        for day in sorted(self._days):
            when = f"{dt.date.fromisoformat(day) + dt.timedelta(days=1)}T00:40:00Z"
            overrides = json.loads(target["Input"].replace("<aws.scheduler.scheduled-time>", when))
            self._summary.say(
                f"the nightly task, scheduled for {when}: {target['EcsParameters']['TaskDefinitionArn'].rpartition('/')[2]}"
            )
            codes.append(await self._agent.run_once("post-processor", schedule["task_definition"], overrides))
        await self._logs.flush()
        final = await asyncio.to_thread(self._facts.objects, "final")
        manifests = [key for key in final if key.startswith("manifests/")]
        self._summary.point(
            bool(codes) and codes == [0] * len(codes) and len(manifests) == len(PROVIDERS) * len(codes), "nightly task",
            f"{found['ScheduleExpression']} UTC: {len(final)} objects, {len(manifests)} manifests in s3://{self._outputs['buckets']['final']}",
        )  # fmt: skip

    def findings(self) -> Findings:
        """What to look at now that everything has ended."""
        return Findings(self._directory, self._summary, self._facts, self._terraform, self._discord)

    # ---------------------------------------------------------------- parts

    def _background(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._stack.push_async_callback(_cancelled, task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._summary.point(good=False, what=task.get_name(), figures=f"{type(error).__name__}: {error}")

    async def _end(self, name: str) -> None:
        if not self._agent.tasks[name].stopping:
            await self._agent.stop(name)

    async def _until(self, holds: Any, what: str) -> None:
        until = clock.monotonic_s() + READY_S
        while not holds():
            if clock.monotonic_s() > until:
                raise Terminal(f"not within {READY_S:g} s: {what}; logs are in {self._directory / 'logs'}")
            await asyncio.sleep(0.2)

    def _all_up(self) -> bool:
        for name, task in self._agent.tasks.items():
            if not task.containers or any(one.process.pid is None for one in task.containers):
                return False
            main = task.containers[0].process
            if main.name.endswith("session_manager") and not main.metric("penstock_connections_up"):
                return False
            if name.startswith("strategy-") and not any(
                isinstance(one, dict) and one.get("trades", 0) for one in main.metrics.values()
            ):
                return False
        return True

    def _placed(self, services: dict[str, dict[str, Any]]) -> None:
        lanes = [name for name in services if not name.startswith(("batch-", "strategy-"))]
        roles = {name: self._outputs["services"][name]["role"] for name in services}
        good = len(lanes) == 2 * len(PROVIDERS) and all(
            one["desiredCount"] == 1
            and one["deploymentConfiguration"]["minimumHealthyPercent"] == 0
            and one["deploymentConfiguration"]["maximumPercent"] == 100
            and [item["expression"] for item in one["placementConstraints"]]
            == [f"attribute:penstock.role == {roles[name]}"]
            for name, one in services.items()
        )
        self._summary.point(
            good,
            "two sessions per provider",
            f"{len(lanes)} lane services for {len(PROVIDERS)} providers, each desired 1, 0/100 %, on its role's instance",
        )

    def _stopped(self, task: Task, detail: dict[str, Any]) -> None:
        codes = ", ".join(f"{one['name']} {one['exitCode']}" for one in detail["containers"])
        self._summary.say(f"the task {task.service} stopped: {codes}")
        entry = {"Source": "aws.ecs", "DetailType": "ECS Task State Change", "Detail": json.dumps(detail)}
        self._background(asyncio.to_thread(self._emulator.client("events").put_events, Entries=[entry]), "event")


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def plugins(environ: dict[str, str]) -> str:
    """The mirror of Terraform's providers that the environment names. Raises ConfigError where that is no folder."""
    found = environ.get("TF_PLUGIN_DIR", "")
    if found and not Path(found).is_dir():
        raise ConfigError(f"TF_PLUGIN_DIR is {found!r}, expected a folder with a mirror of Terraform's providers")
    return found
