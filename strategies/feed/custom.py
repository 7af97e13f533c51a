"""The feed's notices as Nautilus custom data, for strategies that subscribe `DataType(Marker)` or `DataType(Pulse)`."""

from __future__ import annotations

from typing import Final

from nautilus_trader.core.data import Data
from nautilus_trader.model.data import DataType
from nautilus_trader.model.identifiers import InstrumentId

from strategies.feed.notices import Beat, LaneSwitch, Live, Loss, Stale


class Marker(Data):  # type: ignore[misc] # Nautilus ships no types
    """Loss, LaneSwitch, Stale or Live of one schema of an instrument, in order with its data.

    `notice` is the value itself. `ts_event` and `ts_init` are when the feed said it (UNIX ns): it is no venue's event.
    """

    def __init__(
        self, instrument_id: InstrumentId, schema: str, notice: Loss | LaneSwitch | Stale | Live, ts: int
    ) -> None:
        self.instrument_id = instrument_id
        self.schema = schema
        self.notice = notice
        self._ts = ts

    @property
    def ts_event(self) -> int:
        return self._ts

    @property
    def ts_init(self) -> int:
        return self._ts

    def __repr__(self) -> str:
        return f"Marker({self.instrument_id}, {self.schema}, {self.notice})"


class Pulse(Data):  # type: ignore[misc] # Nautilus ships no types
    """A lane's heartbeat on one schema of an instrument: about one a second, lane and schema."""

    def __init__(self, instrument_id: InstrumentId, schema: str, beat: Beat, ts: int) -> None:
        self.instrument_id = instrument_id
        self.schema = schema
        self.beat = beat
        self._ts = ts

    @property
    def ts_event(self) -> int:
        return self._ts

    @property
    def ts_init(self) -> int:
        return self._ts

    def __repr__(self) -> str:
        return f"Pulse({self.instrument_id}, {self.schema}, {self.beat})"


MARKERS: Final = DataType(Marker)
PULSES: Final = DataType(Pulse)
