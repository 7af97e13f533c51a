"""Statistics: told when they change and every ten seconds, exact or undefined."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dbn import UNDEF_PRICE, UNDEF_STAT_QUANTITY
from penstock.errors import PayloadError
from penstock.statistics import REPEAT_NS, Told, as_price, as_quantity, as_rate

STEPS = st.lists(
    st.tuples(st.integers(0, REPEAT_NS), st.dictionaries(st.integers(1, 4), st.integers(0, 2), max_size=4)), max_size=30
)


@given(STEPS)
def test_a_reader_of_the_news_knows_every_value(steps: list[tuple[int, dict[int, int]]]) -> None:
    """Who reads from the beginning has all values; who comes late has those of the first message of each span."""
    told, now, known, span = Told[int](), 0, dict[int, int](), -1
    for later, values in steps:
        now += later
        news = told.news(values.items(), now)
        if now // REPEAT_NS != span:
            assert dict(news) == values
        else:
            assert news == [(kind, value) for kind, value in values.items() if known.get(kind) != value]
        span = now // REPEAT_NS
        known |= dict(news)
        assert known | values == known
        assert not told.is_due(now)


def test_what_follows_a_loss_is_told_again() -> None:
    """The value may have changed and changed back."""
    told = Told[int]()
    assert told.news([(1, 5)], 7) == [(1, 5)]
    assert told.news([(1, 5)], 8) == []
    told.forget()
    assert told.news([(1, 5)], 9) == [(1, 5)]


@given(st.integers(-(9 * 10**18), 9 * 10**18))
def test_a_rate_is_exact_at_18_decimals(value: int) -> None:
    """The quantity is all of it; the price too where nine decimals suffice."""
    text = format(Decimal(value).scaleb(-18), "f")
    assert as_rate(text, 1) == (UNDEF_PRICE if value % 10**9 else value // 10**9, value)


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (as_price, "-0.000000001", (-1, UNDEF_STAT_QUANTITY)),
        (as_price, "0.0000000001", (UNDEF_PRICE, UNDEF_STAT_QUANTITY)),
        (as_price, "10000000000", (UNDEF_PRICE, UNDEF_STAT_QUANTITY)),
        (as_quantity, "2.5", (UNDEF_PRICE, 5)),
        (as_quantity, "2.6", (UNDEF_PRICE, UNDEF_STAT_QUANTITY)),
        (as_quantity, "9000000000000000000", (UNDEF_PRICE, UNDEF_STAT_QUANTITY)),
        (as_rate, "0.0000000000000000001", (UNDEF_PRICE, UNDEF_STAT_QUANTITY)),
    ],
)
def test_what_dbn_cannot_hold_is_undefined(read, text: str, expected: tuple[int, int]) -> None:
    """It is never rounded."""
    assert read(text, 500_000_000) == expected


@pytest.mark.parametrize("read", [as_price, as_quantity, as_rate])
@pytest.mark.parametrize("text", ["", "abc", "1_0", "0x1", "--1"])
def test_what_is_no_number_is_refused(read, text: str) -> None:
    """It is no value that DBN cannot hold but a broken frame."""
    with pytest.raises(PayloadError) as caught:
        read(text, 1)
    assert caught.value.reason == "number_format"
