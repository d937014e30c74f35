"""A message that nobody can read ends no worker and is not thrown away: it is kept as a parked row."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from workers import Shop, until

from brokers import BrokerServer, RedisServer
from mirepoix.broker import message
from mirepoix.states import State

TASK = {"task": "shop.note", "id": "some-id", "lang": "py"}
BODY = "[[], {}, {}]"

JSON = ("application/json", "utf-8")

UNREADABLE: dict[str, tuple[dict[str, Any], str | bytes, tuple[str, str]]] = {
    "an id with NUL": ({**TASK, "id": "a\0b"}, BODY, JSON),
    "an id of half a character": ({**TASK, "id": "\ud800"}, BODY, JSON),
    "an id that is too long": ({**TASK, "id": "i" * 300}, BODY, JSON),
    "a name that is none": ({**TASK, "task": ["x"]}, BODY, JSON),
    "an eta that is none": ({**TASK, "eta": "soon"}, BODY, JSON),
    "a body that is no JSON": ({**TASK, "id": "broken-body"}, "{no", JSON),
    "a body that is no UTF-8": ({**TASK, "id": "broken-bytes"}, b"\xff[[], {}, {}]", JSON),
    "a body that is pickled": ({**TASK, "id": "pickled"}, b"\x80\x05.", ("application/x-python-serialize", "binary")),
    "a content type of nobody": ({**TASK, "id": "of-nobody"}, BODY, ("application/x-nobody", "utf-8")),
    "a time limit that is none": ({**TASK, "id": "broken-limit", "timelimit": ["5m", None]}, BODY, JSON),
    "no task": ({}, '"hello"', JSON),
    "no task, and no UTF-8": ({}, b"\xff{}", JSON),
    "no task, and pickled": ({}, b"\x80\x05.", ("application/x-python-serialize", "binary")),
}

NO_MESSAGES: dict[str, bytes] = {
    "headers that are a list": json.dumps(
        {"body": BODY, "headers": ["task"], "properties": {"delivery_tag": "t", "delivery_info": {}}}
    ).encode(),
    "no JSON": b"hello",
    "no UTF-8": b"\xff\xfe",
    "JSON too deep": b"[" * 100_000,
    "a moment that is none": b'{"__type__": "datetime", "__value__": 5}',
}
"""What anybody can push onto one of Redis' lists."""


@pytest.mark.parametrize("foreign_tasks", ["run", "adopt"])
def test_an_unreadable_message_is_parked_and_acknowledged(
    broker: BrokerServer, postgresql_url: str, tmp_path: Path, foreign_tasks: str
):
    settings = {"delivery": "broker", "foreign_tasks": foreign_tasks}
    with Shop(tmp_path / "shop", postgresql_url, broker=broker, **settings) as shop:
        worker = shop.worker(pool="prefork")
        with Connection(broker.url) as connection:
            producer = connection.Producer()
            for headers, body, (content_type, content_encoding) in UNREADABLE.values():
                producer.publish(
                    body,
                    routing_key="celery",
                    headers=headers,
                    content_type=content_type,
                    content_encoding=content_encoding,
                )
            said_to_be_leased = {**TASK, "id": "leased", "mirepoix": {"a": 1}}
            producer.publish(BODY, routing_key="celery", headers=said_to_be_leased, content_type="application/json")
            pushed = list(NO_MESSAGES.values()) if isinstance(broker, RedisServer) else []
            if pushed:
                connection.default_channel.client.lpush("celery", *pushed)
        wanted = len(UNREADABLE) + len(pushed)
        until(lambda: list(shop.ledger.states().values()).count(State.PARKED) == wanted, "all are parked")
        until(lambda: shop.runs("leased") == 1, "what only says that it is leased runs")
        after = shop.send("note")
        shop.wait(after, State.SUCCEEDED)
        rows = shop.ledger.rows("SELECT * FROM mirepoix_task WHERE state = 'parked'")
        assert all(row["reason"] for row in rows)
        (of_nul,) = [row for row in rows if r"a\x00b" in row["reason"]]
        kept = json.loads(base64.b64decode(of_nul["body"]))
        assert (kept["headers"]["id"], base64.b64decode(kept["body"])) == ("a\0b", BODY.encode())
        wholes = [json.loads(base64.b64decode(row["body"])) for row in rows if row["name"] == message.UNREADABLE]
        assert {base64.b64decode(whole["body"]) for whole in wholes} >= set(pushed[1:])
        worker.stop()
        assert worker.exit_code == 0
        assert broker.size("celery") == 0


def test_what_celery_reads_for_itself_is_adopted(broker: BrokerServer, postgresql_url: str, tmp_path: Path):
    settings = {"delivery": "broker", "foreign_tasks": "adopt"}
    with Shop(tmp_path / "shop", postgresql_url, broker=broker, **settings) as shop:
        shop.worker(pool="threads")
        with Connection(broker.url) as connection:
            headers = {**TASK, "retries": 2**40, "root_id": "r" * 300, "group": 7, "mirepoix_version": 2**40}
            connection.Producer().publish(BODY, routing_key="celery", headers=headers, content_type="application/json")
        until(lambda: shop.ledger.states().get("some-id") == State.SUCCEEDED, "it runs")
        row = shop.row("some-id")
        assert (row["retries"], row["root_id"], row["group_id"]) == (0, None, None)
