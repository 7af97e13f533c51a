"""`penstock deploy`: new images into a running ECS environment, lane by lane.

Terraform registers task definitions and leaves the services on the old ones; here each service of a lane gets the newest
revision of its family. A lane counts as healthy when ECS has finished its deployment and its session manager's own metrics
say that data came lately.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from penstock import clock
from penstock.catalogue import NAMESPACE
from penstock.cli.rollout import ORDER
from penstock.errors import ConfigError, ConnectionLost, Terminal

PROVIDER_TAG, INSTANCE_TAG = "penstock:provider", "penstock:instance"
FRESH_S: Final = 10.0
"""Data older than this is no sign of health; quiet markets have venue heartbeats and tickers every few seconds."""

_PERIOD_S: Final = 60
_PAGE: Final = 10  # services in one DescribeServices


class Lane(NamedTuple):
    """An ECS service and the family of its task definitions; `since_s` is when it was replaced (UNIX s), 0 if it was not."""

    service: str
    family: str
    since_s: int = 0


class Ecs:
    """The lanes of one cluster, found by the tags that terraform gives their services."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        try:
            session = boto3.session.Session()
            self._ecs: Any = session.client("ecs")
            self._cloudwatch: Any = session.client("cloudwatch")
        except (BotoCoreError, ValueError) as error:
            raise Terminal(f"--cluster {cluster}: {error}") from None
        self._lanes: dict[tuple[str, str], Lane] = {}

    def providers(self) -> list[str]:
        """The providers with both lanes. Raises ConfigError where there is none, or one has a single lane."""
        self._lanes = {}
        pages = self._call(lambda: list(self._ecs.get_paginator("list_services").paginate(cluster=self._cluster)))
        arns = [arn for page in pages for arn in page["serviceArns"]]
        for start in range(0, len(arns), _PAGE):
            for service in self._describe(arns[start : start + _PAGE]):
                tags = {tag["key"]: tag["value"] for tag in service.get("tags", ())}
                if service["status"] == "ACTIVE" and INSTANCE_TAG in tags and PROVIDER_TAG in tags:
                    family = service["taskDefinition"].rpartition("/")[2].partition(":")[0]
                    self._lanes[tags[PROVIDER_TAG], tags[INSTANCE_TAG]] = Lane(service["serviceName"], family)
        found = sorted({provider for provider, _ in self._lanes})
        if not found:
            raise ConfigError(f"--cluster is {self._cluster!r}, expected one with services tagged {PROVIDER_TAG}")
        if single := [one for one in found if any((one, instance) not in self._lanes for instance in ORDER)]:
            raise ConfigError(f"--cluster {self._cluster}: {', '.join(single)} has no service of each lane")
        return found

    def replace(self, provider: str, instance: str) -> None:
        lane = self._lanes[provider, instance]
        self._lanes[provider, instance] = lane._replace(since_s=clock.time_ns() // 10**9)
        newest = self._call(lambda: self._ecs.describe_task_definition(taskDefinition=lane.family))
        self._call(
            lambda: self._ecs.update_service(
                cluster=self._cluster, service=lane.service, forceNewDeployment=True,
                taskDefinition=newest["taskDefinition"]["taskDefinitionArn"],
            )
        )  # fmt: skip

    def unhealthy(self, provider: str, instance: str) -> str:
        lane = self._lanes[provider, instance]
        (service,) = self._describe([lane.service])
        newest = next(one for one in service["deployments"] if one["status"] == "PRIMARY")
        if newest.get("rolloutState") == "FAILED":
            raise Terminal(f"{provider} {instance}: {newest.get('rolloutStateReason', 'the deployment failed')}")
        if newest.get("rolloutState", "COMPLETED") != "COMPLETED" or service["runningCount"] != service["desiredCount"]:
            return f"{service['runningCount']} of {service['desiredCount']} tasks run, {newest.get('rolloutState')}"
        age_s = self._metric("data_age_seconds", provider, instance, lane.since_s)
        if age_s is None:
            return "no metrics since then" if lane.since_s else "no metrics"
        return "" if age_s <= FRESH_S else f"the newest data is {age_s:.0f} s old"

    def _metric(self, name: str, provider: str, instance: str, since_s: int) -> float | None:
        """The newest value within the last minutes and after `since_s`."""
        now_s = clock.time_ns() // 10**9
        dimensions = {"service": "session_manager", "provider": provider, "instance": instance}
        # A period that began before the replacement has values of before it.
        begin_s = max(now_s - 5 * _PERIOD_S, -(-since_s // _PERIOD_S) * _PERIOD_S)
        if begin_s >= now_s:
            return None
        answer = self._call(lambda: self._cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE, MetricName=name, Period=_PERIOD_S, Statistics=["Maximum"],
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=_time(begin_s), EndTime=_time(now_s + _PERIOD_S),
        ))  # fmt: skip
        points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return float(points[-1]["Maximum"]) if points else None

    def _describe(self, services: list[str]) -> list[dict[str, Any]]:
        answer = self._call(
            lambda: self._ecs.describe_services(cluster=self._cluster, services=services, include=["TAGS"])
        )
        found: list[dict[str, Any]] = answer["services"]
        return found

    def _call(self, call: Any) -> Any:
        try:
            return call()
        except ClientError as error:
            raise Terminal(f"--cluster {self._cluster}: {error}") from None
        except (BotoCoreError, OSError) as error:
            raise ConnectionLost(f"--cluster {self._cluster}: {error}") from None


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
