"""python -m penstock.cli.aws.function PATH: the zip file of the Lambda that tells Discord, same bytes for same code."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import penstock

SOURCES: Final = ("__init__.py", "clock.py", "errors.py", "alerts/*.py")
"""What the handler imports, beside Python's standard library and the SDK that Lambda has."""

_MADE: Final = (1980, 1, 1, 0, 0, 0)


def build(path: Path) -> Path:
    """Write the zip file; its folder is made where there is none."""
    root = Path(penstock.__file__).parent
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(found for pattern in SOURCES for found in root.glob(pattern)):
            entry = zipfile.ZipInfo(str(Path("penstock", source.relative_to(root))), _MADE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes())
    return path


def main(argv: Sequence[str]) -> None:
    """Build at the path named, and say so."""
    path = build(Path(argv[0]))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
