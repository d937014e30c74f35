"""What is published is what the ledger holds; what fails holds up as little as can be; no estimate is believed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

import mirepoix
from brokers import BrokerServer, RabbitServer
from driver import Ledger, envelope
from estimating import FORBIDDEN
from mirepoix.broker.outbox import Outbox
from mirepoix.broker.publisher import Publisher
from mirepoix.broker.reconcile import Reconciler
from mirepoix.connect.url import source_for
from mirepoix.ledger import sending
from mirepoix.operations.broker_losses import LONGEST_WITHOUT_SIGN_S
from mirepoix.records import UNSENT


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    with Ledger(source_for(sqlite_url)) as ledger:
        yield ledger


def app_with(ledger_url: str, broker_url: str) -> Celery:
    app = Celery("shop", set_as_current=False, broker=broker_url)
    mirepoix.install(app, ledger_url, delivery="broker")
    return app


@pytest.fixture
def publisher(broker: BrokerServer) -> Iterator[Publisher]:
    with Connection(broker.url) as connection:
        connection.default_channel.queue_declare("celery", durable=True, auto_delete=False)
        connection.default_channel.queue_purge("celery")
    publisher = Publisher(Celery("shop", set_as_current=False, broker=broker.url))
    yield publisher
    publisher.close()


def received(broker: BrokerServer) -> Any:
    """The next message of the queue."""
    with Connection(broker.url) as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
        return message if hasattr(message, "body") else connection.default_channel.Message(message)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_messages_under_a_prefix_are_counted(broker: BrokerServer):
    app = Celery("shop", set_as_current=False, broker=broker.url)
    app.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    publisher = Publisher(app)
    publisher.publish([envelope("a", routing_key="celery")])
    assert publisher.count("celery") == 1
    publisher.close()


# ---- bodies

TEXT = '[["Grüße", "\\u0000"], {}, {}]'
BODIES = {
    "text": (TEXT, "utf-8", "utf-8", TEXT.encode()),
    "text of a binary serializer": (TEXT, "utf-8", "binary", TEXT.encode()),
    "text that says it is latin-1": (TEXT, "utf-8", "iso-8859-1", TEXT.encode()),
    "text in no encoding": (TEXT, "utf-8", "of-my-own", TEXT.encode()),
    "bytes": (base64.b64encode(bytes(range(256))).decode(), "base64", "binary", bytes(range(256))),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_arrives_byte_by_byte_whatever_its_encoding_is_called(
    broker: BrokerServer, publisher: Publisher, kind: str
):
    body, body_encoding, content_encoding, raw = BODIES[kind]
    task = envelope(
        "a",
        headers={"id": "a", "task": "shop.pay"},
        routing_key="celery",
        body=body,
        body_encoding=body_encoding,
        content_type="application/x-own",
        content_encoding=content_encoding,
    )
    assert publisher.publish([task]) == ["a"]
    message = received(broker)
    found = message.body.encode(content_encoding) if isinstance(message.body, str) else bytes(message.body)
    assert found == raw
    assert (message.content_type, message.content_encoding) == ("application/x-own", content_encoding)


# ---- what fails


def test_a_queue_that_the_broker_refuses_in_words_of_its_own_holds_up_only_itself(
    ledger: Ledger, sqlite_url: str, estimating: str, caplog: pytest.LogCaptureFixture
):
    app = app_with(sqlite_url, estimating)
    publisher = Publisher(app)
    outbox = Outbox(publisher, app.mirepoix.settings)
    for id, queue in (("a", "celery"), ("no", FORBIDDEN), ("b", "celery"), ("c", "mail")):
        ledger.send(id, queue=queue, routing_key=queue, headers={"id": id}, sent_fence=UNSENT)
    assert outbox.publish(ledger.connection) == 3
    assert "the broker refuses the declaration of queue 'forbidden'" in caplog.text
    assert "task shop.pay[no] cannot be published" in caplog.text
    assert outbox.trouble == "the broker takes nothing for queue 'forbidden' (see the relay's log)"
    assert publisher.is_open  # the connection is as good as before
    caplog.clear()
    ledger.send("d", routing_key="celery", headers={"id": "d"}, sent_fence=UNSENT)
    assert outbox.publish(ledger.connection) == 1
    assert caplog.text == ""  # the queue is held up: it is not tried with each round
    assert [one.envelope.id for one in ledger.do(sending.unsent, 0.0, 10)] == ["no"]
    publisher.close()
    app.close()


UNSENDABLE: dict[str, dict[str, Any]] = {
    "correlation": {"properties": {"correlation_id": "x" * 300}},
    "key": {"headers": {"x" * 300: 1}},
    "value": {"headers": {"number": 10**30}},
    "length": {"headers": {"stamp": "x" * 200_000}},
    "i" * 300: {"properties": {"correlation_id": "i" * 300}},
}


def test_what_the_broker_cannot_take_as_it_is_is_published_by_its_id(
    broker: BrokerServer, publisher: Publisher, caplog: pytest.LogCaptureFixture
):
    """What is run is what stands in the ledger. Such a task held up the eta of each other one of its queue."""
    envelopes = []
    for id, given in UNSENDABLE.items():
        fields = {"properties": {}, **given, "headers": {"id": id, "task": "shop.pay", **given.get("headers", {})}}
        envelopes.append(envelope(id, routing_key="celery", **fields))
    envelopes.append(envelope("last", headers={"id": "last", "task": "shop.pay"}, routing_key="celery"))
    assert publisher.publish(envelopes) == [*UNSENDABLE, "last"]
    messages = [received(broker) for _ in envelopes]
    assert {message.headers["id"] for message in messages} == {*UNSENDABLE, "last"}
    assert all(message.headers["mirepoix_task"] is True for message in messages)
    if isinstance(broker, RabbitServer):
        assert caplog.text.count("is published by its id alone") == len(UNSENDABLE)


# ---- estimates


def reconciler(app: Celery) -> tuple[Reconciler, Publisher]:
    publisher = Publisher(app)
    publisher.open()
    return Reconciler(app.mirepoix, publisher), publisher


def sent(ledger: Ledger, *ids: str) -> None:
    ledger.send(*ids, sent_fence=UNSENT)
    ledger.do(sending.note_sent, [(id, 0) for id in ids])


def unsent(ledger: Ledger) -> list[str]:
    return [one.envelope.id for one in ledger.do(sending.unsent, 0.0, 10)]


def test_an_estimate_of_no_messages_makes_nothing_go_out_again(ledger: Ledger, sqlite_url: str, estimating: str):
    app = app_with(sqlite_url, estimating)
    looks, publisher = reconciler(app)
    assert publisher.can_count is False
    sent(ledger, "a", "b")
    ledger.passes(LONGEST_WITHOUT_SIGN_S - 100)
    for was_away in (True, False):
        looks.compare(ledger.connection, was_away=was_away)
        looks._look(ledger.connection)
    assert unsent(ledger) == []
    ledger.passes(200)
    looks._look(ledger.connection)
    assert unsent(ledger) == ["a", "b"]  # the deadline is left
    publisher.close()
    app.close()


def test_a_broker_that_counts_is_believed(ledger: Ledger, sqlite_url: str, publisher: Publisher, broker: BrokerServer):
    app = app_with(sqlite_url, broker.url)
    looks, own = reconciler(app)
    assert own.can_count is True
    sent(ledger, "a", "b")
    ledger.passes(5)
    looks.compare(ledger.connection, was_away=True)
    assert unsent(ledger) == ["a", "b"]
    own.close()
    app.close()


def test_it_is_known_of_amazon_s_queues_that_they_estimate(sqlite_url: str):
    pytest.importorskip("boto3", reason="kombu needs it for SQS: pip install 'kombu[sqs]'")
    app = app_with(sqlite_url, "sqs://key:secret@")
    app.conf.broker_transport_options = {"region": "eu-west-1", "predefined_queues": {"celery": {"url": "https://x/q"}}}
    publisher = Publisher(app)
    assert publisher.can_count is False
    publisher.close()
    app.close()


def test_a_message_says_in_a_header_that_its_task_is_in_the_ledger(broker: BrokerServer, publisher: Publisher):
    publisher.publish([envelope("a", headers={"id": "a", "task": "shop.pay"}, routing_key="celery")])
    message = received(broker)
    assert json.loads(message.body) == [[1], {"a": 2}, {}]
    assert message.headers["mirepoix_task"] is True


# ---- probes


def test_a_probe_counts_from_the_third_in_a_row_on(
    ledger: Ledger, sqlite_url: str, publisher: Publisher, broker: BrokerServer
):
    app = app_with(sqlite_url, broker.url)
    looks, own = reconciler(app)
    ledger.worker("w1")
    ledger.do(sending.note_received, "w1", 0.0)

    def probe() -> bool:
        looks._next_probe = time.monotonic()
        looks.tend(ledger.connection)
        return any(one.probed_s is not None for one in ledger.do(sending.seen))

    assert [probe(), probe()] == [False, False]
    looks.compare(ledger.connection, was_away=True)  # the broker is back: what went before is no row
    assert [probe(), probe(), probe()] == [False, False, True]
    own.close()
    app.close()
