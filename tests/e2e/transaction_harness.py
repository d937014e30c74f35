"""Banks: shops whose tasks run in transactions, by SQLAlchemy, by Django, or on the driver's own connection."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workers import QUICK, Process, Shop

HOWS = ("session", "scoped", "engine", "plain", "django")

TABLES = """
CREATE TABLE deed (task text NOT NULL, word text PRIMARY KEY);
CREATE TABLE kept (word text PRIMARY KEY);
CREATE TABLE promise (word text NOT NULL REFERENCES kept (word) DEFERRABLE INITIALLY DEFERRED)
"""

MYSQL_TABLES = """
CREATE TABLE deed (task text NOT NULL, word varchar(255) PRIMARY KEY);
CREATE TABLE kept (word varchar(255) PRIMARY KEY);
CREATE TABLE promise (word varchar(255) NOT NULL, FOREIGN KEY (word) REFERENCES kept (word))
"""

SETTINGS = """
import pymysql

pymysql.install_as_MySQLdb()
SECRET_KEY = "for tests"
INSTALLED_APPS = ["mirepoix.django"]
USE_TZ = True
DATABASES = {{"default": {database!r}}}
"""


def _isolation_level(isolation: str, kind: str) -> Any:
    return isolation.lower() if kind == "mysql" else ISOLATION_LEVELS[isolation]


ISOLATION_LEVELS = {"REPEATABLE READ": 3, "SERIALIZABLE": 4}
"""As Django's settings, and psycopg, number them."""


class TransactionHarness(Shop):
    """One ledger, with the tables that its tasks write to in the same database."""

    def __init__(self, folder: Path, url: str, how: str, **env: str) -> None:
        super().__init__(folder, url)
        self.how = how
        self.env = {"TRANSACTION_APP_HOW": how, **env}
        shutil.copyfile(Path(__file__).with_name("transaction_app.py"), folder / "transaction_app.py")
        if how == "django":
            self.env["DJANGO_SETTINGS_MODULE"] = "transaction_app_settings"
            database = _database(url, env.get("TRANSACTION_APP_ISOLATION", ""))
            (folder / "transaction_app_settings.py").write_text(SETTINGS.format(database=database))
        self.ledger.write(MYSQL_TABLES if self.is_mysql else TABLES)

    @property
    def is_mysql(self) -> bool:
        """Whether nothing is looked at in the COMMIT, and an error undoes one statement only."""
        return self.url.startswith("mysql")

    @property
    def is_sqlite(self) -> bool:
        """Whether there is one writer at a time."""
        return self.url.startswith("sqlite")

    def send(self, name: str, *args: Any, task_id: str | None = None, **options: Any) -> str:
        """Send a task of the bank; return its id."""
        return self.app.send_task(f"bank.{name}", args=args, task_id=task_id, **options).id

    def task(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The signature of a task of the bank."""
        return self.app.signature(f"bank.{name}", args=args, kwargs=kwargs)

    def work(self, *lines: str, state: str = "succeeded", **options: Any) -> str:
        """Let a transactional task do that; return its id when it is in *state*."""
        id = self.send("work", *lines, **options)
        self.wait(id, state)
        return id

    def worker(
        self,
        name: str = "w1",
        *options: str,
        pool: str = "prefork",
        concurrency: int = 2,
        is_awaited: bool = True,
        env: dict[str, str] | None = None,
        conf: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Process:
        """A worker process of the bank."""
        process = self.start(
            name,
            *("-m", "celery", "-A", "transaction_app", "worker", "-n", f"{name}@test", "-l", "info"),
            *("-P", pool, "-c", str(concurrency), *QUICK, *options),
            env={**self.env, **(env or {})},
            conf=conf,
            **settings,
        )
        return process.says(" ready.") if is_awaited else process

    def script(self, code: str) -> str:
        """Run Python in a process that has imported the bank; what it printed."""
        process = self.start(
            "script", "-c", f"import transaction_app\nfrom transaction_app import *\n{code}", env=self.env
        )
        process.ends()
        assert process.exit_code == 0, process.said
        return process.said

    def words(self, task_id: str | None = None) -> list[str]:
        """What is in the table, by that task or by all."""
        rows = self.ledger.query("SELECT task, word FROM deed ORDER BY word")
        return [word for task, word in rows if task_id in (None, task)]

    def outcomes(self, task_id: str) -> list[str]:
        """How its attempts ended."""
        return [attempt["outcome"] for attempt in self.ledger.history(task_id)]


Open = Callable[..., TransactionHarness]


@contextmanager
def opening(folder: Path) -> Iterator[Open]:
    """What opens harnesses at ledgers' URLs, in folders of their own; they are closed at the end."""
    harnesses: list[TransactionHarness] = []

    def open_(url: str, how: str, **env: str) -> TransactionHarness:
        harnesses.append(TransactionHarness(folder / f"bank{len(harnesses)}", url, how, **env))
        return harnesses[-1]

    yield open_
    for harness in harnesses:
        harness.__exit__()


def _database(url: str, isolation: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {"timeout": 30},
        }
    parts = urlsplit(url)
    return {
        "ENGINE": f"django.db.backends.{parts.scheme}",
        "NAME": parts.path.strip("/"),
        "USER": parts.username or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "OPTIONS": {"isolation_level": _isolation_level(isolation, parts.scheme)} if isolation else {},
    }
