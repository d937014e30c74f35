"""Neighbours in a Django project."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from conftest import Place, until

DJANGO = {"DJANGO_SETTINGS_MODULE": "site_settings"}


@pytest.fixture
def site(place: Place) -> Iterator[Place]:
    """A site whose tables are there."""
    place.run("django", "migrate", "-v", "0", **DJANGO)
    return place


def rows(site: Place, sql: str) -> list[Any]:
    with closing(sqlite3.connect(site.folder / "site.db")) as connection:
        return connection.execute(sql).fetchall()


def test_django_celery_results(site: Place) -> None:
    site.worker("site_app", NEIGHBOURS_BACKEND="django-db", **DJANGO)
    code = "import django; django.setup(); from site_app import add; add.apply_async((1, 2), task_id='one')"
    site.run("site_app_shell", code, NEIGHBOURS_BACKEND="django-db", **DJANGO)
    found = "SELECT status, result FROM django_celery_results_taskresult WHERE task_id = 'one'"
    until(lambda: rows(site, found) == [("SUCCESS", "3")], "the result is kept")
    until(lambda: rows(site, "SELECT state FROM mirepoix_task") == [("succeeded",)], "the outcome is kept")


def test_django_celery_beat(site: Place) -> None:
    code = """
import django; django.setup()
from django_celery_beat.models import IntervalSchedule, PeriodicTask
every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
PeriodicTask.objects.create(interval=every, name="sum", task="site_app.add", args="[1, 2]")
"""
    site.run("site_app_shell", code, **DJANGO)
    site.worker("site_app", **DJANGO)
    scheduler = ("--scheduler", "django_celery_beat.schedulers:DatabaseScheduler")
    site.start("celery", "-A", "site_app", "beat", "-l", "info", *scheduler, says="beat: Starting", **DJANGO)
    done = "SELECT count(*) FROM mirepoix_task WHERE name = 'site_app.add' AND state = 'succeeded'"
    until(lambda: rows(site, done)[0][0] >= 2, "two have run")
