"""OKX over the simulated market: the public and business WebSocket paths, and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from penstock.timestamps import NS_PER_MS, NS_PER_S
from providers.okx import wire
from providers.okx.bars import MINUTE_MS, Minute
from providers.okx.listed import Listed, stated
from providers.okx.names import BY_TYPE, arg_of
from providers.okx.payloads import Arg
from providers.okx.requests import Client, Request, acknowledge, read
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, Fill, LevelChange, Listing
from simulator.venue import Router, Venue

__all__ = ["Simulator", "acknowledge"]

_FIRST_SEQUENCE: Final = 45_176_552_517  # beyond 32 bits, as the real ones are
_TICKS_PER_WINDOW: Final = 2  # of 50 ms
_ALIVE_NS, _INTEREST_NS, _FUNDING_NS = 60 * NS_PER_S, 3 * NS_PER_S, 30 * NS_PER_S
_LIQUIDATED: Final = 50  # one taker order in so many is a liquidation
_LOGIN_ONLY: Final = ("books-l2-tbt", "books50-l2-tbt")


class Simulator(Venue):
    """See simulator.venue."""

    name: ClassVar[str] = "okx"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._ticks = self._now_ns = self._interest_at = self._funding_at = self._candles_at = 0
        self._windows = Conflation()
        self._clients: dict[int, Client] = {}
        self._instruments = {
            one.symbol: Listed(
                one, _FIRST_SEQUENCE, _FIRST_SEQUENCE, self.market.best(one.symbol), Minute(0, *(one.price,) * 4)
            )
            for one in self.market.listings
        }

    def listings(self) -> list[Listing]:
        return [
            Listing("BTC-USDT", "BTC", "USDT", ONE // 10, 10, 60_000 * ONE),
            Listing("BTC-USDT-SWAP", "BTC", "USDT", ONE // 10, ONE // 10_000, 60_000 * ONE, "perpetual"),
            Listing("ETH-USDT-SWAP", "ETH", "USDT", ONE // 100, ONE // 1_000, 3_000 * ONE, "perpetual"),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/ws/v5/public")
        router.stream("/ws/v5/business")
        router.get("/api/v5/public/instruments", self._get_instruments)
        router.get("/api/v5/market/books", self._get_books)
        router.get("/api/v5/market/candles", self._get_candles)

    # --- requests ---------------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        self._clients[connection.number] = Client(connection.request.path.endswith("/business"))

    def on_close(self, connection: Connection) -> None:
        self._clients.pop(connection.number, None)

    async def on_text(self, connection: Connection, text: str) -> None:
        client = self._clients[connection.number]
        client.heard_ns = 0
        if text == "ping":
            return connection.send("pong")
        request = read(text)
        if request is None:
            return connection.send(wire.error("", "60012", "Invalid request: not of this API"))
        try:
            if request.op == "login":
                return connection.send(client.login(request))
            if request.op not in {"subscribe", "unsubscribe"}:
                return connection.send(wire.error(request.id, "60019", f"Invalid op: {request.op}"))
            args = request.channels()
        except msgspec.ValidationError:
            return connection.send(wire.error(request.id, "60013", "Invalid args"))
        # What is due to those already subscribed goes out first, so that a snapshot stands between two windows.
        self._close_windows()
        for arg in args:
            self._asked(connection, client, request, arg)
        return None

    def _asked(self, connection: Connection, client: Client, request: Request, arg: Arg) -> None:
        channel = arg.word
        if arg.channel in _LOGIN_ONLY:
            code = ("64003", "Your trading fee tier doesn't meet the requirement") if client.logged_in else None
            connection.send(wire.error(request.id, *(code or ("60011", "Please log in"))))
        elif not self._exists(arg, business=client.business):
            message = f"Wrong URL or channel:{arg.channel},instId:{arg.instId} doesn't exist."
            connection.send(wire.error(request.id, "60018", message))
        elif request.op == "unsubscribe":
            self.unsubscribe(connection, channel)
            connection.send(wire.event("unsubscribe", request.id, arg=arg_of(channel)))
        else:
            self.subscribe(connection, channel)
            connection.send(wire.event("subscribe", request.id, arg=arg_of(channel)))
            served = connection.number in self._subscribers.get(channel, {})
            if served and (text := self._first(arg)):
                self.snapshot(connection, channel, text)

    def _exists(self, arg: Arg, *, business: bool) -> bool:
        if business:
            return arg.channel == "candle1m" and arg.instId in self._instruments
        if arg.channel == "status":
            return True
        if arg.channel in BY_TYPE:
            return arg.instType in {"SPOT", "SWAP"}
        if arg.channel == "index-tickers":
            return any(wire.family(one) == arg.instId for one in self.market.listings)
        state = self._instruments.get(arg.instId or "")
        return state is not None and state.has(arg.channel)

    def _first(self, arg: Arg) -> str:
        """What a subscription starts with: the present state, or the last thing that happened."""
        words = arg_of(arg.word)
        if arg.channel == "status":
            return wire.push(words, wire.status(self._now_ns // NS_PER_MS, "completed"))
        if arg.channel == "instruments":
            return wire.push(words, self._list(arg.instType or ""))
        state = self._instruments.get(arg.instId or "")
        if state is None or arg.channel == "index-tickers":
            return ""
        if arg.channel == "books":
            ids = f'"checksum":0,"prevSeqId":-1,"seqId":{state.pushed}'
            return wire.push(words, self._book(state, ids), "snapshot")
        if arg.channel == "trades":
            return wire.push(words, state.last_trade) if state.last_trade else ""
        if arg.channel == "candle1m":
            return wire.push(words, state.minute.text(state.listing, over=False))
        return wire.push(words, state.element(arg.channel, self.market.statistics(state.listing.symbol)))

    # --- the market -------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        symbol, state = event.listing.symbol, self._instruments[event.listing.symbol]
        state.sequence += 1 + event.sequence % 3
        state.ts_ms, state.moved = event.ts_ns // NS_PER_MS, True
        self._windows.add(event)
        for _, group in groupby(event.fills, key=lambda fill: fill.price):
            self._trade(state, list(group))
        best = self.market.best(symbol)
        if best != state.best:
            state.best = best
            channel = f"bbo-tbt.{symbol}"
            entry = ledger.top(symbol, state.ts_ms * NS_PER_MS, state.sequence, *best)
            self.broadcast(channel, wire.push(arg_of(channel), state.top()), entry)

    def _trade(self, state: Listed, fills: list[Fill]) -> None:
        """What a taker order matched at one price, as one message."""
        symbol, last, ts_event = state.listing.symbol, fills[-1], state.ts_ms * NS_PER_MS
        for fill in fills:
            state.minute.add(fill)
        state.last_trade = wire.trade(state.listing, fills, state.ts_ms, state.sequence)
        total = sum(fill.quantity for fill in fills)
        entry = ledger.trade(symbol, ts_event, last.trade_id, last.price, total, last.aggressor)
        channel = f"trades.{symbol}"
        self.broadcast(channel, wire.push(arg_of(channel), state.last_trade), entry)
        if state.is_swap and not last.trade_id % _LIQUIDATED:
            channel = "liquidation-orders.SWAP"
            values = {"bkPx": last.price, "sz": last.quantity}
            text = wire.push(arg_of(channel), wire.liquidation(state.listing, last, state.ts_ms))
            self.broadcast(channel, text, ledger.statistics(symbol, ts_event, 0, values))

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        self._now_ns = now_ns
        if self._ticks % _TICKS_PER_WINDOW == 0:
            self._close_windows()
            self._show_states(now_ns)
            self._show_candles(now_ns)
        for number, client in list(self._clients.items()):
            client.tick(self.connections[number], now_ns)

    def on_reset(self) -> None:
        """Sequence ids start over, lower than they were."""
        for state in self._instruments.values():
            state.sequence = state.pushed = state.sequence % 1000

    def _close_windows(self) -> None:
        """Publish what `books` owes; where nothing is left of a window's changes there is no message."""
        if self.stopped:
            return
        for window in self._windows.take():
            self._close_book(window, self._instruments[window.listing.symbol])

    def _close_book(self, window: Window, state: Listed) -> None:
        changes = [change for change in window.changes if change.quantity or change.existed]
        if not changes:
            return
        previous, state.pushed, state.pushed_ns = state.pushed, state.sequence, self._now_ns
        symbol = state.listing.symbol
        entry = ledger.book(symbol, state.ts_ms * NS_PER_MS, state.pushed, changes)
        self._push_book(state, previous, changes, entry)

    def _push_book(self, state: Listed, previous: int, changes: list[LevelChange], *entries: ledger.Entry) -> None:
        channel, text = f"books.{state.listing.symbol}", ""
        if self.wanted(channel):
            ids = f'"checksum":0,"prevSeqId":{previous},"seqId":{state.pushed}'
            data = wire.book(state.listing, *wire.sides(changes), state.ts_ms, ids)
            text = wire.push(arg_of(channel), data, "update")
        self.broadcast(channel, text, *entries)

    def _show_states(self, now_ns: int) -> None:
        """Tickers and prices that moved; open interest and funding at their own pace; signs of life of quiet books."""
        due = ["mark-price"]
        if now_ns >= self._interest_at:
            self._interest_at = now_ns + _INTEREST_NS
            due.append("open-interest")
        if now_ns >= self._funding_at:
            self._funding_at = now_ns + _FUNDING_NS
            due.append("funding-rate")
        for state in self._instruments.values():
            if state.pushed_ns and now_ns - state.pushed_ns >= _ALIVE_NS:
                state.pushed_ns = now_ns
                self._push_book(state, state.pushed, [])
            if not state.moved:
                continue
            state.moved = False
            self._show(state, "tickers")
            if state.is_swap:
                for channel in due:
                    self._show(state, channel)
                self._show_index(state)

    def _show(self, state: Listed, name: str) -> None:
        symbol, figures = state.listing.symbol, self.market.statistics(state.listing.symbol)
        channel, ts_event = f"{name}.{symbol}", state.ts_ms * NS_PER_MS
        text = wire.push(arg_of(channel), state.element(name, figures)) if self.wanted(channel) else ""
        self.broadcast(channel, text, ledger.statistics(symbol, ts_event, 0, stated(name, figures)))

    def _show_index(self, state: Listed) -> None:
        index, figures = wire.family(state.listing), self.market.statistics(state.listing.symbol)
        channel, ts_event = f"index-tickers.{index}", state.ts_ms * NS_PER_MS
        text = wire.push(arg_of(channel), wire.index_ticker(index, figures, state.ts_ms))
        self.broadcast(channel, text, ledger.statistics(state.listing.symbol, ts_event, 0, {"idxPx": figures.index}))

    def _show_candles(self, now_ns: int) -> None:
        """Once a second the present minute, and once each minute that is over."""
        if self.stopped or now_ns < self._candles_at:
            return
        self._candles_at = now_ns + NS_PER_S
        start_ms = now_ns // NS_PER_MS // MINUTE_MS * MINUTE_MS
        for symbol, state in self._instruments.items():
            channel = f"candle1m.{symbol}"
            if state.minute.start_ms and state.minute.start_ms != start_ms:
                self.broadcast(channel, wire.push(arg_of(channel), state.minute.text(state.listing, over=True)))
                state.over = state.minute
                state.minute = state.minute.following(start_ms)
            state.minute.start_ms = start_ms
            self.broadcast(channel, wire.push(arg_of(channel), state.minute.text(state.listing, over=False)))

    # --- elements ---------------------------------------------------------------------------------------------------

    def _book(self, state: Listed, ids: str, depth: int | None = None) -> str:
        bids, asks = self.market.book(state.listing.symbol)
        return wire.book(state.listing, bids[:depth], asks[:depth], state.ts_ms, ids)

    def _list(self, kind: str) -> str:
        numbered = [one for one in enumerate(self.market.listings, 10_458) if wire.kind(one[1]) == kind]
        return ",".join(msgspec.json.encode(wire.instrument(one, number)).decode() for number, one in numbered)

    # --- REST -------------------------------------------------------------------------------------------------------

    async def _get_instruments(self, request: web.Request) -> web.Response:
        kind = request.query.get("instType", "")
        if kind not in {"SPOT", "SWAP", "FUTURES", "OPTION"}:
            return _answer(wire.answer("", "51000", "Parameter instType error"), 400)
        return _answer(wire.answer(self._list(kind)))

    async def _get_books(self, request: web.Request) -> web.Response:
        state, depth = self._instruments.get(request.query.get("instId", "")), request.query.get("sz", "1")
        if state is None or not depth.isdecimal():
            return _answer(wire.answer("", "51001", "Instrument ID doesn't exist"), 400)
        return _answer(wire.answer(self._book(state, f'"seqId":{state.sequence}', int(depth))))

    async def _get_candles(self, request: web.Request) -> web.Response:
        state = self._instruments.get(request.query.get("instId", ""))
        if state is None or request.query.get("bar") != "1m":
            return _answer(wire.answer("", "51001", "Instrument ID doesn't exist"), 400)
        over = [state.over.text(state.listing, over=True)] if state.over else []
        return _answer(wire.answer(",".join([state.minute.text(state.listing, over=False), *over])))


def _answer(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
