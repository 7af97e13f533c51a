"""Processes of one service that start without importing anything again: a hundred kills would else be a hundred imports.

python -m tests.chaos.zygote MODULE reads {"argv", "environ", "log"} as JSON lines, forks for each a process that runs
MODULE's main as `python -m` would, and answers with its process id. gRPC and threads begin after the fork.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

from penstock import config


def main(module: str) -> None:
    """Fork until stdin ends."""
    service = importlib.import_module(f"{module}.__main__")
    importlib.import_module("penstock.objectstore_s3")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        wish = json.loads(line)
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.update(wish["environ"])
            sys.argv = [module, *wish["argv"]]
            config.run(service.main)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
