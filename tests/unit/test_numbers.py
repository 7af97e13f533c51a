"""JSON numbers as exact integers: exponents written out digit for digit, all else refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PayloadError
from penstock.numbers import Remembered, expanded, number, present, price, size


@given(st.integers(-(10**12), 10**12), st.integers(0, 12), st.integers(-40, 40), st.booleans())
@example(655, 2, -6, False)
def test_an_exponent_is_written_out_exactly(value: int, decimals: int, exponent: int, upper: bool) -> None:
    """The text without exponent is the same number, digit for digit."""
    text = format(Decimal(value).scaleb(-decimals), "f")
    found = expanded(f"{text}{'E' if upper else 'e'}{exponent}")
    assert "e" not in found.lower()
    assert Decimal(found) == Decimal(text).scaleb(exponent)


@pytest.mark.parametrize(
    "text", ["true", "null", '"1e5"', "1e", "1e400", "e5", "1.e5", ".1e5", "1e5.0", "1_0e5", "٣e2", "--1e5"]
)
def test_what_is_no_number_with_exponent_stays_as_it_is(text: str) -> None:
    """penstock.lots then refuses it."""
    assert expanded(text) == text


def test_null_and_missing_fields_are_not_present() -> None:
    """0 is."""
    assert [present(raw) for raw in (b"", b"null", b"0")] == [False, False, True]
    assert number(b"1.0e-5") == "0.000010"


@given(st.integers(0, 10**18), st.integers(0, 9))
def test_a_price_is_the_number_that_was_printed(value: int, decimals: int) -> None:
    """Digit for digit; a text is no number."""
    text = format(Decimal(value).scaleb(-decimals), "f")
    raw = text.encode()
    assert number(raw) == text
    with pytest.raises(PayloadError):
        price(b'"' + raw + b'"')
    if value <= 9_000_000_000 * 10**decimals:
        assert price(raw) == value * 10 ** (9 - decimals)


def test_a_quantity_counts_lots() -> None:
    """0.5 is 50 lots of 0.01, and nothing of 0.3."""
    assert size(b"5e-1", 10_000_000) == 50
    with pytest.raises(PayloadError, match="qty") as caught:
        size(b"0.5", 300_000_000, "qty")
    assert caught.value.reason == "not_whole_lots"


def test_what_was_read_is_remembered_and_what_was_refused_is_not() -> None:
    """A level that comes again is not read again; memory is bounded."""
    asked: list[bytes] = []

    def read(raw: bytes) -> int:
        asked.append(raw)
        return price(raw)

    prices = Remembered(read)
    assert [prices[b"1.5"], prices[b"1.5"]] == [1_500_000_000] * 2
    for _ in range(2):
        with pytest.raises(PayloadError):
            prices[b"-1"]
    assert asked == [b"1.5", b"-1", b"-1"]
    for count in range(70_000):
        prices[b"%d" % count]
    assert len(prices) < 70_000
