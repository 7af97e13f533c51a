"""JSON payloads: two reasons to refuse, and never a word of what was in them."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.decoding import decode
from penstock.errors import PayloadError


class Trade(msgspec.Struct):
    price: str


DECODER = msgspec.json.Decoder(Trade)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b'{"price":1}', "shape"), (b"[]", "shape"), (b"{", "json"), (b"", "json"), (b'{"price":"\xff"}', "json")],
)
def test_what_cannot_be_decoded_is_refused_by_one_of_two_words(payload: bytes, reason: str) -> None:
    """JSON of another shape is the venue's change; no JSON is a broken frame."""
    with pytest.raises(PayloadError) as caught:
        decode(DECODER, payload)
    assert caught.value.reason == reason


def test_a_part_left_raw_is_decoded_like_a_payload() -> None:
    """Messages of several kinds are decoded in two steps."""
    assert decode(DECODER, msgspec.Raw(b'{"price":"1.5"}')) == Trade("1.5")


def test_the_error_does_not_quote_the_payload() -> None:
    """An answer may hold a token."""
    with pytest.raises(PayloadError) as caught:
        decode(DECODER, b'{"token":"secret"}')
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=200))
def test_bytes_raise_nothing_else(payload: bytes) -> None:
    """Whatever arrives is a message or a PayloadError."""
    with suppress(PayloadError):
        assert decode(DECODER, payload)


def test_a_deep_payload_is_no_crash() -> None:
    """Nesting beyond the decoder's depth is a broken frame."""
    decoder = msgspec.json.Decoder(list)
    with pytest.raises(PayloadError):
        decode(decoder, b"[" * 100_000)
