"""The order of a rolling deploy, and that nothing is touched after the first failure; against ECS's protocol too."""

from __future__ import annotations

import datetime as dt

import pytest

from penstock.cli import rollout
from penstock.cli.deploy import INSTANCE_TAG, PROVIDER_TAG, Ecs
from penstock.cli.rollout import roll
from penstock.errors import ConfigError, Terminal

LANES = [(provider, instance) for provider in ("deribit", "okx") for instance in ("REPLICA", "PRIMARY")]


class Fleet:
    """Lanes that are unhealthy for `polls` looks after their replacement, `broken` ones for ever."""

    def __init__(self, polls: int = 3, broken: tuple[tuple[str, str], ...] = ()) -> None:
        self.polls, self.broken = polls, broken
        self.replaced: list[tuple[str, str]] = []
        self.down: dict[tuple[str, str], int] = {}

    def replace(self, provider: str, instance: str) -> None:
        assert not any(self.down.values()), "a lane was touched while another was down"
        self.replaced.append((provider, instance))
        self.down[provider, instance] = 10**9 if (provider, instance) in self.broken else self.polls

    def unhealthy(self, provider: str, instance: str) -> str:
        left = self.down.get((provider, instance), 0)
        self.down[provider, instance] = max(0, left - 1)
        return "starting" if left else ""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(rollout.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(rollout.clock, "monotonic_s", lambda: now[0])


def test_replica_first_and_each_healthy_before_the_next():
    fleet, said = Fleet(), []
    roll(fleet, ["deribit", "okx"], said.append)
    assert fleet.replaced == LANES
    assert said[0] == "deribit REPLICA: replacing"
    assert said[1].startswith("deribit REPLICA: healthy after")


def test_a_replica_that_does_not_come_up_leaves_primary_and_the_rest_alone():
    fleet = Fleet(broken=(("deribit", "REPLICA"),))
    with pytest.raises(Terminal, match="deribit REPLICA is not healthy 600 s after its replacement: starting"):
        roll(fleet, ["deribit", "okx"], lambda _: None)
    assert fleet.replaced == [("deribit", "REPLICA")]


def test_the_only_healthy_lane_is_not_touched():
    fleet = Fleet()
    fleet.down["deribit", "PRIMARY"] = 10**9
    with pytest.raises(Terminal, match="deribit PRIMARY is not healthy"):
        roll(fleet, ["deribit"], lambda _: None)
    assert fleet.replaced == []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch):
    import boto3
    from moto import mock_aws

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        ecs = boto3.client("ecs")
        ecs.create_cluster(clusterName="c")
        for provider, instance in LANES:
            family = f"{provider}-{instance.lower()}"
            for image in ("old", "new"):
                container = {"name": "x", "image": image, "memory": 64}
                ecs.register_task_definition(family=family, containerDefinitions=[container])
            tags = [{"key": PROVIDER_TAG, "value": provider}, {"key": INSTANCE_TAG, "value": instance}]
            ecs.create_service(cluster="c", serviceName=family, taskDefinition=f"{family}:1", desiredCount=0, tags=tags)
        ecs.create_service(cluster="c", serviceName="other", taskDefinition="okx-primary:1", desiredCount=0)
        yield ecs


def _report(provider: str, instance: str, age_s: float) -> None:
    import boto3

    names = {"service": "session_manager", "provider": provider, "instance": instance}
    boto3.client("cloudwatch").put_metric_data(
        Namespace="Penstock",
        MetricData=[{
            "MetricName": "data_age_seconds", "Value": age_s, "Timestamp": dt.datetime.now(dt.UTC),
            "Dimensions": [{"Name": key, "Value": value} for key, value in names.items()],
        }],
    )  # fmt: skip


def test_services_are_found_by_their_tags_and_get_the_newest_task_definition(cluster):
    target = Ecs("c")
    assert target.providers() == ["deribit", "okx"]
    assert target.unhealthy("okx", "PRIMARY") == "no metrics"
    _report("okx", "PRIMARY", 0.4)
    assert target.unhealthy("okx", "PRIMARY") == ""
    _report("okx", "REPLICA", 42.0)
    assert target.unhealthy("okx", "REPLICA") == "the newest data is 42 s old"
    target.replace("okx", "PRIMARY")
    assert target.unhealthy("okx", "PRIMARY") == "no metrics since then"
    (service,) = cluster.describe_services(cluster="c", services=["okx-primary"])["services"]
    assert service["taskDefinition"].endswith("okx-primary:2")
    (untouched,) = cluster.describe_services(cluster="c", services=["okx-replica"])["services"]
    assert untouched["taskDefinition"].endswith("okx-replica:1")


def test_a_cluster_without_lanes_is_one_readable_line(cluster):
    cluster.delete_service(cluster="c", service="okx-replica", force=True)
    with pytest.raises(ConfigError, match="okx has no service of each lane"):
        Ecs("c").providers()
    cluster.create_cluster(clusterName="empty")
    with pytest.raises(ConfigError, match="expected one with services tagged penstock:provider"):
        Ecs("empty").providers()
    with pytest.raises(Terminal, match="--cluster nowhere"):
        Ecs("nowhere").providers()
