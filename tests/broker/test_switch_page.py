"""``docs/how-to/switch.md`` is walked: from a Redis where 20 messages wait to the ledger, back, and out of Mirepoix."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import QUICK, Process

from brokers import RedisServer
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.ledger import drop
from pace import DEADLINE_S, until

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "switch.md").read_text("utf-8")
APPS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
TOLD = re.search(r"```text\n(20 messages.*?)```", PAGE, re.DOTALL)

SETTINGS = """
SECRET_KEY = "for tests"
USE_TZ = True
INSTALLED_APPS = ["orders"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}}
CELERY_BROKER_URL = {broker!r}
CELERY_TASK_IGNORE_RESULT = True
"""
HEAD = """
import os
from celery import Celery
import mirepoix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
"""
TASKS = """
from celery import shared_task

@shared_task
def note(number):
    with open("ran", "a") as file:
        file.write(f"{number}\\n")
"""


class Site:
    """The project of the page, in one of its releases."""

    def __init__(self, folder: Path, broker: RedisServer) -> None:
        self.folder = folder
        self.settings = SETTINGS.format(database=str(folder / "shop.db"), broker=broker.url)
        self._workers: list[Process] = []
        for name, text in {
            "mysite/__init__.py": "from .celery import app as celery_app\n",
            "orders/__init__.py": "",
            "orders/tasks.py": TASKS,
        }.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def release(self, app: str, settings: str = "") -> None:
        """Let the project's code be this."""
        (self.folder / "mysite" / "celery.py").write_text(HEAD + app)
        (self.folder / "mysite" / "settings.py").write_text(self.settings + settings)

    def run(self, command: str, code: int = 0) -> str:
        """Run a command of the page; return what it says."""
        assert command.partition(" --")[0] in COMMANDS
        return self.manage(*command.split()[2:], code=code)

    def manage(self, *words: str, code: int = 0) -> str:
        """manage.py."""
        command = [sys.executable, "-m", "django", *words]
        done = subprocess.run(
            command, env=os.environ | self._env, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def send(self, *numbers: int) -> None:
        """Send a task for each number, from a process of its own."""
        self.manage("shell", "-c", f"from orders.tasks import note\nfor one in {numbers!r}: note.delay(one)")

    def worker(self, name: str) -> Process:
        """A worker of the release."""
        options = ("-n", name, "-P", "threads", "-c", "2", "-l", "info", *QUICK)
        command = [sys.executable, "-m", "celery", "-A", "mysite", "worker", *options]
        process = Process(name, command, self.folder, self._env, fork_server=None)
        self._workers.append(process)
        return process.says(" ready.")

    def ran(self, *numbers: int) -> None:
        """Wait until these and no others ran, each once."""
        file = self.folder / "ran"

        def lines() -> list[int]:
            return sorted(map(int, file.read_text().split())) if file.exists() else []

        until(lambda: len(lines()) >= len(numbers), f"{len(numbers)} tasks ran")
        assert lines() == sorted(numbers)

    def close(self) -> None:
        for worker in self._workers:
            worker.remove()

    @property
    def _env(self) -> dict[str, str]:
        folders = filter(None, (str(self.folder), os.environ.get("PYTHONPATH")))
        return {"PYTHONPATH": os.pathsep.join(folders), "DJANGO_SETTINGS_MODULE": "mysite.settings"}


@pytest.fixture
def site(redis: RedisServer, tmp_path: Path) -> Iterator[Site]:
    redis.start()
    redis.flush()
    site = Site(tmp_path, redis)
    yield site
    site.close()
    redis.flush()


@pytest.mark.slow
def test_the_page_leads_there_and_back_and_out(site: Site, redis: RedisServer):
    there, back = APPS
    stock = there.replace("mirepoix.install(app)\n", "")
    with_ledger = "INSTALLED_APPS += ['mirepoix.django']\n"
    assert TOLD is not None
    told = " ".join(TOLD[1].split()).replace("redis://localhost:6379/0", redis.url)

    site.release(stock)
    site.send(*range(20))

    site.release(there, with_ledger)
    site.run("python manage.py migrate")
    assert told.replace("celery -A YOUR_APP", "manage.py") in site.run("python manage.py check")
    assert told.partition(",")[0] in site.manage("mirepoix", "status")
    worker = site.worker("there")
    worker.says(told)
    site.send(20)
    site.ran(20)
    assert "Moved 20 tasks of the queue 'celery'" in site.run("python manage.py mirepoix drain")
    site.ran(*range(21))
    assert "no issues" in site.run("python manage.py check")
    worker.stop()

    site.send(*range(21, 41))  # they wait in the ledger
    site.release(back, with_ledger)
    worker = site.worker("back")
    site.send(41)
    site.ran(*range(42))
    until(lambda: not waiting(site), "nothing waits in the ledger", deadline_s=DEADLINE_S)
    assert redis.size("celery") == 0
    site.send(42)
    worker.stop()
    assert "Deleted 32 tables" in site.run("python manage.py mirepoix drop-tables --yes")
    with Ledger(source_for(f"sqlite:///{site.folder / 'shop.db'}")) as ledger:
        assert ledger.do(drop.contents) == drop.Contents()
    site.release(stock)
    site.worker("stock")
    site.ran(*range(43))


def waiting(site: Site) -> int:
    """What the page says to look at."""
    status = json.loads(site.run("python manage.py mirepoix status --json"))
    return sum(queue[column] for queue in status["queues"] for column in ("waiting", "scheduled", "taken", "running"))
