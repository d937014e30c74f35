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


ENTRIES = """
import django; django.setup()
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask
from datetime import UTC, datetime
every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
PeriodicTask.objects.create(interval=every, name="sum", task="site_app.add", args="[1, 2]", queue="celery")
night, _ = CrontabSchedule.objects.get_or_create(hour="3", minute="30", day_of_week="1-5", timezone="Europe/Berlin")
PeriodicTask.objects.create(crontab=night, name="report", task="site_app.add", kwargs='{"x": 1, "y": 2}', enabled=False)
once, _ = ClockedSchedule.objects.get_or_create(clocked_time=datetime(2040, 1, 1, tzinfo=UTC))
PeriodicTask.objects.create(clocked=once, name="once", task="site_app.add", one_off=True)
"""


def test_the_entries_of_django_celery_beat_are_taken_over(site: Place) -> None:
    site.run("site_app_shell", ENTRIES, **DJANGO)
    command = ("celery", "-A", "site_app", "mirepoix", "schedules")
    said = site.run(*command, "import", "django-celery-beat", **DJANGO)
    assert "added: sum: site_app.add, every 1s" in said
    assert "added: report: site_app.add, 30 3 * * * on weekdays 1,2,3,4,5, paused" in said
    assert "added: once: site_app.add, at 2040-01-01T00:00:00+00:00" in said
    again = site.run(*command, "import", "django-celery-beat", **DJANGO)
    assert "added" not in again
    site.worker("site_app", MIREPOIX_SCHEDULES="1", **DJANGO)
    done = "SELECT count(*) FROM mirepoix_fire WHERE schedule_id = 'sum' AND state = 'ran'"
    until(lambda: rows(site, done)[0][0] >= 2, "two have run")
    ((zone,),) = rows(
        site, "SELECT json_extract(definition, '$.plan.timezone') FROM mirepoix_schedule WHERE id = 'report'"
    )
    assert zone == "Europe/Berlin"
