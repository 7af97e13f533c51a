"""What the nightly task tells CloudWatch of each provider's day: done, failed, and how it went."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

import providers
from penstock import telemetry
from penstock.errors import Terminal
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from services.post_processor.__main__ import main
from tests.integration.test_post_processor import DAY, PROVIDER, opening, record
from tests.unit.test_emf import checked

NOON_MS = 1_723_118_400_000


def trade(number: int) -> Envelope:
    data = {
        "e": "trade",
        "E": NOON_MS,
        "s": "BTCUSDT",
        "t": number,
        "p": "60000.10",
        "q": "0.00100",
        "T": NOON_MS + number,
    }
    payload = json.dumps({"stream": "btcusdt@trade", "data": {**data, "m": True, "M": True}}).encode()
    return Envelope(
        sequence=number, ts_recv=(NOON_MS + number) * 1_000_000, connection=1, kind=KIND_FRAME, payload=payload,
        channel=providers.payloads(PROVIDER).channel_of(payload),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _unconfigured():
    """What `main` sets for a process of its own must not outlive the test: it writes to what pytest captured."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    telemetry._process.service, telemetry._process.context = "", {}


def counted(name: str) -> float:
    return telemetry.snapshot().get(f'penstock_{name}{{provider="{PROVIDER}"}}', 0)


def test_a_day_is_counted_as_done_or_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Published: done, with its frames. Raw objects that come later make another day of it, and that is a failure."""
    source, target = (tmp_path / "raw").as_uri(), (tmp_path / "lake").as_uri()
    arguments = ["--source", source, "--target", target, "--day", str(DAY), "--emf-s", "60"]
    trades = [trade(number) for number in range(3, 13)]
    for instance in ("PRIMARY", "REPLICA"):
        record(source, [*opening(trades[0]), *trades], instance)
    names = ("coalesced_days_total", "coalesce_failures_total", "coalesced_frames_total")
    before = [counted(name) for name in names]
    assert main(arguments) == 0
    days, failures, frames = (counted(name) - was for name, was in zip(names, before, strict=True))
    assert (days, failures) == (1, 0)
    assert frames >= len(trades)
    record(source, [*opening(trades[0]), *(trade(number) for number in range(20, 25))], "PRIMARY", epoch=2)
    with pytest.raises(Terminal, match="is published from"):
        main(arguments)
    assert (counted(names[0]) - before[0], counted(names[1]) - before[1]) == (1, 1)
    sent = [checked(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    ours = [line for line in sent if line["provider"] == PROVIDER]
    assert len(ours) == 2, "one line at the end of each run, the failed one too"
    assert ours[1]["coalesce_failures"] == counted(names[1])
    assert ours[0]["coalesce_duration_seconds"] > 0
