"""What tables there are: their columns, how their objects are read, and in which folders those stand.

Columns have Hive's types. Those of canonical tables follow from DBN's own description of its records, as the Parquet
objects do that the post-processor writes; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import databento_dbn as dbn

from penstock.channels import INSTANCES, SCHEMAS
from penstock.lake.projection import DAY, Enum, Injected, Key

RECORDS: Final = {
    "TRADES": dbn.TradeMsg, "MBO": dbn.MBOMsg, "MBP_1": dbn.MBP1Msg, "MBP_10": dbn.MBP10Msg, "TBBO": dbn.MBP1Msg,
    "BBO_1S": dbn.BBOMsg, "BBO_1M": dbn.BBOMsg, "OHLCV_1S": dbn.OHLCVMsg, "OHLCV_1M": dbn.OHLCVMsg,
    "OHLCV_1H": dbn.OHLCVMsg, "OHLCV_1D": dbn.OHLCVMsg, "DEFINITION": dbn.InstrumentDefMsg, "STATISTICS": dbn.StatMsg,
    "STATUS": dbn.StatusMsg,
}  # fmt: skip
"""DBN's record class of each schema that is stored."""

_TYPES: Final = {
    "u1": "smallint", "u2": "int", "u4": "bigint", "u8": "bigint", "i1": "tinyint", "i2": "smallint", "i4": "int",
    "i8": "bigint",
}  # fmt: skip

_RAW: Final = {
    "ts_recv": "when the socket gave the frame, UNIX ns",
    "instance": "whose row it is, PRIMARY or REPLICA",
    "epoch": "epoch of its session",
    "connection": "which of its connections; 0: REST",
    "sequence": "its how-manieth envelope",
    "payload": "the frame or REST body as received; base64: and base64 where it is not one line of UTF-8",
}


class Column(NamedTuple):
    """`type` is Hive's, as in DDL and Glue."""

    name: str
    type: str
    comment: str = ""


class Table(NamedTuple):
    """`store` is whose bucket it is in; `folder` the prefix in there, and `template` the partition below it, in which
    `${key}` stands for a key's value. A template always ends in `/`."""

    name: str
    comment: str
    store: Literal["intermediate", "final"]
    format: Literal["csv", "parquet"]
    folder: str
    template: str
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]


_OF_CHANNEL: Final = (Column("schema", "string"), Column("channel", "string", "channel as the venue writes it"))
_REPORTS: Final = {
    "completeness": (
        "Messages by channel and hour: seen by each lane, merged, and for how long each lane covered the channel.",
        (
            *_OF_CHANNEL,
            Column("hour", "int", "of the UTC day"),
            *(
                Column(name, "bigint", "messages")
                for name in ("primary", "replica", "merged", "both", "primary_only", "replica_only")
            ),
            *(Column(f"covered_{lane}_ns", "bigint") for lane in ("primary", "replica", "either")),
        ),
    ),
    "missing": (
        "What nobody has: uncovered intervals, gaps in venues numbering, holes between processes, quarantined frames.",
        (
            Column("kind", "string", "uncovered, gap, hole or quarantined"),
            *_OF_CHANNEL,
            Column("lane", "string", "whose hole; null: of both"),
            *(Column(name, "bigint", "UNIX ns") for name in ("ts_start", "ts_end")),
            Column("reason", "string"),
            *(Column(name, "bigint", "number of the venue, of holes envelopes") for name in ("expected", "got")),
            Column("frames", "bigint", "how many"),
        ),
    ),
}

_OF_VENUE: Final = (
    Column("symbol", "string", "symbol as the venue writes it"),
    Column("channel", "string", "channel as the venue writes it"),
)


def tables(providers: Iterable[str]) -> tuple[Table, ...]:
    """Every table, over the given providers (folder names)."""
    provider = Key("provider", "string", Enum(tuple(name.upper() for name in sorted(providers))))
    instance = Key("instance", "string", Enum(INSTANCES))
    schema = Key("schema", "string", Enum(tuple(sorted(SCHEMAS))))
    of = (provider, schema, Key("channel", "string", Injected()))
    return (
        Table(
            "raw_intermediate", "What each instance received, as it was received.", "intermediate", "csv", "",
            _template((instance, *of, *DAY)), _raw("ts_recv", "epoch", "connection", "sequence", "payload"),
            (instance, *of, *DAY),
        ),
        Table(
            "raw", "What both instances received, merged: every message once.", "final", "csv", "raw",
            _template((*of, *DAY)), _raw(*_RAW), (*of, *DAY),
        ),
        *(_canonical(schema, provider) for schema in sorted(RECORDS)),
        *(_report(name, provider) for name in _REPORTS),
    )  # fmt: skip


def _canonical(schema: str, provider: Key) -> Table:
    described: Any = RECORDS[schema]
    types = dict(described._dtypes)  # noqa: SLF001 # what databento's own reader uses
    columns = [
        Column(name, _TYPES.get(types[name], "string"))
        for name in described._ordered_fields  # noqa: SLF001
    ]
    return Table(
        schema.lower(), f"Canonical records, DBN schema {schema.lower().replace('_', '-')}.", "final", "parquet", "parquet",
        f"provider=${{provider}}/schema={schema}/{_template(DAY)}",
        (*columns, *_OF_VENUE),
        (provider, *DAY),
    )  # fmt: skip


def _report(name: str, provider: Key) -> Table:
    comment, columns = _REPORTS[name]
    keys = (provider, *DAY)
    return Table(name, comment, "final", "parquet", name, _template(keys), columns, keys)


def _raw(*names: str) -> tuple[Column, ...]:
    # OpenCSVSerde gives text for every column, whatever is declared.
    return tuple(Column(name, "string", _RAW[name]) for name in names)


def _template(keys: Iterable[Key]) -> str:
    return "".join(f"{key.name}=${{{key.name}}}/" for key in keys)
