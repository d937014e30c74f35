"""The ledger's tables as Django's models: they read all of it, and write nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from shop import Shop

import django_site
from mirepoix.django.fields import Key
from mirepoix.django.models import (
    Alert,
    AlertTelling,
    Attempt,
    Decision,
    Edit,
    FailureGroup,
    Hold,
    Replay,
    Result,
    Step,
    SubmissionKey,
    Task,
    Worker,
)
from mirepoix.errors import WrittenThroughOrm

MODELS = (
    Alert,
    AlertTelling,
    Attempt,
    Decision,
    Edit,
    FailureGroup,
    Hold,
    Replay,
    Result,
    Step,
    SubmissionKey,
    Task,
    Worker,
)


def test_every_column_of_a_task_can_be_read(shop: Shop):
    shop.fail("a", body='[[1, "🧅"], {"amount": 2}, {}]', headers={"task": "shop.pay"}, eta=None)
    task = Task.objects.get(pk="a")
    assert (task.name, task.queue, task.state, task.fence) == ("shop.pay", "celery", "failed", 1)
    assert (task.args, task.kwargs, task.headers) == ([1, "🧅"], {"amount": 2}, {"task": "shop.pay"})
    assert task.worker == Worker.objects.get()
    assert str(task) == "shop.pay[a]"


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_the_columns_of_its_table(shop: Shop, model: Any):
    in_table = set(shop.books.columns(model._meta.db_table))
    on_model = {field.column for field in model._meta.fields if not isinstance(field, Key)}
    assert on_model <= in_table
    assert model is Worker or in_table <= on_model
    assert list(model.objects.all()) == []


def test_times_are_those_of_the_database_in_utc(shop: Shop):
    shop.fail("a")
    with override_settings(TIME_ZONE="Asia/Kathmandu"):
        task = Task.objects.get()
        assert abs(datetime.now(UTC) - task.finished_at) < timedelta(minutes=5)
        assert task.finished_at.utcoffset() == timedelta(0)
        assert list(Task.objects.filter(finished_at__gte=task.finished_at, created_at__lte=task.created_at)) == [task]
        assert not Task.objects.filter(created_at__gt=datetime.now(UTC) + timedelta(minutes=5)).exists()


def test_without_use_tz_times_are_naive_in_the_projects_zone(shop: Shop):
    shop.fail("a")
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kathmandu"):
        finished_at = Task.objects.get().finished_at
        expected = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=5, minutes=45)
        assert abs(expected - finished_at) < timedelta(minutes=5)
        assert Task.objects.filter(finished_at__lte=finished_at).exists()


def test_attempts_are_told_apart_and_found_from_their_task(shop: Shop):
    shop.fail("a")
    shop.books.do(__import__("mirepoix.ledger.operate", fromlist=["requeue"]).requeue, ["a"])
    (again,) = shop.books.take("w1")
    assert again.lease.fence == 2
    attempts = list(Task.objects.get().attempts.order_by("fence"))
    assert [(one.pk, one.outcome) for one in attempts] == [("a:1", "failed"), ("a:2", "leased")]
    assert Attempt.objects.get(pk="a:1").traceback.startswith("Traceback")
    assert attempts[0] != attempts[1]
    assert {one.task.name for one in Attempt.objects.select_related("task")} == {"shop.pay"}


def test_steps_and_edits_are_found_from_their_task(shop: Shop):
    lease = shop.lease("a")
    from mirepoix.ledger import steps

    shop.books.do(steps.store, lease, "charge", '{"id": 7}', 0.5)
    shop.books.write(
        "INSERT INTO mirepoix_edit (task_id, edited_by, reason, before_edit, after_edit) "
        "VALUES ('a', 'ann', 'a typo', '{\"args\": [1]}', '{\"args\": [2]}')"
    )
    task = Task.objects.get()
    assert [(step.pk, step.result, step.fence) for step in task.steps.all()] == [("a:charge", {"id": 7}, 1)]
    assert [(edit.edited_by, edit.before_edit, edit.after_edit) for edit in task.edits.all()] == [
        ("ann", {"args": [1]}, {"args": [2]})
    ]


def test_parents_and_children_are_linked(shop: Shop):
    shop.books.send("a")
    shop.books.send("b", parent_id="a", root_id="a")
    shop.books.send("c", parent_id="gone")
    assert [child.pk for child in Task.objects.get(pk="a").children.all()] == ["b"]
    assert Task.objects.get(pk="b").parent.pk == "a"
    with pytest.raises(Task.DoesNotExist):
        _ = Task.objects.get(pk="c").parent


@pytest.mark.parametrize(
    "write",
    [
        lambda: Task(id="b").save(),
        lambda: Task.objects.get().save(),
        lambda: Task.objects.get().delete(),
        lambda: Task.objects.all().delete(),
        lambda: Task.objects.update(state="pending"),
        lambda: Task.objects.create(id="b"),
        lambda: Task.objects.get_or_create(id="b"),
        lambda: Task.objects.update_or_create(id="a"),
        lambda: Task.objects.bulk_create([Task(id="b")]),
        lambda: Task.objects.bulk_update([Task(id="a")], ["state"]),
        lambda: Task.objects.get().children.create(id="b"),
        lambda: Task._base_manager.all()._raw_delete("default"),
    ],
)
def test_nothing_is_written_through_them(sqlite_site_url: str, write: Any):
    shop = Shop(sqlite_site_url)
    shop.books.send("a")
    with pytest.raises(WrittenThroughOrm, match="mirepoix retry, requeue, cancel or discard"):
        write()
    assert shop.books.states() == {"a": "pending"}
    shop.close()


def test_they_read_the_alias_that_holds_the_ledger_without_a_router(shop: Shop, tmp_path: Any):
    shop.books.send("a")
    shop.books.send("b", parent_id="a")
    empty = django_site.database(f"sqlite:///{tmp_path / 'empty.db'}")
    django_site.use(default=empty, tasks=django_site.database(shop.url))
    with override_settings(CELERY_MIREPOIX_DJANGO_ALIAS="tasks"):
        task = Task.objects.get(pk="a")
        assert task._state.db == "tasks"
        assert task.children.get().parent == task
        assert connections["default"].connection is None


def test_django_finds_no_change_to_make_a_migration_of(sqlite_site_url: str):
    shop = Shop(sqlite_site_url)
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    shop.close()


def test_each_decision_has_a_permission_and_nobody_may_add_change_or_delete(shop: Shop):
    from django.contrib.auth.models import Permission

    found = Permission.objects.filter(content_type__app_label="mirepoix").values_list("codename", flat=True)
    decisions = {f"{verb}_task" for verb in ("retry", "requeue", "cancel", "discard")}
    decisions |= {f"{verb}_failuregroup" for verb in ("resolve", "ignore", "reopen")} | {"pause_hold", "resume_hold"}
    assert set(found) == decisions | {f"view_{model._meta.model_name}" for model in MODELS}


def test_every_model_is_tested_here():
    assert set(apps.get_app_config("mirepoix").get_models()) == set(MODELS)
