"""``mirepoix.django.test``: what a test has sent runs in its thread and transaction, through real serialisation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from celery import chain, chord
from celery.exceptions import Reject
from django.db import connections, transaction
from django.test import Client, TestCase, override_settings
from shop import Shop

import django_site
import mirepoix
from mirepoix.django.models import Task
from mirepoix.django.test import run_tasks, running_tasks
from mirepoix.errors import ConfigurationError


class Boom(Exception):
    """What a task raises."""


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    shop = Shop(request.getfixturevalue(f"{request.param}_site_url"))
    define(shop)
    yield shop
    shop.close()


@pytest.fixture(params=["TestCase", "TransactionTestCase"])
def case(request: pytest.FixtureRequest, shop: Shop) -> Iterator[None]:
    """Around a test: a transaction that is never committed, or none."""
    if request.param == "TransactionTestCase":
        yield
        return
    TestCase.databases = {"default"}
    atomics = TestCase._enter_atomics()
    yield
    TestCase._rollback_atomics(atomics)
    assert shop.books.states() == {}, "nothing of it was committed"


def define(shop: Shop) -> None:  # noqa: C901
    ran = shop.ran
    task = partial(shop.app.task, shared=False)

    @task(name="note")
    def note(*args: Any, **kwargs: Any) -> Any:
        ran.append((args, kwargs))
        return args[0] if args else None

    @task(name="add")
    def add(values: list[int]) -> int:
        ran.append(sum(values))
        return sum(values)

    @task(name="fail")
    def fail() -> None:
        raise Boom("it went wrong")

    @task(name="send")
    def send() -> None:
        transaction.on_commit(lambda: note.delay("on commit"), using="default")
        note.delay("at once")

    @task(name="flaky", bind=True, max_retries=3, default_retry_delay=180)
    def flaky(self: Any) -> str:
        if self.request.retries < 2:
            raise self.retry(exc=Boom("not yet"))
        return "at last"

    @task(name="transfer", transactional=True)
    def transfer(is_failing: bool) -> None:
        note.delay("inside")
        if is_failing:
            raise Boom

    @task(name="stepped")
    def stepped() -> Any:
        return mirepoix.step("charge", dict, id=7)

    @task(name="for_ever")
    def for_ever() -> None:
        for_ever.delay()

    @task(name="reject")
    def reject() -> None:
        raise Reject("not mine")


def send(shop: Shop, name: str, *args: Any, **options: Any) -> Any:
    return shop.app.tasks[name].apply_async(args, **options)


@pytest.mark.usefixtures("case")
class TestRunTasks:
    def test_what_was_sent_runs_with_arguments_that_were_serialised(self, shop: Shop):
        moment = datetime(2026, 3, 29, tzinfo=UTC)
        result = send(shop, "note", (1, 2), moment, kwargs={"name": "🧅"})
        assert shop.ran == []
        (one,) = run_tasks()
        assert (one.name, one.id, one.error) == ("note", result.id, None)
        assert shop.ran == [(([1, 2], moment), {"name": "🧅"})]
        assert Task.objects.get().state == "succeeded"
        assert result.get(timeout=0) == [1, 2]

    def test_nothing_runs_twice(self, shop: Shop):
        send(shop, "note")
        assert len(run_tasks()) == 1
        assert run_tasks() == []

    def test_what_a_task_sends_runs_too_and_what_it_leaves_for_the_commit(self, shop: Shop):
        send(shop, "send")
        assert [one.name for one in run_tasks()] == ["send", "note", "note"]
        assert {args for args, _ in shop.ran} == {("at once",), ("on commit",)}

    def test_chains_and_chords_run_to_their_end(self, shop: Shop):
        note, add = shop.app.tasks["note"], shop.app.tasks["add"]
        result = chain(note.s([1, 2]), add.s(), note.s())()
        chord([note.s(3), note.s(4)])(add.s())
        run_tasks()
        assert shop.ran[-1] == ((3,), {}) or 7 in shop.ran
        assert result.get(timeout=0) == 3

    def test_what_a_task_raises_is_raised_and_recorded(self, shop: Shop):
        result = send(shop, "fail")
        with pytest.raises(Boom, match="it went wrong") as raised:
            run_tasks()
        assert raised.traceback[-1].name == "fail"
        task = Task.objects.get()
        assert (task.state, task.reason) == ("failed", "Boom: it went wrong")
        assert "it went wrong" in task.attempts.get().traceback
        assert result.state == "FAILURE"

    def test_or_only_recorded(self, shop: Shop):
        send(shop, "fail")
        send(shop, "note")
        failed, fine = run_tasks(raises=False)
        assert isinstance(failed.error, Boom)
        assert fine.error is None

    def test_a_retry_waits_until_it_is_run_now(self, shop: Shop):
        result = send(shop, "flaky")
        assert len(run_tasks()) == 1
        assert Task.objects.get().state == "pending"
        assert len(run_tasks(run_now=True)) == 2
        assert result.get(timeout=0) == "at last"

    def test_an_eta_waits_until_it_is_run_now(self, shop: Shop):
        send(shop, "note", countdown=3600)
        assert run_tasks() == []
        assert len(run_tasks(run_now=True)) == 1

    def test_a_transactional_task_sends_nothing_if_it_fails(self, shop: Shop):
        send(shop, "transfer", False)
        assert [one.name for one in run_tasks()] == ["transfer", "note"]
        send(shop, "transfer", True)
        assert [one.name for one in run_tasks(raises=False)] == ["transfer"]

    def test_steps_are_kept(self, shop: Shop):
        result = send(shop, "stepped")
        run_tasks()
        assert result.get(timeout=0) == {"id": 7}
        assert Task.objects.get().steps.get().result == {"id": 7}

    def test_an_unknown_task_is_parked_and_raised(self, shop: Shop):
        shop.app.send_task("nobody.knows")
        with pytest.raises(KeyError, match=r"nobody\.knows"):
            run_tasks()
        assert Task.objects.get().state == "parked"

    def test_wrong_arguments_are_parked_and_raised(self, shop: Shop):
        shop.app.send_task("fail", (1, 2, 3))
        with pytest.raises(Exception, match="too many positional arguments"):
            run_tasks()
        assert Task.objects.get().state == "parked"

    def test_a_rejected_task_has_failed(self, shop: Shop):
        send(shop, "reject")
        with pytest.raises(Reject):
            run_tasks()
        assert Task.objects.get().state == "failed"

    def test_a_task_without_an_end_is_told_of(self, shop: Shop):
        send(shop, "for_ever")
        with pytest.raises(ConfigurationError, match="the last was for_ever"):
            run_tasks(most=5)

    def test_what_a_view_leaves_for_the_commit_runs_at_the_blocks_end(self, shop: Shop):
        django_site.views["order"] = lambda: transaction.on_commit(lambda: send(shop, "note", "later"))
        with running_tasks() as ran:
            Client().get("/plain/order")
            assert ran == []
        assert [one.name for one in ran] == ["note"]
        assert shop.ran == [(("later",), {})]

    def test_what_is_rolled_back_does_not_run(self, shop: Shop):
        with pytest.raises(Boom), running_tasks(), transaction.atomic():  # noqa: PT012
            send(shop, "note")
            raise Boom
        assert run_tasks() == []

    def test_afterwards_the_app_is_as_it_was(self, shop: Shop):
        source = shop.app.mirepoix.source
        send(shop, "fail")
        with pytest.raises(Boom):
            run_tasks()
        assert shop.app.mirepoix.source is source
        assert connections["default"].is_usable()


def test_without_a_ledger_in_djangos_database_it_says_so(sqlite_site_url: str, tmp_path: Any):
    from celery import Celery

    shop = Shop(sqlite_site_url)
    other = django_site.celery_app = Celery("other", set_as_current=False)
    mirepoix.install(other, f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(ConfigurationError, match="without a URL"):
        run_tasks()
    with override_settings(CELERY_MIREPOIX_DJANGO_APP="django_site:nothing"), pytest.raises(ConfigurationError):
        run_tasks()
    shop.close()
