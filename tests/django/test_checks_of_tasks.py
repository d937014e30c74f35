"""``manage.py check --deploy``: what settings and models tell of tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.core import checks

import django_site
import mirepoix

from django.contrib.auth import models  # isort: skip  # the site is set up first
from django.contrib.auth.models import Group, Permission, User  # isort: skip
from django.db.models import CharField, CheckConstraint, Model, Q, UniqueConstraint  # isort: skip
from django.test.utils import isolate_apps  # isort: skip

ME = sys.modules[__name__]
Ticket: Any = None


@pytest.fixture
def app() -> Iterator[Celery]:
    django_site.use(default={"ENGINE": "django.db.backends.postgresql", "NAME": "shop"})
    app = django_site.celery_app = Celery("shop", set_as_current=False)
    app.conf.task_time_limit = 600
    mirepoix.install(app)
    yield app
    django_site.celery_app = None
    django_site.use()


def found(id: str) -> list[str]:
    said = checks.run_checks(tags=["mirepoix"], include_deployment_checks=True)
    return [one.msg for one in said if one.id == f"mirepoix.{id}"]


def work() -> None: ...


@pytest.mark.parametrize(
    ("conf", "is_told"),
    [({}, True), ({"task_time_limit": 60}, False), ({"task_soft_time_limit": 60}, False)],
)
def test_a_task_that_nothing_limits_is_told_of(app: Celery, conf: dict[str, int], is_told: bool):
    app.conf.update({"task_time_limit": None, **conf})
    app.task(work, name="shop.work", shared=False)
    assert bool(found("I103")) is is_told
    assert all("shop.work may run" in one for one in found("I103"))


def test_tasks_with_limits_of_their_own_are_counted_apart(app: Celery):
    app.conf.task_time_limit = None
    app.task(work, name="shop.a", shared=False, time_limit=3)
    app.task(work, name="shop.b", shared=False, soft_time_limit=3)
    assert found("I103") == []
    for name in ("shop.c", "shop.d"):
        app.task(work, name=name, shared=False)
    assert "shop.c and 1 more may run" in found("I103")[0]


def by_mail(mail: str) -> None:
    User.objects.get_or_create(email=mail, defaults={"username": mail})


def by_two(name: str) -> None:
    if name:
        models.User.objects.update_or_create(first_name=name, last_name=name)


async def by_name_of_permission(name: str) -> None:
    await Permission.objects.aget_or_create(name=name)


def by_part_of_a_pair(id: int) -> None:
    Permission._default_manager.get_or_create(content_type_id=id)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (by_mail, "User.get_or_create() with email,"),
        (by_two, "User.update_or_create() with first_name, last_name,"),
        (by_name_of_permission, "Permission.aget_or_create() with name,"),
        (by_part_of_a_pair, "Permission.get_or_create() with content_type,"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"bind": True}, {"transactional": True}])
def test_a_row_that_no_constraint_keeps_unique_is_told_of(app: Celery, function: Any, says: str, options: Any):
    if options.get("transactional") and function is by_name_of_permission:
        options = {}  # a coroutine cannot be
    app.task(function, name="shop.work", shared=False, **options)
    (told,) = found("W104")
    assert says in told
    assert f"{__file__}:{function.__code__.co_firstlineno + 1 + (function is by_two)}" in told


def by_unique(name: str) -> None:
    User.objects.get_or_create(username=name)
    User.objects.get_or_create(username=name, email=name)
    User.objects.get_or_create(pk=name)
    User.objects.get_or_create(id=name)
    Permission.objects.get_or_create(content_type_id=1, codename=name)
    Permission.objects.get_or_create(content_type=1, codename=name, name=name)


def by_what_is_not_certain(name: str, kind: Any, **fields: Any) -> None:
    User.objects.get_or_create(email__iexact=name)
    User.objects.get_or_create(**fields)
    User.objects.get_or_create(email=name, **fields)
    User.objects.filter(is_staff=True).get_or_create(email=name)
    kind.objects.get_or_create(email=name)
    Group.user_set.get_or_create(email=name)
    unknown.objects.get_or_create(email=name)  # type: ignore[name-defined]  # noqa: F821
    User.objects.get_or_create()


def by_what_hides_the_model(name: str) -> None:
    from shop import User

    User.objects.get_or_create(email=name)


@pytest.mark.parametrize("function", [by_unique, by_what_is_not_certain, by_what_hides_the_model, print])
def test_what_is_unique_or_not_certain_is_left_alone(app: Celery, function: Any):
    app.task(function, name="shop.work", shared=False)
    assert found("W104") == []


def by_seat(seat: str) -> None:
    Ticket.objects.get_or_create(seat=seat)


@pytest.mark.parametrize(
    ("constraints", "is_told"),
    [
        ([], True),
        ([UniqueConstraint(fields=["seat"], name="a")], False),
        ([UniqueConstraint(fields=["seat"], condition=Q(show="x"), name="a")], False),
        ([UniqueConstraint("seat", name="a")], False),
        ([UniqueConstraint(fields=["seat", "show"], name="a")], True),
        (
            [
                CheckConstraint(
                    **{("condition" if django_site.django.VERSION >= (5, 1) else "check"): Q(seat="x")}, name="a"
                )
            ],
            True,
        ),
    ],
)
@isolate_apps("django.contrib.auth")
def test_constraints_of_a_model_are_respected(
    app: Celery, monkeypatch: pytest.MonkeyPatch, constraints: list[Any], is_told: bool
):
    kept = constraints

    class Ticket(Model):  # noqa: DJ008
        seat = CharField(max_length=9)
        show = CharField(max_length=9)

        class Meta:
            app_label = "auth"
            constraints = kept

    monkeypatch.setattr(ME, "Ticket", Ticket)
    app.task(by_seat, name="shop.work", shared=False)
    assert bool(found("W104")) is is_told
