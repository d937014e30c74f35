"""Tasks that call AWS' services with boto3, at an endpoint on loopback."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from corpus.apps import ledger, plain
from web import Web, serving

import mirepoix
from mirepoix.crashtest.check import explore

QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/orders"


class Cloud(Web):
    """S3, SQS, SNS, DynamoDB and Step Functions as far as the tasks here look at the answer."""

    def says(self, method: str, path: str, headers: Any, body: bytes) -> bytes:
        if "X-Amz-Target" not in headers:
            return b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        return json.dumps({"MessageId": str(uuid.uuid4()), "executionArn": "arn", "startDate": 1}).encode()


CLOUD = Cloud()
"""Its address is new for each test."""


@pytest.fixture(autouse=True)
def cloud() -> Iterator[Web]:
    CLOUD.status = 200
    with serving(CLOUD) as served:
        yield served


def client(service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=CLOUD.url,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


@plain.task(shared=False, name="aws_sends")
def sends():
    client("sqs").send_message(QueueUrl=QUEUE, MessageBody="order 1")


@ledger.task(shared=False, name="aws_sends_by_id")
def sends_by_id():
    client("sqs").send_message(
        QueueUrl=f"{QUEUE}.fifo",
        MessageBody="order 1",
        MessageGroupId="1",
        MessageDeduplicationId=mirepoix.idempotency_key("order"),
    )


@ledger.task(shared=False, name="aws_sends_by_a_changing_id")
def sends_by_a_changing_id():
    client("sqs").send_message(
        QueueUrl=f"{QUEUE}.fifo", MessageBody="order 1", MessageGroupId="1", MessageDeduplicationId=str(uuid.uuid4())
    )


@plain.task(shared=False, name="aws_puts")
def puts():
    client("s3").put_object(Bucket="shop", Key="orders/1.json", Body=b"{}")
    client("s3").delete_object(Bucket="shop", Key="orders/0.json")


@plain.task(shared=False, name="aws_puts_under_a_new_name")
def puts_under_a_new_name():
    client("s3").put_object(Bucket="shop", Key=f"orders/{uuid.uuid4()}.json", Body=b"{}")


@plain.task(shared=False, name="aws_uploads")
def uploads():
    client("s3").upload_fileobj(io.BytesIO(b"x" * 100), "shop", "orders/1.csv")


@plain.task(shared=False, name="aws_publishes")
def publishes():
    client("sns").publish(TopicArn="arn:aws:sns:eu-west-1:1:orders", Message="order 1")


@plain.task(shared=False, name="aws_counts")
def counts():
    client("dynamodb").update_item(
        TableName="stock",
        Key={"id": {"S": "1"}},
        UpdateExpression="ADD pieces :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


@plain.task(shared=False, name="aws_starts")
def starts():
    client("stepfunctions").start_execution(stateMachineArn="arn:aws:states:eu-west-1:1:stateMachine:ship", name="1")


@ledger.task(shared=False, name="aws_in_a_step")
def in_a_step():
    mirepoix.step("send", client("sqs").send_message, QueueUrl=QUEUE, MessageBody="order 1")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (sends, [f"duplicate-aws:sqs SendMessage {QUEUE}"]),
        (sends_by_id, []),
        (sends_by_a_changing_id, [f"changed-key:sqs SendMessage {QUEUE}.fifo"]),
        (puts, []),
        (puts_under_a_new_name, ["duplicate-aws:s3 PutObject shop orders/<uuid>.json"]),
        (publishes, ["duplicate-aws:sns Publish arn:aws:sns:eu-west-1:1:orders"]),
        (counts, ["duplicate-aws:dynamodb UpdateItem stock"]),
        (starts, []),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_call_is_a_point(task, expected):
    report = explore(task, (), django=False)
    assert [finding.code for finding in report.findings] == expected
    assert report.explored.unmodelled == ()


def test_the_report_names_the_service_and_what_helps():
    report = str(explore(sends, (), django=False))
    assert "sqs SendMessage" in report
    assert "MessageDeduplicationId" in report


def test_a_step_that_is_kept_is_skipped():
    (finding,) = explore(in_a_step, (), django=False).findings
    assert finding.severity == "note"


def test_a_transfer_is_one_point_whatever_its_threads_do():
    report = explore(uploads, (), django=False)
    assert report.is_safe
    assert [point.label for point in report.explored.points] == ["s3 upload shop orders/1.csv"]
    assert report.explored.unmodelled == ()


def test_a_transfer_that_fails_raises_where_it_did(cloud):
    cloud.status = 403
    with pytest.raises(AssertionError, match=r"aws_uploads fails in its clean run.*ClientError(.|\n)*reached for AWS"):
        explore(uploads, (), django=False)
