"""The emulator's API: clients for it, and the environment that makes a child process's SDK speak to it."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3

from penstock import clock
from penstock.cli.process import Process
from penstock.cli.valkey import free_port
from penstock.errors import Terminal

REGION: Final = "ap-northeast-1"
START_S: Final = 180.0


class Emulator:
    """The emulator's process, and clients of it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = Process(
            "emulator", ["penstock.cli.aws.emulator", str(self.port)], directory / "emulator.log", restart=False
        )

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to speak to it instead of AWS; the keys are none."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    async def ready(self) -> None:
        """Return when it answers. Raises Terminal where it does not."""
        until = clock.monotonic_s() + START_S
        while clock.monotonic_s() < until:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.1)
        raise Terminal(f"the emulator did not start: {self.process.tail()}")

    def client(self, service: str) -> Any:
        """A client of one service. Calls block."""
        return _client(service, self.url)

    def secret(self, name: str) -> str:
        """The text of a secret, by name or ARN."""
        return str(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


@cache
def _client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 # none
    )
