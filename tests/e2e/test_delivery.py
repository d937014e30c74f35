"""In which order tasks come, by whom, and when; and what remote control can do about it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from celery.events import EventReceiver
from sqlalchemy import create_engine
from workers import DEADLINE_S, POOLS, Shop, until

from driver import moment
from mirepoix import using

pytestmark = pytest.mark.slow


def begun(shop: Shop, ids: list[str]) -> list[str]:
    """These tasks in the order in which they began."""
    return [effect.id for effect in shop.effects(what="begin") if effect.id in ids]


def test_the_highest_priority_goes_first_then_the_oldest(shop: Shop) -> None:
    ids = [shop.send("note", priority=priority) for priority in (0, 5, 0, 9, 5)]
    shop.worker(concurrency=1)
    shop.wait(ids, "succeeded")
    assert begun(shop, ids) == [ids[i] for i in (3, 1, 4, 0, 2)]


def test_queues_take_turns(shop: Shop) -> None:
    many = [shop.send("spin", 0.02, queue="many") for _ in range(120)]
    few = [shop.send("note", queue="few") for _ in range(2)]
    shop.worker("w1", "-Q", "many,few", concurrency=1)
    shop.wait([*many, *few], "succeeded")
    order = begun(shop, [*many, *few])
    assert max(order.index(id) for id in few) < 60


def test_a_worker_takes_only_from_its_queues(shop: Shop) -> None:
    other = shop.send("note", queue="other")
    mine = shop.send("note", queue="mine")
    shop.worker("w1", "-Q", "mine")
    shop.wait(mine, "succeeded")
    assert shop.state(other) == "pending"


def test_workers_share_the_work(shop: Shop) -> None:
    shop.worker("w1", concurrency=1)
    shop.worker("w2", concurrency=1)
    ids = [shop.send("spin", 0.1) for _ in range(20)]
    shop.wait(ids, "succeeded")
    by_worker = [shop.row(id)["worker_id"].partition("@")[0] for id in ids]
    assert min(by_worker.count("w1"), by_worker.count("w2")) >= 5
    assert [shop.runs(id) for id in ids] == [1] * 20


def test_a_task_waits_in_the_ledger_until_it_is_due(shop: Shop) -> None:
    shop.worker()
    id = shop.send("note", countdown=2.5)
    before = shop.send("note")
    shop.wait(before, "succeeded")
    assert (shop.state(id), shop.row(id)["worker_id"]) == ("pending", None)
    shop.wait(id, "succeeded")
    row = shop.row(id)
    late = (moment(row["leased_at"]) - moment(row["eta"])).total_seconds()
    assert -0.01 <= late < 1.0


def test_what_has_expired_is_not_run(shop: Shop) -> None:
    id = shop.send("note", expires=0.2)
    later = shop.send("note", expires=0.5, countdown=60)
    kept = shop.send("note", expires=600)
    until(lambda: moment(shop.row(id)["expires_at"]).timestamp() < time.time(), "it expired")
    shop.worker()
    shop.wait([id, later], "expired")
    shop.wait(kept, "succeeded")
    assert (shop.runs(id), shop.runs(later)) == (0, 0)


def test_purge_cancels_what_waits(shop: Shop) -> None:
    ids = [shop.send("note"), shop.send("note", countdown=60)]
    other = shop.send("note", queue="other")
    purged = shop.celery("purge", "-f")
    assert purged.returncode == 0, purged.stderr
    assert "2 messages" in purged.stdout
    shop.wait(ids, "cancelled")
    assert shop.state(other) == "pending"


def revoke_everywhere(shop: Shop, id: str, workers: int) -> None:
    """As a client of Celery without a ledger: its workers hear the id, and no row is changed."""
    # Without an event loop a worker is ready before it listens to remote control, and a broadcast is not kept for it.
    until(lambda: len(shop.app.control.ping(limit=workers, timeout=1.0)) == workers, "the workers listen")
    replies = shop.app.control.broadcast(
        "revoke", arguments={"task_id": [id]}, reply=True, limit=workers, timeout=DEADLINE_S
    )
    assert len(replies) == workers


def test_the_ledger_knows_which_queues_a_worker_takes_from_now(shop: Shop) -> None:
    shop.worker()

    def queues() -> list[str]:
        ((text,),) = shop.ledger.query("SELECT CAST(queues AS char(200)) FROM mirepoix_worker WHERE state = 'alive'")
        return sorted(json.loads(text))

    before = queues()
    shop.app.control.add_consumer("urgent", reply=True, limit=1, timeout=DEADLINE_S)
    until(lambda: queues() == sorted([*before, "urgent"]), "the queue is added")
    shop.app.control.cancel_consumer(before[0], reply=True, limit=1, timeout=DEADLINE_S)
    until(lambda: queues() == sorted([*before[1:], "urgent"]), "the queue is cancelled")


@pytest.mark.parametrize("pool", POOLS)
def test_a_requeue_is_not_undone_by_what_a_worker_remembers(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool)
    revoke_everywhere(shop, "revoked", 1)
    shop.send("note", task_id="revoked")
    shop.wait("revoked", "cancelled")
    assert shop.runs("revoked") == 0
    assert shop.ledger.requeue("revoked") == ["revoked"]
    shop.wait("revoked", "succeeded")
    assert shop.runs("revoked") == 1


def test_a_requeue_is_not_undone_by_other_workers_nor_by_what_they_have_written_down(shop: Shop) -> None:
    conf = {"worker_prefetch_multiplier": 4}
    worker = shop.worker("w1", "--statedb", "w1.state", concurrency=1, conf=conf)
    gate = shop.send("gate", "open")
    shop.begun(gate)
    id = shop.send("note")
    until(lambda: shop.state(id) == "leased", "it is held")
    shop.app.control.revoke(id, reply=True, limit=1, timeout=DEADLINE_S)
    shop.make("open")
    shop.wait(id, "cancelled")
    worker.stop()
    assert shop.ledger.requeue(id) == [id]
    shop.worker("w1", "--statedb", "w1.state", concurrency=1)
    shop.wait(id, "succeeded")
    assert shop.runs(id) == 1


def test_a_revoked_task_that_waits_never_runs_whatever_worker_comes(shop: Shop) -> None:
    id = shop.send("note")
    later = shop.send("note", countdown=1)
    shop.app.control.revoke([id, later])
    assert (shop.state(id), shop.state(later)) == ("cancelled", "cancelled")
    shop.worker()
    shop.wait(shop.send("note", countdown=1.2), "succeeded")
    assert (shop.runs(id), shop.runs(later)) == (0, 0)


def test_a_revocation_names_its_tasks_in_any_way_that_celery_takes(shop: Shop) -> None:
    ids = [uuid4() for _ in range(4)]
    for id in ids:
        shop.send("note", task_id=id)
    shop.app.control.revoke(None)
    shop.app.control.revoke([])
    assert set(shop.ledger.states().values()) == {"pending"}
    shop.app.control.revoke(ids[0])
    shop.app.control.revoke(id for id in ids[1:3])
    shop.app.control.revoke({str(ids[3])})
    assert set(shop.ledger.states().values()) == {"cancelled"}


def test_who_only_looks_at_the_steps_of_a_worker_registers_none(sqlite_url: str, tmp_path: Path) -> None:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        looked = shop.celery("graph", "bootsteps")
        assert "HoldLeases" in looked.stdout
        assert shop.ledger.query("SELECT * FROM mirepoix_worker") == []


def test_a_worker_on_a_ledger_without_tables_ends_with_the_remedy(postgresql_url: str, tmp_path: Path) -> None:
    with Shop(tmp_path / "shop", postgresql_url) as shop:
        shop.ledger.write("DELETE FROM mirepoix_migration")
        worker = shop.worker(is_awaited=False).ends()
        assert worker.exit_code == 1
        assert "migrate" in worker.said


def test_a_running_task_is_terminated(shop: Shop) -> None:
    worker = shop.worker()
    id = shop.send("gate", "never")
    shop.begun(id)
    shop.app.control.revoke(id, terminate=True, signal="SIGKILL")
    shop.wait(id, "cancelled")
    after = shop.send("note")
    shop.wait(after, "succeeded")
    assert (shop.runs(id), shop.row(id)["deaths"]) == (1, 0)
    assert worker.is_running


def test_inspect_and_status_answer(shop: Shop) -> None:
    shop.worker()
    id = shop.send("gate", "open")
    shop.begun(id)
    ping = shop.celery("inspect", "ping", "-j", "-t", "3")
    assert json.loads(ping.stdout) == {"w1@test": {"ok": "pong"}}
    active = shop.app.control.inspect(limit=1, timeout=DEADLINE_S).active()
    assert [task["id"] for task in active["w1@test"]] == [id]
    assert "shop.note" in shop.app.control.inspect(limit=1, timeout=DEADLINE_S).registered()["w1@test"]
    status = shop.celery("status", "-d", "w1@test", "-t", "20")
    assert "1 node online" in status.stdout
    shop.make("open")


def test_consumers_are_cancelled_and_added_while_it_runs(shop: Shop) -> None:
    shop.worker("w1", "-Q", "one")
    assert shop.app.control.cancel_consumer("one", reply=True, limit=1, timeout=DEADLINE_S)
    left = shop.send("note", queue="one")
    assert shop.app.control.add_consumer("two", reply=True, limit=1, timeout=DEADLINE_S)
    shop.wait(shop.send("note", queue="two"), "succeeded")
    assert (shop.state(left), shop.runs(left)) == ("pending", 0)
    assert shop.app.control.add_consumer("one", reply=True, limit=1, timeout=DEADLINE_S)
    shop.wait(left, "succeeded")


def test_a_rate_limit_is_kept(shop: Shop) -> None:
    shop.worker(conf={"task_annotations": {"shop.note": {"rate_limit": "4/s"}}})
    ids = [shop.send("note") for _ in range(8)]
    shop.wait(ids, "succeeded")
    at = sorted(effect.at for effect in shop.effects(what="begin"))
    assert at[-1] - at[0] > 1.4
    assert shop.ledger.query("SELECT DISTINCT fence, deaths FROM mirepoix_task") == [(1, 0)]


@contextmanager
def transaction_of(url: str, *, is_committed: bool) -> Iterator[None]:
    """A transaction of the caller's, on the ledger's database."""
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}.get(url.partition(":")[0], "sqlite")
    engine = create_engine(f"{driver}:{url.partition(':')[2]}")
    with engine.connect() as connection, using(connection):
        yield
        connection.commit() if is_committed else connection.rollback()
    engine.dispose()


def test_events_are_seen_by_a_receiver(shop: Shop) -> None:
    shop.worker("w1", "-E")
    seen: list[tuple[str, str]] = []
    ids: list[str] = []

    class Receiver(EventReceiver):
        def on_consume_ready(self, *_: object, **__: object) -> None:
            ids.append(shop.send("note"))  # not before: nobody keeps events for a receiver that does not listen yet

    def note(event: dict[str, str]) -> None:
        seen.append((event["type"], event.get("uuid", "")))
        receiver.should_stop = seen[-1] == ("task-succeeded", ids[0])

    with shop.app.connection_for_read() as connection:
        receiver = Receiver(connection, handlers={"*": note}, app=shop.app)
        receiver.capture(limit=None, timeout=DEADLINE_S, wakeup=False)
    assert ("task-succeeded", ids[0]) in seen
    shop.wait(ids, "succeeded")


def test_the_event_of_a_task_that_is_sent_is_part_of_its_transaction(shop: Shop) -> None:
    client = shop.client({"task_send_sent_event": True})
    sent: dict[str, str] = {}
    seen: list[str] = []

    class Receiver(EventReceiver):
        def on_consume_ready(self, *_: object, **__: object) -> None:
            with transaction_of(shop.url, is_committed=False):
                client.send_task("shop.note", task_id="rolled back")
            with transaction_of(shop.url, is_committed=True):
                client.send_task("shop.note", task_id="committed")
            with client.amqp.producer_pool.acquire(block=True) as producer:
                client.send_task("shop.note", task_id="by a producer", producer=producer)
            client.send_task("shop.note", task_id="alone")

    def note(event: dict[str, str]) -> None:
        seen.append(event["uuid"])
        sent.update(event)
        receiver.should_stop = event["uuid"] == "alone"

    with shop.app.connection_for_read() as connection:
        receiver = Receiver(connection, handlers={"task-sent": note}, app=shop.app)
        receiver.capture(limit=None, timeout=DEADLINE_S, wakeup=False)
    assert seen == ["committed", "by a producer", "alone"]
    assert (sent["name"], sent["queue"]) == ("shop.note", "celery")


def test_beat_sends_what_is_due_and_it_runs(shop: Shop) -> None:
    schedule = {"beat_schedule": {"tick": {"task": "shop.note", "schedule": 1.0}}}
    shop.worker()
    beat = shop.start("beat", "-m", "celery", "-A", "shop", "beat", "-s", str(shop.folder / "beat.db"), conf=schedule)
    until(lambda: len(shop.effects(what="begin")) >= 2, "beat sent two and both ran")
    beat.send(signal.SIGTERM).ends()
    shop.wait(list(shop.ledger.states()), "succeeded")
    assert shop.ledger.query("SELECT DISTINCT name FROM mirepoix_task") == [("shop.note",)]
