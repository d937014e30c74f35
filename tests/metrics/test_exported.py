"""What is exported of a ledger: true numbers, in the format, with labels that do not grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scraped import samples, total, value

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.ledger import take, workers
from mirepoix.metrics import Exporter
from mirepoix.records import AttemptFailure, Worker


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """A ledger with a task in each state that matters."""
    ledger.do(workers.register, Worker("id-1", "celery@pod-7f9c", "pod-7f9c", 1, queues=("celery",)), 1e6)
    ledger.send("waits", queue="slow", name="shop.report")
    ledger.passes(90)
    ledger.send("good", "bad", "dies", "held")
    good, bad, dies, _ = (taken.lease for taken in ledger.take("id-1"))
    ledger.start(dies)
    ledger.succeed(good)
    ledger.fail(bad, AttemptFailure("no", "ValueError", run_time_s=2.0))
    ledger.lose(dies)
    return ledger


def text_of(ledger: Ledger, **options: object) -> str:
    exporter = Exporter(ledger.source, **options)
    try:
        return exporter.text()
    finally:
        exporter.close()


def test_the_numbers_are_those_of_the_rows(busy: Ledger):
    text = text_of(busy)
    pay = {"task": "shop.pay", "queue": "celery"}
    assert value(text, "mirepoix_attempts_total", outcome="succeeded", **pay) == 1
    assert value(text, "mirepoix_attempts_total", outcome="failed", **pay) == 1
    assert value(text, "mirepoix_attempts_total", outcome="lost", **pay) == 1
    assert value(text, "mirepoix_recoveries_total") == 1
    assert value(text, "mirepoix_run_seconds_bucket", task="shop.pay", le="1") == 2
    assert value(text, "mirepoix_run_seconds_bucket", task="shop.pay", le="3") == 3
    assert value(text, "mirepoix_run_seconds_sum", task="shop.pay") >= 2
    assert value(text, "mirepoix_wait_seconds_count", queue="celery") == 3
    assert value(text, "mirepoix_queue_tasks", queue="slow", state="waiting") == 1
    assert value(text, "mirepoix_queue_tasks", queue="celery", state="leased") == 1
    assert value(text, "mirepoix_queue_oldest_seconds", queue="slow") == pytest.approx(90, abs=60)
    assert value(text, "mirepoix_kept_tasks", task="shop.pay", state="failed") == 1
    assert value(text, "mirepoix_workers", state="alive") == 1
    assert "mirepoix_relay_up" not in text


def test_no_label_names_a_worker_or_a_task(busy: Ledger):
    for names in ("mirepoix", "celery-exporter", "both"):
        labels = {label for _, labels in samples(text_of(busy, names=names)) for _, label in labels}
        assert not {"pod-7f9c", "celery@pod-7f9c", "id-1", "waits", "good", "bad", "dies", "held"} & labels


def test_more_workers_and_more_tasks_make_no_more_series(busy: Ledger):
    before = set(samples(text_of(busy, names="both")))
    for number in range(3):
        busy.do(workers.register, Worker(f"p{number}", "w@pod", "h", 1, queues=("celery",)), 100.0)
        busy.send(f"more-{number}")
    assert {name for name, _ in set(samples(text_of(busy, names="both"))) - before} <= {
        "celery_worker_up",
        "celery_worker_tasks_active",
    }


def test_an_objective_is_exported(busy: Ledger):
    text = text_of(busy, settings=Settings(queue_objectives_s={"slow": 30, "*": 5.5}))
    assert value(text, "mirepoix_queue_objective_seconds", queue="slow") == 30
    assert value(text, "mirepoix_queue_objective_seconds", queue="celery") == 5.5


def test_a_task_that_nobody_publishes_is_the_lag_of_the_relay(ledger: Ledger):
    ledger.send("t", sent_fence=-1)
    ledger.passes(200)
    text = text_of(ledger)
    assert value(text, "mirepoix_relay_up") == 0
    assert value(text, "mirepoix_relay_unsent_tasks") == 1
    assert value(text, "mirepoix_relay_lag_seconds") == pytest.approx(200, abs=60)


def test_the_names_of_celery_exporter(busy: Ledger):
    text = text_of(busy, names="celery-exporter")
    pay = {"name": "shop.pay", "queue_name": "celery"}
    assert value(text, "celery_task_succeeded_total", **pay) == 1
    assert value(text, "celery_task_failed_total", **pay) == 2
    assert value(text, "celery_task_runtime_count", name="shop.pay") == 3
    assert value(text, "celery_queue_length", queue_name="slow") == 1
    assert total(text, "celery_worker_up") == 1
    assert "mirepoix_" not in text
    both = text_of(busy, names="both")
    assert "mirepoix_attempts_total" in both
    assert "celery_task_succeeded_total" in both


def test_scheduled_tasks_are_no_waiting_tasks(ledger: Ledger):
    ledger.send("t", eta=(datetime.now(UTC) + timedelta(seconds=600)).isoformat())
    text = text_of(ledger)
    assert value(text, "mirepoix_queue_tasks", queue="celery", state="scheduled") == 1
    assert value(text, "mirepoix_queue_tasks", queue="celery", state="waiting") == 0
    ledger.passes(700)
    ledger.do(take.release_due)
    assert value(text_of(ledger), "mirepoix_queue_tasks", queue="celery", state="waiting") == 1
