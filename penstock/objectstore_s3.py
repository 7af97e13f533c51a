"""Objects in S3, or in anything that speaks its protocol with conditional writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from penstock import clock
from penstock.errors import Terminal
from penstock.objectstore import ConflictError, ObjectInfo, Outcome, StoreFailed, check_key, content_sha256, size_of

_BACKOFF_S: Final = (0.05, 5.0)
_METADATA: Final = "sha256"
_PAGE: Final = 1000

# Answers after which the same request may be made again: a racing conditional write (409), throttling, the server's own
# failures. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html, 2026-08.
_AGAIN: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
_THROTTLED: Final = frozenset({429, 503})

# 400s that speak of the way the request took, not of the request.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, 2026-11.
_TORN: Final = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentChecksumMismatch"})


class _HalfAnswerError(Exception):
    """A success that says less than S3 always says: an error page with status 200, made by something between."""


_UNREADABLE: Final = (_HalfAnswerError, ResponseParserError)


def _whole(answer: dict[str, Any]) -> dict[str, Any]:
    if "ETag" not in answer:
        raise _HalfAnswerError("200 without an ETag")
    return answer


class S3Store:
    """An ObjectStore below `prefix` of one bucket. Failing calls are repeated for up to `patience_s` seconds."""

    def __init__(self, bucket: str, prefix: str, patience_s: float) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience_s = patience_s
        # The SDK's own retries would hide how often a request was made; ours repeat exactly the same one.
        config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}, max_pool_connections=32)
        try:
            self._client: Any = boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise Terminal(f"s3://{bucket}: {error}") from None

    def put_if_absent(self, key: str, data: bytes | Path, sha256: str | None = None) -> Outcome:
        size = size_of(data)
        digest = sha256 or content_sha256(key, data)
        name = self._name(key)

        def put() -> Outcome:
            # A repeated request needs its body from the start.
            body: Any = data.open("rb") if isinstance(data, Path) else data
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket, Key=name, Body=body, ContentLength=size, IfNoneMatch="*",
                    Metadata={_METADATA: digest},
                )  # fmt: skip
            finally:
                if isinstance(data, Path):
                    body.close()
            _whole(answer)
            return Outcome.CREATED

        created = self._patiently(put, otherwise=412)
        if created is not None:
            return created
        found = self.head(key)
        if found is None:
            raise StoreFailed(f"s3://{self._bucket}/{name} exists for a PUT and not for a HEAD", "conflict")
        if found.sha256 != digest:
            raise ConflictError(f"s3://{self._bucket}/{name} exists with different content")
        return Outcome.IDENTICAL

    def get(self, key: str) -> bytes:
        name = self._name(key)
        body = self._patiently(
            lambda: bytes(_whole(self._client.get_object(Bucket=self._bucket, Key=name))["Body"].read()), otherwise=404
        )
        if body is None:
            raise KeyError(key)
        return body

    def download(self, key: str, path: Path) -> None:
        name = self._name(key)

        def copy() -> bool:
            with path.open("wb") as file:
                answer = _whole(self._client.get_object(Bucket=self._bucket, Key=name))
                for piece in answer["Body"].iter_chunks(1 << 20):
                    file.write(piece)
            return True

        if self._patiently(copy, otherwise=404) is None:
            raise KeyError(key)

    def head(self, key: str) -> ObjectInfo | None:
        name = self._name(key)
        found = self._patiently(lambda: _whole(self._client.head_object(Bucket=self._bucket, Key=name)), otherwise=404)
        if found is None:
            return None
        # Objects that something else put here have no hash beside them: then their content tells.
        digest = found["Metadata"].get(_METADATA) or content_sha256(key, self.get(key))
        return ObjectInfo(key, int(found["ContentLength"]), digest)

    def folders(self, prefix: str) -> list[str]:
        start = len(self._prefix) + len(prefix)
        return sorted(
            item["Prefix"][start:-1] for page in self._pages(prefix, "/") for item in page.get("CommonPrefixes", ())
        )

    def list(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix, ""):
            for item in page.get("Contents", ()):
                yield item["Key"].removeprefix(self._prefix)

    def remove(self, key: str) -> None:
        name = self._name(key)
        self._patiently(lambda: self._client.delete_object(Bucket=self._bucket, Key=name), otherwise=404)

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix, "Delimiter": delimiter, "MaxKeys": _PAGE}
        while True:
            page: dict[str, Any] = self._patiently(lambda: self._client.list_objects_v2(**request)) or {}
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _name(self, key: str) -> str:
        # The limit is on the whole key, prefix included.
        return check_key(self._prefix + check_key(key))

    def _patiently[T](self, call: Callable[[], T], otherwise: int = 0) -> T | None:
        """The call's result; None where the answer is the status `otherwise`. Makes the same request again after every
        answer that leaves open whether it was done. Raises StoreFailed when patience ends, Terminal on a refusal."""
        deadline = clock.monotonic_s() + self._patience_s
        delay, limit = _BACKOFF_S
        while True:
            try:
                return call()
            except ClientError as error:
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                code = error.response.get("Error", {}).get("Code", "")
                if status == otherwise and code != "NoSuchBucket":
                    return None
                if status not in _AGAIN and code not in _TORN:
                    raise Terminal(f"s3://{self._bucket}: {code}: {error}") from None
                kind = "throttled" if status in _THROTTLED else "conflict" if status == 409 else "server"
                reason = f"{status} {code}"
            except (BotoCoreError, ResponseParserError, OSError, _HalfAnswerError) as error:
                timed_out = isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError)
                kind = "timeout" if timed_out else "server" if isinstance(error, _UNREADABLE) else "connection"
                reason = f"{type(error).__name__}: {error}"
            if clock.monotonic_s() + delay > deadline:
                raise StoreFailed(f"s3://{self._bucket}: {reason}", kind)
            time.sleep(random.uniform(delay / 2, delay))
            delay = min(delay * 2, limit)
