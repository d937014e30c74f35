"""SQLite's file tells of a commit before it can be seen: that is looked for again, also after another was seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.asynchronous.hub import Hub

import mirepoix
from driver import Ledger
from mirepoix.celery.result_waiter import Listener
from mirepoix.connect import inotify
from mirepoix.connect.sqlite3 import SqliteConnection
from mirepoix.connect.url import source_for
from pace import DEADLINE_S, until


@pytest.fixture
def writer(sqlite_url: str) -> Iterator[Ledger]:
    with Ledger(source_for(sqlite_url)) as ledger:
        yield ledger
        ledger.source.close()


def tell_no_more(connection: SqliteConnection, tmp_path: Path) -> None:
    """What comes now was told of together with what was seen last."""
    silent = tmp_path / "nobody-writes-here"
    silent.touch()
    connection._watch = inotify.watch(silent)


def test_a_worker_sees_the_second_of_two_commits(sqlite_url: str, writer: Ledger, tmp_path: Path):
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, sqlite_url)
    with app.connection_for_read() as connection:
        connection.connect()
        transport: Any = connection.transport
        hub = Hub()
        transport.register_with_event_loop(connection, hub)
        loop = hub.create_loop()

        def sees() -> bool:
            seen, transport._news_at = transport._news_at, 0.0
            return bool(next(loop) or seen)

        writer.send("first")
        until(sees, "the first commit is seen")
        watched = transport.own._watch
        hub.remove_reader(watched.fd)
        tell_no_more(transport.own, tmp_path)
        writer.send("second")
        until(sees, "the second commit is seen")
        transport.own._watch.close()
        transport.own._watch = watched
        loop.close()
        hub.close()
    app.mirepoix.source.close()
    app.close()


def test_a_caller_that_waits_sees_the_second_of_two_commits(sqlite_url: str, writer: Ledger, tmp_path: Path):
    connection = SqliteConnection(sqlite_url.removeprefix("sqlite:///"))
    listener = Listener(connection, 0.01)
    writer.send("first")
    listener.wait({"t"}, DEADLINE_S)
    tell_no_more(connection, tmp_path)
    waits = threading.Thread(target=listener.wait, args=({"t"}, 600.0), daemon=True)
    waits.start()
    writer.send("second")
    waits.join(DEADLINE_S)
    assert not waits.is_alive()
    listener.close()
