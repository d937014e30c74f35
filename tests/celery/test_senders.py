"""What is told apart: code that is ours or Celery's, and code that may read where a task is sent."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import celery
import pytest
from celery import Celery, signals
from celery.app.amqp import AMQP

import mirepoix
from mirepoix.celery.senders import is_read_by_senders


def foreign(*_arguments: Any, **_options: Any) -> None:
    """What somebody puts in the place of a method, connects to a signal, or gives as a router."""


@pytest.fixture
def app(sqlite_url: str) -> Celery:
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, sqlite_url)
    app.finalize()
    app.task(foreign, name="shop.first", shared=False)
    return app


def register(app: Celery, count: int) -> None:
    for number in range(len(app.tasks), len(app.tasks) + count):

        def task() -> None: ...

        app.task(task, name=f"shop.{number}", shared=False)


def connect(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals.before_task_publish, "receivers", [(None, foreign)])


def register_one_that_replaces_a_method(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    app.task(foreign, name="shop.later", shared=False, shadow_name=foreign)


CHANGES: dict[str, Callable[[Celery, pytest.MonkeyPatch], Any]] = {
    "a receiver": connect,
    "a router": lambda app, monkeypatch: monkeypatch.setattr(app.amqp, "_rtable", (foreign,)),
    "the app": lambda app, monkeypatch: monkeypatch.setattr(app, "send_task", foreign),
    "the app's class": lambda app, monkeypatch: monkeypatch.setattr(celery.Celery, "send_task", foreign),
    "the app's AMQP": lambda app, monkeypatch: monkeypatch.setattr(AMQP, "send_task_message", foreign),
    "another AMQP": lambda app, monkeypatch: monkeypatch.setattr(
        app, "amqp", type("Own", (AMQP,), {"as_task_v2": foreign})(app)
    ),
    "a task": lambda app, monkeypatch: monkeypatch.setattr(app.tasks["shop.first"], "apply_async", foreign),
    "a task's class": lambda app, monkeypatch: monkeypatch.setattr(type(app.tasks["shop.first"]), "delay", foreign),
    "every task's class": lambda app, monkeypatch: monkeypatch.setattr(celery.Task, "apply_async", foreign),
    "a task that is registered": register_one_that_replaces_a_method,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_installed_reads_nothing_but_what_comes_later_may(
    app: Celery, monkeypatch: pytest.MonkeyPatch, change: Callable[[Celery, pytest.MonkeyPatch], Any]
):
    assert not is_read_by_senders(app)
    with monkeypatch.context() as until_now:
        change(app, until_now)
        assert is_read_by_senders(app)
    assert is_read_by_senders(app) == ("shop.later" in app.tasks)


def test_many_tasks_are_looked_through_by_no_call_for_each(app: Celery):
    few = calls(lambda: is_read_by_senders(app))
    register(app, 100)
    assert not is_read_by_senders(app)
    assert calls(lambda: is_read_by_senders(app)) == few


def calls(do: Callable[[], Any]) -> int:
    do()
    gc.collect()  # what it would finalize in between would be counted
    counted = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
        gc.enable()
    return counted
