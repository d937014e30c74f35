"""Our own connections and the pool: a failure leaves a connection clean, or gone."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from driver import Ledger, envelope
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.ledger import enqueue
from servers import PostgresServer


def test_a_commit_that_fails_leaves_the_connection_usable(sqlite_url: str):
    with Ledger(source_for(sqlite_url)) as ledger:
        with pytest.raises(Exception, match="FOREIGN KEY"), ledger.connection.transaction() as tx:  # noqa: PT012
            tx.script("PRAGMA defer_foreign_keys = on")
            tx.script("INSERT INTO mirepoix_attempt (task_id, fence, outcome) VALUES ('nobody', 1, 'lost')")
        assert ledger.send("t") == {"t"}
        assert ledger.counts()["mirepoix_attempt"] == 0


def test_a_restart_of_the_server_costs_no_sending_although_pooled_connections_died(
    postgresql_server: PostgresServer, postgresql_url: str
):
    source = source_for(postgresql_url)
    with source.transaction() as one, source.transaction() as two, source.transaction() as three:
        for number, tx in enumerate((one, two, three)):
            enqueue.add(tx, [envelope(f"before{number}")])
    postgresql_server.kill()
    postgresql_server.start()
    with source.transaction() as tx:
        assert enqueue.add(tx, [envelope("after")]) == {"after"}
    with Ledger(source) as ledger:
        assert set(ledger.states()) == {"before0", "before1", "before2", "after"}
    source.close()


def test_while_the_server_is_away_the_error_is_one_of_those_the_source_names(
    postgresql_server: PostgresServer, postgresql_url: str
):
    source = source_for(postgresql_url)
    with source.transaction() as tx:
        enqueue.add(tx, [envelope("t")])
    postgresql_server.stop()
    for _ in range(2):
        with pytest.raises(source.disconnects), source.transaction():
            pass
    postgresql_server.start()
    with source.transaction() as tx:
        assert enqueue.add(tx, [envelope("t")]) == set()
    source.close()


def test_many_threads_share_a_few_pooled_connections(source: Source, ledger: Ledger):
    errors = []

    def send(number: int) -> None:
        try:
            for one in range(5):
                with source.transaction() as tx:
                    enqueue.add(tx, [envelope(f"{number}.{one}")])
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ledger.counts()["mirepoix_task"] == 75


def test_a_forked_child_uses_no_connection_of_its_parent(source: Source, ledger: Ledger):
    with source.transaction() as tx:
        enqueue.add(tx, [envelope("parent")])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with source.transaction() as tx:
                enqueue.add(tx, [envelope("child")])
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with source.transaction() as tx:
        enqueue.add(tx, [envelope("parent again")])
    assert set(ledger.states()) == {"parent", "child", "parent again"}


def test_a_source_can_be_copied_with_the_configuration(source: Source, ledger: Ledger):
    copy = pickle.loads(pickle.dumps(source))
    with copy.transaction() as tx:
        enqueue.add(tx, [envelope("t")])
    copy.close()
    assert ledger.states() == {"t": "pending"}


def test_news_is_what_others_committed(source: Source, ledger: Ledger):
    with Ledger(source) as watcher:
        watcher.connection.listen()
        watcher.connection.news()
        assert not watcher.connection.news()
        ledger.send("t")
        while not (news := watcher.connection.news()):
            pass
        assert "tasks" in news
        assert not watcher.connection.news()
