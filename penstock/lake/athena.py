"""SQL on Athena itself: started, waited for with progress, and its rows read page by page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

from penstock import clock
from penstock.errors import ConfigError, ConnectionLost
from penstock.lake.local import Answer

PRICE_PER_TB: Final = 5.0
"""US dollars for 10¹² bytes scanned, in most regions (https://aws.amazon.com/athena/pricing/, read 2026-11)."""

LEAST_BYTES: Final = 10 * 1024 * 1024
"""What every query that reads anything is billed for at least (the same page)."""

_POLL_S: Final = (0.2, 0.5, 1.0, 2.0)
_RUNNING: Final = ("QUEUED", "RUNNING")
_CONVERT: Final[dict[str, Callable[[str], Any]]] = {
    "tinyint": int, "smallint": int, "integer": int, "bigint": int, "float": float, "double": float, "decimal": Decimal,
    "boolean": lambda text: text == "true", "date": dt.date.fromisoformat,
    "timestamp": lambda text: dt.datetime.fromisoformat(text.replace(" UTC", "")),
}  # fmt: skip


class Place(NamedTuple):
    """Where queries run. `output` is the S3 URL for results; empty where the workgroup has one."""

    database: str
    workgroup: str = "primary"
    output: str = ""


class Progress(NamedTuple):
    """`state` is Athena's; `scanned` bytes until now; `seconds` since the start."""

    state: str
    scanned: int
    seconds: float

    @property
    def cost(self) -> float:
        """US dollars."""
        return max(self.scanned, LEAST_BYTES) * PRICE_PER_TB / 1e12 if self.scanned else 0.0


class Athena:
    """Runs queries one after the other. Endpoint, region and credentials are those of the AWS SDK."""

    def __init__(self, place: Place, *, sleep: Callable[[float], None]) -> None:
        """`sleep` waits that many seconds."""
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            self._client = boto3.client("athena")
        except BotoCoreError as error:
            raise ConfigError(f"Athena: {error}") from None
        self._place, self._sleep = place, sleep

    def query(self, sql: str, told: Callable[[Progress], None]) -> tuple[Answer, Progress]:
        """Run a statement to its end; `told` hears of every change. The query is cancelled when interrupted.

        Raises ConfigError with Athena's own reason where the query fails, ConnectionLost where Athena cannot be reached.
        """
        number = self._start(sql)
        try:
            last = self._wait(number, told)
        except KeyboardInterrupt:
            self._ask("stop_query_execution", QueryExecutionId=number)
            raise
        return self._answer(number), last

    def _start(self, sql: str) -> str:
        options: dict[str, Any] = {"QueryExecutionContext": {"Database": self._place.database}}
        if self._place.output:
            options["ResultConfiguration"] = {"OutputLocation": self._place.output}
        started = self._ask("start_query_execution", QueryString=sql, WorkGroup=self._place.workgroup, **options)
        return str(started["QueryExecutionId"])

    def _wait(self, number: str, told: Callable[[Progress], None]) -> Progress:
        began, polls = clock.monotonic_s(), 0
        while True:
            found = self._ask("get_query_execution", QueryExecutionId=number)["QueryExecution"]
            scanned = int(found.get("Statistics", {}).get("DataScannedInBytes", 0))
            progress = Progress(found["Status"]["State"], scanned, clock.monotonic_s() - began)
            told(progress)
            if progress.state == "SUCCEEDED":
                return progress
            if progress.state not in _RUNNING:
                reason = found["Status"].get("StateChangeReason", "no reason was given")
                raise ConfigError(
                    f"the query {progress.state.lower()} on Athena ({number}): {' '.join(reason.split())}"
                )
            self._sleep(_POLL_S[min(polls, len(_POLL_S) - 1)])
            polls += 1

    def _answer(self, number: str) -> Answer:
        columns: list[dict[str, Any]] = []
        rows: list[tuple[Any, ...]] = []
        for page in self._pages(number):
            if not columns:
                columns = page["ResultSetMetadata"]["ColumnInfo"]
                # The first row of what a SELECT gives is the header; of DDL and SHOW it is not.
                names = [column.get("Label") or column["Name"] for column in columns]
                skip = bool(page["Rows"]) and [field.get("VarCharValue") for field in page["Rows"][0]["Data"]] == names
                page["Rows"] = page["Rows"][skip:]
            rows += [_row(row["Data"], columns) for row in page["Rows"]]
        return Answer(tuple(column.get("Label") or column["Name"] for column in columns), rows)

    def _pages(self, number: str) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page = self._ask("get_query_results", QueryExecutionId=number, MaxResults=1000, **token)
            yield page["ResultSet"]
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
        except ClientError as error:
            raise ConfigError(f"Athena: {error.response['Error'].get('Message', error)}") from None
        except BotoCoreError as error:
            raise ConnectionLost(f"Athena: {error}") from None
        return answer


def _row(fields: list[dict[str, str]], columns: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Values of their columns' types; what has none of ours stays text."""
    return tuple(
        _value(field.get("VarCharValue"), column["Type"]) for field, column in zip(fields, columns, strict=True)
    )


def _value(text: str | None, kind: str) -> Any:
    if text is None:
        return None
    try:
        return _CONVERT.get(kind.partition("(")[0], str)(text)
    except (ValueError, ArithmeticError):
        return text
