"""Queues of every kind: what Celery says of a queue holds, and one that takes nothing holds up only its own tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from workers import Shop, until

import mirepoix
from brokers import RabbitServer, RedisServer
from driver import envelope
from mirepoix.broker.outbox import Outbox
from mirepoix.broker.publisher import Publisher
from mirepoix.ledger import enqueue
from mirepoix.records import UNSENT
from mirepoix.states import State

DECLARES = """
import kombu
app.conf.task_queues = [kombu.Queue("celery"), {queue}]
"""


@pytest.fixture
def shop(rabbitmq: RabbitServer, postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop on RabbitMQ, where queues differ."""
    rabbitmq.start()
    with Shop(tmp_path / "shop", postgresql_url, broker=rabbitmq, delivery="broker") as shop:
        yield shop
    rabbitmq.purge("celery")


@pytest.fixture
def channel(rabbitmq: RabbitServer) -> Iterator[Any]:
    """A channel of the test's own; the queues named in `made` are deleted in the end."""
    with Connection(rabbitmq.url) as connection:
        yield connection.default_channel
        for queue in QUEUES:
            connection.channel().queue_delete(queue)


QUEUES = ("quorum", "urgent", "logs", "errors", "odd", "gone", "nowhere", "other")


def queues(shop: Shop, *declared: Queue, **conf: Any) -> Celery:
    """A client that knows these queues."""
    return shop.client(conf={"task_queues": [Queue("celery"), *declared], **conf})


def send(app: Celery, id: str, **options: Any) -> str:
    return app.send_task("shop.note", task_id=id, **options).id


def got(shop: Shop, channel: Any, queue: str, count: int) -> list[Any]:
    """Wait for so many messages in *queue*; take them off it."""
    until(lambda: shop.broker.size(queue) >= count, f"{count} are in {queue}")
    return [channel.basic_get(queue, no_ack=True) for _ in range(count)]


def noted(shop: Shop, *task_ids: str) -> None:
    """Wait until the ledger says of each that the broker has confirmed it."""
    until(lambda: all(shop.row(id)["sendings"] == 1 for id in task_ids), f"{task_ids} are noted")


def ids(messages: list[Any]) -> list[str]:
    return [message.headers["id"] for message in messages]


@pytest.fixture
def relay(shop: Shop) -> Iterator[Callable[[Celery], Outbox]]:
    """Makes the outbox of a relay for an app; each call of ``publish`` is a round."""
    made: list[Publisher] = []

    def make(app: Celery) -> Outbox:
        made.append(Publisher(app))
        return Outbox(made[-1], app.mirepoix.settings)

    yield make
    for publisher in made:
        publisher.close()


def a_round(shop: Shop, outbox: Outbox) -> int:
    """One round of the relay, when nobody else will publish what waits."""
    shop.ledger.passes(60)
    return outbox.publish(shop.ledger.connection)


# ---- kinds of queues


@pytest.mark.slow
def test_a_quorum_queue(shop: Shop, channel: Any):
    with (shop.folder / "shop.py").open("a") as module:
        module.write(DECLARES.format(queue='kombu.Queue("quorum", queue_arguments={"x-queue-type": "quorum"})'))
    app = queues(shop, Queue("quorum", queue_arguments={"x-queue-type": "quorum"}))
    sent = [send(app, f"t{n}", queue="quorum") for n in range(30)]
    until(lambda: shop.broker.size("quorum") == 30, "they wait in the broker")
    worker = shop.worker(concurrency=2)
    assert "x-queue-type" not in worker.said  # nothing was refused
    gates = [app.send_task("shop.gate", ("open",), queue="quorum").id for _ in range(2)]
    sent += [send(app, f"u{n}", queue="quorum") for n in range(30)]
    shop.make("open")
    shop.wait([*gates, *sent], State.SUCCEEDED)
    until(lambda: shop.broker.size("quorum") == 0, "each message was acknowledged")
    assert [shop.runs(id) for id in sent] == [1] * 60


def test_a_priority_queue_gives_the_urgent_first(shop: Shop, channel: Any):
    app = queues(shop, Queue("urgent", max_priority=10))
    for id, priority in (("low", 1), ("none", None), ("high", 9), ("middle", 5)):
        send(app, id, queue="urgent", priority=priority)
    found = got(shop, channel, "urgent", 4)
    assert ids(found) == ["high", "middle", "low", "none"]
    assert found[0].properties["priority"] == 9


def test_a_topic_exchange_routes_by_the_key(shop: Shop, channel: Any):
    topics = Exchange("topics", type="topic")
    app = queues(
        shop, Queue("logs", topics, routing_key="log.info.#"), Queue("errors", topics, routing_key="log.error.*")
    )
    send(app, "one", exchange="topics", routing_key="log.info.disk.full")
    send(app, "two", exchange="topics", routing_key="log.error.disk")
    assert ids(got(shop, channel, "logs", 1)) == ["one"]
    assert ids(got(shop, channel, "errors", 1)) == ["two"]
    row = shop.row("two")
    assert (row["queue"], row["exchange"], row["routing_key"]) == ("errors", "topics", "log.error.disk")


# ---- queues that do not take what is meant for them


def test_a_queue_that_is_there_with_other_arguments_is_published_to_as_it_is(
    shop: Shop, channel: Any, relay: Any, caplog: pytest.LogCaptureFixture
):
    channel.queue_declare("odd", arguments={"x-max-length": 5}, auto_delete=False)
    app = queues(shop, Queue("odd"))
    send(app, "to the odd one", queue="odd")
    send(app, "to another")
    assert ids(got(shop, channel, "odd", 1)) == ["to the odd one"]
    assert ids(got(shop, channel, "celery", 1)) == ["to another"]
    assert "the broker refuses the declaration of queue 'odd'; tasks are published to it undeclared" in caplog.text
    assert "PRECONDITION_FAILED" in caplog.text


def test_a_queue_whose_exchange_is_there_with_another_type_waits_and_the_others_do_not(
    shop: Shop, channel: Any, relay: Any, caplog: pytest.LogCaptureFixture
):
    channel.exchange_declare("strict", type="fanout", auto_delete=False)  # and nothing is bound to it
    outbox = relay(app := queues(shop, Queue("nowhere", Exchange("strict", type="direct"), routing_key="k")))
    send(app, "waits", queue="nowhere")
    send(app, "goes")
    noted(shop, "goes")
    a_round(shop, outbox)
    assert "PRECONDITION_FAILED" in caplog.text
    assert "no queue is bound to exchange '' with routing key 'nowhere'" in caplog.text
    assert shop.row("waits")["sendings"] == 0
    channel.exchange_delete("strict")
    outbox = relay(app)  # as a relay does that has lost its connection, or begins
    assert a_round(shop, outbox) == 1
    assert ids(got(shop, channel, "nowhere", 1)) == ["waits"]
    channel.exchange_delete("strict")


def test_what_reaches_no_queue_is_given_back_and_waits_with_its_queue_alone(
    shop: Shop, channel: Any, relay: Any, caplog: pytest.LogCaptureFixture
):
    send(queues(shop, Queue("nowhere")), "first", queue="nowhere")
    got(shop, channel, "nowhere", 1)
    noted(shop, "first")
    channel.queue_delete("nowhere")
    shop.ledger.write("UPDATE mirepoix_task SET sent_fence = -1")  # its message was lost with the queue
    ignorant = relay(queues(shop, task_create_missing_queues=False))
    send(shop.app, "second")
    noted(shop, "second")
    assert a_round(shop, ignorant) == 0
    assert shop.row("first")["sent_fence"] == -1
    assert ignorant.trouble is not None
    assert "'nowhere'" in ignorant.trouble
    assert "no queue is bound to exchange '' with routing key 'nowhere'" in caplog.text
    send(shop.app, "third")
    noted(shop, "third")


def test_a_queue_that_was_deleted_is_declared_again(shop: Shop, channel: Any, relay: Any):
    outbox = relay(app := queues(shop, Queue("gone")))
    send(app, "first", queue="gone")
    got(shop, channel, "gone", 1)
    noted(shop, "first")
    channel.queue_delete("gone")
    send(app, "second", queue="gone")
    send(app, "last")
    noted(shop, "first", "last")
    assert shop.row("second")["sendings"] == 0
    assert a_round(shop, outbox) == 1
    assert ids(got(shop, channel, "gone", 1)) == ["second"]


# ---- what is wrong with one task is nobody else's trouble


def test_a_task_whose_headers_the_broker_cannot_take_is_published_by_its_id_and_holds_up_no_other(
    shop: Shop, channel: Any, relay: Any, caplog: pytest.LogCaptureFixture
):
    for id, headers in (("a", {}), ("impossible", {"n": 2**70}), ("b", {})):
        with shop.ledger.connection.transaction() as tx:
            task = {"id": id, "task": "shop.note", **headers}
            enqueue.add(tx, [envelope(id, headers=task, routing_key="celery", sent_fence=UNSENT)])
    outbox = relay(shop.app)
    assert a_round(shop, outbox) == 3
    assert ids(got(shop, channel, "celery", 3)) == ["a", "impossible", "b"]
    assert "task shop.pay[impossible] is published by its id alone" in caplog.text
    assert shop.row("impossible")["sendings"] == 1


# ---- brokers that are far away


AWAY = {
    "sqs": ("sqs://", {"region": "eu-west-1", "visibility_timeout": 30, "predefined_queues": {"celery": {"url": "x"}}}),
    "sentinel": ("sentinel://127.0.0.1:1;sentinel://127.0.0.1:2", {"master_name": "shop", "sentinel_kwargs": {}}),
    "amqps": ("amqps://guest:guest@127.0.0.1:1//", {"confirm_publish": True}),
}


@pytest.mark.parametrize("kind", AWAY)
def test_a_broker_of_another_kind_is_accepted_with_its_options_and_is_not_dialled_to_send(tmp_path: Path, kind: str):
    if kind == "sqs":
        pytest.importorskip("boto3", reason="kombu needs it for SQS: pip install 'kombu[sqs]'")
    url, options = AWAY[kind]
    app = Celery("shop", set_as_current=False, broker=url)
    app.conf.broker_transport_options = options
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}", delivery="broker")
    id = send(app, "stands in the ledger")
    with app.mirepoix.source.transaction() as tx:
        assert tx.query("SELECT id FROM mirepoix_task") == [(id,)]
    assert app.connection_for_write().transport_options.items() >= options.items()
    app.mirepoix.source.close()
    app.close()


def test_confirms_are_asked_for_where_the_broker_has_them(shop: Shop, redis: RedisServer):
    by_rabbitmq, by_redis = Publisher(shop.app), Publisher(Celery("r", set_as_current=False, broker=redis.url))
    nowhere = [envelope("lost", headers={"id": "lost"}, exchange="amq.direct", routing_key="nobody", queue="celery")]
    for publisher in (by_rabbitmq, by_redis):
        publisher.open()
    assert by_rabbitmq.publish(nowhere) == []
    assert (by_rabbitmq._confirms is None, by_redis._confirms is None) == (False, True)
    by_rabbitmq.close()
    by_redis.close()
