"""What a run left behind, looked at when everything has ended: tables, the ledger, rights, logs, the second plan."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.cli.aws import policies
from penstock.cli.aws.facts import Facts
from penstock.cli.aws.summary import Summary
from penstock.cli.aws.terraform import Terraform
from penstock.config import environment
from penstock.errors import Terminal
from simulator.discord import Discord

SQL: Final = """
SELECT provider, symbol, count(*) AS trades, min(price) AS low, max(price) AS high
FROM trades_readable GROUP BY provider, symbol ORDER BY provider, symbol
"""


class Findings:
    """Of one run in `directory`. Each method notes one point."""

    def __init__(self, directory: Path, summary: Summary, facts: Facts, terraform: Terraform, discord: Discord) -> None:
        self._directory = directory
        self._summary = summary
        self._facts = facts
        self._terraform = terraform
        self._discord = discord

    async def query(self) -> None:
        """Athena's SQL on DuckDB over the tables that Terraform made in Glue."""
        database, final = self._facts.outputs["athena"]["database"], f"s3://{self._facts.outputs['buckets']['final']}"
        answer = json.loads(await self._python("-m", "penstock.cli.aws.glue", database, final, SQL))
        for row in answer["rows"]:
            self._summary.say("  ".join(f"{name} {value}" for name, value in zip(answer["columns"], row, strict=True)))
        trades, tables = sum(int(row[2]) for row in answer["rows"]), self._facts.outputs["athena"]["tables"]
        self._summary.point(
            trades > 0,
            "query",
            f"{len(tables)} Glue tables; {trades} trades of {len(answer['rows'])} instruments",
        )

    async def check(self) -> None:
        """The independent checker compares what came out with what the market sent."""
        folder = self._directory / "final"
        await asyncio.to_thread(self._facts.download, "final", folder)
        text = await self._python(
            "-m", "checker", "check", "--ledger", str(self._directory / "ledger.jsonl"),
            "--stream", str(self._directory / "stream.bin"), "--dataset", str(folder), "--json",
        )  # fmt: skip
        verdict = json.loads(text)
        (self._directory / "check.json").write_text(text, "utf-8")
        failed = {
            f"{name} {key}": value
            for name, part in verdict.items()
            if isinstance(part, dict)
            for key, value in part.items()
            if key in {"lost", "duplicated", "reordered", "altered", "undeclared_gaps", "false_gaps"} and value
        }
        self._summary.point(
            bool(verdict.get("good")),
            "ledger",
            "nothing lost, duplicated, reordered or altered, in the stream and in the dataset"
            if verdict.get("good")
            else str(failed or verdict)[:300],
        )

    async def rights(self, name: str, providers: Sequence[str]) -> None:
        """What the roles in IAM allow, and what they must not."""
        found = await asyncio.to_thread(self._facts.statements, name)
        secrets = await asyncio.to_thread(self._facts.secret_arns, name)
        claims = (claim for provider in providers for claim in policies.claims(name, name, provider, secrets))
        wanted = list(dict.fromkeys(claims))
        wrong = policies.broken(wanted, found)
        for claim in wrong:
            self._summary.say(
                f"wrong: {claim.role} {'may not' if claim.allowed else 'may'} {claim.action} {claim.resource}"
            )
        refused = sum(not claim.allowed for claim in wanted)
        self._summary.point(
            not wrong,
            "least privilege",
            f"{len(found)} roles, {len(wanted)} claims on their policies, {refused} of them refusals",
        )

    async def canaries(self) -> None:
        """No value of a secret in what anybody reads: log groups, objects' names, Discord."""
        values = await asyncio.to_thread(self._facts.secret_values)
        text = await asyncio.to_thread(self._facts.logs)
        text += json.dumps([hook.messages for hook in self._discord.hooks.values()])
        text += "".join(path.read_text("utf-8", "replace") for path in (self._directory / "logs").glob("*.log"))
        hits = sorted({name for name, value in values if value in text})
        self._summary.point(
            not hits,
            "secrets stay secret",
            f"{len(values)} values, {len(text)} characters of logs and messages, {len(hits)} hits {hits or ''}",
        )

    async def second_plan(self) -> None:
        """A second plan wants nothing but what the emulator does not keep."""
        explained, unexplained = await self._terraform.drift()
        for line in explained:
            self._summary.say(f"explained: {line}")
        for line in unexplained:
            self._summary.say(f"unexplained: {line}")
        self._summary.point(
            not unexplained,
            "second plan",
            f"{len(explained)} explained differences of the emulator, {len(unexplained)} unexplained",
        )

    async def _python(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={**environment(), **self._facts.environ},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if not out.strip():
            raise Terminal(f"{arguments[1]} failed: {err.decode('utf-8', 'replace')[-500:]}")
        return out.decode()
