"""Bare TCP behind the WebSocket protocol: frames whole whatever the chunks, breaks found before anybody decodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import databento_dbn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import dbn
from penstock.errors import ConnectionLost
from penstock.framing import SIZES, Framer, FramingError, captured_at
from services.session_manager import tcp
from services.session_manager.transports import dialer

LINES = b"lsg_version=0.6.4\ncram=abc\nsuccess=1|session_id=7\n"
METADATA = bytes(
    databento_dbn.Metadata(
        dataset="GLBX.MDP3", start=5, stype_in=None, stype_out=databento_dbn.SType("instrument_id"), schema=None,
        symbols=[], mappings=[], version=3,
    )
)  # fmt: skip


def mbo(instrument_id: int, order_id: int, flags: int) -> bytes:
    return dbn.mbo(1, instrument_id, 10, order_id, 10**9, 1, flags, b"A", b"B", 11, order_id)


def trade(instrument_id: int) -> bytes:
    return dbn.trade(1, instrument_id, 10, 10**9, 1, b"B", 0, 12, 1)


STREAM = b"".join(
    (LINES, METADATA, mbo(1, 1, 0), mbo(2, 2, 0), trade(1), mbo(1, 3, 128), mbo(2, 4, 128), dbn.system(0, 0, 9, "x"))
)
FRAMES = [
    b"lsg_version=0.6.4\n", b"cram=abc\n", b"success=1|session_id=7\n", METADATA, trade(1), mbo(1, 1, 0) + mbo(1, 3, 128),
    mbo(2, 2, 0) + mbo(2, 4, 128), dbn.system(0, 0, 9, "x"),
]  # fmt: skip


class TestFramer:
    @given(st.lists(st.integers(1, 700), min_size=1))
    def test_chunks_make_no_difference(self, sizes: list[int]):
        """An event is one frame, also where other instruments' records come between; lines and metadata are one each."""
        framer, frames, at, turn = Framer(), list[bytes](), 0, 0
        while at < len(STREAM):
            size = sizes[turn % len(sizes)]
            frames += framer.feed(STREAM[at : at + size])
            at, turn = at + size, turn + 1
        assert frames == FRAMES
        assert not framer.end()

    @given(st.integers(0, 255), st.sampled_from(sorted(SIZES)))
    def test_a_record_has_a_size_of_its_type(self, words: int, rtype: int):
        """Anything else is the end of the stream: behind it nothing can be read."""
        framer = Framer()
        framer.feed(METADATA)
        record = bytes((words, rtype)) + bytes(1024)
        if words * 4 in SIZES[rtype]:
            framer.feed(record[: words * 4])
        else:
            with pytest.raises(FramingError, match="says that it has"):
                framer.feed(record)

    def test_a_record_of_an_unknown_type_is_a_frame(self):
        """A new type costs nobody the stream."""
        framer = Framer()
        framer.feed(METADATA)
        record = bytes((5, 0x77)) + bytes(18)
        assert framer.feed(record + trade(1)) == [record, trade(1)]

    def test_records_with_a_time_of_sending_are_refused(self):
        """`ts_out` was not asked for."""
        framer = Framer()
        framer.feed(METADATA)
        with pytest.raises(FramingError):
            framer.feed(bytes((trade(1)[0] + 2,)) + trade(1)[1:] + bytes(8))

    def test_no_line_and_no_metadata_is_endless(self):
        """What has no end is given up."""
        with pytest.raises(FramingError, match="line"):
            Framer().feed(b"x" * 70_000)
        with pytest.raises(FramingError, match="metadata"):
            Framer().feed(b"DBN\x03\xff\xff\xff\xff")

    def test_the_end_within_an_event_and_within_a_record(self):
        """Whole records of an event without an end are known as that; half a record is an error."""
        framer = Framer()
        framer.feed(METADATA + mbo(1, 1, 0))
        assert framer.end() == [mbo(1, 1, 0)]
        framer.feed(mbo(1, 1, 128)[:30])
        with pytest.raises(FramingError, match="30 bytes"):
            framer.end()

    def test_when_it_was_captured(self):
        """Of an event the last record counts; a bar has only its start."""
        assert captured_at(mbo(1, 1, 0) + mbo(1, 2, 128)) == 11
        assert captured_at(trade(1)) == 12
        assert captured_at(dbn.ohlcv(0x21, 1, 1, 77, 1, 1, 1, 1, 1)) == 77
        assert captured_at(dbn.trade(1, 1, 10, 1, 1, b"B", 0, 2**64 - 1, 1)) == 0


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def gateway(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_lines_go_out_and_frames_come_in():
    """Through the dialer, by the URL's scheme: what is sent arrives as it is, what arrives is cut into frames."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM[:100])
        heard.append(await reader.readline())
        writer.write(STREAM[100:])
        writer.close()

    async with gateway(serve) as url, aiohttp.ClientSession() as http:
        stream = await dialer(http)(url)
        frames = [await stream.receive()]
        await stream.send("auth=1\n")
        await stream.ping()
        frames += [await stream.receive() for _ in FRAMES[1:]]
        with pytest.raises(ConnectionLost, match="end of stream"):
            await stream.receive()
        await stream.close()
        await stream.close()
    assert (frames, heard, stream.beats) == (FRAMES, [b"auth=1\n"], 0)


async def test_a_broken_stream_ends_the_connection():
    """A wrong length byte never reaches a decoder."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(METADATA)
        await writer.drain()
        writer.write(b"\0" + trade(1)[1:])
        writer.close()

    async with gateway(serve) as url:
        stream = await tcp.dial(url)
        assert await stream.receive() == METADATA
        with pytest.raises(ConnectionLost, match="framing: a record of type 0x00"):
            await stream.receive()
        await stream.close()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "tcp://127.0.0.1:x", "tcp://no-such-host.invalid:13000"])
async def test_who_cannot_be_reached_is_said(url: str):
    """With the system's own reason."""
    with pytest.raises(ConnectionLost, match=r"dial_failed: .+"):
        await tcp.dial(url)
