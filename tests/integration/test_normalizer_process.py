"""The normalizer as a process: starts from flags, tells how it is, ends well, and says in one line why it cannot run."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys

import grpc.aio
import pytest

from penstock import listener
from penstock.errors import ConfigError
from penstock.raw.v1 import raw_pb2 as raw
from tests.integration.normalizer_harness import Rig, Subscriber, envelope, until

COMMAND = [sys.executable, "-m", "services.normalizer"]

PRODUCTS = {
    "products": [
        {
            "product_id": "BTC-USD", "price_increment": "0.01", "base_increment": "0.00000001", "quote_increment": "0.01",
            "base_min_size": "0.00000001", "base_currency_id": "BTC", "quote_currency_id": "USD", "product_type": "SPOT",
            "status": "online", "trading_disabled": False, "is_disabled": False, "cancel_only": False,
            "limit_only": False, "post_only": False, "auction_mode": False, "view_only": False,
        }
    ]
}  # fmt: skip


def heartbeat_frame(number: int) -> dict:
    return {
        "channel": "heartbeats",
        "client_id": "",
        "timestamp": "2026-08-09T21:05:48Z",
        "sequence_num": number,
        "events": [],
    }


async def test_the_process_serves_reports_and_ends_with_zero(tmp_path, valkey):
    """From its flags alone it listens on a private socket, publishes, logs its metrics each second, and SIGTERM ends it
    with exit code 0 after what it was given."""
    address = f"unix:{tmp_path}/n.sock"
    process = subprocess.Popen(  # noqa: ASYNC220 # started once, read at its end
        [*COMMAND, "--provider", "coinbase_advanced", "--instance", "REPLICA", "--listen", address, "--redis", valkey,
         "--quarantine-dir", str(tmp_path / "q")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        await until((tmp_path / "n.sock").exists, 10)
        assert stat.S_IMODE((tmp_path / "n.sock").stat().st_mode) == 0o600
        rig = Rig.at(address)
        async with Subscriber(valkey).listening() as seen:
            pusher = rig.pusher(provider="coinbase_advanced", instance=raw.INSTANCE_REPLICA)
            await pusher.send(
                envelope(1, "rest/products", PRODUCTS), envelope(2, "control", b'{"channel":"subscriptions"'),
            )  # fmt: skip
            await pusher.answer()
            await until(lambda: "definition.BTC-USD" in seen.on("DEFINITION"))
            process.send_signal(signal.SIGTERM)
            await pusher.send(envelope(3, "heartbeats", heartbeat_frame(1)))
            await pusher.acked(3)
        await rig.channel.close()
        out, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert all((line["service"], line["instance"]) == ("normalizer", "REPLICA") for line in lines)
    stats = [line["metrics"] for line in lines if line["event"] == "stats"]
    assert stats[-1]['penstock_records_total{schema="DEFINITION"}'] == 1
    assert stats[-1]['penstock_frames_total{kind="quarantined"}'] == 1
    assert not (tmp_path / "n.sock").exists()


def test_a_wrong_configuration_is_one_readable_line(tmp_path):
    """Exit code 2 and one line on stderr, without the password, also where the fault shows only after the start."""
    flags = {"--provider": "coinbase_advanced", "--instance": "PRIMARY", "--listen": "unix:/nonexistent/n.sock"}
    flags |= {"--redis": "redis://u:hunter2@127.0.0.1:1"}
    run = subprocess.run([*COMMAND, *(word for flag in flags.items() for word in flag)], capture_output=True, text=True)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert run.stderr.startswith("penstock: --listen is '/nonexistent/n.sock': its folder does not exist")
    assert "hunter2" not in run.stderr + run.stdout


@pytest.mark.parametrize(
    "address", ["0.0.0.0:5000", "10.1.2.3:5000", "[::]:5000", "example.com:5000", "5000", "127.0.0.1"]
)
async def test_only_loopback_is_listened_on(address):
    """Any address that others could reach, or that is none, is refused."""
    server = grpc.aio.server()
    with pytest.raises(ConfigError, match="expected unix:"):
        listener.bind(server, address)
    await server.stop(None)


async def test_a_file_that_is_no_socket_is_never_removed(tmp_path):
    """A path that holds somebody's file is refused, as is one too long for a socket."""
    (tmp_path / "precious").write_text("x")
    server = grpc.aio.server()
    with pytest.raises(ConfigError, match="exists and is not a socket"):
        listener.bind(server, f"unix:{tmp_path}/precious")
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        listener.bind(server, f"unix:{tmp_path}/{'x' * 110}")
    await server.stop(None)
    assert (tmp_path / "precious").read_text() == "x"
