"""Channels that only a frame and its connection's URL name together: `payloads.channel_on`."""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace

import aiohttp
import pytest

import providers
from penstock.payloads import channels_on
from simulator.captures import Frame
from simulator.replay import Replay

START = 1_700_000_000_000_000_000
SIMULATOR = """
def acknowledge(text):
    return ['{"ack":1}']

def symbols_in(frames):
    return sorted({f.url.rpartition("/")[2] for f in frames})
"""
PAYLOADS = """
import json

def channel_of(frame):
    return json.loads(frame).get("channel", "control")

def channel_on(url):
    market = url.rpartition("/")[2]
    return lambda frame: "control" if channel_of(frame) == "control" else f"{market}.{channel_of(frame)}"
"""


@pytest.fixture
def provider(tmp_path, monkeypatch) -> str:
    """A provider whose frames do not say which market they are of."""
    folder = tmp_path / "providers" / "toymarkets"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "simulator.py").write_text(SIMULATOR)
    (folder / "payloads.py").write_text(PAYLOADS)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(folder.parent)])
    yield "toymarkets"
    for name in [name for name in sys.modules if name.startswith("providers.toymarkets")]:
        del sys.modules[name]


def test_a_module_without_channel_on_is_asked_for_the_frame_alone():
    """The URL changes nothing where frames say everything."""
    plain = SimpleNamespace(channel_of=lambda frame: frame.decode())
    assert channels_on(plain, "wss://x/spot")(b"book") == "book"


def test_a_module_with_channel_on_is_told_the_url():
    """The same frame is of another channel on another connection."""
    module = SimpleNamespace(
        channel_of=bytes.decode, channel_on=lambda url: lambda frame: f"{url[-4:]}.{frame.decode()}"
    )
    assert channels_on(module, "wss://x/spot")(b"book") == "spot.book"


async def test_a_replay_sends_frames_only_where_they_mean_the_same(provider):
    """A connection to one market gets its frames, never the other's."""
    frames = [Frame(START + i, 1 + i % 2, "ws", f"wss://x/{market}", json.dumps({"channel": "book", "n": i}).encode())
              for i, market in enumerate(["spot", "linear"] * 20)]  # fmt: skip
    replay = Replay(provider, frames, 0, 2)
    runner, urls = await replay.start(0)
    assert urls["symbols"] == ["linear", "spot"]
    playing = asyncio.create_task(replay.play())
    async with aiohttp.ClientSession() as session:
        sockets = {market: await session.ws_connect(f"{urls['stream']}/{market}") for market in ("spot", "linear")}
        for parity, (market, socket) in enumerate(sockets.items()):
            await socket.send_str("subscribe")
            assert (await socket.receive()).data == '{"ack":1}', market
            assert parity in (0, 1)
        assert await playing == 40
        for parity, socket in enumerate(sockets.values()):
            async with asyncio.timeout(5):
                got = [json.loads((await socket.receive()).data)["n"] for _ in range(20)]
            assert got == list(range(parity, 40, 2))
    await runner.cleanup()
