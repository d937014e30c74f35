"""PostgreSQL may send a notification with the answer to a statement. Then nothing is left to read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from celery import Celery
from kombu.asynchronous.hub import Hub

import mirepoix
from driver import Ledger
from mirepoix.celery import result_futures
from mirepoix.connect.source import OwnConnection
from mirepoix.connect.url import source_for
from pace import DEADLINE_S

NEVER_S = 3600.0


@pytest.fixture
def writer(postgresql_url: str) -> Iterator[Ledger]:
    with Ledger(source_for(postgresql_url)) as ledger:
        yield ledger
        ledger.source.close()


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Celery]:
    app = Celery("shop", set_as_current=False)
    mirepoix.install(app, postgresql_url, poll_interval_s=NEVER_S)
    yield app
    app.mirepoix.source.close()
    app.close()


@contextmanager
def told_meanwhile(connection: OwnConnection) -> Iterator[None]:
    """What the block commits elsewhere is told with the answer to this connection's COMMIT."""
    with connection.transaction() as tx:
        tx.query("SELECT 1")
        yield
    assert connection.has_notified


def test_a_worker_turns_again(app: Celery, writer: Ledger) -> None:
    with app.connection_for_read() as connection:
        connection.connect()
        transport: Any = connection.transport
        hub = Hub()
        transport.register_with_event_loop(connection, hub)
        transport.own.news()
        transport._news_at = 0.0

        def deliveries() -> int:
            with told_meanwhile(transport.own):
                writer.send("first")
            return 0

        transport._round = deliveries
        transport._on_tick()
        assert transport._news_at > 0.0
        assert not transport.own.has_notified
        hub.close()


def test_a_client_that_waits_for_a_reply_looks_again(app: Celery, writer: Ledger) -> None:
    with app.connection_for_read() as connection:
        connection.connect()
        transport: Any = connection.transport
        rounds = 0

        def deliveries() -> int:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                with told_meanwhile(transport.own):
                    writer.send("first")
            return rounds - 1

        transport._round = deliveries
        waits = threading.Thread(target=transport.drain_events, args=(connection, NEVER_S), daemon=True)
        waits.start()
        waits.join(DEADLINE_S)
        assert not waits.is_alive()
        assert rounds == 2


def test_a_wait_for_results_looks_at_the_second_result(
    app: Celery, writer: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_futures, "LOOK_ANYWAY_S", NEVER_S)
    asked = threading.Event()
    looked_at: list[str] = []

    def look(_: object, connection: OwnConnection, task_ids: set[str]) -> None:
        looked_at.extend(sorted(task_ids))
        if looked_at == ["first"]:
            with told_meanwhile(connection):
                writer.write("SELECT pg_notify('mirepoix_result', 'second')")
        if "second" in looked_at:
            asked.set()

    monkeypatch.setattr(result_futures.ResultFutures, "_look", look)
    futures = result_futures.ResultFutures(app.mirepoix)
    with closing(app.mirepoix.source.open()) as connection:
        connection.listen_results()
        futures._futures = {"first": [], "second": []}
        look(futures, connection, {"first"})
        waits = threading.Thread(target=futures._listen, args=(connection,), daemon=True)
        waits.start()
        assert asked.wait(DEADLINE_S)
        futures._wake()
        waits.join(DEADLINE_S)
        assert not waits.is_alive()
