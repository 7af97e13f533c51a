"""Write everything that is made from the catalogue: python -m penstock.observability [folder]."""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.observability.files import files


def main(folder: Path) -> None:
    """Write the files below `folder`, the project's own."""
    for name, text in files(folder).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        sys.stdout.write(f"{name}: {len(text):,} characters\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
