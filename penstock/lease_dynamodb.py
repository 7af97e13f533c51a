"""Lease records in one DynamoDB table: hash key `slot`, conditional writes, strongly consistent reads.

It is the only module by which a session manager reaches AWS, and can do nothing else there. botocore rather than boto3: of
the SDK it needs signing, credentials and endpoints.
"""

from __future__ import annotations

from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import ConnectionLost, Terminal
from penstock.lease import Held

_TIMEOUT_S: Final = 2.0
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
# Refusals with status 400 that pass: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_AGAIN_CODES: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "ExpiredTokenException"}
)


class DynamoSlots:
    """Slots of one table. Each call is made once and takes at most a few seconds: the lease repeats them."""

    def __init__(self, table: str) -> None:
        self._table = table
        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        try:
            self._client: Any = botocore.session.get_session().create_client("dynamodb", config=config)
        except (BotoCoreError, ValueError) as error:
            raise Terminal(f"dynamodb://{table}: {error}") from None

    def read(self, slot: str) -> Held | None:
        key = {"slot": {"S": slot}}
        item = (self._call("get_item", Key=key, ConsistentRead=True) or {}).get("Item")
        if not item:
            return None
        try:
            return Held(
                int(item["epoch"]["N"]),
                int(item["renewal"]["N"]),
                item["owner"]["S"],
                item["host"]["S"],
                bool(item["released"]["BOOL"]),
            )
        except (KeyError, ValueError):
            raise Terminal(f"dynamodb://{self._table}: the item {slot!r} is no lease") from None

    def swap(self, slot: str, before: Held | None, after: Held) -> bool:
        item = {
            "slot": {"S": slot},
            "epoch": {"N": str(after.epoch)},
            "renewal": {"N": str(after.renewal)},
            "owner": {"S": after.owner},
            "host": {"S": after.host},
            "released": {"BOOL": after.released},
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(slot)"}
        if before is not None:
            condition = {
                "ConditionExpression": "epoch = :epoch AND renewal = :renewal",
                "ExpressionAttributeValues": {
                    ":epoch": {"N": str(before.epoch)},
                    ":renewal": {"N": str(before.renewal)},
                },
            }
        return self._call("put_item", Item=item, **condition) is not None

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """The answer; None where the condition does not hold."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self._table, **arguments)
        except ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                return None
            if status in _AGAIN or code in _AGAIN_CODES:
                raise ConnectionLost(f"dynamodb://{self._table}: {code}") from None
            raise Terminal(f"dynamodb://{self._table}: {code}: {error}") from None
        except (BotoCoreError, OSError) as error:
            raise ConnectionLost(f"dynamodb://{self._table}: {type(error).__name__}: {error}") from None
        return answer
