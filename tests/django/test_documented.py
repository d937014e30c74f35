"""The example of ``docs/how-to/django.md`` is run as it stands, by ``manage.py test`` and by pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_site

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "django.md"
FILES = {
    "mysite/__init__.py": "from .celery import app as celery_app\n",
    "mysite/urls.py": """
from django.urls import path
from orders.views import order

urlpatterns = [path("orders/", order)]
""",
    "orders/__init__.py": "",
    "orders/views.py": """
from django.db import transaction
from django.http import HttpResponse
from orders.tasks import send_receipt

def order(request):
    number = int(request.POST["number"])
    transaction.on_commit(lambda: send_receipt.delay(number))
    return HttpResponse("thank you")
""",
    "orders/tasks.py": """
from celery import shared_task
from django.core.mail import send_mail

@shared_task
def send_receipt(number):
    if number < 0:
        raise ValueError(f"there is no order {number}")
    send_mail(f"Receipt for order {number}", "Thank you.", None, ["ann@example.com"])
""",
    "conftest.py": """
import django
django.setup()
pytest_plugins = ["mirepoix.pytest.django"]
""",
    "test_with_pytest.py": """
from django.core import mail
from django.test.utils import setup_test_environment
from orders.tasks import send_receipt

def test_fixtures(run_tasks, running_tasks):
    setup_test_environment()
    send_receipt.delay(7)
    assert [one.name for one in run_tasks()] == ["orders.tasks.send_receipt"]
    with running_tasks() as ran:
        send_receipt.delay(8)
    assert len(ran) == 1
    assert [message.subject for message in mail.outbox] == ["Receipt for order 7", "Receipt for order 8"]
""",
}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The project of the page, with the ledger made."""
    url = request.getfixturevalue(f"{request.param}_url")
    installed, celery, *_, tests = blocks()
    for name, text in {
        **FILES,
        "mysite/celery.py": celery,
        "orders/tests.py": tests,
        "mysite/settings.py": "\n".join(
            (
                "SECRET_KEY = 'for tests'\nUSE_TZ = True\nROOT_URLCONF = 'mysite.urls'\nINSTALLED_APPS = ['orders']",
                f"DATABASES = {{'default': {django_site.database(url)!r}}}",
                installed,
            )
        ),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(folder: Path, *words: str) -> str:
    folders = filter(None, (str(folder), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_example_passes(folder: Path):
    assert "Ran 3 tests" in run(folder, "django", "test", "orders")


def test_the_queries_run(folder: Path):
    *_, queries, _ = blocks()
    sent = "from orders.tasks import send_receipt\nresult = send_receipt.delay(7)\n"
    run(folder, "django", "shell", "-c", f"{sent}{queries}")


def test_the_fixtures_run_tasks(folder: Path):
    assert "1 passed" in run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_with_pytest.py")


def test_of_the_documented_project_there_is_nothing_to_say(folder: Path):
    assert "no issues" in run(folder, "django", "check")
