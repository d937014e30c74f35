"""Retry policies in one process: whose policy it is, what Celery has decided, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry

import mirepoix
from mirepoix import RetryPolicy
from mirepoix.celery.retries import policy_for
from mirepoix.errors import ConfigurationError

KEYS = RetryPolicy(transient=(KeyError,), base_s=7.0, jitter=False)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An installed app with a policy for all."""
    app = Celery("policies", set_as_current=False, broker="memory://")
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}", retries=KEYS)
    yield app
    app.mirepoix.source.close()
    app.close()


def traced(task: Task, *args: Any, **request: Any) -> Any:
    """What a worker's tracer makes of a call without a lease: the value, or the exception raised."""
    tracer = build_tracer(task.name, task, app=task.app, eager=True)
    done = tracer("an-id", args, {}, {"id": "an-id", "task": task.name, "is_eager": True, **request})
    return done.retval if done.info is None else done.info.retval


def raising(app: Celery, error: BaseException, **options: Any) -> Task:
    """A task that raises it."""

    @app.task(bind=True, name="raising", **options)
    def raising(self: Task) -> None:
        raise error

    return app.tasks["raising"]


def test_the_apps_policy_is_for_tasks_that_say_nothing(app: Celery) -> None:
    retry = traced(raising(app, KeyError("x")), retries=1)
    assert isinstance(retry, Retry)
    assert (retry.when, str(retry.exc)) == (14.0, "'x'")


def test_a_task_has_its_own_policy_or_none(app: Celery) -> None:
    own = RetryPolicy(transient=(ValueError,))
    assert policy_for(raising(app, KeyError(), retries=own)) is own
    app.tasks.pop("raising")
    none = raising(app, KeyError(), retries=None)
    assert policy_for(none) is None
    assert isinstance(traced(none), KeyError)


def test_what_its_policy_does_not_take_fails(app: Celery) -> None:
    assert isinstance(traced(raising(app, ValueError())), ValueError)


def test_after_its_last_attempt_the_error_stands(app: Celery) -> None:
    task = raising(app, KeyError("x"))
    assert isinstance(traced(task, retries=8), Retry)
    assert isinstance(traced(task, retries=9), KeyError)


@pytest.mark.parametrize("error", [Ignore(), Reject("no"), Retry("later")], ids=repr)
def test_what_the_task_decides_stays_decided(app: Celery, error: Exception) -> None:
    assert traced(raising(app, error, retries=RetryPolicy(transient=(Exception,)))) is error


@pytest.mark.parametrize("exc", [None, KeyError("mine")], ids=["without an error", "with an error"])
def test_when_retry_has_given_up_no_policy_goes_on(app: Celery, exc: Exception | None) -> None:
    @app.task(bind=True, name="gives-up", max_retries=2)
    def gives_up(self: Task) -> None:
        raise self.retry(exc=exc)

    assert isinstance(traced(gives_up, retries=2), KeyError if exc else MaxRetriesExceededError)


def test_where_the_task_handles_that_retry_has_given_up_the_next_error_is_the_policys(app: Celery) -> None:
    @app.task(bind=True, name="goes-on", max_retries=2)
    def goes_on(self: Task) -> None:
        try:
            self.retry(exc=ValueError())
        except ValueError:
            raise KeyError("another") from None

    assert isinstance(traced(goes_on, retries=2), Retry)


def test_a_task_called_as_a_function_is_part_of_what_calls_it(app: Celery) -> None:
    task = raising(app, KeyError("x"))
    with pytest.raises(KeyError):
        task()
    caught = []

    @app.task(bind=True, name="calls-itself")
    def calls_itself(self: Task, depth: int) -> None:
        if depth == 0:
            raise KeyError("deep")
        try:
            calls_itself(depth - 1)
        except KeyError as error:
            caught.append(error)

    assert traced(calls_itself, 1) is None
    assert len(caught) == 1


def test_a_retry_by_policy_does_not_change_what_autoretry_does_next(app: Celery) -> None:
    task = raising(app, KeyError("x"))
    assert isinstance(traced(task), Retry)
    assert not hasattr(task, "override_max_retries")


def test_a_reader_that_raises_does_not_hide_the_error(app: Celery) -> None:
    def broken(error: BaseException) -> float:
        raise TypeError("no seconds here")

    policy = RetryPolicy(transient=(KeyError,), base_s=3.0, retry_after=broken)
    retry = traced(raising(app, KeyError("x"), retries=policy))
    assert (retry.when, str(retry.exc)) == (3.0, "'x'")


def test_what_is_no_policy_is_refused_with_the_name_of_its_task(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=r"retries of the task raising .*not 3"):
        raising(app, KeyError(), retries=3).name  # noqa: B018 (a task is made when it is first used)


def test_the_configuration_may_say_it_as_a_mapping(tmp_path: Path) -> None:
    app = Celery("policies", set_as_current=False, broker="memory://")
    app.conf.mirepoix_retries = {"max_attempts": 3}
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}")
    assert app.mirepoix.settings.retries == RetryPolicy(max_attempts=3)
    app.mirepoix.source.close()
    app.close()
