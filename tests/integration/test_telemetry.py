"""Telemetry of the real processes: health that means work, embedded metrics that add up, traces that meet."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from penstock import clock
from penstock.cli.process import Process
from tests.conftest import free_port
from tests.unit.test_emf import checked

EVERY = 20


class Collector:
    """An OTLP receiver. `spans` holds (service, name, trace, span, parent, start, end, attributes)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, bytes, bytes, bytes, int, int, dict[str, Any]]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {one.key: one.value.int_value or one.value.string_value for one in span.attributes}
                self.spans.append(
                    (
                        service, span.name, span.trace_id, span.span_id, span.parent_span_id,
                        span.start_time_unix_nano, span.end_time_unix_nano, attributes,
                    )
                )  # fmt: skip


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.server.shutdown()
    one.server.server_close()


@asynccontextmanager
async def running(tmp_path: Path, redis: str, collector: Collector) -> AsyncIterator[dict[str, tuple[Process, int]]]:
    """The processes of one lane of Deribit on a simulated market, with their metrics ports."""
    host, port = collector.server.server_address[:2]
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host!s}:{port}", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    processes: dict[str, tuple[Process, int]] = {}
    tasks = []

    def start(name: str, *arguments: str) -> Process:
        metrics_port = free_port()
        more = [] if name == "simulator" else ["--metrics-port", str(metrics_port), "--emf-s", "1"]
        module = name if name == "simulator" else f"services.{name}"
        process = Process(name, [module, *arguments, *more], tmp_path / f"{name}.log", environ, restart=False)
        processes[name] = process, metrics_port
        tasks.append(asyncio.create_task(process.run()))
        return process

    market = start(
        "simulator", "--providers", "deribit", "--port", "0", "--rate", "200", "--ledger", str(tmp_path / "l")
    )
    socket, batch_port = f"unix:{tmp_path}/n.sock", free_port()
    lane = ["--provider", "deribit", "--instance", "PRIMARY"]
    start(
        "batch_processor", "--instance", "PRIMARY", "--listen", f"127.0.0.1:{batch_port}",
        "--store", f"file://{tmp_path}/store", "--spool", str(tmp_path / "spool"),
    )  # fmt: skip
    traced = ["--trace-every", str(EVERY)]
    start("normalizer", *lane, "--listen", socket, "--redis", redis, "--quarantine-dir", str(tmp_path / "q"), *traced)
    try:
        venue = (await market.wait_event("listening", 60))["providers"]["deribit"]
        start(
            "session_manager", *lane, "--normalizer", socket, "--batch-processor", f"127.0.0.1:{batch_port}",
            "--state-dir", str(tmp_path / "state"), "--stream-url", venue["stream"], "--rest-url", venue["rest"], *traced,
        )  # fmt: skip
        yield processes
    finally:
        for name in ("session_manager", "normalizer", "batch_processor", "simulator"):
            if name in processes:
                await processes[name][0].stop()
        await asyncio.gather(*tasks)


async def answers(port: int, path: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}{path}") as answer:
        await answer.read()
        return answer.status


async def becomes(port: int, path: str, status: int, within_s: float) -> None:
    """Wait until the health path answers so."""
    end_s, last = clock.monotonic_s() + within_s, 0
    while clock.monotonic_s() < end_s:
        try:
            last = await answers(port, path)
        except aiohttp.ClientError:
            last = 0
        if last == status:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} on {port} answers {last}, not {status}")


async def probe(port: int, *arguments: str) -> tuple[int, str]:
    """The exit code and output of the command that Docker and ECS run."""
    command = [sys.executable, "-m", "penstock.health", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env={"PENSTOCK_METRICS_PORT": str(port)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_health_metrics_and_traces_of_a_running_lane(tmp_path: Path, valkey: str, collector: Collector):
    async with running(tmp_path, valkey, collector) as processes:
        ports = {name: port for name, (_, port) in processes.items() if name != "simulator"}
        for port in ports.values():
            await becomes(port, "/readyz", 200, 60)
        code, output = await probe(ports["normalizer"], "--check", "ready")
        assert (code, json.loads(output)["ready"]) == (0, True)
        await asyncio.sleep(3)

        # Frozen, the session manager answers nobody; its normalizer lives on and says that it has nothing to do.
        processes["session_manager"][0].kill(signal.SIGSTOP)
        code, output = await probe(ports["session_manager"], "--timeout-s", "0.5")
        assert (code, output.partition(":")[0]) == (1, f"no answer on port {ports['session_manager']}")
        await becomes(ports["normalizer"], "/readyz", 503, 15)
        assert await answers(ports["normalizer"], "/healthz") == 200
        code, output = await probe(ports["normalizer"], "--check", "ready")
        assert code == 1
        assert [name for name, sign in json.loads(output)["signs"].items() if not sign["ok"]] == ["consumed"]
        processes["session_manager"][0].kill(signal.SIGCONT)
        for port in ports.values():
            await becomes(port, "/readyz", 200, 30)
        url = f"http://127.0.0.1:{ports['session_manager']}/metrics"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            exposed = await answer.text()
        assert 'penstock_connections_up{lane="PRIMARY",provider="deribit",service="session_manager"} 1.0' in exposed
        last = {name: process for name, (process, _) in processes.items()}
    metrics_add_up(tmp_path, last)
    traces_meet(collector)


def metrics_add_up(tmp_path: Path, processes: dict[str, Process]) -> None:
    """What was sent to CloudWatch, added up, is what was counted."""
    sent: dict[tuple[str, str], float] = {}
    for name in ("session_manager", "normalizer", "batch_processor"):
        for text in (tmp_path / f"{name}.log").read_text("utf-8").splitlines():
            if '"_aws"' in text:
                document = checked(text)
                assert (document["service"], document["instance"]) == (name, "PRIMARY")
                for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                    value = document[metric["Name"]]
                    if not isinstance(value, list):
                        key = (name, metric["Name"])
                        sent[key] = sent.get(key, 0) + value
    frames = processes["session_manager"].metric("penstock_frames_total")
    records = processes["normalizer"].metric("penstock_records_total")
    assert sent["session_manager", "frames"] == frames > 100
    assert sent["normalizer", "records"] == records > 100
    assert sent["batch_processor", "stored_bytes"] == processes["batch_processor"].metric("penstock_stored_bytes_total")


def traces_meet(collector: Collector) -> None:
    """Both processes' spans of an envelope are one trace, in order, and of the sampled envelopes only."""
    traces: dict[bytes, dict[str, Any]] = {}
    for service, name, trace, span, parent, start, end, attributes in collector.spans:
        assert attributes["penstock.sequence"] % EVERY == 0
        assert start <= end
        assert name not in traces.setdefault(trace, {}), "one envelope, one span of a name"
        traces[trace][name] = (service, span, parent, start, end, attributes["penstock.channel"])
    whole = [spans for spans in traces.values() if {"receive", "normalize"} <= spans.keys()]
    assert len(whole) >= 5
    assert len(whole) >= 0.8 * len(traces)  # what was in flight while one process was frozen or ended may lack a half
    for spans in whole:
        receive, normalize = spans["receive"], spans["normalize"]
        assert (receive[0], normalize[0]) == ("session_manager", "normalizer")
        assert (receive[2], normalize[2]) == (b"", receive[1])
        assert receive[3] <= normalize[3]
        assert receive[5] == normalize[5]
        if "publish" in spans:
            assert spans["publish"][2] == normalize[1]
            assert normalize[4] <= spans["publish"][3]
    assert sum("publish" in spans for spans in whole) >= 3
