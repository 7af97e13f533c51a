"""`penstock backfill`: published days normalized again into a new target."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

from penstock.errors import ConfigError


def day(option: str, text: str) -> str:
    """`text` itself. Raises ConfigError where it is no day."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ConfigError(f"{option} is {text!r}, expected YYYY-MM-DD")
    return text


def work(engine: str, jobs: int, memory_mb: int, spark_master: str) -> list[str]:
    """The post-processor's options for how the work is done."""
    options = {"--engine": engine, "--jobs": jobs, "--memory-mb": memory_mb, "--spark-master": spark_master}
    return [part for option, value in options.items() for part in (option, str(value))]


def main(lake: str, target: str, begin: str, end: str, providers: str, how: Sequence[str]) -> int:
    """Run the post-processor's backfill; its exit code."""
    command = [
        "services.post_processor.backfill", "--lake", lake, "--target", target, "--begin", day("--from", begin),
        "--end", day("--to", end), *how,
    ]  # fmt: skip
    if providers:
        command += ["--providers", providers]
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode  # noqa: S603 # our own module
