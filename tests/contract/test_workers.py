"""Who is alive: registration, heartbeats, deaths, and the lock that a dead process frees."""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from driver import Ledger, declare_dead, moment
from mirepoix.connect.source import Source
from mirepoix.ledger import workers
from mirepoix.records import Worker


def test_a_worker_registers_with_what_it_is(ledger: Ledger):
    worker = Worker("w1", "celery@höst", "höst", 42, "prefork", 4, ("a", "b"), {"celery": "5.7.0"})
    key = ledger.do(workers.register, worker, 15.0)
    row = ledger.worker_row("w1")
    assert (row["name"], row["host"], row["pid"], row["pool"], row["concurrency"]) == (
        *("celery@höst", "höst", 42, "prefork", 4),
    )
    queues, software = row["queues"], row["software"]
    if isinstance(queues, str):
        queues, software = json.loads(queues), json.loads(software)
    assert (queues, software, row["liveness_key"], row["state"]) == (["a", "b"], {"celery": "5.7.0"}, key, "alive")
    left = moment(row["alive_until"]) - datetime.now(UTC)
    assert abs(left - timedelta(seconds=15)) < timedelta(seconds=2)


def test_every_incarnation_has_a_liveness_key_of_its_own(ledger: Ledger):
    keys = [ledger.do(workers.register, Worker(f"w{n}", "same", "h", 1), 15.0) for n in range(3)]
    assert len(set(keys)) == 3


def test_who_has_sent_a_heartbeat_since_it_was_judged_is_not_dead(ledger: Ledger):
    ledger.worker("w1")
    (before,) = ledger.do(workers.neighbours, "me")
    ledger.passes(1)
    assert ledger.do(workers.heartbeat, "w1", 15.0)
    assert not ledger.do(workers.declare_dead, before, "its heartbeat stayed out")
    (after,) = ledger.do(workers.neighbours, "me")
    assert (after.ttl_s, after.heartbeat != before.heartbeat) == (pytest.approx(15.0, abs=0.002), True)
    assert ledger.do(workers.declare_dead, after, "its heartbeat stayed out")
    assert ledger.do(workers.neighbours, "me") == []


def test_a_heartbeat_tells_how_old_the_workers_maintenance_is(ledger: Ledger):
    ledger.worker("w1")
    ledger.do(workers.heartbeat, "w1", 15.0, 12.5)
    row = ledger.worker_row("w1")
    age = moment(row["heartbeat_at"]) - moment(row["maintained_at"])
    assert abs(age - timedelta(seconds=12.5)) < timedelta(milliseconds=2)


@pytest.mark.parametrize("ttl_s", [15, 15.0, 0.5])
def test_a_heartbeat_lasts_as_long_as_it_says(ledger: Ledger, ttl_s: float):
    ledger.worker("w1", ttl_s=1.0)
    ledger.do(workers.heartbeat, "w1", ttl_s)
    row = ledger.worker_row("w1")
    lasts = moment(row["alive_until"]) - moment(row["heartbeat_at"])
    assert abs(lasts - timedelta(seconds=ttl_s)) < timedelta(milliseconds=2)


def test_a_worker_declared_dead_hears_it_with_its_next_heartbeat(ledger: Ledger):
    ledger.worker("w1")
    assert ledger.do(declare_dead, "w1", "its process died")
    assert not ledger.do(workers.heartbeat, "w1", 15.0)
    row = ledger.worker_row("w1")
    assert (row["state"], row["reason"]) == ("dead", "its process died")
    assert row["ended_at"] is not None


def test_a_worker_dies_or_stops_once(ledger: Ledger):
    ledger.worker("w1")
    ledger.worker("w2")
    assert ledger.do(declare_dead, "w1", "a")
    assert not ledger.do(declare_dead, "w1", "b")
    assert not ledger.do(workers.stop, "w1")
    assert ledger.do(workers.stop, "w2")
    assert not ledger.do(workers.stop, "w2")
    assert not ledger.do(declare_dead, "w2", "c")
    assert (ledger.worker_row("w1")["reason"], ledger.worker_row("w2")["state"]) == ("a", "stopped")


def test_nobody_is_found_dead_at_birth_and_a_freed_lock_is_seen(source: Source, ledger: Ledger):
    ledger.worker("me")
    with ledger.connection.transaction() as tx:
        key = workers.register(tx, Worker("w1", "w1@host", "host", 1), 15.0)
        lock = source.hold_liveness("w1", key)
    lock.confirm()
    mine = source.hold_liveness("me", ledger.worker_row("me")["liveness_key"])
    try:
        assert lock.is_held()
        with Ledger(source) as other:
            assert source.unheld(other.connection, "me") == []
            lock.close()
            # The server notices the closed connection a moment after us.
            while not (found := source.unheld(other.connection, "me")):
                pass
            assert [(one.id, one.name) for one in found] == [("w1", "w1@host")]
            ledger.die("w1")
            assert source.unheld(other.connection, "me") == []
    finally:
        mine.close()


def test_a_clock_before_the_start_of_the_server_stops_nobody(source: Source, ledger: Ledger):
    if source.dialect != "mysql":
        pytest.skip("only MariaDB and MySQL reckon by their clock when they were started")
    ledger.worker("me")
    lock = source.hold_liveness("w1", ledger.do(workers.register, Worker("w1", "w1@host", "host", 1), 15.0))
    with closing(lock), ledger.connection.statements() as tx:
        started_at = "SELECT server_started_at FROM mirepoix_worker WHERE id = 'w1'"
        lock.confirm()
        told = tx.query(started_at)
        for session in (lock._tx, tx):
            session.query("SET timestamp = 1000")
        lock.confirm()
        assert tx.query(started_at) == told
        lock.close()
        while not source.unheld(ledger.connection, "me"):
            pass


def test_the_lock_is_free_only_when_the_last_process_that_inherited_it_is_gone(source: Source, ledger: Ledger):
    ledger.worker("me")
    reader, writer = os.pipe()
    key = ledger.do(workers.register, Worker("w1", "w1@host", "host", 1), 15.0)
    parent = os.fork()
    if parent == 0:
        lock = source.hold_liveness("w1", key)
        lock.confirm()
        child = os.fork()
        if child == 0:
            signal.pause()
        os.write(writer, b"%d" % child)
        signal.pause()
    child = int(os.read(reader, 20))
    assert source.unheld(ledger.connection, "me") == []
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert source.unheld(ledger.connection, "me") == []
    gone = os.pidfd_open(child)
    os.kill(child, signal.SIGKILL)
    select.select([gone], [], [], 10)
    # The server notices the closed connection a moment after the kernel closed it.
    while not (found := source.unheld(ledger.connection, "me")):
        pass
    assert [(one.id, one.name) for one in found] == [("w1", "w1@host")]
    for descriptor in (reader, writer, gone):
        os.close(descriptor)


def test_a_heartbeat_writes_no_index_of_postgresql(ledger: Ledger, source: Source):
    if source.dialect != "postgresql":
        pytest.skip("only PostgreSQL writes every index of a row when one of them changes")
    ledger.worker("w1")
    with ledger.connection.transaction() as tx:
        assert workers.heartbeat(tx, "w1", 15.0)
        assert tx.query("SELECT pg_stat_get_xact_tuples_hot_updated('mirepoix_worker'::regclass)") == [(1,)]
