"""`python -m tests.integration.history_node REDIS HISTORY LOG`: a node whose strategy asks for the past and the present."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, TradeTick
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.feed.directory import Directory
from strategies.feed.notices import Loss
from strategies.node import Run, run
from strategies.settings import Settings


class WarmConfig(StrategyConfig, frozen=True):
    instrument_ids: tuple[InstrumentId, ...] = ()
    log: str = ""


class WarmStrategy(Strategy):
    """Notes each trade's id, and whether it came as history or live."""

    def __init__(self, config: WarmConfig) -> None:
        super().__init__(config)
        self._key = config.instrument_ids[0]
        self._log_file = Path(config.log).open("w", buffering=1)  # noqa: SIM115 # open as long as the strategy is

    def on_start(self) -> None:
        self.subscribe_data(DataType(Marker), instrument_id=self._key)
        self.subscribe_trade_ticks(self._key)
        start = self.clock.utc_now() - timedelta(days=1)
        self.request_trade_ticks(self._key, start=start, callback=lambda _: self._log_file.write("answered\n"))

    def on_historical_data(self, data: Any) -> None:
        if isinstance(data, TradeTick):
            self._log_file.write(f"history {data.trade_id}\n")

    def on_trade_tick(self, tick: TradeTick) -> None:
        self._log_file.write(f"live {tick.trade_id}\n")

    def on_data(self, data: Any) -> None:
        if isinstance(data.notice, Loss):
            self._log_file.write(f"loss {data.notice.reason} {data.notice.expected} {data.notice.got}\n")


STRATEGY = WarmStrategy


def configure(instrument_ids: Sequence[InstrumentId]) -> WarmConfig:
    return WarmConfig(instrument_ids=tuple(instrument_ids), log=sys.argv[3])


async def main() -> None:
    directory = Directory((sys.argv[1],))
    definitions = await directory.await_definitions({"DERIBIT": ["BTC-PERPETUAL"]}, 30)
    await directory.close()
    settings = Settings(instruments=("DERIBIT:BTC-PERPETUAL",), redis=(sys.argv[1],), history=sys.argv[2])
    await run(Run(sys.modules[__name__], settings, {"DERIBIT": definitions}, None, None, stats=False))


if __name__ == "__main__":
    asyncio.run(main())
