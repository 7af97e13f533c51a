"""Wrong configuration ends each program with exit code 2 and one readable line: field, value, what was expected."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from penstock.cli.main import main as penstock
from services.session_manager.lease import FileLease

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "DERIBIT_"))}
TIMEOUT_S = 40
SECRET = "hunter2"  # must not be shown


class Case(NamedTuple):
    """A command line, the words that its one line must have, and what is added to the environment."""

    argv: str
    words: tuple[str, ...]
    environ: Mapping[str, str] = MappingProxyType({})


SESSION_MANAGER = (
    "services.session_manager --normalizer unix:{0}/n.sock --batch-processor 127.0.0.1:9 --state-dir {0}/state"
)
NORMALIZER = "services.normalizer --quarantine-dir {0}/quarantine"
NORMALIZER_HERE = NORMALIZER + " --provider deribit --instance PRIMARY --listen unix:{0}/n.sock"
BATCH_PROCESSOR = "services.batch_processor --instance PRIMARY"
POST_PROCESSOR = "services.post_processor --source file://{0} --target file://{0}/lake"
DERIBIT = " --provider deribit --instance PRIMARY"
FILE_AS_FOLDER = "{0}/file/below"
PROVIDERS = "binance_spot, binance_usdm, bybit"

CASES = {
    "session manager": [
        Case(f"{SESSION_MANAGER} --provider no_such --instance PRIMARY", ("provider is 'no_such'", PROVIDERS)),
        Case(f"{SESSION_MANAGER} --provider deribit --instance THIRD", ("--instance is 'THIRD'", "PRIMARY or REPLICA")),
        Case(f"{SESSION_MANAGER} --instance PRIMARY", ("--provider is missing", "PENSTOCK_PROVIDER")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --sybmols X", ("'--sybmols' is not an option", "--symbols")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --symbols", ("--symbols has no value",)),
        Case(f"{SESSION_MANAGER}{DERIBIT} --normalizer nowhere", ("--normalizer is 'nowhere'", "host:port")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --batch-processor h:99999", ("--batch-processor is 'h:99999'", "1 to 65535")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --stream-url http://x", ("--stream-url is 'http://x'", "ws:// or wss://")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --definitions-s fast", ("--definitions-s is 'fast'", "float")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --state-dir {FILE_AS_FOLDER}", ("writable --state-dir", "/file/below")),
        Case(f"{SESSION_MANAGER}{DERIBIT} --metrics-port 700000", ("--metrics-port is '700000'", "65535")),
        Case(
            f"{SESSION_MANAGER}{DERIBIT}",
            ("DERIBIT_CLIENT_ID missing", "DERIBIT_CLIENT_SECRET is set"),
            {"DERIBIT_CLIENT_SECRET": SECRET},
        ),
        Case(
            f"{SESSION_MANAGER} --provider coinbase_advanced --instance PRIMARY",
            ("COINBASE_API_PRIVATE_KEY missing", "COINBASE_API_KEY_NAME is set"),
            {"COINBASE_API_KEY_NAME": SECRET},
        ),
        Case(f"{SESSION_MANAGER} --provider deribit --instance REPLICA", ("deribit REPLICA is already running",)),
    ],
    "normalizer": [
        Case(
            f"{NORMALIZER} --provider no_such --instance PRIMARY --listen unix:{{0}}/n.sock --redis redis://h",
            ("provider is 'no_such'", PROVIDERS),
        ),
        Case(f"{NORMALIZER_HERE} --redis http://u:{SECRET}@h", ("--redis", "redis[s]://")),
        Case(f"{NORMALIZER_HERE} --redis redis://u:{SECRET}@h:port", ("--redis", "host[:port]")),
        Case(f"{NORMALIZER_HERE} --redis redis://h:6379/2", ("--redis", "redis[s]://")),
        Case(f"{NORMALIZER_HERE}", ("--redis is missing", "PENSTOCK_REDIS")),
        Case(f"{NORMALIZER_HERE} --redis redis://127.0.0.1:1 --listen 0.0.0.0:7000", ("'0.0.0.0:7000'", "loopback")),
        Case(f"{NORMALIZER_HERE} --redis redis://127.0.0.1:1 --listen 127.0.0.1:99999", ("'127.0.0.1:99999'", "port")),
        Case(
            f"{NORMALIZER_HERE} --redis redis://127.0.0.1:1 --listen unix:{{0}}/no/n.sock", ("folder does not exist",)
        ),
        Case(f"{NORMALIZER_HERE} --redis redis://h --metrics-port 700000", ("--metrics-port is 700000", "65535")),
    ],
    "batch processor": [
        Case(
            "services.batch_processor --instance X --listen 127.0.0.1:0 --store file://{0}/s --spool {0}/spool1",
            ("--instance is 'X'", "PRIMARY or REPLICA"),
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 10.0.0.1:7 --store file://{{0}}/s --spool {{0}}/spool2",
            ("'10.0.0.1:7'", "loopback"),
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 127.0.0.1:0 --store ftp://x --spool {{0}}/spool3", ("'ftp://x'", "s3://bucket")
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 127.0.0.1:0 --store file://{FILE_AS_FOLDER} --spool {{0}}/spool4",
            ("object store is", "Not a directory"),
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 127.0.0.1:0 --store file://{{0}}/s --spool {FILE_AS_FOLDER}",
            ("--spool is", "Not a directory"),
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 127.0.0.1:0 --store file://{{0}}/s --spool {{0}}/spool5 --roll-s 0",
            ("--roll-s is 0.0", "seconds"),
        ),
        Case(
            f"{BATCH_PROCESSOR} --listen 127.0.0.1:0 --store file://{{0}}/s --spool {{0}}/sp6 --metrics-port 700000",
            ("--metrics-port is 700000",),
        ),
    ],
    "post-processor": [
        Case(f"{POST_PROCESSOR} --day yesterday", ("--day is 'yesterday'", "a date such as")),
        Case(f"{POST_PROCESSOR} --day 1492-10-12", ("--day is 1492-10-12", "from 1970")),
        Case(f"{POST_PROCESSOR} --day 2026-11-21 --source file://{{0}}/nothing", ("--source is", "it holds nothing")),
        Case(f"{POST_PROCESSOR} --day 2026-11-21 --source {{0}}", ("object store is", "file:///folder")),
        Case(
            f"{POST_PROCESSOR} --day 2026-11-21 --target file://{FILE_AS_FOLDER}",
            ("object store is", "Not a directory"),
        ),
        Case(f"{POST_PROCESSOR} --day 2026-11-21 --providers no_such", ("provider is 'no_such'", PROVIDERS)),
        Case(f"{POST_PROCESSOR} --day 2026-11-21 --work-dir {{0}}/nothing", ("--work-dir is", "a folder")),
    ],
    "simulator": [
        Case("simulator --providers no_such --ledger {0}/l", ("'no_such'", "simulator.py")),
        Case(f"simulator --providers deribit --ledger {FILE_AS_FOLDER}", ("ledger", "/file/below")),
        Case("simulator --providers deribit --ledger {0}/l --port 700000", ("--port is 700000", "65535")),
        Case("simulator --providers deribit --ledger {0}/l --rate -1", ("--rate is -1", ">= 0")),
        Case("simulator.replay --capture {0}/nothing --provider deribit", ("/nothing", "a readable file")),
        Case("simulator.replay --capture {0}/file --provider deribit", ("/file, line 1", "CF1, CF2 or HFT")),
        Case("simulator.replay --capture {0}/file --provider deribit --speed fast", ("--speed is 'fast'", "max")),
        Case(
            f"simulator.replay --capture {{0}}/file --provider deribit --ledger {FILE_AS_FOLDER}",
            ("--ledger is", "Not a directory"),
        ),
    ],
    "strategies": [
        Case("strategies.run --instruments deribit", ("--instruments has 'deribit'", "PROVIDER:SYMBOL")),
        Case("strategies.run --instruments DERIBIT:X --strategy no_such", ("--strategy is 'no_such'", "strategies/")),
        Case("strategies.run --instruments DERIBIT:X --redis http://x", ("--redis", "redis://")),
    ],
    "checker": [
        Case("checker check", ("--ledger",)),
        Case("checker check --ledger {0}/nothing", ("--ledger is", "/nothing")),
        Case("checker check --ledger {0}/file", ("--ledger is", "a market's ledger")),
        Case("checker check --ledger {0}/empty --stream {0}/nothing", ("--stream is", "/nothing")),
        Case("checker check --ledger {0}/empty --dataset {0}/nothing", ("--dataset is", "/nothing")),
        Case("checker check --ledger {0}/empty --bogus", ("--bogus",)),
        Case("checker record --redis redis://127.0.0.1:1 --out {0}/r", ("cannot record", "127.0.0.1:1")),
        Case("checker record --redis http://x --out {0}/r", ("cannot record", "redis://")),
    ],
    "penstock": [
        Case("penstock no_such", ("No such command 'no_such'",)),
        Case("penstock normalize", ("Missing argument",)),
        Case("penstock normalize {0}/nothing --provider deribit", ("CAPTURE is", "no such file")),
        Case("penstock normalize {0}/file --provider no_such", ("provider is 'no_such'", PROVIDERS)),
        Case("penstock normalize {0}/file --provider deribit", ("/file, line 1", "CF1, CF2 or HFT")),
        Case("penstock normalize {0}/empty --provider deribit", ("/empty", "an empty file")),
        Case("penstock normalize {0}/file --provider deribit -o x.csv", ("--output is 'x.csv'", ".dbn.zst")),
        Case("penstock demo --bogus", ("--bogus",)),
        Case("penstock demo --seconds soon", ("--seconds", "number")),
        Case("penstock demo --capture {0}/nothing --provider deribit", ("--capture is", "no such file")),
        Case("penstock demo --capture {0}/file", ("--capture needs --provider",)),
        Case("penstock demo --providers no_such", ("provider is 'no_such'", PROVIDERS)),
        Case("penstock demo --providers ,", ("the providers are ','", PROVIDERS)),
        Case("penstock demo --speed 7 --capture {0}/file --provider deribit", ("--speed is '7'", "1, 10 or max")),
        Case("penstock demo --directory {0}", ("--directory is", "a new or empty folder")),
        Case(f"penstock demo --directory {FILE_AS_FOLDER}", ("--directory is", "Not a directory")),
        Case("penstock up", ("--live",)),
        Case("penstock up --live no_such", ("provider is 'no_such'", PROVIDERS)),
        Case("penstock up --live coinbase", ("the provider is 'coinbase'", "coinbase_advanced, coinbase_exchange")),
        Case("penstock up --live deribit,okx --symbols X", ("--symbols needs exactly one provider",)),
        Case(f"penstock up --live deribit --directory {FILE_AS_FOLDER}", ("--directory is", "Not a directory")),
        Case("penstock up --live deribit --redis http://x", ("--redis", "redis[s]://")),
        Case("penstock tail --redis http://x", ("--redis", "redis[s]://")),
        Case(f"penstock tail --redis redis://u:{SECRET}@127.0.0.1:1", ("--redis", "127.0.0.1:1")),
        Case("penstock query SELECT --source {0}/nothing", ("the dataset is", "no day is published")),
        Case("penstock query SELECT --source ftp://x", ("object store is 'ftp://x'", "s3://bucket")),
        Case("penstock coalesce --day tomorrow", ("--day is 'tomorrow'", "YYYY-MM-DD")),
        Case(
            "penstock coalesce --day 2026-11-21 --source {0}/nothing --target {0}/lake",
            ("--source is", "it holds nothing"),
        ),
        Case("penstock check --ledger {0}/nothing", ("--ledger is", "/nothing")),
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file, an empty one, what a batch processor makes first, and a session of deribit REPLICA."""
    (tmp_path / "file").write_text("hello\n")
    (tmp_path / "empty").touch()
    (tmp_path / "instance=PRIMARY" / "provider=DERIBIT").mkdir(parents=True)
    with FileLease(tmp_path / "state", "deribit", "REPLICA"):
        yield tmp_path
    assert (tmp_path / "file").read_text() == "hello\n", "what was there must not be deleted"


@pytest.mark.parametrize("program", [program for program in CASES if program != "penstock"])
def test_wrong_configuration_is_one_readable_line(program: str, folder: Path):
    """Exit code 2, exactly one line on stderr, no traceback, no secret, and in it the field, the value and what was
    expected."""
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda case: _run(case, folder), CASES[program]))
    assert [text for text in outcomes if text] == []


@pytest.mark.parametrize("case", CASES["penstock"], ids=lambda case: case.argv.replace("{0}/", ""))
def test_a_wrong_command_is_one_readable_line(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The same of the penstock command, in this process because importing it takes longest."""
    monkeypatch.setattr(sys, "argv", case.argv.format(folder).split())
    with pytest.raises(SystemExit) as ended:
        penstock()
    out, err = capfd.readouterr()
    assert _wrong(case, ended.value.code, out, err) == ""


def _run(case: Case, folder: Path) -> str:
    command = [sys.executable, "-m", *case.argv.format(folder).split()]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env={**ENVIRONMENT, **case.environ}
        )
    except subprocess.TimeoutExpired:
        return f"{case.argv}: still running after {TIMEOUT_S} s"
    return _wrong(case, done.returncode, done.stdout, done.stderr)


def _wrong(case: Case, code: int | str | None, out: str, err: str) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    lines = err.splitlines()
    good = code == 2 and len(lines) == 1 and "Traceback" not in out + err and SECRET not in out + err
    good = good and all(word in lines[0] for word in case.words)
    return "" if good else f"{case.argv}: exit code {code}, stderr {err[-800:]!r}"
