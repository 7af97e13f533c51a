"""The function that tells Discord, as Lambda runs it: from its zip file, fed by its queue."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

from penstock import config
from penstock.cli.aws.api import Emulator
from penstock.errors import Terminal

_WAIT_S: Final = 1


class Function:
    """The deployed function's zip file, handler and environment, in a process of its own. One call at a time, as it has a
    concurrency of one."""

    def __init__(self, emulator: Emulator, name: str, package: Path, log: Path) -> None:
        self._emulator = emulator
        self._name = name
        self._package = package
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()
        self.calls = 0

    async def start(self) -> None:
        """Load it, configured as the emulator says."""
        client = self._emulator.client("lambda")
        found = await asyncio.to_thread(client.get_function_configuration, FunctionName=self._name)
        environ = {**config.environment(), **self._emulator.environ, **found["Environment"]["Variables"]}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(Path(__file__).parent / "invoke.py"), str(self._package), found["Handler"],
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, env=environ,
            )  # fmt: skip

    async def call(self, event: dict[str, Any]) -> Any:
        """Its answer. Raises Terminal where the function fails."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._one:
            self._process.stdin.write(json.dumps(event).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
            self.calls += 1
        if not line:
            raise Terminal(f"the function ended: {self._log.read_text('utf-8', 'replace')[-500:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Terminal(f"the function failed: {answer['error']}")
        return answer["answer"]

    async def serve(self, queue_url: str) -> None:
        """Bring it what comes into its queue, for ever; messages it did not deliver stay there."""
        sqs = self._emulator.client("sqs")
        while True:
            found = await asyncio.to_thread(
                sqs.receive_message, QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=_WAIT_S
            )
            messages = found.get("Messages", [])
            if not messages:
                continue
            records = [{"messageId": one["MessageId"], "body": one["Body"]} for one in messages]
            answer = await self.call({"Records": records})
            failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
            for one in messages:
                if one["MessageId"] not in failed:
                    await asyncio.to_thread(sqs.delete_message, QueueUrl=queue_url, ReceiptHandle=one["ReceiptHandle"])

    async def stop(self) -> None:
        """End its process."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
