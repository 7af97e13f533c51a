"""What Nautilus has no type for, as custom data: the feed's notices (`DataType(Marker)`, `DataType(Pulse)`) and
liquidations (`DataType(Liquidation)`)."""

from __future__ import annotations

from typing import Final

from nautilus_trader.core.data import Data
from nautilus_trader.model.data import DataType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity

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


class Liquidation(Data):  # type: ignore[misc] # Nautilus ships no types
    """A position was liquidated. `closed` is LONG or SHORT, the position's own side, None where the venue does not say.

    `price` (9 decimals) and `size` (in the instrument's quantity) are None where the venue tells none. `ts_event` is
    venue time and `ts_init` ts_recv, UNIX ns.
    """

    def __init__(
        self,
        instrument_id: InstrumentId,
        closed: str | None,
        price: Price | None,
        size: Quantity | None,
        ts_event: int,
        ts_init: int,
    ) -> None:
        self.instrument_id = instrument_id
        self.closed = closed
        self.price = price
        self.size = size
        self._ts_event = ts_event
        self._ts_init = ts_init

    @property
    def ts_event(self) -> int:
        return self._ts_event

    @property
    def ts_init(self) -> int:
        return self._ts_init

    def __repr__(self) -> str:
        return f"Liquidation({self.instrument_id}, {self.closed}, {self.size} at {self.price})"


LIQUIDATIONS: Final = DataType(Liquidation)
MARKERS: Final = DataType(Marker)
PULSES: Final = DataType(Pulse)
