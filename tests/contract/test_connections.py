"""Our own connections and the pool: a failure leaves a connection clean, or gone."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from driver import Ledger, envelope
from mirepoix.connect import mysql_codes
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.ledger import enqueue, operate, workers
from servers import Served


def test_a_commit_that_fails_leaves_the_connection_usable(sqlite_url: str):
    with Ledger(source_for(sqlite_url)) as ledger:
        with pytest.raises(Exception, match="FOREIGN KEY"), ledger.connection.transaction() as tx:  # noqa: PT012
            tx.script("PRAGMA defer_foreign_keys = on")
            tx.script("INSERT INTO mirepoix_attempt (task_id, fence, outcome) VALUES ('nobody', 1, 'lost')")
        assert ledger.send("t") == {"t"}
        assert ledger.counts()["mirepoix_attempt"] == 0


def test_a_restart_of_the_server_costs_no_sending_although_pooled_connections_died(
    served: Served,
):
    source = source_for(served.url)
    with source.transaction() as one, source.transaction() as two, source.transaction() as three:
        for number, tx in enumerate((one, two, three)):
            enqueue.add(tx, [envelope(f"before{number}")])
    served.server.kill()
    served.server.start()
    with source.transaction() as tx:
        assert enqueue.add(tx, [envelope("after")]) == {"after"}
    with Ledger(source) as ledger:
        assert set(ledger.states()) == {"before0", "before1", "before2", "after"}
    source.close()


def test_while_the_server_is_away_the_error_is_one_of_those_the_source_names(
    served: Served,
):
    source = source_for(served.url)
    with source.transaction() as tx:
        enqueue.add(tx, [envelope("t")])
    served.server.stop()
    for _ in range(2):
        with pytest.raises(source.disconnects), source.transaction():
            pass
    served.server.start()
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


def test_a_transaction_that_the_server_ends_for_a_deadlock_is_done_again(mariadb_url: str):
    source = source_for(mariadb_url)
    with Ledger(source) as ledger:
        for name in ("w1", "w2"):
            ledger.worker(name)
        both = threading.Barrier(2)
        beaten = []

        def renew(first: str, second: str) -> None:
            with source.open().transaction() as tx:
                assert workers.heartbeat(tx, first, 10.0)
                both.wait(20)
                # Each waits for the row of the other now: the server ends one of the two transactions.
                assert workers.heartbeat(tx, second, 10.0)
                beaten.append(first)

        threads = [threading.Thread(target=renew, args=names) for names in (("w1", "w2"), ("w2", "w1"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(beaten) == ["w1", "w2"]
    source.close()


def test_one_that_would_be_answered_otherwise_fails_with_the_deadlock(mariadb_url: str):
    source = source_for(mariadb_url)
    with Ledger(source) as ledger:
        ledger.send("a", "b")
        both = threading.Barrier(2)
        ended = []

        def cancel(first: str, second: str) -> None:
            try:
                with source.open().transaction() as tx:
                    operate.cancel(tx, [first])
                    both.wait(20)
                    ended.append(operate.cancel(tx, [second]))
            except source.disconnects as error:
                ended.append(error.args[0])

        threads = [threading.Thread(target=cancel, args=names) for names in ("ab", "ba")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert mysql_codes.DEADLOCK in ended
        assert ["a"] in ended or ["b"] in ended
        assert set(ledger.states().values()) == {"cancelled"}
    source.close()
