"""Source files: what is shipped loads, and whatever is wrong in one is said in a line with file and field."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

import providers
from penstock.errors import ConfigError
from providers.rest import facts
from providers.rest.loading import load, read
from providers.rest.source import RestInfo
from tests.unit.rest_sources import DESK, TRADES, file, source

GOOD: dict[str, Any] = DESK | {"endpoints": [TRADES]}
HMAC: dict[str, Any] = {
    "kind": "hmac", "algorithm": "sha256", "encoding": "hex", "secret": "DESK_SECRET", "timestamp": "s",
    "message": "{timestamp}{method}{path}{query}", "headers": {"X-SIGN": "{signature}", "X-KEY": "{DESK_KEY}"},
}  # fmt: skip


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good desk with another value (or, for ..., none) at a dotted place."""
    tree = copy.deepcopy(GOOD)
    node: Any = tree
    *way, last = [int(word) if word.isdigit() else word for word in place.split(".")]
    for step in way:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return tree


def test_the_shipped_sources_load():
    """And what follows from them is in the provider's facts."""
    info = providers.info("rest")
    assert isinstance(info, RestInfo)
    assert [one.name for one in info.sources] == ["coinbase", "otc"]
    assert info.symbols == ("coinbase/BTC-USD", "otc/BTC-USD")
    assert info.credentials == ("OTC_KEY", "OTC_SECRET")
    assert info.schema_of("rest/coinbase/trades/BTC-USD") == info.schema_of("coinbase.trades.BTC-USD") == "TRADES"
    assert info.schema_of("rest/coinbase/products") == "DEFINITION"
    assert (info.limits.requests.count, info.limits.requests.per_s) == (30 * 60, 60)


def test_a_users_directory_or_file_stands_for_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Named by the environment, through penstock.config."""
    one = file(tmp_path, GOOD)
    file(tmp_path, GOOD | {"name": "bank"}, "bank.yaml")
    info = providers.info("rest")
    monkeypatch.setenv("PENSTOCK_REST_SOURCES", str(tmp_path))
    assert facts.complete(info).symbols == ("bank/BTC-USD", "desk/BTC-USD")
    monkeypatch.setenv("PENSTOCK_REST_SOURCES", str(one))
    assert facts.complete(info).symbols == ("desk/BTC-USD",)
    monkeypatch.setenv("PENSTOCK_REST_SOURCES", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="does not exist"):
        facts.complete(info)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("name", "De sk", "name: "),
        ("titel", "x", "the file: Object contains unknown field `titel`"),
        ("base_url", "ftp://x", "base_url: "),
        ("base_url", "https://x/", "base_url: "),
        ("limits", ..., "the file: Object missing required field `limits`"),
        ("limits.count", 1, "limits: 2 requests a second follow from the periods and 2 lanes, expected at most 0.5"),
        ("limits.count", 0, "limits: expected a count"),
        ("instruments", [], "instruments: "),
        ("instruments.0.lot", 0.001, "instruments[0].lot: Expected `str`, got `float`"),
        (
            "instruments.0.lot",
            "",
            "instruments[0].lot: is '', expected a decimal above zero in quotes, or a DEFINITION",
        ),
        ("instruments.0.tick", "0.00", "instruments[0].tick: is '0.00'"),
        ("instruments.0.lot", "1e-3", "instruments[0].lot: "),
        ("instruments.0.symbol", "BTC USD", "instruments[0].symbol: "),
        ("endpoints.0.schema", "TBBO", "endpoints[0]"),
        ("endpoints.0.period_s", 0.5, "endpoints[0].period_s: "),
        ("endpoints.0.path", "trades", "endpoints[0].path: "),
        ("endpoints.0.path", "/{sym}", "endpoints[0].path: holds {sym}"),
        ("endpoints.0.parameters", {"a": "{id}"}, "endpoints[0].a: holds {id}"),
        ("endpoints.0.parameters", {"a": 5}, "endpoints[0].parameters"),
        ("endpoints.0.items", "data", "endpoints[0].items: is 'data', expected a path with [*]"),
        ("endpoints.0.items", "data[", "endpoints[0].items: path is 'data['"),
        ("endpoints.0.fields.price", "p[*]", "endpoints[0].fields.price: is 'p[*]'"),
        ("endpoints.0.fields.price", ..., "endpoints[0].fields: Object missing required field `price`"),
        ("endpoints.0.fields.prise", "p", "endpoints[0].fields: Object contains unknown field `prise`"),
        ("endpoints.0.fields.time.unit", "h", "endpoints[0].fields.time.unit: "),
        ("endpoints.0.fields.time.path", "a b", "endpoints[0].fields.time.path: path is 'a b'"),
        ("endpoints.0.fields.side.of", "taker", "endpoints[0].fields.side.of: "),
        ("auth", HMAC | {"kind": "basic"}, "auth"),
        ("auth", HMAC | {"algorithm": "md5"}, "auth.algorithm: "),
        ("auth", HMAC | {"message": "{nonce}"}, "auth.message: holds {nonce}"),
        ("auth", HMAC | {"headers": {"X": "y"}}, "auth.headers: hold no {signature}"),
        ("auth", HMAC | {"headers": {"X": "{signature}{key}"}}, "auth.headers.X: holds {key}"),
        ("auth", HMAC | {"secret": "my secret"}, "auth.secret: "),
        ("auth", {"kind": "header", "headers": {"X": "abc"}}, "auth.headers: name nothing from the environment"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_and_field(tmp_path: Path, place, value, words):
    """The file first, then where, then what."""
    path = file(tmp_path, changed(place, value))
    with pytest.raises(ConfigError) as refused:
        read(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: {words}"), text
    assert "\n" not in text


def test_files_that_are_no_sources(tmp_path: Path):
    """No YAML, empty, twice the same name, a directory without any."""
    with pytest.raises(ConfigError, match=r"holds no \*\.yaml"):
        load(tmp_path)
    path = file(tmp_path, GOOD)
    file(tmp_path, GOOD, "other.yaml")
    with pytest.raises(ConfigError, match=r"other\.yaml: name is 'desk'"):
        load(tmp_path)
    for text in ("name: [", "", "- a", "name: \x00"):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError) as refused:
            read(path)
        assert str(refused.value).startswith(f"{path}: ")
        assert "\n" not in str(refused.value)


def test_names_are_once(tmp_path: Path):
    """Two endpoints or instruments of one name would share their channels."""
    for field, key in (("endpoints", "name"), ("instruments", "symbol")):
        path = file(tmp_path, GOOD | {field: [*GOOD[field], *GOOD[field]]})
        with pytest.raises(ConfigError, match=rf"{field}\[1\]\.{key}: is '.*' a second time"):
            read(path)


def test_definitions_are_not_signed(tmp_path: Path):
    """They are asked for by the session manager alone, at times that no signature knows."""
    products = {
        "name": "p", "schema": "DEFINITION", "path": "/p", "items": "[*]",
        "fields": {"symbol": "s", "lot": "l", "tick": "t"},
    }  # fmt: skip
    path = file(tmp_path, GOOD | {"endpoints": [TRADES, products], "auth": HMAC})
    with pytest.raises(ConfigError, match=r"endpoints\[1\]: is a DEFINITION endpoint with HMAC"):
        read(path)


def test_a_source_is_a_value():
    """Two readings are equal, so plans and definitions are."""
    assert source(TRADES) == source(copy.deepcopy(TRADES))
