"""The lease against DynamoDB's protocol: one contract for the tests' own slots and the real ones, and real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.errors import ConnectionLost, StaleEpoch, Terminal
from penstock.lease import Held, Slots, open_slots
from penstock.raw.v1.raw_pb2 import Instance, Kind
from services.session_manager.forwarder import Forwarder, Identity
from services.session_manager.queue import Policy, Queue
from services.session_manager.stamp import Stamper
from tests.integration.moto_harness import TABLE, Moto, moto
from tests.integration.test_mtls import served
from tests.unit.test_lease import MemorySlots

FIRST = Held(1_700_000_000, 0, "a", "host", released=False)


@pytest.fixture(scope="module")
def aws() -> Iterator[Moto]:
    with moto() as server:
        yield server


@pytest.fixture(params=["memory", "dynamodb"])
def slots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Slots:
    if request.param == "memory":
        return MemorySlots()
    return _slots(request.getfixturevalue("aws"), monkeypatch)


def _slots(server: Moto, monkeypatch: pytest.MonkeyPatch, table: str = TABLE) -> Slots:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return open_slots(f"dynamodb://{table}")


def test_a_record_changes_only_from_what_it_was(slots: Slots):
    assert slots.read("s/PRIMARY") is None
    assert slots.swap("s/PRIMARY", None, FIRST)
    assert slots.read("s/PRIMARY") == FIRST
    assert not slots.swap("s/PRIMARY", None, FIRST)
    renewed, taken = FIRST._replace(renewal=1), Held(FIRST.epoch + 1, 0, "b", "", released=False)
    assert slots.swap("s/PRIMARY", FIRST, renewed)
    assert not slots.swap("s/PRIMARY", FIRST, taken)  # it was renewed meanwhile
    assert slots.swap("s/PRIMARY", renewed, taken)
    assert not slots.swap("s/PRIMARY", renewed, renewed._replace(renewal=2))
    assert slots.read("s/PRIMARY") == taken
    assert slots.read("s/REPLICA") is None


def test_of_many_at_once_one_wins(slots: Slots):
    slots.swap("race", None, FIRST)
    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(
            lambda number: slots.swap("race", FIRST, Held(FIRST.epoch + 1, 0, str(number), "", released=False)), range(8)
        ))  # fmt: skip
    assert sum(wins) == 1


def test_refusals_and_silence_are_told_apart(aws: Moto, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(Terminal, match="ResourceNotFound"):
        _slots(aws, monkeypatch, "no-such-table").read("s")
    slots = _slots(aws, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionLost, match="dynamodb://leases"):
        open_slots(f"dynamodb://{TABLE}").read("s")
    aws.client("dynamodb").put_item(TableName=TABLE, Item={"slot": {"S": "odd"}})  # type: ignore[attr-defined]
    with pytest.raises(Terminal, match="'odd' is no lease"):
        slots.read("odd")


def test_a_third_session_manager_on_another_host_says_why_and_ends(aws: Moto, tmp_path: Path, monkeypatch):
    """Real processes, each with a state directory of its own as hosts have; the owner here is the test itself."""
    slots = _slots(aws, monkeypatch)
    owner = Held(FIRST.epoch, 0, "owner", "another host", released=False)
    slots.swap("deribit/PRIMARY", None, owner)
    third = subprocess.Popen(
        [
            sys.executable, "-m", "services.session_manager", "--provider", "deribit", "--instance", "PRIMARY",
            "--normalizer", "unix:/nowhere", "--batch-processor", "127.0.0.1:1", "--state-dir", tmp_path / "third",
            "--lease", f"dynamodb://{TABLE}", "--lease-ttl-s", "6",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert third.stdout is not None
    assert any("lease_awaited" in line for line in third.stdout)
    slots.swap("deribit/PRIMARY", owner, owner._replace(renewal=1))
    _, refusal = third.communicate(timeout=20)
    assert (third.returncode, refusal.count("\n")) == (2, 1), refusal
    assert "deribit/PRIMARY is held by another session manager" in refusal


async def test_an_owner_whose_time_is_over_sends_nothing(tmp_path: Path):
    """As after a freeze: what stands in the queue stays there, and the process is told to step down."""

    def check() -> None:
        raise StaleEpoch("the lease was not renewed")

    queue = Queue("batch_processor", Policy.RESEND, 1_000_000)
    Stamper((queue,)).stamp(1, "trades.x", Kind.KIND_FRAME, b"{}", 1)
    address = f"unix:{tmp_path}/batch.sock"
    async with served(address) as (lane, _):
        identity = Identity("deribit", Instance.INSTANCE_PRIMARY, 7)
        forwarder = Forwarder(address, queue, identity, lambda _: None, lambda _: None, check)
        with pytest.raises(StaleEpoch):
            await forwarder.run()
        assert lane.last == 0
