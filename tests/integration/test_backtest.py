"""A strategy on a live node and over the stored stream sees the same; the command runs it and draws the page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

from penstock.channels import INSTANCES
from penstock.cli.main import main as command_line
from penstock.cli.normalize import metadata
from penstock.dbn import schema_name
from strategies.comparison import Comparison, compare, main
from tests.integration.test_feed_live import LISTING, PROVIDER, ROOT, Lanes

CONFIG = """
instruments: [DERIBIT:BTC-PERPETUAL]
strategy: {every: 41}
backtest: {order_latency_ms: 1, maker_bps: 1, taker_bps: 3}
"""
SPAN = ["--from", "2020-01-01", "--to", "2100-01-01"]


class Kept(Lanes):
    """The market, with every message kept once, as the coalesced day keeps it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        now = time.time_ns()
        self.kept: dict[str, list[bytes]] = {
            "DEFINITION": [LISTING.record(now, now)],
            "MBO": [self.book.image(now, now, self.sequence)],
        }

    async def send(self, messages: dict[str, bytes], instances: Sequence[str] = INSTANCES) -> None:
        if instances is INSTANCES:
            for schema, message in messages.items():
                self.kept.setdefault(schema, []).extend([message] if message else [])
        await super().send(messages, instances)

    def store(self, folder: Path) -> Path:
        """Write the day as DBN files."""
        folder.mkdir()
        now, names = time.time_ns(), {LISTING.instrument_id: LISTING.raw_symbol}
        for segment, data in self.kept.items():
            schema = schema_name(segment)
            head = metadata(LISTING.publisher.dataset, schema, now - 10**9, now, names)
            packed = zstandard.ZstdCompressor().compress(head + b"".join(data))
            (folder / f"day.{schema}.dbn.zst").write_bytes(packed)
        return folder


def backtest(folder: Path, source: Path, *more: str) -> subprocess.CompletedProcess[str]:
    config = folder / "run.yaml"
    config.write_text(CONFIG)
    options = ["--config", str(config), *SPAN, "--source", str(source), *more]
    command = [sys.executable, "-m", "penstock", "backtest", "witness", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


async def live(lanes: Kept, url: str, seen: Path) -> None:
    """A node in its own process sees the market, loses PRIMARY, and stops."""
    command = [
        sys.executable, "-m", "strategies.run", "--strategy", "witness", "--redis", url, "--stats",
        "--instruments", f"{PROVIDER}:{LISTING.raw_symbol}", "--seen-log", str(seen),
    ]  # fmt: skip
    node = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ))
    assert node.stdout is not None
    try:
        for instance in INSTANCES:
            await lanes.start(instance)
        deadline = time.monotonic() + 100
        reading = asyncio.create_task(_delivered(node.stdout))
        while not reading.done():
            assert time.monotonic() < deadline
            await lanes.run(0.2, 50)
        for instance in INSTANCES:
            await lanes.start(instance)
        await lanes.run(1.0)
        lanes.kill("PRIMARY")
        await lanes.run(2.5)
        await asyncio.sleep(0.3)
        draining = asyncio.create_task(node.stdout.read())
        node.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(node.wait(), 15) == 0
        await draining
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


async def _delivered(stdout: asyncio.StreamReader) -> None:
    async for line in stdout:
        event = json.loads(line)
        if event["event"] == "stats" and event["metrics"][PROVIDER]["deltas"]:
            return


async def test_live_and_backtest_see_the_same(valkey: str, tmp_path: Path) -> None:
    """Every trade, quote and book increment, in order, with PRIMARY killed in between; where the switch put an image in
    place of increments, the book is the one the backtest had."""
    lanes = Kept(valkey)
    await lanes.define()
    await live(lanes, valkey, tmp_path / "live.seen")
    await lanes.redis.aclose()
    done = backtest(tmp_path, lanes.store(tmp_path / "day"), "--seen-log", str(tmp_path / "back.seen"), "--json")
    assert done.returncode == 0, done.stderr
    found = {each.key.split(" ")[0]: each for each in compare(tmp_path / "live.seen", tmp_path / "back.seen")}
    for kind in ("trade", "quote", "book"):
        assert found[kind].equal, found[kind]
        assert found[kind].after == (0, 0), found[kind]
    assert found["trade"].common > 100
    assert found["book"].imaged > 0
    assert main([str(tmp_path / "live.seen"), str(tmp_path / "live.seen")]) == 0


@pytest.mark.parametrize("kind", ["trade", "quote", "book"])
def test_the_comparison_finds_what_was_changed(tmp_path: Path, kind: str) -> None:
    """One line lost, doubled or altered in the middle of one log is never called equal."""
    lines = [f"{kind} A.B {n} {n} 1 {n:016x}" for n in range(100)]
    (tmp_path / "one").write_text("\n".join(lines))
    for harmed in (lines[:50] + lines[51:], [*lines[:50], lines[49], *lines[50:]], [*lines[:50], "x" + lines[50]]):
        changed = [line.replace("x" + kind, f"{kind}") + "0" * line.startswith("x") for line in harmed]
        (tmp_path / "two").write_text("\n".join(changed))
        (found,) = compare(tmp_path / "one", tmp_path / "two")
        assert not found.equal


def test_an_image_that_gives_another_book_is_found(tmp_path: Path) -> None:
    """An image stands for increments only if it gives the book they gave."""
    lines = [f"book A.B {n} {n} 1 {n:016x}" for n in range(40)]
    (tmp_path / "one").write_text("\n".join(lines))
    for book, equal in ((29, True), (28, False)):
        imaged = [*lines[:20], f"book A.B image 29 29 7 {book:016x}", *lines[30:]]
        (tmp_path / "two").write_text("\n".join(imaged))
        (found,) = compare(tmp_path / "one", tmp_path / "two")
        assert isinstance(found, Comparison)
        assert (found.equal, found.imaged, found.common) == (equal, 10, 30)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored minute of the market, told to nobody."""
    lanes = Kept("redis://127.0.0.1:1")

    async def told() -> None:
        async def keep(messages: dict[str, bytes], instances: Sequence[str] = INSTANCES) -> None:
            for schema, message in messages.items():
                lanes.kept.setdefault(schema, []).extend([message] if message else [])

        lanes.send = keep  # type: ignore[method-assign] # no server is needed for what is only stored
        for _ in range(600):
            await lanes.step()
            await asyncio.sleep(0.001)

    asyncio.run(told())
    return lanes.store(tmp_path_factory.mktemp("stored") / "day")


def test_the_page_needs_nothing_else_and_says_everything(tmp_path: Path, day: Path) -> None:
    """One file without scripts or links: charts that are well-formed, each fill once in the table and once on the price,
    and the assumptions and the data's quality in words. Run twice, the same digest."""
    page = tmp_path / "page.html"
    done = backtest(tmp_path, day, "--output", str(page), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    fills = told["instruments"][0]["fills"]
    assert fills > 3
    assert told["orders"]["submitted"] == fills
    html = page.read_text("utf-8")
    assert not re.findall(r"<script|<link|src=|href=|url\(|@import", html)
    charts = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]
    assert len(charts) == 3
    assert len(charts[2].findall("path/title")) == fills
    trades = html.split("<h2>Trades</h2>")[1].split("</table>")[0]
    assert trades.count("<tr>") == fills + 1
    assert "no completeness report: what is missing is unknown" in html
    assert "1 ms from the decision to the book" in html
    assert "taker 3 basis points" in html
    assert told["digest"] in html
    again = json.loads(backtest(tmp_path, day, "--json").stdout)
    assert again | {"seconds": 0} == told | {"seconds": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday", "--to", "2026-11-21"], r"--from is 'yesterday', expected a day such as 2026-11-21"),
        (["--from", "2026-11-22", "--to", "2026-11-21"], r"expected a time after --from"),
        (["--from", "2001-01-01", "--to", "2001-01-02"], r"there is no data of these instruments between"),
        ([*SPAN, "--source", "/nowhere"], r"holds nothing of DERIBIT: coalesce a day of it first"),
        ([*SPAN, "--output", "/nowhere/page.html"], r"there is no folder '/nowhere'"),
    ],
)
def test_what_cannot_run_is_one_line(
    tmp_path: Path,
    day: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and what to do next, never a traceback."""
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    options = ["--config", str(config), "--source", str(day), *arguments]
    monkeypatch.setattr(sys, "argv", ["penstock", "backtest", "witness", *options])
    with pytest.raises(SystemExit) as ended:
        command_line()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert error.count("\n") == 1
