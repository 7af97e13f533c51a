"""What to poll and when, as data: the session manager makes the requests.

One plan per source, so that a source that fails, refuses or bans holds up no other. `tick` gives what is due, `answered`
the next page of a list that has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from penstock.errors import ConfigError, PayloadError
from penstock.provider import Endpoints, ProviderInfo
from penstock.session import Action, Credentials, Plan, Poll, Rejected, Request, Subscribed
from penstock.timestamps import NS_PER_S
from providers.rest import numbers, signing
from providers.rest.path import Path, decode
from providers.rest.source import (
    Definitions,
    Instrument,
    Page,
    Polled,
    RestInfo,
    Source,
    Trades,
    channel,
    raw_channel,
    raw_symbol,
)

POLL: Final = "poll:"
_EARLY_NS: Final = 200_000_000  # a tick comes each second and a bit: what is due within this is due now
_ANSWER_S: Final = 1.0  # beside its periods, for the answer itself


@dataclass(slots=True)
class _Task:
    """One endpoint of one instrument. `known`: the two newest ids of a paged list. `whole`: the next body is wanted
    although nothing may have changed."""

    source: Source
    endpoint: Polled
    symbol: str
    due_ns: int = 0
    known: list[str] = field(default_factory=list)
    whole: bool = False


class Session:
    """See penstock.session.Session. Raises ConfigError for a symbol of no source."""

    def __init__(
        self, info: ProviderInfo, endpoints: Endpoints, symbols: Sequence[str], credentials: Credentials | None
    ) -> None:
        if not isinstance(info, RestInfo):
            raise ConfigError("rest: the provider's facts came without sources, expected those of providers.info")
        self._base = "" if endpoints.rest == info.endpoints.rest else endpoints.rest
        self._secrets = dict(credentials.values) if credentials else {}
        if self._base and not self._secrets:
            for source in info.sources:
                self._secrets |= source.auth.simulated if source.auth else {}
        wanted = dict.fromkeys(symbols)
        self._tasks: dict[str, dict[str, _Task]] = {}
        self._sources: dict[str, Source] = {}
        for source in info.sources:
            chosen = [one for one in source.instruments if wanted.pop(raw_symbol(source, one.symbol), self) is None]
            if chosen:
                self._sources[POLL + source.name] = source
                self._tasks[POLL + source.name] = _tasks(source, chosen)
        if wanted:
            raise ConfigError(f"symbols: {min(wanted)!r} is of no source, expected some of {', '.join(info.symbols)}")

    def definitions(self) -> Sequence[Request]:
        return [
            Request(raw_channel(source, endpoint, ""), *self._address(source, endpoint, "", (), 0))
            for source in self._sources.values()
            for endpoint in source.endpoints
            if isinstance(endpoint, Definitions) and not self._missing(source)
        ]

    def plans(self) -> Sequence[Plan]:
        return [Plan(url, tuple(self._tasks[url]), source.limits) for url, source in self._sources.items()]

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        """There is nobody to subscribe with: what is polled counts as acknowledged, and is vouched for by its answers."""
        source = self._sources[plan.url]
        if missing := self._missing(source):
            return (Rejected(f"source {source.name} needs {', '.join(missing)} in the environment", terminal=True),)
        for task in self._tasks[plan.url].values():
            task.due_ns = now_ns
            task.known.clear()
        return (Subscribed(plan.channels),)

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:  # noqa: ARG002 # nothing is received
        return ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:  # noqa: ARG002 # tick asks for everything
        return ()

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        if self._missing(self._sources[plan.url]):
            return ()
        requests = []
        for task in self._tasks[plan.url].values():
            if now_ns + _EARLY_NS >= task.due_ns:
                period_ns = round(task.endpoint.period_s * NS_PER_S)
                # After a pause, no burst of what was missed.
                task.due_ns = task.due_ns + period_ns if task.due_ns + period_ns > now_ns else now_ns + period_ns
                requests.append(self._request(task, now_ns, conditional=task.endpoint.conditional and not task.whole))
                task.whole = False
        return requests

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        """The whole body again with the next tick, although nothing may have changed."""
        task = self._tasks[plan.url].get(channel)
        if task is not None:
            task.due_ns = 0
            task.whole = True
        return ()

    def answered(self, plan: Plan, request: Request, body: bytes | None, now_ns: int) -> Sequence[Action]:
        """The next page of a list that has more."""
        task = self._tasks[plan.url].get(request.poll.channel) if request.poll else None
        if task is None or body is None or not isinstance(task.endpoint, Trades) or task.endpoint.page is None:
            return ()
        before = task.known[-1:]
        listed = _ids(task.endpoint, task.symbol, body)
        # An answer may hold nothing but the item that was known already.
        task.known = [*task.known, *(one for one in listed if one not in task.known)][-2:]
        full = len(listed) >= task.endpoint.page.limit
        # A list that is full for want of a starting point has nothing after it.
        return (self._request(task, now_ns, conditional=False),) if full and before and listed[-1:] != before else ()

    def refused(self, plan: Plan, request: Request) -> None:
        """The list is asked for from its end: an id that a source has forgotten would be refused for ever."""
        task = self._tasks[plan.url].get(request.poll.channel) if request.poll else None
        if task is not None:
            task.known.clear()

    def probe(self, plan: Plan, channel: str = "") -> Request | None:  # noqa: ARG002 # the polls themselves prove life
        return None

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:  # noqa: ARG002 # nothing is probed
        return False

    def _missing(self, source: Source) -> list[str]:
        return [name for name in signing.names(source.auth) if name not in self._secrets]

    def _request(self, task: _Task, now_ns: int, *, conditional: bool) -> Request:
        source, endpoint, symbol = task.source, task.endpoint, task.symbol
        page = endpoint.page if isinstance(endpoint, Trades) else None
        poll = Poll(channel(source, endpoint, symbol), endpoint.misses * endpoint.period_s + _ANSWER_S, conditional)
        address = self._address(source, endpoint, symbol, _since(page, task.known), now_ns)
        return Request(raw_channel(source, endpoint, symbol), *address, poll)

    def _address(
        self, source: Source, endpoint: Polled, symbol: str, since: tuple[tuple[str, str], ...], now_ns: int
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The URL, and the headers that authenticate it."""
        base = f"{self._base}/{source.name}" if self._base else source.base_url
        path = endpoint.path.replace("{symbol}", quote(symbol, safe=""))
        parameters = [(name, value.replace("{symbol}", symbol)) for name, value in endpoint.parameters.items()]
        query = urlencode([*parameters, *since])
        signed = urlsplit(base).path + path
        headers = signing.headers(source.auth, self._secrets, signed, query, now_ns)
        return f"{base}{path}" + (f"?{query}" if query else ""), headers


def _tasks(source: Source, instruments: Sequence[Instrument]) -> dict[str, _Task]:
    return {
        channel(source, endpoint, one.symbol): _Task(source, endpoint, one.symbol)
        for endpoint in source.endpoints
        if not isinstance(endpoint, Definitions)
        for one in instruments
    }


def _since(page: Page | None, known: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """From the last item but one: the answer then begins with one that is known, which proves that nothing is missing."""
    return ((page.parameter, known[0]),) if page is not None and len(known) > 1 else ()


def _ids(endpoint: Trades, symbol: str, body: bytes) -> list[str]:
    """The ids of a list, oldest first; none where it cannot be read, which the normalizer will say."""
    try:
        tree = decode(body)
        path = Path(endpoint.fields.id.path, symbol)
        found = [numbers.text(path.find(tree, item), "id") for item in Path(endpoint.items, symbol).all(tree, tree)]
    except PayloadError:
        return []
    return found[::-1] if endpoint.order == "newest_first" else found
