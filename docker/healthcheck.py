"""A container's health: exit code 0 where its own /health answers 200. The standard library alone, to start fast."""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

PORT = int(os.environ.get("PENSTOCK_METRICS_PORT", "9100"))

try:
    with urlopen(f"http://127.0.0.1:{PORT}/health", timeout=4) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except (URLError, OSError) as error:
    sys.exit(f"unhealthy: {error}")
