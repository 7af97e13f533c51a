"""The programs in docs/consuming.md, cut out and run as they stand, on what real normalizers publish."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio

from penstock.channels import Channel
from penstock.instruments import instrument_id
from penstock.markers import Heartbeat, parse
from tests.integration.client_harness import BOOK, TRADES, market
from tests.integration.normalizer_harness import PUBLISHER, S, Subscriber, text, until

ROOT = Path(__file__).resolve().parents[2]
PLAIN, CLIENT = re.findall(r"```python\n(.*?)```", (ROOT / "docs/consuming.md").read_text(), re.DOTALL)


@asynccontextmanager
async def running(program: Path, code: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """What the program prints, while it runs."""
    program.write_text(code)  # noqa: ASYNC240 # nothing runs yet
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", str(program), *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(output: asyncio.StreamReader, count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [(await output.readline()).decode().rstrip("\n") for _ in range(count)]


def test_the_plain_consumer_is_short_and_needs_nothing_of_ours() -> None:
    """Twenty lines and the imports."""
    code = [line for line in PLAIN.splitlines() if line.strip()]
    imports = [line for line in code if line.startswith(("import ", "from "))]
    assert len(code) - len(imports) <= 20
    assert not any("penstock" in line or "strategies" in line for line in code)


async def test_the_plain_consumer_reads_the_wire(tmp_path: Path, valkey: str) -> None:
    """Every trade of its lane with symbol, price and quantity, and a loss it was told of by a heartbeat's count."""
    async with (
        market(tmp_path, valkey) as venue,
        redis.asyncio.Redis.from_url(valkey) as client,
        Subscriber(valkey).listening() as seen,
    ):
        await until(lambda: client.exists("DEFINITION.DERIBIT"))
        async with running(tmp_path / "plain.py", PLAIN, valkey, "PRIMARY", "DERIBIT") as output:

            async def subscribed() -> bool:
                return await client.pubsub_numpat() == 2

            await until(subscribed, 10)
            await venue.beat()
            await venue.trades(1, 3)
            await venue.beat()
            await venue.trades(4, 5)
            assert await lines(output, 5) == [f"BTC B 5 1 {n}" for n in range(1, 6)]
            # Two messages that never came, as the publisher's own count tells it.
            name = Channel("PRIMARY", "TRADES", "DERIBIT", TRADES).name
            beat = parse(text([data for channel, data in seen.messages if channel == name and data[1] == 0x17][-1]))
            assert isinstance(beat, Heartbeat)
            beat = beat._replace(published=beat.published + 4)
            await client.publish(name, beat.record(PUBLISHER, instrument_id("deribit", "BTC"), 1))
            assert await lines(output, 1) == [f"lost 2 messages on {name}"]


async def test_the_clients_program_does_what_the_page_says(tmp_path: Path, valkey: str) -> None:
    """Trades in decimals, book records in columns, and the silence of both lanes."""
    async with (
        market(tmp_path, valkey) as venue,
        redis.asyncio.Redis.from_url(valkey) as client,
        running(tmp_path / "client.py", CLIENT, valkey) as output,
    ):

        async def subscribed() -> bool:
            return len(await client.client_list(_type="pubsub")) == 2

        await until(subscribed, 10)
        await asyncio.sleep(0.1)
        await venue.beat()
        await venue.trades(1, 2)
        await venue.tell((BOOK, {"seq": 1, "snapshot": True, "bids": [[50 * S, 3]], "asks": []}))
        printed = await lines(output, 6)
        print("\n".join(printed))
        assert [line for line in printed if line.endswith(" BTC")] == ["BTC B 5 1 BTC"] * 2
        assert "BTC 2 book records, the first (b'N', 9223372036854775807, 0)" in printed
        assert any(line.startswith("BTC MBO do not trust what you have: Stale(") for line in printed), printed
