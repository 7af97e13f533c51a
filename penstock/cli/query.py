"""SQL over a coalesced dataset with DuckDB: one view per schema, and `raw` for what was received.

Only objects named in a manifest are read. `trades`, `mbo`, `mbp_1`, `statistics`, `definition` … have DBN's column names
with native integers (prices at 1e-9, sizes in lots, times in UNIX ns), `symbol`, the venue's `channel`, and the
partitions `provider`, `year`, `month`, `day` as text. `raw` has ts_recv, instance, epoch, connection, sequence, payload.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import duckdb
import msgspec

from penstock.errors import ConfigError
from penstock.objectstore import ObjectStore, open_store

_RAW_COLUMNS: Final = {
    "ts_recv": "UBIGINT", "instance": "VARCHAR", "epoch": "UBIGINT", "connection": "UINTEGER", "sequence": "UBIGINT",
    "payload": "VARCHAR",
}  # fmt: skip

_RAW_LINE_BYTES: Final = 256 * 1024 * 1024
"""DuckDB refuses longer lines; the largest REST answers have tens of megabytes."""


class Answer(NamedTuple):
    """A query's column names and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class _Manifest(msgspec.Struct):
    objects: tuple[_Object, ...]


class _Object(msgspec.Struct):
    key: str


def query(sql: str, target_url: str) -> Answer:
    """Run SQL over the dataset at `target_url` (`file:///folder` or `s3://bucket/prefix`).

    Raises ConfigError with DuckDB's own words where the SQL cannot be run.
    """
    with duckdb.connect() as database:
        if urlsplit(target_url).scheme == "s3":
            _reach_s3(database)
        views = _views(open_store(target_url))
        if not views:
            raise ConfigError(f"the dataset is {target_url!r}, expected one with a manifest: no day is published there")
        for name, keys in sorted(views.items()):
            _view(database, name, [_location(target_url, key) for key in keys])
        try:
            cursor = database.execute(sql)
            rows = cursor.fetchall()
        except duckdb.Error as error:
            raise ConfigError(str(error).splitlines()[0]) from None
        return Answer(tuple(column[0] for column in cursor.description or ()), rows)


def _views(store: ObjectStore) -> dict[str, list[str]]:
    """Keys by view, of every published day."""
    views: dict[str, list[str]] = {}
    for key in store.list("manifests/"):
        for item in msgspec.json.decode(store.get(key), type=_Manifest).objects:
            parts = dict(part.split("=", 1) for part in item.key.split("/") if "=" in part)
            if item.key.startswith("raw/"):
                views.setdefault("raw", []).append(item.key)
            elif item.key.startswith("parquet/"):
                views.setdefault(parts["schema"].lower(), []).append(item.key)
    return views


def _view(database: Any, name: str, locations: list[str]) -> None:
    files = f"[{', '.join(_literal(location) for location in sorted(locations))}]"
    hive = "hive_partitioning = true, hive_types_autocast = false"
    if name == "raw":
        columns = ", ".join(f"{_literal(column)}: {_literal(kind)}" for column, kind in _RAW_COLUMNS.items())
        source = (
            f"read_csv({files}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
            f"nullstr = '\x01', columns = {{{columns}}}, max_line_size = {_RAW_LINE_BYTES}, {hive})"
        )
    else:
        source = f"read_parquet({files}, {hive})"
    quoted = name.replace('"', '""')
    database.execute(f'CREATE VIEW "{quoted}" AS SELECT * FROM {source}')  # noqa: S608 # parts are quoted above


def _location(target_url: str, key: str) -> str:
    parts = urlsplit(target_url)
    if parts.scheme == "file":
        # DuckDB reads globs in paths; in keys only `[` could be one, and channels.encode lets none through.
        return str(Path(unquote(parts.path)) / key)
    return "/".join(part for part in (f"s3://{parts.netloc}", parts.path.strip("/"), key) if part)


def _reach_s3(database: Any) -> None:
    """Load the S3 extension from its wheel (never from the network) and hand it the SDK's endpoint and credentials."""
    import boto3

    spec = find_spec("duckdb_extension_httpfs")
    if spec is None or spec.origin is None:
        raise ConfigError("s3:// needs the package duckdb-extension-httpfs")
    extension = next(Path(spec.origin).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension"), None)
    if extension is None:
        raise ConfigError(f"duckdb-extension-httpfs is not of DuckDB's version {duckdb.__version__}")
    database.execute(f"LOAD {_literal(str(extension))}")
    session = boto3.session.Session()
    client, credentials = session.client("s3"), session.get_credentials()
    endpoint = urlsplit(client.meta.endpoint_url)
    options = {"TYPE": "s3", "REGION": client.meta.region_name}
    if not (endpoint.hostname or "").endswith(".amazonaws.com"):
        options |= {"ENDPOINT": endpoint.netloc, "URL_STYLE": "path", "USE_SSL": str(endpoint.scheme == "https")}
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        options |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
        if frozen.token:
            options["SESSION_TOKEN"] = frozen.token
    database.execute(f"CREATE SECRET ({_options(options.items())})")


def _options(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {_literal(value)}" for name, value in pairs)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
