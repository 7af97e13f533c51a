"""OKX's messages in its own words. Prices and sizes are JSON strings, so their text is exact as it comes.

Fields that nothing here reads are left out. https://www.okx.com/docs-v5/en (read 2026-11); what cannot be found there is
from recordings, as README.md says. The peeks into frames are in peeks.py.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from providers.okx.peeks import book_sequence, channel_of, event_time, merge_key

__all__ = ["book_sequence", "channel_of", "event_time", "merge_key"]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,16}$")]
Digits = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")]

Level = tuple[str, str, str, str]
"""(price, size, always "0" since the liquidated orders went, number of orders). Before 2022 the third counted them."""


class Arg(msgspec.Struct, gc=False):
    """What a frame is of, in the words of the subscription: {"channel":"books","instId":"BTC-USDT"}."""

    channel: str
    instId: str | None = None  # noqa: N815 # the venue's words, here and below
    instType: str | None = None  # noqa: N815

    @property
    def word(self) -> str:
        """The raw channel: `books.BTC-USDT`, `instruments.SWAP`, `status`."""
        subject = self.instId or self.instType
        return f"{self.channel}.{subject}" if subject else self.channel


class Push[T](msgspec.Struct, gc=False):
    """Every data frame. `action` is snapshot or update, of incremental books only."""

    arg: Arg
    data: list[T]
    action: str | None = None


class BookData(msgspec.Struct, gc=False):
    """An element of `books`, `books-l2-tbt`, `books50-l2-tbt`, `books5` and `bbo-tbt`; sizes are absolute.

    https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel

        {"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":0,
         "prevSeqId":123456,"seqId":123457}

    Recordings of 2021 and 2022 have a checksum that means something, and neither of the two ids.
    """

    asks: list[Level]
    bids: list[Level]
    ts: Milliseconds
    checksum: int | None = None
    prevSeqId: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)] | None = None  # noqa: N815
    seqId: Id | None = None  # noqa: N815


class Trade(msgspec.Struct, gc=False):
    """An element of `trades` and `trades-all`. `side` is the taker's.

    https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel

        {"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897",
         "count":"3","source":"0","seqId":1234}

    `tradeId` is the last of `count` matches that one taker order made at one price: this is 130639472 to 130639474.
    `source` 1 is a match with an order of the Enhanced Liquidity Program, which the book channels do not show.
    """

    instId: str  # noqa: N815
    tradeId: Digits  # noqa: N815
    px: str
    sz: str
    side: str
    ts: Milliseconds
    count: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,8}$")] = "1"
    source: str = "0"


class Ticker(msgspec.Struct, gc=False):
    """An element of `tickers`. `vol24h` is in contracts, of spot in the base currency.

    https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-tickers-channel

        {"instType":"SPOT","instId":"BTC-USDT","last":"9999.99","lastSz":"0.1","askPx":"9999.99","askSz":"11",
         "bidPx":"8888.88","bidSz":"5","open24h":"9000","high24h":"10000","low24h":"8888.88","volCcy24h":"2222",
         "vol24h":"2222","sodUtc0":"2222","sodUtc8":"2222","ts":"1597026383085"}
    """

    instId: str  # noqa: N815
    ts: Milliseconds
    last: str = ""
    high24h: str = ""
    low24h: str = ""
    vol24h: str = ""


class MarkPrice(msgspec.Struct, gc=False):
    """An element of `mark-price`: https://www.okx.com/docs-v5/en/#public-data-websocket-mark-price-channel

    {"instType":"FUTURES","instId":"LTC-USD-190628","markPx":"0.1","ts":"1597026383085"}
    """

    instId: str  # noqa: N815
    markPx: str  # noqa: N815
    ts: Milliseconds


class IndexTicker(msgspec.Struct, gc=False):
    """An element of `index-tickers`: https://www.okx.com/docs-v5/en/#public-data-websocket-index-tickers-channel

        {"instId":"BTC-USDT","idxPx":"0.1","high24h":"0.5","low24h":"0.1","open24h":"0.1","sodUtc0":"0.1",
         "sodUtc8":"0.1","ts":"1597026383085"}

    `instId` is the index, which has the name of a spot pair and is the `uly` of derivatives.
    """

    instId: str  # noqa: N815
    idxPx: str  # noqa: N815
    ts: Milliseconds


class FundingRate(msgspec.Struct, gc=False):
    """An element of `funding-rate`: https://www.okx.com/docs-v5/en/#public-data-websocket-funding-rate-channel

        {"fundingRate":"0.0001875391284828","fundingTime":"1700726400000","instId":"BTC-USD-SWAP","instType":"SWAP",
         "nextFundingRate":"","nextFundingTime":"1700755200000","settFundingRate":"0.0001699799259033",
         "settState":"settled","ts":"1700724675402"}

    `fundingRate` is settled at `fundingTime`. Frames of 2022 have no `ts`.
    """

    instId: str  # noqa: N815
    fundingRate: str  # noqa: N815
    fundingTime: Milliseconds  # noqa: N815
    ts: Milliseconds | None = None


class OpenInterest(msgspec.Struct, gc=False):
    """An element of `open-interest`, in contracts: https://www.okx.com/docs-v5/en/#public-data-websocket-open-interest-channel

    {"instId":"LTC-USD-SWAP","instType":"SWAP","oi":"5000","oiCcy":"555.55","oiUsd":"50000","ts":"1597026383085"}
    """

    instId: str  # noqa: N815
    oi: str
    ts: Milliseconds


class Liquidation(msgspec.Struct, gc=False):
    """One liquidation: `posSide` is the position closed, `net` where the account has one per instrument; `side` the
    order that closed it."""

    bkPx: str  # noqa: N815
    sz: str
    side: str
    posSide: str  # noqa: N815
    ts: Milliseconds


class Liquidations(msgspec.Struct, gc=False):
    """An element of `liquidation-orders`: https://www.okx.com/docs-v5/en/#public-data-websocket-liquidation-orders-channel

    {"details":[{"bkLoss":"0","bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13",
     "ts":"1692266434010"}],"instFamily":"IOST-USDT","instId":"IOST-USDT-SWAP","instType":"SWAP","uly":"IOST-USDT"}
    """

    instId: str  # noqa: N815
    details: list[Liquidation]


Candle = list[str]
"""An element of `candle1m`: [start, open, high, low, close, volume, …, confirm]. `confirm` is the ninth, "1" when the
minute is over; before 2023 there are seven. Volume is in contracts, of spot in the base currency.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel"""


class InstrumentName(msgspec.Struct):
    """An instrument of which nothing but the name can be read."""

    instId: str  # noqa: N815


class Instrument(InstrumentName):
    """An element of GET /api/v5/public/instruments and of `instruments`.

    https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments

        {"baseCcy":"","ctMult":"1","ctType":"linear","ctVal":"0.01","ctValCcy":"BTC","expTime":"","instFamily":"BTC-USDT",
         "instId":"BTC-USDT-SWAP","instType":"SWAP","lever":"125","listTime":"1611916828000","lotSz":"1","minSz":"1",
         "optType":"","quoteCcy":"","settleCcy":"USDT","state":"live","stk":"","tickSz":"0.1","uly":"BTC-USDT"}
    """

    instType: str  # noqa: N815
    tickSz: str  # noqa: N815
    lotSz: str  # noqa: N815
    minSz: str  # noqa: N815
    state: str
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    settleCcy: str = ""  # noqa: N815
    uly: str = ""
    ctVal: str = ""  # noqa: N815
    ctMult: str = ""  # noqa: N815
    ctValCcy: str = ""  # noqa: N815
    ctType: str = ""  # noqa: N815
    optType: str = ""  # noqa: N815
    stk: str = ""
    listTime: str = ""  # noqa: N815
    expTime: str = ""  # noqa: N815
    instIdCode: int | None = None  # noqa: N815


class Answer[T](msgspec.Struct):
    """The body of a REST answer: `code` is "0", or `msg` says what is wrong."""

    code: str
    data: list[T]
    msg: str = ""


class Status(msgspec.Struct):
    """An element of `status`: https://www.okx.com/docs-v5/en/#status-ws-status-channel

        {"begin":"1672823400000","end":"1672825980000","href":"","preOpenBegin":"","scheDesc":"","serviceType":"0",
         "state":"completed","system":"unified","maintType":"1","env":"1",
         "title":"Trading account WebSocket system upgrade","ts":"1672826038470"}

    `serviceType` 0 is the WebSocket service, `env` 2 the demo environment.
    """

    state: str
    serviceType: str = ""  # noqa: N815
    env: str = "1"


class Control(msgspec.Struct):
    """A frame that is of no instrument: the answer to a request, a notice, an error, or a push of `status`.

    https://www.okx.com/docs-v5/en/#overview-websocket

        {"id":"1","event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a4d3ae55"}
        {"event":"login","code":"0","msg":"","connId":"a4d3ae55"}
        {"id":"1","event":"error","code":"60018","msg":"Wrong URL or channel:bookz doesn't exist.","connId":"a4d3ae55"}
        {"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade.","connId":"a4"}
        {"event":"channel-conn-count-error","channel":"orders","connCount":"31","connId":"a4d3ae55"}
    """

    event: str = ""
    id: str = ""
    arg: Arg | None = None
    code: str = ""
    msg: str = ""
    channel: str = ""
    data: list[msgspec.Raw] = []
