"""What a run looks up in the environment that was made: in IAM, S3, Secrets Manager, the logs, and ECS. Calls block."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from penstock.cli.aws.api import Emulator


class Facts:
    """Of the environment with these outputs."""

    def __init__(self, emulator: Emulator, outputs: dict[str, Any]) -> None:
        self._emulator = emulator
        self.outputs = outputs
        self.environ = emulator.environ

    def cluster_arn(self) -> str:
        """Of the ECS cluster."""
        return str(
            self._emulator.client("ecs").describe_clusters(clusters=[self.outputs["cluster"]])["clusters"][0][
                "clusterArn"
            ]
        )

    def make_redis_users(self, port: int) -> int:
        """Give the server at `port` the users of the redis module, `default` off at last; how many can come in."""
        server: Any = redis.Redis(port=port)
        users = self.outputs["redis_users"]
        for user, one in sorted(users.items(), key=lambda item: item[0] == "default"):
            words = ["ACL", "SETUSER", user, "reset", *one["rules"].split()]
            if one["secret_arn"]:
                words.append(f">{json.loads(self._emulator.secret(one['secret_arn']))['password']}")
            server.execute_command(*words)
        server.close()
        return len(users) - 1

    def objects(self, use: str) -> list[str]:
        """Keys in the bucket of a use."""
        bucket = self.outputs["buckets"][use]
        pages = self._emulator.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def download(self, use: str, folder: Path) -> None:
        """Copy a bucket into a folder."""
        for key in self.objects(use):
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            self._emulator.client("s3").download_file(self.outputs["buckets"][use], key, str(folder / key))

    def statements(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """Role, without the environment's name, to the statements of its policies."""
        iam = self._emulator.client("iam")
        found: dict[str, list[dict[str, Any]]] = {}
        for role in (role for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]):
            full = role["RoleName"]
            if full.startswith(f"{name}-"):
                inline = iam.list_role_policies(RoleName=full)["PolicyNames"]
                found[full.removeprefix(f"{name}-")] = [
                    statement
                    for policy in inline
                    for statement in iam.get_role_policy(RoleName=full, PolicyName=policy)["PolicyDocument"][
                        "Statement"
                    ]
                ]
        return found

    def secret_arns(self, name: str) -> dict[str, str]:
        """Secret, without the environment's name, to its ARN."""
        pages = self._emulator.client("secretsmanager").get_paginator("list_secrets").paginate()
        return {one["Name"].removeprefix(f"{name}/"): one["ARN"] for page in pages for one in page["SecretList"]}

    def secret_values(self) -> list[tuple[str, str]]:
        """Every value of every secret, with where it stands."""
        client = self._emulator.client("secretsmanager")
        found = []
        for page in client.get_paginator("list_secrets").paginate():
            for one in page["SecretList"]:
                with suppress(client.exceptions.ResourceNotFoundException):
                    values = json.loads(self._emulator.secret(one["ARN"]))
                    found += [(f"{one['Name']} {key}", value) for key, value in values.items() if key != "username"]
        return found

    def logs(self) -> str:
        """Everything in every log group."""
        client = self._emulator.client("logs")
        groups = [group["logGroupName"] for group in client.describe_log_groups()["logGroups"]]
        return "".join(
            event["message"]
            for group in groups
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
        )
