"""``pytest --crashpoints`` over a suite whose tasks are sent to the ledger and run by ``run_tasks()``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {
    "conftest.py": """
import pytest
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["mirepoix.django"], CELERY_MIREPOIX_DJANGO_APP="shop:app", USE_TZ=True,
)
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from shop import Order


@pytest.fixture(scope="session", autouse=True)
def tables():
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Order)
""",
    "shop.py": """
from celery import Celery
from django.db import models, transaction
from django.db.models import F

import mirepoix

app = Celery("shop", set_as_current=False)
mirepoix.install(app)


class Order(models.Model):
    count = models.IntegerField(default=0)
    state = models.TextField(default="new")

    class Meta:
        app_label = "shop"


@app.task(name="count")
def count(order):
    Order.objects.filter(pk=order).update(count=F("count") + 1)


@app.task(name="count_once", transactional=True)
def count_once(order):
    Order.objects.filter(pk=order).update(count=F("count") + 1)


@app.task(name="pay", transactional=True)
def pay(order):
    with transaction.atomic():
        Order.objects.filter(pk=order).update(state="paid")
        ship.delay(order)


@app.task(name="ship")
def ship(order):
    Order.objects.filter(pk=order).update(state="shipped")


@app.task(name="flaky", bind=True, max_retries=2)
def flaky(self, order):
    if not self.request.retries:
        raise self.retry(countdown=0)
    Order.objects.filter(pk=order).update(count=9)
""",
    "test_shop.py": """
from django.test import TestCase
from mirepoix.django.test import run_tasks
from shop import Order, count, count_once, flaky, pay


class ShopTest(TestCase):
    def setUp(self):
        self.order = Order.objects.create()

    def ran(self, **options):
        names = [one.name for one in run_tasks(**options)]
        self.order.refresh_from_db()
        return names

    def test_count(self):
        count.delay(self.order.pk)
        self.assertEqual(self.ran(), ["count"])
        self.assertEqual(self.order.count, 1)

    def test_count_once(self):
        count_once.delay(self.order.pk)
        count_once.delay(self.order.pk)
        self.assertEqual(self.ran(), ["count_once", "count_once"])
        self.assertEqual(self.order.count, 2)

    def test_pay(self):
        pay.delay(self.order.pk)
        self.assertEqual(self.ran(), ["pay", "ship"])
        self.assertEqual(self.order.state, "shipped")

    def test_flaky(self):
        flaky.delay(self.order.pk)
        self.assertEqual(self.ran(run_now=True), ["flaky", "flaky"])
        self.assertEqual(self.order.count, 9)
""",
}


def test_what_run_tasks_runs_is_explored_and_the_tests_see_nothing_of_it(tmp_path: Path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def suite(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        environment = {**os.environ, "PYTEST_ADDOPTS": ""}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        ).stdout

    assert "4 passed" in (plain := suite()), plain
    told = suite("--crashpoints")
    assert "1 failed, 3 passed" in told, told
    assert "].count is 2 (clean run: 1)" in told
    assert "\ncount: changed-row; 1 points" in told
    for name in ("count_once", "pay", "ship", "flaky"):
        assert f"\n{name}: safe; " in told, told
