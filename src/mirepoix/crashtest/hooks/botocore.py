"""Calls of AWS with boto3 and botocore. The hook is ``BaseClient._make_api_call``, which stubs replace too.

An operation reads if its name begins like a reading operation. All others are durable. The effect of DynamoDB's
UpdateItem depends on its expression, so it counts as an increment. aiobotocore is not hooked.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from botocore.client import BaseClient

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import current

_READS = ("Get", "List", "Head", "Describe", "BatchGet", "Query", "Scan", "Select", "Search", "Lookup", "Receive")
"""Receiving a message from a queue hides it for a while. The queue delivers it again later."""

_SETS = (
    "Abort", "BatchDelete", "Complete", "Copy", "CreateMultipart", "Delete", "Put", "Set", "Tag", "Untag", "Update",
    "Upload",
)  # fmt: skip
"""Operations that leave the same if they are called again with the same."""

_NOT_SO = frozenset(
    {"PutEvents", "PutLogEvents", "PutMetricData", "PutRecord", "PutRecordBatch", "PutRecords", "UpdateItem"}
)

_KEYS = frozenset(
    {"clienttoken", "clientrequesttoken", "clientrequestid", "idempotencytoken", "messagededuplicationid",
     "callerreference"}
)  # fmt: skip
"""Parameters, in small letters, by which a service knows a repetition."""

_NAMES = ("Bucket", "Key", "TableName", "QueueUrl", "TopicArn", "FunctionName", "StreamName")
"""The parameters that name the object of a call."""


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""

    def make(call: Any) -> Any:
        def wrapped(self: Any, operation: str, params: Any) -> Any:
            delivery = current()
            if delivery is None:
                return call(self, operation, params)
            service_name = self.meta.service_model.service_name
            about = " ".join(params[name] for name in _NAMES if isinstance(params.get(name), str))
            label = f"{service_name} {operation} {about}".strip()
            changes = not operation.startswith(_READS)
            with delivery.point("aws", label, is_durable=changes) as note:
                found = call(self, operation, params)
                if changes:
                    note(_effect(operation, label, params))
                return found

        return wrapped

    replace(stack, BaseClient, "_make_api_call", make)


def _effect(operation: str, label: str, params: dict[str, Any]) -> dict[str, Any]:
    key = next((value for name, value in params.items() if name.lower() in _KEYS), None)
    if operation == "StartExecution":
        key = params.get("name")
    return {
        "kind": "aws",
        "subject": label,
        "payload": json.dumps(params, default=_plain, sort_keys=True),
        "key": key,
        "is_repeatable": operation.startswith(_SETS) and operation not in _NOT_SO,
    }


def _plain(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return type(value).__name__
