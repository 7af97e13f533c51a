"""A venue that refuses for good and hangs up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from penstock.raw.v1.raw_pb2 import Kind
from tests.integration.session_manager_harness import Rig, running, until


async def test_a_venue_that_hangs_up_on_the_refused_is_left_alone(tmp_path: Path):
    """The refusal is the reason, not the end of the socket, and the next attempt waits as long as after a refusal."""
    rig = Rig(tmp_path)
    rig.venue.acknowledges = lambda channel: "fatal bad credentials"
    async with running(tmp_path, rig):
        await until(lambda: rig.venue.sockets, "a connection")
        await asyncio.sleep(0.2)
        for socket in list(rig.venue.sockets):
            await socket.close()
        await until(lambda: rig.hot.of(Kind.KIND_DISCONNECTED), "the end of the connection")
        await asyncio.sleep(0.5)
        ends = [json.loads(envelope.payload)["reason"] for envelope in rig.hot.of(Kind.KIND_DISCONNECTED)]
        assert ends == ["rejected: bad credentials"]
        assert rig.venue.count("connect") == 1
