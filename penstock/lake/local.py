"""The tables and views on DuckDB, over what manifests name and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import duckdb
import msgspec

from penstock.errors import ConfigError
from penstock.lake.dialect import prepare, to_duckdb
from penstock.lake.tables import Table
from penstock.lake.views import views
from penstock.objectstore import ObjectStore, open_store
from penstock.objectstore_raw import is_raw_key

_RAW_LINE_BYTES: Final = 256 * 1024 * 1024
"""DuckDB refuses longer lines; the largest REST answers have tens of megabytes."""

_TYPES: Final = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "smallint": "SMALLINT",
    "tinyint": "TINYINT",
}


class Answer(NamedTuple):
    """A query's column names and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class _Manifest(msgspec.Struct):
    objects: tuple[_Object, ...]


class _Object(msgspec.Struct):
    key: str


class LocalLake:
    """A DuckDB connection with every table of which something is published at `final` (`file:///folder` or
    `s3://bucket/prefix`), and every view over those. `intermediate` adds `raw_intermediate`, of all that is there."""

    def __init__(self, tables: Sequence[Table], final: str, intermediate: str = "") -> None:
        keys = _published(open_store(final), tables)
        if not keys:
            raise ConfigError(f"the dataset is {final!r}, expected one with a manifest: no day is published there")
        self._database = duckdb.connect()
        prepare(self._database)
        if "s3" in {urlsplit(url).scheme for url in (final, intermediate)}:
            _reach_s3(self._database)
        places = {name: [_location(final, key) for key in found] for name, found in keys.items()}
        if intermediate:
            found = [key for key in open_store(intermediate).list("instance=") if is_raw_key(key)]
            places["raw_intermediate"] = [_location(intermediate, key) for key in found]
        self._create([table for table in tables if places.get(table.name)], places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def query(self, sql: str) -> Answer:
        """Run a statement of Athena's SQL. Raises ConfigError with DuckDB's own words where it cannot be run."""
        return self.run(to_duckdb(sql))

    def run(self, sql: str) -> Answer:
        """Run a statement of DuckDB's own SQL; otherwise as `query`."""
        try:
            cursor = self._database.execute(sql)
            rows = cursor.fetchall()
        except duckdb.Error as error:
            raise ConfigError(str(error).splitlines()[0]) from None
        return Answer(tuple(column[0] for column in cursor.description or ()), rows)

    def _create(self, tables: Sequence[Table], places: Mapping[str, Sequence[str]]) -> None:
        for table in tables:
            self.run(f'CREATE VIEW "{table.name}" AS {_select(table, places[table.name])}')
        there = {table.name for table in tables}
        for view in views(tables):
            if set(view.needs) <= there:
                self.run(f'CREATE VIEW "{view.name}" AS {to_duckdb(view.sql)}')
                there.add(view.name)


def _published(store: ObjectStore, tables: Iterable[Table]) -> dict[str, list[str]]:
    """Keys by table, of every published day."""
    folders = {_prefix(table): table.name for table in tables if table.store == "final"}
    found: dict[str, list[str]] = {}
    for key in store.list("manifests/"):
        for item in msgspec.json.decode(store.get(key), type=_Manifest).objects:
            parts = item.key.split("/")
            schema = next((part for part in parts if part.startswith("schema=")), "")
            name = folders.get((parts[0], schema)) or folders.get((parts[0], ""))
            if name is not None:
                found.setdefault(name, []).append(item.key)
    return found


def _prefix(table: Table) -> tuple[str, str]:
    """What tells a table's keys from others: the folder, and the schema where each has a table of its own."""
    schema = next((part for part in table.template.split("/") if part.startswith("schema=") and "$" not in part), "")
    return table.folder, schema


def _select(table: Table, places: Sequence[str]) -> str:
    files = f"[{', '.join(_literal(place) for place in sorted(places))}]"
    keys = ", ".join(f"{key.name}: {_TYPES[key.type]}" for key in table.keys)
    hive = f"hive_partitioning = true, hive_types = {{{keys}}}"
    names = [f'"{column.name}"' for column in table.columns] + [f'"{key.name}"' for key in table.keys]
    if table.format == "parquet":
        source = f"read_parquet({files}, {hive})"
    else:
        columns = ", ".join(f"{_literal(column.name)}: {_literal(_TYPES[column.type])}" for column in table.columns)
        source = (
            f"read_csv({files}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
            f"nullstr = '\x01', columns = {{{columns}}}, max_line_size = {_RAW_LINE_BYTES}, {hive})"
        )
    return f"SELECT {', '.join(names)} FROM {source}"  # noqa: S608 # parts are quoted above


def _location(url: str, key: str) -> str:
    parts = urlsplit(url)
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
