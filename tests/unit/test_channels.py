"""Channel names: one written form, round trip, and no glob character from a venue."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.channels import INSTANCES, SCHEMAS, Channel, decode, encode, pattern

VENUE = st.one_of(
    st.text(min_size=1, max_size=40), st.text(alphabet="*?[]\\^!.-%~ aé\x00\n\ud800", min_size=1, max_size=12)
)
PARTS = st.builds(
    Channel,
    st.sampled_from(INSTANCES),
    st.sampled_from(sorted(SCHEMAS)),
    st.from_regex(r"\A[A-Z][A-Z0-9]{0,8}(_[A-Z0-9]{1,6})?\Z"),
    VENUE,
)


@given(PARTS)
def test_a_name_parses_back_to_its_parts(channel):
    """Every channel has one name, of safe characters only, and the name gives the parts back."""
    name = channel.name
    assert Channel.parse(name) == channel
    assert re.fullmatch(r"MARKET_DATA(\.[A-Z0-9_]+){3}\.[A-Za-z0-9._:@/%-]+", name)


@given(VENUE, VENUE)
def test_encoding_is_injective_and_reversible(one, other):
    """Two venue channels never share a written form."""
    assert decode(encode(one)) == one
    assert (encode(one) == encode(other)) == (one == other)


@given(st.text(max_size=60))
def test_what_is_no_name_is_refused(name):
    """Parsing arbitrary text gives a channel with that very name, or ValueError."""
    try:
        channel = Channel.parse(name)
    except ValueError:
        return
    assert channel.name == name


@pytest.mark.parametrize(
    "name",
    [
        "MARKET_DATA.PRIMARY.MBO.DERIBIT", "MARKET_DATA.PRIMARY.MBO.DERIBIT.", "market_data.PRIMARY.MBO.DERIBIT.x",
        "MARKET_DATA.BOTH.MBO.DERIBIT.x", "MARKET_DATA.PRIMARY.MBP-1.DERIBIT.x", "MARKET_DATA.PRIMARY.MBO.deribit.x",
        "MARKET_DATA.PRIMARY.MBO.DERIBIT.a%2eb", "MARKET_DATA.PRIMARY.MBO.DERIBIT.a b", "MARKET_DATA.PRIMARY.MBO.D*.x",
        "MARKET_DATA.PRIMARY.MBO.DERIBIT.%ff",
    ],
)  # fmt: skip
def test_malformed_names_are_refused(name):
    """A wrong part, an alternative spelling of a byte, or a raw special character is no channel name."""
    with pytest.raises(ValueError, match=r"channel|instance|schema|provider|utf-8"):
        Channel.parse(name)


@pytest.mark.parametrize("parts", [{"instance": "*"}, {"schema": "M?O"}, {"provider": "D*"}, {"channel": ""}])
def test_no_glob_character_is_smuggled_into_a_pattern(parts):
    """Pattern parts are checked like a name's."""
    with pytest.raises(ValueError, match="is"):
        pattern(**parts)


@given(VENUE)
def test_a_venue_channel_in_a_pattern_has_no_glob_characters(channel):
    """Only the parts left open are wildcards."""
    assert not set("*?[]^\\") & set(pattern("PRIMARY", "MBO", "DERIBIT", channel))
