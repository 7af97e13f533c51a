"""Configuration: arguments over environment over defaults, and every mistake is one readable line."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import load, secrets
from penstock.errors import ConfigError
from penstock.session import Credentials


class Settings(msgspec.Struct, frozen=True):
    """What the help shows."""

    provider: str
    port: int = 7
    lane: Literal["A", "B"] = "A"
    symbols: tuple[str, ...] = ()
    rate_s: float = 0.5


def test_arguments_win_over_the_environment_which_wins_over_defaults():
    """Both spellings of an argument are taken; names are the fields' with dashes."""
    environ = {"PENSTOCK_PROVIDER": "x", "PENSTOCK_PORT": "1", "PENSTOCK_RATE_S": "2.5", "PORT": "9"}
    assert load(Settings, ["--port=2", "--symbols", "A,B,"], environ) == Settings("x", 2, "A", ("A", "B"), 2.5)
    assert load(Settings, ["--provider", "y"], {}) == Settings("y")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "--provider is missing"),
        (["--provider"], "--provider has no value"),
        (["--provider", "x", "--prot", "1"], "'--prot' is not an option, expected one of --provider, --port"),
        (["x"], "'x' is not an option"),
        (["--provider", "x", "--port", "many"], "--port is 'many': "),
        (["--provider", "x", "--lane", "C"], "--lane is 'C', expected A or B"),
        (["--provider", "x", "--rate-s", "fast"], "--rate-s is 'fast': "),
    ],
)
def test_every_mistake_names_its_option(argv, line):
    """The option, its value and what was expected, on one line."""
    with pytest.raises(ConfigError) as refused:
        load(Settings, argv, {})
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.lists(st.text(max_size=10), max_size=6))
def test_no_command_line_raises_anything_else(argv):
    """Arbitrary arguments give settings or a ConfigError."""
    try:
        load(Settings, [word for word in argv if word not in {"-h", "--help"}], {})
    except ConfigError:
        return


def test_help_prints_the_fields_and_exits(capsys):
    """--help shows the struct's own text, each option and its default."""
    with pytest.raises(SystemExit) as left:
        load(Settings, ["--help"], {})
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert shown.startswith("What the help shows.")
    assert "--rate-s  (default 0.5; or PENSTOCK_RATE_S)" in shown


def test_secrets_are_all_or_none():
    """None set is no credentials; some set is a mistake that names them and shows no value."""
    assert secrets(("KEY", "SECRET"), {"OTHER": "x", "KEY": ""}) is None
    assert secrets(("KEY", "SECRET"), {"KEY": "k", "SECRET": "s"}) == {"KEY": "k", "SECRET": "s"}
    with pytest.raises(ConfigError, match="SECRET missing from the environment while KEY is set") as refused:
        secrets(("KEY", "SECRET"), {"KEY": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_credentials_never_show_a_value():
    """Neither repr nor str of Credentials has a secret in it."""
    credentials = Credentials({"KEY": "hunter2"})
    assert "hunter2" not in f"{credentials} {credentials!r}"
    assert credentials["KEY"] == "hunter2"
