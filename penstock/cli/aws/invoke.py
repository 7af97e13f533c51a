"""What Lambda is to a function: loads its zip file in a process of its own, and calls it with one event per line of stdin.

    python -P penstock/cli/aws/invoke.py alerts.zip penstock.alerts.handler.handler

A script, not a module of the package: what the function imports of `penstock` must come from its zip file.
"""

import importlib
import json
import sys


def main(package: str, handler: str) -> None:
    """Answer each event with one line: {"answer": …} or {"error": …}. What the function prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, package)
    module, _, name = handler.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        try:
            answer = {"answer": function(json.loads(line), None)}
        except Exception as error:  # noqa: BLE001 # as Lambda does: the caller is told, the process lives on
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
