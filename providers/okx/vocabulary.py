"""The words of OKX's messages, from its documentation and from recordings of 2021 to 2026."""

from __future__ import annotations

from typing import Final

from penstock.drift import Vocabulary
from providers.okx.states import ACTIONS

_EVENTS: Final = "id event arg channel instId instType instFamily uly code msg connId connCount action data"
_BOOKS: Final = "asks bids ts checksum prevSeqId seqId"
_TRADES: Final = "tradeId px sz side count source"
_TICKERS: Final = (
    "last lastSz askPx askSz bidPx bidSz open24h high24h low24h volCcy24h vol24h sodUtc0 sodUtc8 markPx idxPx"
    " oi oiCcy oiUsd"
)
_FUNDING: Final = (
    "formulaType fundingRate fundingTime impactValue interestRate method maxFundingRate minFundingRate nextFundingRate"
    " nextFundingTime premium settFundingRate settState realizedRate"
)
_LIQUIDATIONS: Final = "details bkLoss bkPx ccy posSide"
_INSTRUMENTS: Final = (
    "alias auctionEndTime baseCcy category contTdSwTime ctMult ctType ctVal ctValCcy expTime futureSettlement groupId"
    " instCategory instIdCode lever listTime lotSz maxIcebergSz maxLmtAmt maxLmtSz maxMktAmt maxMktSz maxPlatOILmt maxStopSz"
    " maxTriggerSz maxTwapSz minSz openType optType posLmtAmt posLmtPct preMktSwTime quoteCcy ruleType seriesId settleCcy"
    " state stk tickSz tradeQuoteCcyList upcChg param newValue effTime"
)
_STATUS: Final = "begin end href preOpenBegin scheDesc serviceType system maintType env title"

VOCABULARY: Final = Vocabulary(
    fields=frozenset(
        f"{_EVENTS} {_BOOKS} {_TRADES} {_TICKERS} {_FUNDING} {_LIQUIDATIONS} {_INSTRUMENTS} {_STATUS}".split()
    ),
    values={
        "event": frozenset(
            {
                "subscribe", "unsubscribe", "login", "error", "notice", "channel-conn-count",
                "channel-conn-count-error",
            }
        ),
        "action": frozenset({"snapshot", "update"}),
        "channel": frozenset(
            {
                "books", "books-l2-tbt", "books50-l2-tbt", "books5", "bbo-tbt", "trades", "trades-all", "tickers",
                "mark-price", "index-tickers", "funding-rate", "open-interest", "liquidation-orders", "candle1m",
                "instruments", "status",
            }
        ),
        "side": frozenset({"buy", "sell"}),
        "posSide": frozenset({"long", "short", "net"}),
        "source": frozenset({"0", "1"}),
        "instType": frozenset({"SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS"}),
        "ctType": frozenset({"linear", "inverse"}),
        "optType": frozenset({"C", "P"}),
        "settState": frozenset({"processing", "settled"}),
        "ruleType": frozenset({"normal", "pre_market", "rebase_contract", "xperp"}),
        # One word for instruments and for maintenance.
        "state": frozenset(ACTIONS) | {"scheduled", "ongoing", "pre_open", "completed", "canceled"},
    },
)  # fmt: skip
