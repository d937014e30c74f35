"""What is told apart: code that is ours or Celery's, and code that may read where a task is sent."""

from __future__ import annotations

from celery import Celery

import mirepoix
from mirepoix.celery.context import is_read_by_senders


def test_what_is_installed_reads_nothing_but_what_replaces_it_may(sqlite_url: str) -> None:
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, sqlite_url)
    assert not is_read_by_senders(app)
    app.send_task = lambda *_args, **_options: None
    assert is_read_by_senders(app)
