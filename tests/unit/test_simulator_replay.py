"""A recording is served as the venue it came from: acknowledged, in order, at its pace, to every connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest

import providers
from penstock.errors import Terminal
from simulator.__main__ import main as simulate
from simulator.captures import Frame
from simulator.replay import Replay, main

NS = 1_000_000_000
START = 1_700_000_000 * NS

SIMULATOR = """
import json

class Simulator:
    stream_path = "/stream"

def acknowledge(text):
    asked = json.loads(text)
    return [json.dumps({"ack": asked["subscribe"]})] if "subscribe" in asked else []

def definitions_for(symbols):
    return {"/v1/instruments": json.dumps(symbols)}

def idle_frames(number):
    return [json.dumps({"heartbeat": number})]
"""
PAYLOADS = """
import json

def channel_of(frame):
    return json.loads(frame).get("channel", "control")
"""


@pytest.fixture
def provider(tmp_path, monkeypatch) -> str:
    """A provider folder of its own, found like any other."""
    folder = tmp_path / "providers" / "toyreplay"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "simulator.py").write_text(SIMULATOR)
    (folder / "payloads.py").write_text(PAYLOADS)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(folder.parent)])
    yield "toyreplay"
    for name in [name for name in sys.modules if name.startswith("providers.toyreplay")]:
        del sys.modules[name]


def frame(seconds: float, text: dict) -> Frame:
    return Frame(START + round(seconds * NS), 1, "ws", "", json.dumps(text).encode())


def book(seconds: float, url: str, text: str) -> Frame:
    return Frame(START + round(seconds * NS), 0, "rest", url, text.encode())


FRAMES = [
    book(-1, "https://x/api/v1/products?type=spot", "products"),
    frame(0, {"ack": "recorded"}),
    *(frame(number / 100, {"channel": f"book.{number}", "symbol": f"S{number % 2}"}) for number in range(100)),
    book(0.5, "https://x/api/v1/depth?symbol=S1&limit=100", "half"),
    frame(1.0, {"channel": "last"}),
]


@asynccontextmanager
async def replaying(provider, speed, wait=1, frames=FRAMES, ledger=None):
    replay = Replay(provider, sorted(frames, key=lambda item: item.ts_recv), speed, wait, ledger)
    runner, urls = await replay.start(0)
    playing = asyncio.create_task(replay.play())
    beating = asyncio.create_task(replay.beat())
    async with aiohttp.ClientSession() as session:
        yield session, urls, playing
    beating.cancel()
    playing.cancel()
    await asyncio.gather(playing, beating, return_exceptions=True)
    await runner.cleanup()


async def subscribed(session, urls):
    socket = await session.ws_connect(urls["stream"])
    await socket.send_str('{"subscribe": "all"}')
    assert json.loads((await socket.receive()).data) == {"ack": "all"}
    return socket


async def until_last(socket) -> list[str]:
    found = []
    async with asyncio.timeout(10):
        while not found or found[-1] != '{"channel": "last"}':
            found.append((await socket.receive()).data)
    return [text for text in found if "heartbeat" not in text]


async def test_every_connection_gets_every_frame(provider):
    """Two connections receive the same frames in order, byte for byte, without the recorded acknowledgements."""
    expected = [item.payload.decode() for item in FRAMES if item.kind == "ws"][1:]
    async with replaying(provider, 0, wait=2) as (session, urls, playing):
        first = await subscribed(session, urls)
        await asyncio.sleep(0.1)
        assert not playing.done()
        second = await subscribed(session, urls)
        assert await until_last(first) == expected
        assert await until_last(second) == expected
        assert await playing == len(expected) == 101


async def test_pace_is_the_recorded_one(provider):
    """At speed 2 a second of recording takes half a second."""
    async with replaying(provider, 2) as (session, urls, _):
        socket = await subscribed(session, urls)
        clock = asyncio.get_running_loop().time
        while (await socket.receive()).data != '{"channel": "book.0", "symbol": "S0"}':
            pass
        began = clock()
        await until_last(socket)
        assert 0.45 < clock() - began < 0.8


async def test_rest_answers_come_from_the_recording(provider):
    """Definitions are answered at once, a book when its moment has come; what nobody knows is a 404."""
    async with replaying(provider, 1) as (session, urls, playing):

        async def get(path: str) -> tuple[int, str]:
            async with session.get(urls["rest"] + path) as answer:
                return answer.status, await answer.text()

        assert await get("/api/v3/products?type=spot&limit=5") == (200, "products")
        assert (await get("/api/v3/products?type=future"))[0] == 404
        assert (await get("/api/v1/nothing"))[0] == 404
        assert await get("/v1/instruments") == (200, '["S0", "S1"]')
        asked = asyncio.create_task(get("/api/v3/depth?symbol=S1&limit=1000"))
        await asyncio.sleep(0.2)
        assert not asked.done()
        socket = await subscribed(session, urls)
        while (await socket.receive()).data != '{"channel": "book.40", "symbol": "S0"}':
            pass
        assert not asked.done()
        assert await asyncio.wait_for(asked, 2) == (200, "half")
        assert not playing.done()


async def test_heartbeats_go_on_after_the_end(provider):
    """A connection that has everything is kept alive in the venue's way."""
    async with replaying(provider, 0) as (session, urls, playing):
        socket = await subscribed(session, urls)
        await until_last(socket)
        await playing
        async with asyncio.timeout(5):
            assert "heartbeat" in json.loads((await socket.receive()).data)


async def test_ledger_line_per_frame(provider, tmp_path):
    """Each frame's number, channel and hash are in the file."""
    with (tmp_path / "ledger").open("wb", buffering=0) as ledger:
        async with replaying(provider, 0, ledger=ledger) as (session, urls, playing):
            await subscribed(session, urls)
            count = await playing
    lines = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(1, count + 1))
    assert lines[-1]["channel"] == "last"
    assert lines[-1]["sha256"] == hashlib.sha256(b'{"channel": "last"}').hexdigest()


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (simulate, ["--providers", "nowhere", "--ledger", "l"], "'nowhere' has no providers/nowhere/simulator.py"),
        (simulate, ["--providers", "deribit"], "--ledger is missing"),
        (simulate, ["--providers", "deribit", "--ledger", "l", "--rate", "-1"], "--rate is -1.0"),
        (main, ["--provider", "nowhere", "--capture", "x"], "no module providers.nowhere"),
        (
            main,
            ["--provider", "deribit", "--capture", "x", "--speed", "fast"],
            "--speed is 'fast', expected a positive",
        ),
        (main, ["--provider", "deribit", "--capture", "missing"], "missing, line 0: expected a readable file"),
    ],
)
def test_wrong_use_is_one_readable_line(command, arguments, expected, tmp_path, monkeypatch):
    """An unknown provider, a bad speed or a missing file is an error that says what was expected."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(b"1723161253937085768 {}\n")
    with pytest.raises(Terminal, match=expected) as error:
        command(arguments)
    assert "\n" not in str(error.value)


def test_sigterm_ends_the_replay_in_order(provider, tmp_path, monkeypatch, capsys):
    """The process says where it listens and ends with 0 when asked to."""
    capture = tmp_path / "X.ws.1.0"
    capture.write_text('wss://x <-> 1.5\n1.6: {"channel": "a"}\n')

    async def run() -> None:
        asyncio.get_running_loop().call_later(0.3, signal.raise_signal, signal.SIGTERM)

    runs = asyncio.run

    def both(coroutine):
        async def go():
            await run()
            await coroutine

        return runs(go())

    monkeypatch.setattr("simulator.replay.asyncio.run", both)
    assert main(["--capture", str(capture), "--provider", provider, "--speed", "max"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["event"] == "listening"
    assert said["providers"]["toyreplay"]["stream"].endswith("/toyreplay/stream")
