"""What waits in the broker that an app had before its ledger is told of, and moved into the ledger without a loss."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Producer
from workers import Shop, until

from brokers import BrokerServer, RabbitServer, RedisServer
from mirepoix.broker import former
from mirepoix.crashpoints import Crashpoint
from mirepoix.records import PROBE_HEADER, SENT_HEADER
from mirepoix.states import State

STOCK = {"SHOP_STOCK": "1"}
DRAIN = ("-m", "celery", "-A", "shop", "mirepoix", "drain")
ROUTES = {"task_routes": {"shop.two": "mail", "shop.fail": {"queue": "other"}}}


@pytest.fixture
def shop(broker: BrokerServer, sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop that has a ledger now, and whose settings still name its broker."""
    with Shop(tmp_path / "shop", sqlite_url, broker=broker, conf=ROUTES) as shop:
        yield shop
    if isinstance(broker, RabbitServer):
        broker.delete_queue("mail")


@pytest.fixture
def stock(broker: BrokerServer) -> Iterator[Celery]:
    """The shop as it was: Celery alone."""
    with Celery("stock", set_as_current=False, broker=broker.url) as app:
        app.conf.update(ROUTES, task_ignore_result=True)
        yield app


def waiting(shop: Shop) -> dict[str, tuple[int, int]]:
    """What is seen to wait in the broker, by the queue."""
    found = former.waiting(former.of(shop.app.mirepoix), former.queues_of(shop.app))
    return {one.queue: (one.messages, one.unacknowledged) for one in found.queues}


def drained(shop: Shop, *options: str, code: int = 0) -> Any:
    done = shop.celery("mirepoix", "drain", "--json", *options)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def publish(stock: Celery, queue: str, headers: dict[str, Any]) -> None:
    """What is no task that anybody sent."""
    with stock.connection_for_write() as connection:
        Producer(connection.default_channel).publish({}, routing_key=queue, headers=headers, serializer="json")


def test_what_waits_is_moved_with_its_queue_and_its_time_and_runs(shop: Shop, stock: Celery, broker: BrokerServer):
    soon = [stock.send_task("shop.note", (number,), priority=number % 10).id for number in range(20)]
    routed = stock.send_task("shop.two", (1,), {"b": 2}).id
    late = stock.send_task("shop.note", countdown=3600).id
    for headers in ({"id": "rings", "task": "shop.note", SENT_HEADER: True}, {PROBE_HEADER: 1.0}, {}):
        publish(stock, "celery", headers)
    until(lambda: waiting(shop) == {"celery": (24, 0), "mail": (1, 0)}, "all has arrived")
    report = {one["queue"]: one for one in drained(shop, code=1)["queues"]}
    assert (report["celery"]["moved"], report["mail"]["moved"]) == (21, 1)
    assert report["celery"]["left"] == {"not a task of Celery's message protocol 2": 1}
    assert waiting(shop) == {"celery": (1, 0)}
    assert set(shop.ledger.states()) == {*soon, routed, late}
    assert (shop.row(routed)["queue"], shop.row(late)["due_at"] is None) == ("mail", False)
    shop.worker("w1", "-Q", "celery,mail", pool="threads")
    shop.wait([*soon, routed], State.SUCCEEDED)
    assert shop.state(late) == State.PENDING
    assert {shop.runs(id) for id in (*soon, routed)} == {1}


def test_a_worker_that_starts_and_the_status_say_what_waits(shop: Shop, stock: Celery, broker: BrokerServer):
    for _ in range(20):
        stock.send_task("shop.note")
    told = f"20 messages wait in the queue 'celery' on {former.without_password(broker.url)}"
    shop.worker(pool="solo").says(f"{told}, the broker that this app had before its ledger")
    said = shop.celery("mirepoix", "status").stdout
    assert told in said
    assert "YOUR_APP" not in said
    assert "20 messages in the queue 'celery'" in shop.celery("mirepoix", "drain", "--dry-run").stdout
    quiet = shop.worker("quiet", pool="solo", look_at_broker=False)
    drained(shop)
    assert "messages wait" not in quiet.stop().said
    assert "ALL WELL" in shop.celery("mirepoix", "status").stdout


@pytest.mark.parametrize("broker", ["redis"], indirect=True)  # RabbitMQ gives out again what a dead worker had
def test_what_a_dead_worker_had_taken_is_told_of_and_moved(shop: Shop, stock: Celery):
    worker = shop.worker("old", env=STOCK, concurrency=1)
    ids = {stock.send_task("shop.gate", ("open",)).id for _ in range(3)}
    ids.add(stock.send_task("shop.note", countdown=3600).id)
    until(lambda: waiting(shop) == {"celery": (0, 4)} or waiting(shop) == {"celery": (0, 3)}, "it has taken them")
    worker.remove()
    (_, unacknowledged) = waiting(shop)["celery"]
    assert drained(shop)["queues"] == []
    said = shop.celery("mirepoix", "drain").stdout
    assert f"{unacknowledged} messages are with workers that took them from the queue 'celery'" in said
    assert drained(shop, "--unacknowledged")["queues"][0]["moved"] == unacknowledged
    assert waiting(shop) == {}
    assert len(shop.ledger.states().keys() & ids) == unacknowledged


@pytest.mark.parametrize("broker", ["redis"], indirect=True)  # RabbitMQ does not tell its clients which queues it has
def test_a_queue_that_no_setting_names_is_told_of_and_left_alone(shop: Shop, stock: Celery):
    forgotten = stock.send_task("shop.note", queue="night").id
    stock.send_task("shop.note")
    drained(shop, "--dry-run")
    report = drained(shop)
    assert [one["queue"] for one in report["queues"]] == ["celery"]
    assert report["other_queues"] == [{"queue": "night", "messages": 1, "unacknowledged": 0}]
    said = shop.celery("mirepoix", "drain").stdout
    assert "1 message waits in the queue 'night'" in said
    assert "which the settings of this app do not name" in said
    assert "mirepoix drain -Q night" in said
    assert "Nothing waits" not in said
    assert drained(shop, "-Q", "night")["queues"][0]["moved"] == 1
    assert forgotten in shop.ledger.states()
    assert "other_queues" in drained(shop)
    assert drained(shop)["other_queues"] == []


@pytest.mark.parametrize("point", [Crashpoint.DRAIN_BEFORE_COMMIT, Crashpoint.DRAIN_AFTER_COMMIT], ids=str)
def test_who_dies_on_the_way_loses_nothing_and_sends_nothing_twice(shop: Shop, stock: Celery, point: Crashpoint):
    ids = {stock.send_task("shop.note").id for _ in range(20)}
    until(lambda: waiting(shop) == {"celery": (20, 0)}, "all has arrived")
    died = shop.start("armed", *DRAIN, env={"MIREPOIX_CRASHPOINT": str(point)}).ends()
    assert died.exit_code == -9
    is_written = point is Crashpoint.DRAIN_AFTER_COMMIT
    assert set(shop.ledger.states()) == (ids if is_written else set())
    until(lambda: waiting(shop) == {"celery": (20, 0)}, "none is gone")
    (report,) = drained(shop)["queues"]
    assert (report["moved"], report["known"]) == ((0, 20) if is_written else (20, 0))
    assert waiting(shop) == {}
    shop.worker(pool="threads")
    shop.wait(ids, State.SUCCEEDED)
    assert {shop.runs(id) for id in ids} == {1}


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_broker_that_does_not_answer_keeps_nobody_waiting(sqlite_url: str, tmp_path: Path, kind: str):
    with socket.socket() as mute, Shop(tmp_path / "shop", sqlite_url) as shop:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"{kind}://shop:s3cret@127.0.0.1:{mute.getsockname()[1]}/0"
        worker = shop.worker(pool="solo", env={"SHOP_BROKER": url}, look_at_broker=True)
        app = shop.client({"broker_url": url}, look_at_broker=True)
        assert former.seen(app.mirepoix, bound_s=0.5) is None
        until(lambda: select.select([mute], [], [], 0)[0], "the worker has dialled")
        shop.wait(shop.send("note"), State.SUCCEEDED)
        assert worker.stop().exit_code == 0
        assert "Traceback" not in worker.said
        nobody = f"{kind}://shop:s3cret@127.0.0.1:1/0"
        drain = shop.start("drain", *DRAIN, env={"SHOP_BROKER": nobody}).ends()
        assert drain.exit_code == 2
        assert f"{kind}://shop@127.0.0.1:1/0 cannot be reached" in drain.said
        assert "Traceback" not in drain.said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:pass@host:6379/0", "redis://host:6379/0"),
        ("redis://user:p@ss@host/1?ssl_cert_reqs=none&password=x", "redis://user@host/1"),
        ("rediss://host", "rediss://host"),
        ("amqp://guest:guest@host:5672//", "amqp://guest@host:5672//"),
        ("host", "host"),
    ],
)
def test_nobody_reads_the_password(url: str, said: str):
    assert former.without_password(url) == said


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_with_a_prefix_and_steps_of_priority_all_is_found(
    broker: RedisServer, sqlite_url: str, tmp_path: Path, stock: Celery
):
    options = {"global_keyprefix": "shop:", "priority_steps": [0, 5], "visibility_timeout": 60}
    stock.conf.broker_transport_options = options
    conf = {"broker_transport_options": options}
    with Shop(tmp_path / "shop", sqlite_url, broker=broker, conf=conf) as shop:
        ids = {stock.send_task("shop.note", priority=priority).id for priority in (0, 5, 9)}
        stock.send_task("shop.note", queue="night", priority=5)
        assert [one["queue"] for one in drained(shop, "--dry-run")["other_queues"]] == ["night"]
        with stock.connection_for_read() as connection:
            connection.default_channel.basic_get("celery")  # and is not acknowledged: its worker dies
            assert waiting(shop) == {"celery": (2, 1)}
            drained(shop, "--unacknowledged")
            assert waiting(shop) == {}
        assert set(shop.ledger.states()) == ids


def test_the_environment_does_not_send_workers_back_to_the_broker(sqlite_url: str, tmp_path: Path):
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        env = dict.fromkeys(("CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"), shop.broker.url)
        worker = shop.worker(pool="solo", env=env)
        shop.wait(shop.send("note"), State.SUCCEEDED)
        assert worker.is_running
        assert not shop.broker.was_dialled


def test_a_broker_without_its_library_is_told_by_the_command_alone(sqlite_url: str, tmp_path: Path):
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        env = {"SHOP_BROKER": "nats://host"}
        shop.worker(pool="solo", env=env, look_at_broker=True).stop()
        drain = shop.start("drain", *DRAIN, env=env).ends()
        assert drain.exit_code == 2
        assert "mirepoix: nats://host cannot be reached" in drain.said
