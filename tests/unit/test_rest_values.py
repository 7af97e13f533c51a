"""Paths, numbers and times of the REST poller: exact, or refused by name."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError, PayloadError
from providers.rest import numbers
from providers.rest.path import Path, decode
from providers.rest.statistics import rate

BODY = {"data": {"items": [{"p": "1"}, {"p": "2"}], "by": {"A": {"p": 3}, "B": {"p": 4}}, "a.b": 5}, "t": 9}


@pytest.mark.parametrize(
    ("path", "symbol", "expected"),
    [
        ("", "", [BODY]),
        ("t", "", [9]),
        ("data.items[*].p", "", ["1", "2"]),
        ("data.items[0].p", "", ["1"]),
        ("data.items[-1]", "", [{"p": "2"}]),
        ("data.by[*].p", "", [3, 4]),
        ("data.by.{symbol}.p", "B", [4]),
        ('data["a.b"]', "", [5]),
        ("$.t", "", [9]),
    ],
)
def test_a_path_leads_where_it_says(path, symbol, expected):
    """Words, indexes, every item, the symbol, quoted keys."""
    assert Path(path, symbol).all(BODY, BODY) == expected


def test_a_path_starts_at_the_item_unless_it_says_the_body():
    """`$` is the whole body."""
    item = BODY["data"]["items"][0]
    assert (Path("p").find(BODY, item), Path("$.t").find(BODY, item), Path("").find(BODY, item)) == ("1", 9, item)


@pytest.mark.parametrize("path", ["a..b", "a.", "[x]", "a[", "a b", "{other}", "a[*", "$a", "[12345]", 'a["x'])
def test_what_is_no_path_is_refused_with_its_text(path):
    """One line that shows it."""
    with pytest.raises(ConfigError, match="path is"):
        Path(path)


@pytest.mark.parametrize("path", ["x", "data.items[2]", "data.items[-3]", "t.x", "t[*]", "data[0]", "data.items.p"])
def test_a_way_that_is_not_there_is_a_payload_error(path):
    """By name of the shape, and the path."""
    with pytest.raises(PayloadError) as refused:
        Path(path).find(BODY, BODY)
    assert refused.value.reason == "shape"
    assert path in str(refused.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 5000, b"NaN", b'"\\ud800"', b"9" * 5000, b"01", b"\xef\xbb\xbf1"]
)
def test_what_is_no_json_is_refused(body):
    """Never another error."""
    with pytest.raises(PayloadError) as refused:
        decode(body)
    assert refused.value.reason == "json"


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=9))
def test_numbers_are_exact_however_they_are_written(value: Decimal):
    """A JSON number, with or without an exponent, and a text give the same integer."""
    exact = int(value * 10**9)
    plain = f"{value:f}"
    forms = [plain.encode(), f'"{plain}"'.encode(), f"{value.normalize():E}".encode()]
    for form in forms:
        tree = decode(form)
        assert not isinstance(tree, float)
        if exact:
            assert numbers.price(tree, "p") == exact
        assert numbers.quantity(tree, 1, "q") == exact


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_never_appears(value: float):
    """Whatever number stands in a body."""
    assert not isinstance(decode(json.dumps(value).encode()), float)


@pytest.mark.parametrize(
    ("value", "unit", "ns"),
    [
        (1_762_777_020, "s", 1_762_777_020_000_000_000),
        ("1762777020.5", "s", 1_762_777_020_500_000_000),
        (1_762_777_020_123, "ms", 1_762_777_020_123_000_000),
        ("1762777020123.25", "ms", 1_762_777_020_123_250_000),
        (1_762_777_020_123_456, "us", 1_762_777_020_123_456_000),
        ("1762777020123456789", "ns", 1_762_777_020_123_456_789),
        ("2026-04-07T00:28:58.544778Z", "iso8601", 1_775_521_738_544_778_000),
        ("2026-04-07T00:28:58+00:00", "iso8601", 1_775_521_738_000_000_000),
        ("1.7627770205e9", "s", 1_762_777_020_500_000_000),
    ],
)
def test_times_of_every_unit(value, unit, ns):
    """Whole nanoseconds, decimals included."""
    assert numbers.instant(value, unit, "t") == ns


@pytest.mark.parametrize(
    ("value", "unit", "reason"),
    [
        (2**63, "ns", "number_range"),
        (10**13, "s", "time_range"),
        ("0.5", "ns", "time_range"),
        (-1, "ms", "number_format"),
        (True, "s", "number_format"),
        (None, "s", "shape"),
        ("2026-04-07T00:28:58", "iso8601", "time_format"),
        ("2026-04-07T00:28:58+02:00", "iso8601", "time_format"),
    ],
)
def test_times_that_are_none_are_refused(value, unit, reason):
    """Beyond DBN's range, not whole, not UTC."""
    with pytest.raises(PayloadError) as refused:
        numbers.instant(value, unit, "t")
    assert refused.value.reason == reason


@pytest.mark.parametrize("value", [None, True, [], {}, "", "-1", "1,5", "0x1", "١", "1e999", "NaN", "1_0"])
def test_prices_that_are_none_are_refused(value):
    """One of the fixed words, never a guess."""
    with pytest.raises(PayloadError) as refused:
        numbers.price(value, "p")
    assert refused.value.reason in {"shape", "number_format", "number_range"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.000002545454545454", (2545, 2_545_454_545_454)),
        ("-0.0001", (-100_000, -100_000_000_000_000)),
        ("1e-9", (1, 10**9)),
        ("-0.0000000001", (0, -(10**8))),
        (0, (0, 0)),
    ],
)
def test_rates_are_exact_at_18_decimals_and_cut_off_at_9(value, expected):
    """Both places of the record."""
    assert rate(value) == expected


@pytest.mark.parametrize("value", ["0.00000254545454545455", "10", "9.3", "", "-", "1.", "--1", ".5", "1.-5"])
def test_rates_that_do_not_fit_are_refused(value):
    """Nothing is rounded."""
    with pytest.raises(PayloadError):
        rate(value)
