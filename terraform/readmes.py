"""python terraform/readmes.py: the tables of inputs and outputs in each module's README, from its variables and outputs.

What stands above the marker is written by hand. `--check` only says which files are not current, with exit code 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MARKER: Final = "<!-- Below: made by `make terraform-docs`. -->"
MODULES: Final = Path(__file__).parent / "modules"

_BLOCK: Final = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_TEXT: Final = re.compile(r'^  description = (?:"((?:[^"\\]|\\.)*)"|<<-EOT\n(.*?)^ *EOT)', re.MULTILINE | re.DOTALL)
_FIELD: Final = r"^  {name}\s+= (.*?)(?=^  \w+\s+= |^  validation|^  lifecycle|^\n|\Z)"


def blocks(text: str, kind: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, description, type and default ("" where there is none) of each block of a kind."""
    for found in _BLOCK.finditer(text):
        if found[1] != kind:
            continue
        description = _TEXT.search(found[3])
        words = "" if description is None else (description[1] or description[2])
        yield (
            found[2],
            " ".join(words.replace('\\"', '"').split()),
            _field(found[3], "type"),
            _field(found[3], "default"),
        )


def tables(module: Path) -> str:
    """Everything below the marker."""
    variables, outputs = (module / "variables.tf").read_text("utf-8"), (module / "outputs.tf").read_text("utf-8")
    lines = ["", "## Inputs", "| name | what | type | default |", "|---|---|---|---|"]
    for name, description, kind, default in blocks(variables, "variable"):
        shown = f"`{_cell(default)}`" if default else "required"
        lines.append(f"| `{name}` | {_cell(description)} | `{_cell(kind)}` | {shown} |")
    lines += ["", "## Outputs", "| name | what |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(description)} |" for name, description, _, _ in blocks(outputs, "output")]
    return "\n".join((*lines, ""))


def current(module: Path) -> str:
    """The README as it should be. Raises ValueError where it has no marker."""
    above, marker, _ = (module / "README.md").read_text("utf-8").partition(MARKER)
    if not marker:
        raise ValueError(f"{module / 'README.md'} has no line {MARKER}")
    return above + MARKER + tables(module)


def main(arguments: list[str]) -> int:
    """Write, or check; 1 where a file is not current."""
    stale = [
        module for module in sorted(MODULES.iterdir()) if current(module) != (module / "README.md").read_text("utf-8")
    ]
    for module in stale:
        if "--check" not in arguments:
            (module / "README.md").write_text(current(module), "utf-8")
        sys.stdout.write(
            f"{module.name}/README.md {'is not current: run make terraform-docs' if '--check' in arguments else 'written'}\n"
        )
    return 1 if stale and "--check" in arguments else 0


def _field(block: str, name: str) -> str:
    found = re.search(_FIELD.format(name=name), block, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
