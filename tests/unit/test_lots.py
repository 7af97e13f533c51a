"""Venue numbers become integers exactly or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import lots as lots_module
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, MAX_SIZE, Fixed, Lots, decimal_text, fixed, fixed_signed, lots, split

WORDS = st.one_of(
    st.text(alphabet="0123456789.-+eE_ ,xnaif", max_size=24),
    st.text(max_size=8),
    st.from_regex(r"\A[0-9]{1,10}(\.[0-9]{1,11})?\Z"),
)


def plain(text: str) -> bool:
    whole, dot, fraction = text.partition(".")
    digits = set("0123456789")
    return bool(whole) and set(whole) <= digits and set(fraction) <= digits and bool(fraction) == bool(dot)


@given(WORDS)
def test_fixed_equals_decimal_arithmetic_or_refuses(text):
    """Any text is either its decimal value at 1e-9, exactly, or a PayloadError with one of three reasons."""
    try:
        value = fixed(text)
    except PayloadError as error:
        exact = Decimal(text) * 10**9 if plain(text) else None
        expected = {
            "number_format": exact is None,
            # The decimals are looked at first: of a text that is wrong twice either reason may be given.
            "number_precision": exact is None or exact % 1 != 0,
            "number_range": exact is not None and exact > MAX_FIXED,
        }
        assert expected[error.reason]  # noqa: PT017 # refusing is one of two right outcomes
    else:
        assert plain(text)
        assert Decimal(text) * 10**9 == value
        assert type(value) is int


@given(st.integers(0, MAX_FIXED))
def test_decimal_text_is_the_inverse(value):
    """The shortest plain decimal of a value reads back as that value, also with a sign."""
    text = decimal_text(value)
    assert fixed(text) == value
    assert fixed_signed(decimal_text(-value)) == -value
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1", "+1", "1e5", "1_0", " 1", "٣", "1,5", "NaN", "--1", "1\n", "²"]
)
def test_what_is_no_plain_decimal_is_refused(text):
    """Signs, exponents, separators, spaces and other scripts' digits are refused with the field's name."""
    with pytest.raises(PayloadError, match="price is") as refused:
        fixed(text)
    assert refused.value.reason == "number_format"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("9223372036.854775806", None), ("9223372036.854775807", "number_range"), ("0.0000000001", "number_precision"),
     ("0.1000000000000", None), ("1" + "0" * 400, "number_range")],
)  # fmt: skip
def test_the_bounds_of_fixed(text, reason):
    """The largest value below DBN's undefined price is accepted, the next is not; only zeros may follow nine decimals."""
    if reason is None:
        assert fixed(text) == int(Decimal(text) * 10**9)
    else:
        with pytest.raises(PayloadError) as refused:
            fixed(text)
        assert refused.value.reason == reason


def test_the_sign_is_accepted_once_and_only_where_asked_for():
    """fixed_signed takes one leading minus."""
    assert fixed_signed("-0.5") == -500_000_000
    assert fixed_signed("-0") == 0
    with pytest.raises(PayloadError):
        fixed_signed("--0.5")


@given(st.integers(0, 10**6), st.integers(1, 10**12), st.integers(0, 10**12))
def test_lots_are_whole_or_refused(count, lot, rest):
    """A quantity of whole lots gives their number; a rest refuses it instead of rounding."""
    rest %= lot
    text = decimal_text(count * lot + rest)
    if rest:
        with pytest.raises(PayloadError) as refused:
            lots(text, lot)
        assert refused.value.reason == "not_whole_lots"
    else:
        assert lots(text, lot) == count


@given(st.one_of(st.integers(0, 2**43), st.sampled_from([MAX_SIZE - 1, MAX_SIZE, MAX_SIZE + 1, 2**32])))
def test_splitting_loses_nothing(size):
    """The parts sum to the size, each fits DBN's u32 below its undefined value, and one that fits is one part."""
    parts = split(size)
    assert sum(parts) == size
    assert all(0 <= part <= MAX_SIZE for part in parts)
    assert (len(parts) == 1) == (size <= MAX_SIZE)


def test_remembered_numbers_are_the_ones_read_and_never_too_many(monkeypatch):
    """A text seen before gives what reading it gives, a refused one is refused again, and the memory is bounded."""
    monkeypatch.setattr(lots_module, "_REMEMBERED", 8)
    prices, sizes = Fixed("best_bid"), Lots(10_000_000, "amount")
    for n in [*range(20), *range(20)]:
        text = f"{n}.25"
        assert (prices[text], sizes[text]) == (fixed(text), lots(text, 10_000_000))
        assert len(prices) <= 8 >= len(sizes)
    for _ in range(2):
        with pytest.raises(PayloadError, match="best_bid is '1e5'"):
            prices["1e5"]
        with pytest.raises(PayloadError, match=r"amount is '0\.001'") as refused:
            sizes["0.001"]
        assert refused.value.reason == "not_whole_lots"
