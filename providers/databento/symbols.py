"""How provider.yaml and `--symbols` say what to subscribe to: `[DATASET[:schema+schema…]/]SYMBOL`.

`GLBX.MDP3/ES.FUT` is every ES future, `GLBX.MDP3:trades+mbp-1/ESH6` two schemas of one contract, `ESH6` alone is of
provider.yaml's dataset. A symbol's type shows in its form
(https://databento.com/docs/standards-and-conventions/symbology, read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from penstock.errors import ConfigError

SCHEMAS: Final = (
    "mbo", "mbp-1", "mbp-10", "trades", "bbo-1s", "bbo-1m", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d",
    "statistics", "status", "definition",
)  # fmt: skip
"""What can be subscribed to. TBBO is not: until DBN 4 its records cannot be told from MBP-1."""

USUAL: Final = ("definition", "mbo", "trades", "statistics", "status")

_DATASET: Final = re.compile(r"[A-Z0-9]{1,8}\.[A-Z0-9]{1,8}")
_PARENT: Final = re.compile(r".+\.(?:FUT|OPT|SPOT|MSPREAD)")
_CONTINUOUS: Final = re.compile(r".+\.[cnv]\.[0-9]+")


class Wanted(NamedTuple):
    """What to subscribe to on a dataset: of each schema and symbol type, the symbols."""

    dataset: str
    symbols: dict[tuple[str, str], list[str]]

    @property
    def schemas(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(schema for schema, _ in self.symbols))


def read(symbols: Sequence[str], usual: str) -> Wanted:
    """What these symbols ask for; `usual` names the dataset where none of them does. Raises ConfigError."""
    dataset, found = "", dict[tuple[str, str], list[str]]()
    for text in symbols:
        where, slash, symbol = text.partition("/") if "/" in text else ("", "/", text)
        named, _, schemas = where.partition(":")
        wanted = schemas.split("+") if schemas else USUAL
        if (named and not _DATASET.fullmatch(named)) or not slash or not _fits(symbol):
            raise ConfigError(f"symbol is {text!r}, expected DATASET/SYMBOL, DATASET:schema+schema/SYMBOL or SYMBOL")
        if unknown := [schema for schema in wanted if schema not in SCHEMAS]:
            raise ConfigError(f"symbol {text!r} has schema {unknown[0]!r}, expected some of {', '.join(SCHEMAS)}")
        if named and named != (dataset or named):
            raise ConfigError(f"symbol {text!r} is of {named}, expected {dataset}: a session is of one dataset")
        dataset = named or dataset
        # A definition comes before what it defines.
        for schema in sorted(dict.fromkeys(("definition", *wanted)), key=lambda name: name != "definition"):
            listed = found.setdefault((schema, _type_of(symbol)), [])
            if symbol not in listed:
                listed.append(symbol)
    return Wanted(dataset or usual, dict(sorted(found.items(), key=lambda item: item[0][0] != "definition")))


def dataset_of(symbol: str) -> str:
    """The dataset that a symbol names."""
    return symbol.partition("/")[0].partition(":")[0]


def _type_of(symbol: str) -> str:
    """DBN's SType of a symbol."""
    if symbol == "ALL_SYMBOLS":
        return "raw_symbol"
    if _PARENT.fullmatch(symbol):
        return "parent"
    return "continuous" if _CONTINUOUS.fullmatch(symbol) else "raw_symbol"


def _fits(symbol: str) -> bool:
    # Beyond these a line of the protocol would say something else.
    return bool(symbol) and symbol.isascii() and symbol.isprintable() and not set("|,=") & set(symbol)
