"""A Databento live session as data: log in, subscribe, start, and replay what came while there was no session. Does no I/O.

https://databento.com/docs/api-reference-live?live=raw ; the lines of the protocol as in databento-python 0.86,
databento/live/gateway.py and databento/common/cram.py (read 2026-11).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import batched, count
from typing import Final

from penstock.errors import PayloadError
from penstock.framing import captured_at
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Reconnect, Rejected, Request, Send, Subscribed, Warn
from penstock.session import Session as AnySession
from penstock.timestamps import NS_PER_S
from providers.databento import symbols as grammar
from providers.databento.payloads import UNSET, UNTIMED, Notice, fields, is_record, notice

HEARTBEAT_S: Final = 5
"""The least that heartbeat_interval_s may be (https://databento.com/docs/api-live/basics/system-messages)."""

SYMBOLS_PER_REQUEST: Final = 250
"""Half of what Databento's own clients put into one (databento-python, live/protocol.py: 500)."""

MARGIN_NS: Final = 10 * NS_PER_S
"""A replay starts so long before the newest record: it filters on the venue's time, which may be out of order."""

REPLAY_NS: Final = 24 * 3600 * NS_PER_S - 300 * NS_PER_S
"""The gateway replays a day (https://databento.com/docs/api-live/basics/intraday-replay); what is left is for dialling."""

NO_KEY: Final = "db-" + "0" * 29
"""What answers the challenge where no key is configured: the gateway refuses it, a simulated one does not."""

_BAR_NS: Final = {"ohlcv-1s": NS_PER_S, "ohlcv-1m": 60 * NS_PER_S, "ohlcv-1h": 3600 * NS_PER_S, "ohlcv-1d": REPLAY_NS}
_BUCKET: Final = 5  # characters of the key by which the gateway finds it
_ACKNOWLEDGED: Final = re.compile(r"Subscription request (?:([0-9]+) )?for (\S+) data succeeded")
_REPLAYED: Final = re.compile(r"Finished (\S+) replay")
_ACK, _SLOW, _REPLAY_COMPLETED = 1, 2, 3  # DBN's SystemCode
_KEY_ERRORS: Final = {1, 2}  # DBN's ErrorCode: AUTH_FAILED, API_KEY_DEACTIVATED
_UNRESOLVED, _INVALID, _SKIPPED, _AGED_OUT = 4, 5, 7, 8


def answer(challenge: str, key: str) -> str:
    """The reply to a CRAM challenge: SHA-256 of challenge and key, and by which bucket the gateway finds the key."""
    digest = hashlib.sha256(f"{challenge}|{key}".encode()).hexdigest()
    return f"{digest}-{key[-_BUCKET:]}"


class Session:
    """See penstock.session.Session and Resumable. One plan: a session is of one dataset, and its channels are schemas."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        self._wanted = grammar.read(symbols, grammar.dataset_of(info.symbols[0]))
        self._key = credentials["DATABENTO_API_KEY"] if credentials is not None else NO_KEY
        host = self._wanted.dataset.lower().replace(".", "-")
        self._plan = Plan(endpoints.stream.replace("{dataset}", host), self._wanted.schemas)
        self.starts: dict[str, int] = {}
        """Schema → UNIX ns from which on it is replayed, as long as that is not done."""
        self.newest = 0
        """UNIX ns of the newest record of the sessions before; 0 where there is nothing to go on from."""
        self.aged_out = False
        """The gateway no longer has what this session asked it to replay."""
        self._replays = self._has_books = True
        self._definitions_from = 0
        self._numbers = count(1)
        self._unacknowledged: dict[int, str] = {}

    def definitions(self) -> Sequence[Request]:
        """None: they come in the stream."""
        return ()

    def plans(self) -> Sequence[Plan]:
        """One session carries everything: a gateway allows ten per dataset, and no number of symbols is its limit."""
        return [self._plan] if self._wanted.symbols else []

    def resume(self, previous: AnySession, last: Mapping[str, bytes]) -> None:
        """See penstock.session.Resumable. What the session before still owed, from where it began; else from the
        newest record on: all schemas come in one stream, so older ones have come whole."""
        if not isinstance(previous, Session):
            return
        self._replays = not previous.aged_out
        self.newest = previous.newest
        for frame in last.values():
            if is_record(frame) and frame[1] not in UNTIMED:
                self.newest = max(self.newest, captured_at(frame))
        self.starts = dict(previous.starts)
        self._has_books = "mbo" in last

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Nothing: the gateway speaks first."""
        del plan
        self.newest = min(self.newest, now_ns)
        if not self.newest:
            return ()
        if not self._replays or now_ns - self.newest + MARGIN_NS > REPLAY_NS:
            # Begun anew, which the metadata must show: nothing is asked for from before the newest record.
            self._definitions_from = max(self.newest + 1, now_ns - REPLAY_NS)
            self.starts.clear()
            return ()
        for schema in self._wanted.schemas:
            start = self.newest - MARGIN_NS - _BAR_NS.get(schema, 0)
            self.starts[schema] = max(min(start, self.starts.get(schema, start)), now_ns - REPLAY_NS)
        if not self._has_books:
            self.starts.pop("mbo", None)  # a replay needs a book to go on from
        return ()

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        """The lines before the session starts, then system and error records."""
        del now_ns
        found = notice(frame)
        if found is not None:
            return self._error(found) if found.is_error else self._system(found)
        line = fields(frame)
        if "cram" in line:
            return [self._login(line["cram"])]
        if "success" in line:
            if line["success"] != "1":
                return [Rejected(f"login: {line.get('error', 'refused')}{self._keyless()}", terminal=True)]
            return [*self._subscribe(plan), Send("start_session=0\n")]
        if "error" in line:
            return [Rejected(f"gateway: {line['error']}", terminal=True)]
        if "lsg_version" in line:
            return ()
        raise PayloadError("unknown_frame", "line", frame, "a line of the gateway")

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        """Nothing: books begin with the snapshot that was subscribed to."""
        del plan
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """A further subscription with a snapshot, of the one instrument that a channel `mbo.<instrument_id>` names."""
        schema, _, number = channel.partition(".")
        if schema != "mbo" or schema not in plan.channels:
            return ()
        if number.isdecimal():
            return [self._request(schema, "instrument_id", [number], snapshot=True)]
        return [
            self._request(schema, kind, part, snapshot=True)
            for (name, kind), listed in self._wanted.symbols.items()
            if name == schema
            for part in batched(listed, SYMBOLS_PER_REQUEST)
        ]

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """Nothing: the gateway expects no signs of life."""
        del plan, now_ns
        return ()

    def probe(self, plan: Plan, channel: str = "") -> Request | None:
        """None: heartbeats are guaranteed within HEARTBEAT_S, and prove the session."""
        del plan, channel
        return None

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        """Never asked."""
        del channel, last_frame, body
        return False

    # --- parts --------------------------------------------------------------------------------------------------------

    def _login(self, challenge: str) -> Send:
        line = {
            "auth": answer(challenge, self._key),
            "dataset": self._wanted.dataset,
            "encoding": "dbn",
            "ts_out": "0",
            "compression": "none",
            "heartbeat_interval_s": str(HEARTBEAT_S),
            "slow_reader_behavior": "warn",
            "client": "Penstock",
        }
        return Send("|".join(f"{key}={value}" for key, value in line.items()) + "\n", secret=True)

    def _keyless(self) -> str:
        return " (DATABENTO_API_KEY is not set)" if self._key == NO_KEY else ""

    def _subscribe(self, plan: Plan) -> list[Action]:
        self._unacknowledged.clear()
        return [
            self._request(schema, kind, part, snapshot=schema == "mbo" and schema not in self.starts)
            for (schema, kind), listed in self._wanted.symbols.items()
            if schema in plan.channels
            for part in batched(listed, SYMBOLS_PER_REQUEST)
        ]

    def _request(self, schema: str, kind: str, part: Sequence[str], *, snapshot: bool) -> Send:
        number = next(self._numbers)
        self._unacknowledged[number] = schema
        start = self.starts.get(schema, self._definitions_from if schema == "definition" else None)
        line = f"schema={schema}|stype_in={kind}|symbols={','.join(part)}"
        if start is not None and not snapshot:
            line += f"|start={start}"
        return Send(f"{line}|snapshot={int(snapshot)}|id={number}|is_last=1\n")

    def _system(self, found: Notice) -> Sequence[Action]:
        if found.code in {_ACK, UNSET} and (acknowledged := _ACKNOWLEDGED.match(found.text)):
            return self._acknowledged(acknowledged[1], acknowledged[2])
        if found.code in {_REPLAY_COMPLETED, UNSET} and (replayed := _REPLAYED.match(found.text)):
            self.starts.pop(replayed[1], None)
        elif found.code == _SLOW:
            return [Warn(f"slow_reader: {found.text}")]
        return ()

    def _acknowledged(self, number: str | None, schema: str) -> Sequence[Action]:
        waiting = self._unacknowledged
        key = int(number) if number else next((key for key, name in waiting.items() if name == schema), 0)
        if waiting.pop(key, "") != schema or schema in waiting.values():
            return ()
        return [Subscribed((schema,))]

    def _error(self, found: Notice) -> Sequence[Action]:
        """https://databento.com/docs/api-live/basics/errors: which of them end the session."""
        text = f"gateway: {found.text or found.code}"
        if found.code == _SKIPPED:
            return [Warn(text)]
        self.aged_out = self.aged_out or found.code == _AGED_OUT
        terminal = found.code in {*_KEY_ERRORS, _UNRESOLVED, _INVALID}
        return [Rejected(text, terminal=True) if terminal else Reconnect(text)]
