"""Raw rows and keys: every byte comes back, with this project's reader and with everybody else's."""

from __future__ import annotations

import csv
import datetime as dt
import io
from base64 import b64decode

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from isal import igzip

from penstock.objectstore import check_key
from penstock.objectstore_raw import HEADER, Partition, Row, is_raw_key, quoted, row, rows, unquoted

HOSTILE = [
    b"", b'"', b'""', b'"""', b",", b"'", b"\\", b'\\"', b'{"a":"x\\"y\\\\"}', b'{"a":1}\n', b"a\r\nb", b"\r", b"\0",
    b"\x01", b"\x7f", b"\xff\xfe", "é€😀\u2028".encode(), b"\xed\xa0\x80", b"=1+1", b"base64:", b"base64:AAAA", b"BASE64:",
    b" lead and trail ", b"NULL", b"null", b"x" * 3_000_000, b"\xef\xbb\xbfbom", b"ts_recv,epoch", b"\t",
]  # fmt: skip


def plain(text: str) -> bytes:
    """What a foreign reader does with a payload column."""
    return b64decode(text[7:]) if text.startswith("base64:") else text.encode()


@given(st.lists(st.binary(max_size=60)))
@example(HOSTILE)
def test_rows_come_back(payloads: list[bytes]) -> None:
    """Every payload comes back byte for byte, and each is one line."""
    lines = [row(1 + n, 2**63 - 1, 3, n, payload) for n, payload in enumerate(payloads)]
    assert all(line.count(b"\n") == 1 for line in lines)
    found = list(rows(igzip.compress(HEADER + b"".join(lines))))
    assert found == [Row(1 + n, 2**63 - 1, 3, n, payload) for n, payload in enumerate(payloads)]


@given(st.lists(st.binary(max_size=60)))
@example(HOSTILE)
def test_csv_reader_reads_the_same(payloads: list[bytes]) -> None:
    """Python's csv module, which knows nothing of this project, reads every field."""
    csv.field_size_limit(10_000_000)
    text = b"".join(row(n + 1, 1, 1, n + 1, payload) for n, payload in enumerate(payloads)).decode()
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [plain(line[4]) for line in found] == payloads
    assert [line[:4] for line in found] == [[str(n + 1), "1", "1", str(n + 1)] for n in range(len(payloads))]


def test_duckdb_reads_the_same(tmp_path) -> None:
    """SQL over the same object gives back every payload."""
    path = tmp_path / "1-1-9.csv.gz"
    path.write_bytes(igzip.compress(HEADER + b"".join(row(9, 1, 1, n, p) for n, p in enumerate(HOSTILE))))
    columns = "{'ts_recv':'UBIGINT','epoch':'UBIGINT','connection':'UINTEGER','sequence':'UBIGINT','payload':'VARCHAR'}"
    found = duckdb.sql(
        f"SELECT payload FROM read_csv('{path}', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', "
        f"nullstr='\x01', columns={columns}, max_line_size=100000000) ORDER BY sequence"
    ).fetchall()
    assert [plain(text) for (text,) in found] == HOSTILE


@given(st.binary())
def test_quoting_is_lossless_and_printable(payload: bytes) -> None:
    """No control byte is ever written, so any of them can serve a reader as its escape character."""
    field = quoted(payload)
    assert unquoted(field) == payload
    assert field.decode().isascii() or not any(byte < 32 or byte == 127 for byte in field)


@pytest.mark.parametrize("data", [b"", b"no header\n", HEADER[:-1], HEADER + b"1,2,3,4,x\n", HEADER + b'1,2,3,4,"x"'])
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    """Half an object is an error, never half of the rows."""
    with pytest.raises(ValueError):  # noqa: PT011 # which part is wrong is not the promise
        list(rows(igzip.compress(data)))


@given(st.text(min_size=1, max_size=20), st.integers(1, 2**63), st.integers(1, 2**63))
def test_keys_are_safe(channel: str, epoch: int, first: int) -> None:
    """Whatever a venue calls its channel, its objects have a key that every store takes."""
    key = Partition("PRIMARY", "DERIBIT", "MBO", channel, dt.date(2026, 8, 9)).key(epoch, first, first + 1)
    assert check_key(key).endswith(f"/year=2026/month=08/day=09/{epoch}-{first}-{first + 1}.csv.gz")
    assert is_raw_key(key)
    assert is_raw_key(key.replace(".csv.gz", ".conflict-0123456789abcdef.csv.gz"))
    assert not is_raw_key(key.replace(".csv.gz", ".parquet"))
