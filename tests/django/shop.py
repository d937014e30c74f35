"""A Django project's ledger for the tests of its edges: the site, its Celery app, and what tasks did."""

from __future__ import annotations

from typing import Any

from celery import Celery
from django.db import connections

import django_site
import mirepoix
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.ledger import finish, take
from mirepoix.records import AttemptFailure

LOST = 'Traceback (most recent call last):\n  File "shop.py", line 7, in pay\nValueError: card ending 4242'


class Shop:
    """The project, in a database that has its tables, and the ledger as another process drives it."""

    def __init__(self, url: str, **database: Any) -> None:
        django_site.use(default=django_site.database(url, **database))
        self.url = url
        self.ran: list[Any] = []
        self.app = django_site.celery_app = app = Celery("shop", set_as_current=False)
        mirepoix.install(app)
        self.books = Ledger(source_for(url))

    def close(self) -> None:
        self.books.__exit__()
        self.books.source.close()
        self.app.mirepoix.source.close()
        django_site.celery_app = None
        connections.close_all()
        django_site.use()

    def lease(self, task_id: str, **fields: Any) -> Any:
        """Send a task and let a worker take it."""
        if not self.books.query("SELECT id FROM mirepoix_worker"):
            self.books.worker("w1")
        self.books.send(task_id, **fields)
        (taken,) = self.books.do(take.take_by_id, "w1", [task_id])
        return taken.lease

    def fail(self, task_id: str, **fields: Any) -> None:
        """Send a task that fails."""
        trouble = AttemptFailure("ValueError: card ending 4242", "builtins.ValueError", LOST, pid=7, run_time_s=0.25)
        assert self.books.do(finish.fail, self.lease(task_id, **fields), trouble)
