"""A local AWS (moto's server) as a process of its own, with a table for leases."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

from tests.conftest import free_port

TABLE = "leases"


class Moto(subprocess.Popen):
    """The server process; `environ` points an AWS SDK at it."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        super().__init__(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip

    def client(self, service: str) -> object:
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )


@contextmanager
def moto() -> Iterator[Moto]:
    """A server that answers, with the table of leases."""
    with Moto() as server:
        try:
            _await(server)
            server.client("dynamodb").create_table(  # type: ignore[attr-defined]
                TableName=TABLE, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "slot", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "slot", "AttributeType": "S"}],
            )  # fmt: skip
            yield server
        finally:
            server.kill()


def _await(server: Moto) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/moto-api/", timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return
