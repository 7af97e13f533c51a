"""The simulated gateway over real TCP: what it says, what it refuses, what it can be made to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import databento_dbn
import pytest

from penstock.framing import Framer, FramingError
from providers.databento.session import NO_KEY, answer
from providers.databento.simulator import Simulator
from simulator.ledger import Ledger
from simulator.server import Server

SUBSCRIBE = "schema={}|stype_in={}|symbols={}|snapshot={}|id=1|is_last=1\n"


class Client:
    """One connection, its frames in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.framer = Framer()
        self.frames: list[bytes] = []

    def say(self, text: str) -> None:
        self.writer.write(text.encode())

    async def hear(self) -> bytes:
        """The next frame; b"" at the end."""
        while not self.frames:
            async with asyncio.timeout(5):
                data = await self.reader.read(65536)
            if not data:
                return b""
            self.frames += self.framer.feed(data)
        return self.frames.pop(0)

    async def end(self) -> None:
        """Everything up to the end."""
        while await self.hear():
            pass

    async def until(self, kind: type) -> list[Any]:
        """The records up to and with the first of a kind."""
        found: list[Any] = []
        while not found or not isinstance(found[-1], kind):
            frame = await self.hear()
            assert frame, found
            found += _records(frame)
        return found

    async def login(self, **more: str) -> str:
        assert (await self.hear()).startswith(b"lsg_version=")
        challenge = (await self.hear()).decode().strip().partition("=")[2]
        line = {"auth": answer(challenge, NO_KEY), "dataset": "GLBX.MDP3", "encoding": "dbn"} | more
        self.say("|".join(f"{key}={value}" for key, value in line.items()) + "\n")
        return (await self.hear()).decode()


def _records(frame: bytes) -> list[Any]:
    decoder: Any = databento_dbn.DBNDecoder(has_metadata=frame.startswith(b"DBN"), input_version=3)
    decoder.write(frame)
    return list(decoder.decode())


@asynccontextmanager
async def market(directory: Path, rate: float = 200) -> AsyncIterator[tuple[str, str, Path]]:
    """(stream URL, control URL, ledger) of a running market."""
    path = directory / "ledger.jsonl"
    with Ledger(path) as ledger:
        server = Server([Simulator(1, ledger)], ledger, rate)
        urls = (await server.start(0))["databento"]
        running = asyncio.create_task(server.run())
        try:
            yield str(urls["stream"]), str(urls["rest"]).rpartition("/")[0] + "/control", path
        finally:
            running.cancel()
            await asyncio.wait({running})
            await server.close()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    host, _, port = url.removeprefix("tcp://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()


async def test_a_session_from_login_to_live_data(tmp_path: Path):
    """Metadata, acknowledgements, who is who, definitions, a snapshot, then what the ledger says."""
    async with market(tmp_path) as (url, _, path):
        assert url.startswith("tcp://127.0.0.1:")
        async with client(url) as one:
            assert (await one.login()).startswith("success=1|session_id=")
            one.say(SUBSCRIBE.format("definition", "parent", "ES.FUT", 0).replace("|snapshot", "|start=0|snapshot"))
            one.say(SUBSCRIBE.format("mbo", "raw_symbol", "ESZ6", 1).replace("id=1", "id=2"))
            one.say(SUBSCRIBE.format("trades", "continuous", "ES.c.0", 0).replace("id=1", "id=3"))
            one.say("start_session=0\n")
            (metadata,) = _records(await one.hear())
            assert (metadata.dataset, metadata.start, metadata.schema) == ("GLBX.MDP3", 0, None)
            heard = await one.until(databento_dbn.TradeMsg)
        texts = [record.msg for record in heard if isinstance(record, databento_dbn.SystemMsg)]
        assert [f"Subscription request {n} for {schema} data succeeded" for n, schema in
                ((1, "definition"), (2, "mbo"), (3, "trades"))] == [text for text in texts if "request" in text]  # fmt: skip
        assert "Finished definition replay" in texts
        names = {record.instrument_id: record.stype_out_symbol for record in heard
                 if isinstance(record, databento_dbn.SymbolMappingMsg)}  # fmt: skip
        assert list(names.values()) == ["ESZ6"]
        assert [record.raw_symbol for record in heard if isinstance(record, databento_dbn.InstrumentDefMsg)] == ["ESZ6"]
        orders = [record for record in heard if isinstance(record, databento_dbn.MBOMsg)]
        assert (str(orders[0].action), int(orders[0].flags)) == ("R", 40)
        assert {int(record.flags) for record in orders if int(record.flags) & 32} == {40, 168}
        trade = heard[-1]
        ledger = [json.loads(line) for line in path.read_text().splitlines()]
    (entry,) = [
        line for line in ledger
        if line.get("schema") == "TRADES" and line["symbol"] == "ESZ6" and line["sequence"] == trade.sequence
    ]  # fmt: skip
    assert (entry["side"], entry["ts_event"], entry["receivers"]) == (str(trade.side), trade.ts_event, 1)


async def test_a_replay_begins_where_it_was_asked_to(tmp_path: Path):
    """Everything since, the same bytes as live, then the completion, then live."""
    async with market(tmp_path) as (url, _, _), client(url) as one, client(url) as two:
        await one.login()
        one.say(SUBSCRIBE.format("trades", "raw_symbol", "ESZ6", 0) + "start_session=0\n")
        live = [record for _ in range(10) for record in await one.until(databento_dbn.TradeMsg)
                if isinstance(record, databento_dbn.TradeMsg)]  # fmt: skip
        await two.login()
        start = f"|start={live[3].ts_event}|snapshot"
        two.say(SUBSCRIBE.format("trades", "raw_symbol", "ESZ6", 0).replace("|snapshot", start) + "start_session=0\n")
        (metadata,) = _records(await two.hear())
        assert metadata.start == live[3].ts_event
        again: list[bytes] = []
        while len(again) < 7:
            again += [
                bytes(r) for r in await two.until(databento_dbn.TradeMsg) if isinstance(r, databento_dbn.TradeMsg)
            ]
        assert again[:7] == [bytes(record) for record in live[3:]]


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        ("auth=00-00000|dataset=X|encoding=dbn\n", b"success=0|error=Authentication failed.\n"),
        ("schema=mbo|symbols=ESZ6\n", b"error=Not authenticated.\n"),
        ("start_session=0\n", b"error=Not authenticated.\n"),
        ("\n", b"error=Not authenticated.\n"),
    ],
)
async def test_strangers_are_shown_out(tmp_path: Path, line: str, answered: bytes):
    """With the gateway's word, and the connection ends."""
    async with market(tmp_path) as (url, _, _), client(url) as one:
        await one.hear()
        await one.hear()
        one.say(line)
        assert await one.hear() == answered
        assert await one.hear() == b""


async def test_nonsense_after_the_login(tmp_path: Path):
    """A heartbeat interval below the least, an unknown request, an unknown schema, a symbol that does not exist."""
    async with market(tmp_path) as (url, _, _):
        async with client(url) as one:
            assert await one.login(heartbeat_interval_s="4") == "error=Invalid parameters.\n"
        async with client(url) as one:
            await one.login()
            one.say("hello\n")
            assert await one.hear() == b"error=Unknown request.\n"
        async with client(url) as one:
            await one.login()
            one.say(SUBSCRIBE.format("mbo", "raw_symbol", "NONE", 0))
            one.say(SUBSCRIBE.format("tbbo", "raw_symbol", "ESZ6", 0) + "start_session=0\n")
            await one.hear()
            codes = [
                record.code.value if hasattr(record.code, "value") else int(record.code)
                for _ in range(3)
                for record in _records(await one.hear())
                if isinstance(record, databento_dbn.ErrorMsg)
            ]
            assert codes == [4, 5]
            assert await one.hear() == b""


async def test_heartbeats_where_nothing_else_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Within the interval that was asked for."""
    from providers.databento import simulator

    monkeypatch.setattr(simulator, "NS_PER_S", 10**7)
    async with market(tmp_path) as (url, _, _), client(url) as one:
        await one.login(heartbeat_interval_s="5")
        one.say("start_session=0\n")
        await one.hear()
        records = [record for _ in range(3) for record in _records(await one.hear())]
        assert len(records) == 3
        assert all(record.is_heartbeat() for record in records)


async def test_faults_of_a_byte_stream(tmp_path: Path):
    """Close, garbage and refusal; the framing finds the garbage."""
    async with market(tmp_path) as (url, control, path), aiohttp.ClientSession() as http:

        async def inject(kind: str, **more: object) -> None:
            body = {"provider": "databento", "kind": kind, **more}
            async with http.post(f"{control}/fault", json=body) as response:
                assert response.status == 200, await response.text()

        async with client(url) as one:
            await one.login()
            one.say(SUBSCRIBE.format("trades", "raw_symbol", "ESZ6", 0) + "start_session=0\n")
            await one.until(databento_dbn.TradeMsg)
            await inject("garbage", channel="trades.*")
            with pytest.raises(FramingError):
                await one.end()
        async with client(url) as one:
            await one.hear()
            await inject("close")
            await one.end()
        await inject("refuse_connect", seconds=0.5)
        async with client(url) as one:
            with suppress(ConnectionResetError):
                assert await one.hear() == b""
    faults = [line["fault"] for line in map(json.loads, path.read_text().splitlines()) if "fault" in line]
    assert faults == ["garbage", "close", "refuse_connect"]
