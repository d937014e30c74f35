"""``django.tasks``: the backend keeps its tasks in the ledger, as Celery tasks of the same name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone
from shop import Shop

import django_site
from driver import OOPS
from mirepoix.celery.signatures import signature_of_task
from mirepoix.django import backend as interface
from mirepoix.django.backend import LedgerBackend, TaskResultDoesNotExist, TaskResultStatus
from mirepoix.django.test import run_tasks
from mirepoix.errors import ConfigurationError

READY, FAILED, SUCCESSFUL = TaskResultStatus.READY, TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def test_a_task_is_a_row_and_its_result_comes_back(shop: Shop, jobs: Any):
    sent = jobs.add.enqueue(2, b=3)
    assert (sent.status, sent.args, sent.kwargs, sent.attempts, sent.is_finished) == (READY, [2], {"b": 3}, 0, False)
    row = shop.books.row(sent.id)
    assert (row["name"], row["state"], row["queue"], row["priority"]) == ("jobs.add", "pending", "celery", 0)
    assert jobs.ran == []
    run_tasks()
    sent.refresh()
    assert (sent.status, sent.return_value, sent.attempts, sent.errors) == (SUCCESSFUL, 5, 1, [])
    assert sent.enqueued_at <= sent.started_at <= sent.finished_at
    found = jobs.add.get_result(sent.id)
    assert (found.return_value, found.task, found.args, found.kwargs) == (5, jobs.add, [2], {"b": 3})


def test_it_is_part_of_the_transaction(shop: Shop, jobs: Any):
    with transaction.atomic():
        lost = jobs.add.enqueue(1)
        transaction.set_rollback(True)
    with transaction.atomic():
        kept = jobs.add.enqueue(1)
    assert shop.books.states() == {kept.id: "pending"}
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(lost.id)


def test_queue_priority_and_time_are_kept(shop: Shop, jobs: Any):
    at = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    sent = jobs.send_mail.using(run_after=at, priority=-100).enqueue("ann")
    row = shop.books.row(sent.id)
    assert (row["queue"], row["priority"], row["due_at"] is not None) == ("mail", -100, True)
    assert run_tasks() == []
    task = jobs.send_mail.get_result(sent.id).task
    assert (task.queue_name, task.priority, task.run_after) == ("mail", -100, at)
    run_tasks(run_now=True)
    assert jobs.ran == ["ann"]


def test_the_more_urgent_goes_first(shop: Shop, jobs: Any):
    for priority in (-100, 0, 100, 1):
        jobs.send_mail.using(priority=priority).enqueue(str(priority))
    run_tasks()
    assert jobs.ran == ["100", "1", "0", "-100"]


def test_what_is_raised_is_told(shop: Shop, jobs: Any):
    sent = jobs.fail.enqueue("nothing there")
    run_tasks(raises=False)
    sent.refresh()
    (error,) = sent.errors
    assert (sent.status, error.exception_class) == (FAILED, LookupError)
    assert "LookupError: nothing there" in error.traceback
    with pytest.raises(ValueError, match="failed"):
        _ = sent.return_value


def test_only_json_is_returned(shop: Shop, jobs: Any):
    sent = jobs.odd.enqueue()
    run_tasks(raises=False)
    sent.refresh()
    assert (sent.status, sent.errors[0].exception_class) == (FAILED, TypeError)


def test_a_context_tells_the_attempt(shop: Shop, jobs: Any):
    sent = jobs.tell.enqueue(7)
    run_tasks()
    sent.refresh()
    assert sent.return_value == [1, "RUNNING", [7], 7]
    assert [one.name for one in signature_of_task(shop.app.tasks["jobs.tell"]).parameters] == ["n"]


def test_coroutines_run_and_are_sent_from_coroutines(shop: Shop, jobs: Any):
    sent = async_to_sync(jobs.later.aenqueue)(1)
    run_tasks()
    assert async_to_sync(jobs.later.aget_result)(sent.id).return_value == 2


def test_options_are_those_of_the_celery_task(shop: Shop, jobs: Any):
    good, bad = jobs.transfer.enqueue(is_failing=False), jobs.transfer.enqueue(is_failing=True)
    run_tasks(raises=False)
    assert jobs.ran == [(1, 0)], "what the failed one sent was taken back"
    assert [jobs.transfer.get_result(one.id).status for one in (good, bad)] == [SUCCESSFUL, FAILED]


def test_what_does_not_fit_is_refused_where_it_is_sent(shop: Shop, jobs: Any):
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"c": 3})):
        with pytest.raises(TypeError):
            jobs.add.enqueue(*args, **kwargs)
    with pytest.raises(TypeError):
        jobs.add.enqueue(object())
    assert shop.books.states() == {}


@pytest.mark.parametrize("end", ["cancelled", "lost", "retried"])
def test_other_ends_are_told(shop: Shop, jobs: Any, end: str):
    sent = jobs.add.enqueue(1)
    books = shop.books
    if end == "cancelled":
        books.cancel(sent.id)
        expected, classes = FAILED, ["celery.exceptions.TaskRevokedError"]
    else:
        books.worker("w1")
        lease = books.lease("w1")
        if end == "lost":
            books.die("w1")
            books.reap()
            expected, classes = READY, ["billiard.exceptions.WorkerLostError"]
        else:
            books.retry(lease, name="jobs.add")
            expected, classes = READY, [OOPS.error_type]
    sent.refresh()
    assert (sent.status, [error.exception_class_path for error in sent.errors]) == (expected, classes)


def test_signals_are_sent(shop: Shop, jobs: Any):
    heard: list[Any] = []
    signals = (interface.task_enqueued, interface.task_started, interface.task_finished)

    def hear(sender: Any, task_result: Any, **_: Any) -> None:
        heard.append((sender, task_result.id, task_result.status))

    for signal in signals:
        signal.connect(hear)
    try:
        good, bad = jobs.add.enqueue(1), jobs.fail.enqueue("x")
        run_tasks(raises=False)
    finally:
        for signal in signals:
            signal.disconnect(hear)
    for sent, end in ((good, SUCCESSFUL), (bad, FAILED)):
        assert [status for _, id, status in heard if id == sent.id] == [READY, TaskResultStatus.RUNNING, end]
    assert {sender for sender, *_ in heard} == {LedgerBackend}


def test_a_celery_task_is_no_result_of_this_interface(shop: Shop, jobs: Any):
    shop.books.send("t", name="shop.pay")
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result("t")


def test_an_app_without_mirepoix_is_told(shop: Shop, jobs: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(django_site, "celery_app", type(shop.app)("plain", set_as_current=False))
    with pytest.raises(ConfigurationError, match=r"mirepoix\.install\(app\)"):
        jobs.add.enqueue(1)


def test_an_option_that_is_not_a_tasks_to_have_is_told():
    with pytest.raises(ImproperlyConfigured, match=r"TASKS\['default'\].*name"):
        LedgerBackend("default", {"OPTIONS": {"name": "x"}})


@pytest.mark.parametrize(
    ("broker", "wanted", "given"),
    [
        ("amqp://", 100, 9),
        ("amqp://", 1, 1),
        ("amqp://", -1, 0),
        ("redis://", 100, 0),
        ("redis://", -1, 1),
        ("redis://", -100, 9),
    ],
)
def test_a_broker_gets_a_priority_that_it_knows(broker: str, wanted: int, given: int):
    installed = type("Installation", (), {"delivery": "broker", "app": type("App", (), {})})
    installed.app.conf = type("Conf", (), {"broker_url": broker})
    assert interface._priority(installed, wanted) == given
