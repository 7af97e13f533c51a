"""One contract suite for every object store: a folder, and S3's protocol with conditional writes."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigError, ConnectionLost, Terminal
from penstock.objectstore import ConflictError, ObjectStore, Outcome, check_key, content_sha256, open_store
from tests.conftest import free_port


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return open_store((tmp_path / "a store").as_uri())
    request.getfixturevalue("aws")
    bucket = f"bucket-{os.urandom(6).hex()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return open_store(f"s3://{bucket}/some/prefix")


KEY = "instance=PRIMARY/channel=rest%2Fdepth%2FA:B@1.-_/part.csv.gz"


def test_what_is_put_can_be_read(store: ObjectStore, tmp_path: Path) -> None:
    """Bytes come back as they were, by get, download and head."""
    data = gzip.compress(b"rows")
    assert store.put_if_absent(KEY, data) is Outcome.CREATED
    assert store.get(KEY) == data
    store.download(KEY, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    info = store.head(KEY)
    assert info is not None
    assert (info.key, info.size, info.sha256) == (KEY, len(data), content_sha256(KEY, data))


def test_files_are_stored_like_bytes(store: ObjectStore, tmp_path: Path) -> None:
    """A local file may be given in place of bytes; both are the same object."""
    path = tmp_path / "object"
    path.write_bytes(b"x" * 200_000)
    assert store.put_if_absent("a/b", path) is Outcome.CREATED
    assert store.put_if_absent("a/b", b"x" * 200_000) is Outcome.IDENTICAL
    assert store.put_if_absent("a/b", path) is Outcome.IDENTICAL


def test_absent_keys_are_absent(store: ObjectStore, tmp_path: Path) -> None:
    """head says None, get and download raise KeyError; a folder is no object."""
    store.put_if_absent("a/b", b"1")
    for key in ("nothing", "a", "a/b2"):
        assert store.head(key) is None
        with pytest.raises(KeyError):
            store.get(key)
        with pytest.raises(KeyError):
            store.download(key, tmp_path / "copy")


def test_the_first_content_stays(store: ObjectStore) -> None:
    """The same content again is success; other content is refused and changes nothing."""
    assert store.put_if_absent("k", b"first") is Outcome.CREATED
    assert store.put_if_absent("k", b"first") is Outcome.IDENTICAL
    with pytest.raises(ConflictError):
        store.put_if_absent("k", b"other")
    assert store.get("k") == b"first"


def test_gzip_is_compared_by_what_it_holds(store: ObjectStore) -> None:
    """Another compressor's bytes of the same rows are the same object."""
    assert store.put_if_absent("k.gz", gzip.compress(b"rows" * 99, 1, mtime=1)) is Outcome.CREATED
    assert store.put_if_absent("k.gz", gzip.compress(b"rows" * 99, 9, mtime=2)) is Outcome.IDENTICAL
    with pytest.raises(ConflictError):
        store.put_if_absent("k.gz", gzip.compress(b"rows" * 98))


def test_listing_is_sorted_and_exact(store: ObjectStore) -> None:
    """Prefixes end anywhere; folders are named one level down; other keys do not appear."""
    keys = ["a/1", "a/2", "ab/c/3", "b=1/x/4", "b=1/y%2Fz/5", "b=10/6"]
    for key in reversed(keys):
        store.put_if_absent(key, key.encode())
    assert list(store.list("")) == keys
    assert list(store.list("a")) == keys[:3]
    assert list(store.list("a/")) == keys[:2]
    assert list(store.list("b=1/y")) == keys[4:5]
    assert list(store.list("nothing/")) == []
    assert store.folders("") == ["a", "ab", "b=1", "b=10"]
    assert store.folders("b=1/") == ["x", "y%2Fz"]
    assert store.folders("a/") == []
    assert store.folders("nothing/") == []


def test_listing_is_complete_beyond_one_page(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers with one page at a time; a caller sees all."""
    monkeypatch.setattr("penstock.objectstore_s3._PAGE", 3)
    keys = [f"p/{i:02d}" for i in range(10)]
    for key in keys:
        store.put_if_absent(key, b"")
    assert list(store.list("p/")) == keys


def test_one_of_many_racing_writers_creates(store: ObjectStore) -> None:
    """Of writers with the same content one creates and the others find it; of writers with different content one wins."""
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: store.put_if_absent("same", b"x" * 10_000), range(16)))
        assert sorted(outcome.name for outcome in same) == ["CREATED"] + ["IDENTICAL"] * 15

        def put(i: int) -> str:
            try:
                return store.put_if_absent("different", b"%d" % i).name
            except ConflictError:
                return "CONFLICT"

        assert sorted(pool.map(put, range(16))) == ["CONFLICT"] * 15 + ["CREATED"]


UNSAFE = (
    "", "/a", "a/", "a//b", "..", "a/../b", "a/.", ".hidden", "a/-b", "a\nb", "a\0b", "a\x7f", "a\\b", "a/" * 600 + "b",
    "x" * 256, "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("key", UNSAFE)
def test_unsafe_keys_are_refused(store: ObjectStore, key: str) -> None:
    """No key leaves its prefix, holds a control character or is too long for S3 or a file system."""
    for call in (lambda: store.put_if_absent(key, b""), lambda: store.get(key), lambda: store.head(key)):
        with pytest.raises(ValueError, match="key"):
            call()


@given(st.text())
def test_accepted_keys_are_paths_below_their_root(key: str) -> None:
    """Whatever check_key lets through stays below the folder it is joined to."""
    try:
        check_key(key)
    except ValueError:
        return
    root = Path("/a/store")
    assert os.path.normpath(root / key) == str(root / key)


@pytest.mark.parametrize("url", ["", "/tmp/x", "file:x", "file://host/x", "s3://", "gs://b/x", "s3:bucket"])
def test_unknown_urls_are_refused(url: str) -> None:
    """A store that does not exist ends in one readable line, not in a folder called `s3:`."""
    with pytest.raises(ConfigError, match="object store is"):
        open_store(url)


def test_killed_writers_leave_nothing_visible(tmp_path: Path) -> None:
    """A temporary file of a killed writer is never listed, and removed by the next start."""
    store = open_store(tmp_path.as_uri())
    store.put_if_absent("a/b", b"1")
    left = tmp_path / ".incoming" / "left"
    left.write_bytes(b"half an obj")
    assert list(store.list("")) == ["a/b"]
    open_store(tmp_path.as_uri())
    assert not left.exists()


def test_s3_that_is_gone_is_connection_lost(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable endpoint is ConnectionLost after the caller's patience: the caller tries again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(ConnectionLost):
        open_store("s3://bucket", patience_s=0.5).put_if_absent("k", b"")
    assert time.monotonic() - began < 3


def test_s3_without_the_bucket_is_terminal(aws: None) -> None:
    """A bucket that does not exist will not appear by trying again."""
    with pytest.raises(Terminal, match="NoSuchBucket"):
        open_store("s3://no-such-bucket").put_if_absent("k", b"")
