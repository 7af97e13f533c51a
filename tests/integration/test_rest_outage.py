"""The REST poller through a real session manager against its simulated sources, while they fail and after."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import providers
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from providers.rest.normalizer import Normalizer
from providers.rest.session import Session
from providers.rest.simulator import Simulator
from services.session_manager.service import Service, Setup
from services.session_manager.timing import Timing
from simulator.faults import Fault
from simulator.ledger import Ledger
from simulator.server import Server
from tests.integration.session_manager_harness import Consumer, until
from tests.unit.rest_sources import facts

OUTAGE_S = 6.0
TRADES = {"coinbase.trades.BTC-USD": "coinbase/BTC-USD", "otc.deals.BTC-USD": "otc/BTC-USD"}


class Reading:
    """What a normalizer makes of everything that a consumer has received."""

    def __init__(self, hot: Consumer) -> None:
        self._hot = hot
        self._normalizer = Normalizer(providers.info("rest"))
        self._taken = 0
        self.facts: list[tuple[Any, ...]] = []

    def take(self) -> list[tuple[Any, ...]]:
        new: list[Envelope] = self._hot.received[self._taken :]
        self._taken += len(new)
        self.facts += [fact for one in new for output in self._normalizer.normalize(one) for fact in facts(output)]
        return self.facts

    def gaps(self) -> list[tuple[str, str]]:
        return [(fact[1], fact[2]) for fact in self.take() if fact[0] == "gap"]

    def trades(self, channel: str) -> list[int]:
        return [fact[2].sequence for fact in self.take() if fact[:2] == ("TRADES", channel)]


async def test_an_outage_is_declared_and_nothing_of_the_lists_is_lost(tmp_path: Path):
    """Signed and public sources, real HTTP: 503 for six seconds. Each channel says so once; then every trade is there."""
    info = providers.info("rest")
    hot, cold = Consumer(f"unix:{tmp_path}/hot.sock"), Consumer(f"unix:{tmp_path}/cold.sock")
    await hot.start()
    await cold.start()
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        venue = Simulator(3, ledger)
        server = Server([venue], ledger, 40.0)
        urls: Any = (await server.start(0))["rest"]
        market = asyncio.create_task(server.run())
        setup = Setup(
            info=info, instance="PRIMARY", epoch=1,
            make_session=lambda: Session(info, Endpoints(urls["stream"], urls["rest"]), urls["symbols"], None),
            channels_on=lambda _: lambda _: "control", normalizer=hot.target, batch_processor=cold.target,
            state_dir=tmp_path, timing=Timing(drain_s=3),
        )  # fmt: skip
        stop = asyncio.Event()
        running = asyncio.create_task(Service(setup).run(stop))
        reading = Reading(hot)
        try:
            await until(lambda: all(reading.trades(channel) for channel in TRADES), "trades of both sources")
            assert reading.gaps() == []
            venue.faults.inject(Fault("rest", "refuse_connect", seconds=OUTAGE_S))
            channels = {
                (rule.pattern.replace("*", "BTC-USD"), "unanswered")
                for rule in info.channels
                if "/" not in rule.pattern
            }
            slow = {one for one in channels if one[0] == "otc.ticker.BTC-USD"}  # its period is longer than the outage
            await until(lambda: channels - slow <= set(reading.gaps()), "each channel declared", 12)
            at = {channel: len(reading.trades(channel)) for channel in TRADES}
            await until(lambda: all(len(reading.trades(one)) > at[one] + 20 for one in TRADES), "trades again", 15)
            assert sorted(set(reading.gaps())) == sorted(reading.gaps()), "each once"
            ledger.flush()
            lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
            for channel, symbol in TRADES.items():
                got = reading.trades(channel)
                made = [
                    line["sequence"] for line in lines if line.get("schema") == "TRADES" and line["symbol"] == symbol
                ]
                assert got == made[made.index(got[0]) : made.index(got[-1]) + 1], "every trade once and in order"
            assert {one.connection for one in hot.received if one.kind == KIND_FRAME} == {0}
        finally:
            stop.set()
            await asyncio.wait({running}, timeout=10)
            market.cancel()
            await server.close()
            await hot.stop()
            await cold.stop()
