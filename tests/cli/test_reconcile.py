"""`mirepoix reconcile`: broker and ledger agree, or it is told by how much, mended, and told again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

import mirepoix
from brokers import RedisServer
from driver import Ledger
from mirepoix.ledger import sending, workers
from mirepoix.records import UNSENT, RelayRole, Worker


@pytest.fixture
def app(ledger_url: str, redis: RedisServer) -> Iterator[Celery]:
    """An app in front of whose ledger stands Redis."""
    redis.start()
    redis.flush()
    app = app_with(ledger_url, redis.url)
    yield app
    app.mirepoix.source.close()
    app.close()


def app_with(ledger_url: str, broker_url: str, **settings: Any) -> Celery:
    app = Celery("shop", set_as_current=False, broker=broker_url)
    mirepoix.install(app, ledger_url, **{"delivery": "broker", **settings})
    return app


@pytest.fixture
def at_broker(app: Celery, cli_of: Any) -> Any:
    """The command line of the app."""
    return cli_of(app)


def relay(ledger: Ledger) -> None:
    """A relay that is alive."""
    ledger.do(
        workers.register, Worker("r", "relay@host", "host", 1, pool="relay", relay_role=RelayRole.DEDICATED), 1000.0
    )


def send(ledger: Ledger, *ids: str, is_sent: bool = False) -> None:
    """Write tasks for the broker, a minute ago; *is_sent* says that it was told of them."""
    ledger.send(*ids, sent_fence=UNSENT, routing_key="celery")
    if is_sent:
        ledger.do(sending.note_sent, [(id, 0) for id in ids])
    ledger.passes(60)


def test_where_nothing_waits_nothing_is_unaccounted_for(at_broker: Any, ledger: Ledger):
    relay(ledger)
    said = at_broker("reconcile").stdout
    assert said.splitlines() == ["No task is waiting to be taken.", "unaccounted: 0"]


def test_what_the_broker_has_lost_is_counted_published_again_and_accounted_for(
    at_broker: Any, ledger: Ledger, redis: RedisServer
):
    relay(ledger)
    send(ledger, "a", "b", "c", is_sent=True)
    said = at_broker("reconcile", "--dry-run", code=1).stdout
    assert said.splitlines()[-1] == "unaccounted: 3"
    assert redis.size("celery") == 0
    (queue,) = at_broker.json("reconcile")["queues"]
    assert (queue["sent"], queue["in_broker"], queue["missing"], queue["sent_again"]) == (3, 3, 0, 3)
    assert redis.size("celery") == 3
    said = at_broker("reconcile").stdout
    assert said.splitlines()[-1] == "unaccounted: 0"
    assert redis.size("celery") == 3  # nothing was missing, and nothing went out twice


def test_what_nobody_has_published_is_published(at_broker: Any, ledger: Ledger, redis: RedisServer):
    send(ledger, "a", "b")
    assert at_broker.json("reconcile")["unaccounted"] == 0
    assert redis.size("celery") == 2


def test_what_waits_for_a_relay_is_unaccounted_for_unless_one_is_alive(at_broker: Any, ledger: Ledger):
    send(ledger, "a", "b")
    said = at_broker("reconcile", "--dry-run", code=1).stdout
    assert "No relay is alive: start a worker, or celery -A YOUR_APP mirepoix relay." in said
    assert "unaccounted: 2" in said
    relay(ledger)
    said = at_broker("reconcile", "--dry-run").stdout
    assert "No relay" not in said
    assert "unaccounted: 0" in said


def test_what_a_live_worker_may_have_in_hand_is_not_missing(at_broker: Any, ledger: Ledger):
    relay(ledger)
    send(ledger, "a", "b", is_sent=True)
    listener = Worker("w", "w@host", "host", 1, queues=("celery",), concurrency=2)
    ledger.do(workers.register, listener, 1000.0)
    ledger.do(sending.note_received, "w", 0.0)
    report = at_broker.json("reconcile", "--dry-run")
    (queue,) = report["queues"]
    assert (queue["in_broker"], queue["in_hand"], queue["missing"], report["unaccounted"]) == (0, 2, 0, 0)


def test_what_a_dead_worker_holds_is_unaccounted_for(at_broker: Any, ledger: Ledger):
    relay(ledger)
    ledger.send("a")
    ledger.worker("w1")
    ledger.lease("w1")
    ledger.die("w1")
    ledger.passes(60)
    said = at_broker("reconcile", code=1).stdout
    assert "1 task held by workers that are not alive: start a worker." in said
    assert "unaccounted: 1" in said
    report = at_broker.json("reconcile", code=1)
    assert (report["held_by_dead_workers"], report["unaccounted"]) == (1, 1)


def test_the_documented_keys(at_broker: Any, ledger: Ledger):
    send(ledger, "a", is_sent=True)
    report = at_broker.json("reconcile")
    assert list(report) == ["queues", "held_by_dead_workers", "unaccounted"]
    assert list(report["queues"][0]) == [
        *("queue", "ready", "sent", "unsent", "in_broker", "in_hand", "missing", "sent_again")
    ]


def test_a_broker_that_cannot_be_reached_is_told_and_exits_with_2(cli_of: Any, ledger_url: str, ledger: Ledger):
    send(ledger, "a", is_sent=True)
    app = app_with(ledger_url, "redis://127.0.0.1:1/0")
    said = cli_of(app)("reconcile", code=2).stderr
    assert "cannot be reached" in said
    assert "Nothing is lost: the tasks wait in the ledger." in said
    assert ledger.row("a")["sent_fence"] == 0
    app.close()


def test_without_an_app_or_a_broker_it_cannot_be_tried(cli: Any, cli_of: Any, ledger_url: str):
    assert "This needs the app, which knows its broker" in cli("relay", code=2).stderr
    app = app_with(ledger_url, "memory://", delivery="ledger")
    assert "has no broker in front of its ledger" in cli_of(app)("relay", code=2).stderr
    app.close()


def test_without_a_broker_every_task_is_accounted_for(cli: Any, ledger: Ledger):
    ledger.worker("w1")
    ledger.worker("w2")
    ledger.send("kept", "ended", "held", "waiting")
    for taken in ledger.take("w1", 2):
        ledger.start(taken.lease)
        (ledger.fail if taken.lease.task_id == "kept" else ledger.succeed)(taken.lease)
    ledger.take("w2", 1)
    said = cli("reconcile").stdout.splitlines()
    assert said == ["4 sent = 1 ended + 1 waiting for you + 1 waiting + 1 with workers", "unaccounted: 0"]
    ledger.die("w2")
    ledger.passes(10)
    found = cli.json("reconcile", code=1)
    assert (found["unaccounted"], found["held_by_dead_workers"], found["sent"]) == (1, 1, 4)


def test_a_ledger_that_knows_of_a_broker_asks_for_its_app(cli: Any, ledger: Ledger):
    send(ledger, "a")
    assert "This needs the app, which knows its broker" in cli("reconcile", code=2).stderr


def test_where_the_broker_only_estimates_nothing_is_called_missing(
    cli_of: Any, ledger_url: str, ledger: Ledger, estimating: str
):
    relay(ledger)
    app = app_with(ledger_url, estimating)
    send(ledger, "a", "b", is_sent=True)
    at_broker = cli_of(app)
    said = at_broker("reconcile").stdout
    (line,) = [line for line in said.splitlines() if line.startswith("celery")]
    assert line.split() == ["celery", "2", "2", "0", "?", "0", "0"]
    assert "unaccounted: 0" in said
    (queue,) = at_broker.json("reconcile")["queues"]
    assert (queue["in_broker"], queue["missing"], queue["sent_again"]) == (None, 0, 0)
    app.close()
