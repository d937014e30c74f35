"""The ledger can be deleted as a whole, and made again; never in silence while something is in it that is not done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from driver import Ledger, envelope, until_somebody_waits_for_a_lock
from mirepoix.connect.url import source_for
from mirepoix.ledger import drop, enqueue, migrate, workers
from mirepoix.ledger.drop import Contents
from mirepoix.sql import migrations
from mirepoix.states import State
from servers import Served

LEFT = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE 'mirepoix%'",
    "postgresql": """
        SELECT relname FROM pg_class WHERE relname LIKE 'mirepoix%'
        UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'mirepoix%'
    """,
    "mysql": """
        SELECT table_name FROM information_schema.tables
         WHERE table_schema = DATABASE() AND table_name LIKE 'mirepoix%'
    """,
}


def left(ledger: Ledger) -> list[str]:
    """What is still there by our names."""
    return [row[0] for row in ledger.query(LEFT[ledger.source.dialect])]


def test_a_dropped_ledger_leaves_nothing_and_can_be_made_again(ledger: Ledger):
    ledger.write("CREATE TABLE django_migrations (app varchar(20), name varchar(20))")
    ledger.write("INSERT INTO django_migrations VALUES ('mirepoix', '0001_initial'), ('orders', '0001_initial')")
    ledger.worker("w1")
    ledger.send("done")
    ledger.succeed(ledger.lease("w1"))
    ledger.do(workers.stop, "w1")
    seen = drop.drop(ledger.connection)
    assert seen.tasks == {State.SUCCEEDED: 1}
    assert set(seen.relations) == {*drop.VIEWS, *drop.TABLES}
    assert left(ledger) == []
    assert ledger.query("SELECT app FROM django_migrations") == [("orders",)]
    assert drop.drop(ledger.connection) == Contents()
    assert migrate.migrate(ledger.connection) == [name for name, _ in migrations(ledger.source.dialect)]
    assert ledger.send("anew") == {"anew"}


def test_a_ledger_in_use_is_dropped_only_by_force(ledger: Ledger):
    ledger.worker("w1")
    assert str(drop.drop(ledger.connection)) == "1 worker(s) alive (w1@host)"
    ledger.send("a", "b")
    ledger.do(workers.stop, "w1")
    seen = drop.drop(ledger.connection)
    assert str(seen) == "2 task(s) not finished (2 pending)"
    assert ledger.states() == {"a": "pending", "b": "pending"}
    assert drop.drop(ledger.connection, is_forced=True) == seen
    assert left(ledger) == []


def test_what_is_sent_at_the_same_moment_is_not_lost(served: Served):
    source = source_for(served.url)
    with Ledger(source) as ledger, Ledger(source) as other, Ledger(source) as watcher, ThreadPoolExecutor() as thread:
        with ledger.connection.transaction() as tx:
            enqueue.add(tx, [envelope("a")])
            dropping = thread.submit(drop.drop, other.connection)
            until_somebody_waits_for_a_lock(watcher)
        assert dropping.result(timeout=30).is_in_use
        assert ledger.states() == {"a": "pending"}
