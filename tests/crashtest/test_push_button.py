"""``pytest --crashpoints`` over an ordinary green suite, which knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FILES = {
    "conftest.py": """
import pytest
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend", USE_TZ=True,
)
import django
django.setup()
from django.db import connection
from shop import Order



@pytest.fixture(scope="session", autouse=True)
def tables():
    with connection.schema_editor() as editor:
        editor.create_model(Order)
""",
    "shop.py": """
from celery import Celery
from django.core.mail import send_mail
from django.db import models
from django.db.models import F

app = Celery("shop")
app.conf.update(task_acks_late=True, task_always_eager=True)


class Order(models.Model):
    count = models.IntegerField(default=0)
    mailed = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"


@app.task
def count(order):
    Order.objects.filter(pk=order).update(count=F("count") + 1)


@app.task
def receipt(order):
    if Order.objects.filter(pk=order, mailed=False).update(mailed=True):
        send_mail("Receipt", "Thank you", None, ["ann@example.com"])


@app.task
def safe(order):
    Order.objects.filter(pk=order).update(count=7)


@app.task
def silent():
    pass
""",
    "test_shop.py": """
import pytest
from django.core import mail
from django.test import TestCase
from shop import Order, count, receipt, safe, silent


class ShopTest(TestCase):
    def setUp(self):
        self.order = Order.objects.create()

    def test_count(self):
        count.delay(self.order.pk)
        self.order.refresh_from_db()
        self.assertEqual(self.order.count, 1)

    def test_receipt(self):
        receipt.apply((self.order.pk,))
        self.order.refresh_from_db()
        self.assertTrue(self.order.mailed)
        self.assertEqual(len(mail.outbox), 1)

    def test_safe(self):
        safe(self.order.pk)
        self.order.refresh_from_db()
        self.assertEqual(self.order.count, 7)

    def test_silent(self):
        silent.delay()
""",
}


@pytest.fixture
def suite(tmp_path: Path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTEST_ADDOPTS": ""}, capture_output=True, text=True, check=False
        )

    return run


def test_a_green_suite_is_explored_and_what_is_not_explored_is_told(suite, tmp_path):
    done = suite("--crashpoints", "--crashpoints-html=page.html", "--crashpoints-json=all.json", "--junitxml=junit.xml")
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    assert "LOST MAIL  ann@example.com: Receipt never happens (clean run: 1x)" in done.stdout
    assert "].count is 2 (clean run: 1)" in done.stdout
    assert "shop.safe: safe; 1 points" in done.stdout
    assert "shop.silent: NOT EXPLORED, shop.silent did nothing that crashpoints can see" in done.stdout
    assert "LOST MAIL" in (tmp_path / "junit.xml").read_text()
    told = {one["task"]: one for one in json.loads((tmp_path / "all.json").read_text())}
    assert {name for name, one in told.items() if one["is_safe"]} == {"shop.safe"}
    assert told["shop.receipt"]["findings"][0]["code"] == "lost-mail:ann@example.com: Receipt"
    page = (tmp_path / "page.html").read_text()
    assert "<b>2</b> not safe" in page
    assert "the worker dies here" in page
    assert "<script" not in page


def test_without_the_option_nothing_happens(suite):
    done = suite()
    assert "4 passed" in done.stdout, done.stdout
    assert "crash points" not in done.stdout


def test_a_budget_that_is_used_up_is_told(suite):
    done = suite("--crashpoints=pruned", "--crashpoints-budget=0")
    assert "4 passed" in done.stdout, done.stdout
    assert "shop.count: NOT EXPLORED, the time was up (--crashpoints-budget)" in done.stdout
