"""/metrics for Prometheus, /healthz and /readyz for Docker, ECS and deployments: one small server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from penstock.health import PATHS, Signs

_CHECKS: Final = {path: check for check, path in PATHS.items()}


class Identified(Collector):
    """A registry whose samples also carry `labels`: who the process is."""

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = dict(labels)

    def collect(self) -> Iterable[Family]:
        """The families, made anew."""
        for family in self._registry.collect():
            known = Family(family.name, family.documentation, family.type, family.unit)
            known.samples = [sample._replace(labels=self._labels | sample.labels) for sample in family.samples]
            yield known


def start(port: int, registry: CollectorRegistry, labels: Mapping[str, str], signs: Signs) -> None:
    """Serve from a thread of its own for as long as the process lives. Raises OSError and OverflowError for the port."""
    exposed = CollectorRegistry()
    exposed.register(Identified(registry, labels))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(exposed))
            elif (check := _CHECKS.get(path)) is not None:
                good, report = signs.report(check)
                self._answer(200 if good else 503, "application/json", json.dumps(report).encode() + b"\n")
            else:
                self._answer(404, "text/plain", b"/metrics, /healthz, /readyz\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody wants a line per question."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="exposition", daemon=True).start()
