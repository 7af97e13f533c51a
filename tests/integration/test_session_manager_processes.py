"""The session manager as real processes: one owner, one budget, one readable line, a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from penstock.raw.v1.raw_pb2 import Kind
from tests.integration.session_manager_harness import Consumer, ToyVenue, until

REPOSITORY = Path(__file__).resolve().parents[2]

MANAGER = """
import asyncio, sys
from pathlib import Path
from penstock import config, telemetry
from services.session_manager.__main__ import serve
from services.session_manager.lease import FileLease
from services.session_manager.service import Setup
from tests.integration.session_manager_harness import QUICK, ToySession, ToyVenue, channel_of, info

def main(argv):
    folder, stream, rest, instance = argv
    venue = ToyVenue()
    venue.stream, venue.rest = stream, rest
    telemetry.configure("session_manager")
    with FileLease(Path(folder), "toy", instance) as epoch:
        asyncio.run(serve(Setup(
            info=info(), instance=instance, epoch=epoch, make_session=lambda: ToySession(venue),
            channels_on=lambda _url: channel_of, normalizer=f"unix:{folder}/hot.sock",
            batch_processor=f"unix:{folder}/cold.sock", state_dir=Path(folder), timing=QUICK)))
    return 0

config.run(main)
"""


async def start(folder: Path, venue: ToyVenue, instance: str = "PRIMARY") -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", MANAGER, str(folder), venue.stream, venue.rest, instance]
    return await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def test_one_owner_per_instance_and_a_clean_end(tmp_path: Path):
    """A third session is refused in one line; SIGTERM drains and exits 0; the log is JSON with a stats line."""
    venue, hot, cold = ToyVenue(), Consumer(f"unix:{tmp_path}/hot.sock"), Consumer(f"unix:{tmp_path}/cold.sock")
    async with venue.serving():
        await hot.start()
        await cold.start()
        owner = await start(tmp_path, venue)
        await until(lambda: hot.of(Kind.KIND_CONNECTED), "connected", 15)
        third = await start(tmp_path, venue)
        _, refusal = await third.communicate()
        assert (third.returncode, refusal.count(b"\n")) == (2, 1), refusal
        assert b"toy PRIMARY is already running" in refusal
        for _ in range(100):
            await venue.publish()
        await until(lambda: len(hot.of(Kind.KIND_HEARTBEAT)) >= 3, "heartbeats")
        owner.send_signal(signal.SIGTERM)
        output, errors = await owner.communicate()
        assert (owner.returncode, errors) == (0, b"")
        await hot.stop()
        await cold.stop()
    assert cold.frames("trades.A") == hot.frames("trades.A") == list(range(1, 101))
    assert cold.received[-1].kind == Kind.KIND_DISCONNECTED
    lines = [json.loads(line) for line in output.splitlines()]
    assert {"consumer_connected", "session_connected", "stats", "stopped"} <= {line["event"] for line in lines}
    stats = [line["metrics"] for line in lines if line["event"] == "stats"]
    assert max(metrics["penstock_connections_up"] for metrics in stats) == 1
    last = stats[-1]
    assert last["penstock_frames_total"] == len(cold.of(Kind.KIND_FRAME))
    for consumer in ("normalizer", "batch_processor"):
        enqueued, delivered, dropped, held = (
            last[f'penstock_{name}{{consumer="{consumer}"}}']
            for name in ("enqueued_total", "delivered_total", "dropped_total", "queue_held")
        )
        assert enqueued == delivered + dropped + held == len(cold.received)


async def test_a_killed_owner_is_followed_by_a_larger_epoch(tmp_path: Path):
    """kill -9 releases the lease at once, and consumers can tell the successor from what the dead one sent."""
    venue, hot, cold = ToyVenue(), Consumer(f"unix:{tmp_path}/hot.sock"), Consumer(f"unix:{tmp_path}/cold.sock")
    async with venue.serving():
        await hot.start()
        await cold.start()
        epochs = []
        for round_ in (1, 2):
            owner = await start(tmp_path, venue)
            await until(lambda round_=round_: len(hot.of(Kind.KIND_CONNECTED)) == round_, "connected", 15)
            epochs.append(hot.batches[-1].epoch)
            owner.kill()
            await owner.communicate()
        await hot.stop()
        await cold.stop()
    assert epochs[0] < epochs[1]


def test_many_processes_share_one_budget(tmp_path: Path):
    """However many processes ask, together they never take more than half of the limit within any window."""
    script = textwrap.dedent(f"""
        import asyncio, pathlib
        from penstock import clock
        from penstock.provider import Limit
        from services.session_manager.budget import Window
        async def main():
            window = Window(pathlib.Path({str(tmp_path / "w")!r}), Limit(20, 0.5))
            end = clock.monotonic_s() + 1.2
            while clock.monotonic_s() < end:
                if window.take() == 0:
                    print(clock.monotonic_s())
                await asyncio.sleep(0.001)
        asyncio.run(main())
    """)
    crowd = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for _ in range(4)
    ]
    taken = sorted(float(line) for process in crowd for line in process.communicate()[0].split())
    # The printed times are taken a moment after the stamp.
    assert all(later - earlier >= 0.49 for earlier, later in zip(taken, taken[10:], strict=False))
    assert len(taken) >= 20


def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path):
    """A person sees what is wrong without a traceback."""
    arguments = [
        *("--provider", "no_such_venue", "--instance", "PRIMARY", "--state-dir", str(tmp_path)),
        *("--normalizer", "unix:/n", "--batch-processor", "127.0.0.1:1"),
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "services.session_manager", *arguments], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert (ended.returncode, ended.stderr.count("\n"), "no_such_venue" in ended.stderr) == (2, 1, True), ended.stderr
