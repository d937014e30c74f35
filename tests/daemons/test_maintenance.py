"""The thread that keeps a worker alive, and finds those that are not."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.daemons import deaths, process
from mirepoix.daemons.heartbeat import AGAIN_LAST_S
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.records import Worker
from pace import DEADLINE_S, until
from servers import Served


def test_a_heartbeat_that_fails_for_an_unknown_reason_is_tried_again_after_a_pause(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
):
    """Somebody has deleted the ledger's files."""
    source = source_for(sqlite_url)
    leases = Leases(source, Settings(), Worker("", "w1", "here", os.getpid(), process=process.own()))
    leases.incarnation.register()
    shutil.rmtree(Path(sqlite_url.removeprefix("sqlite:///")).parent)
    maintenance = Maintenance(leases)
    maintenance.start()

    def failures() -> list[float]:
        return [one.created for one in caplog.records if "the heartbeat failed and goes on" in one.message]

    try:
        first, second, *_ = until(lambda: failures()[1:] and failures(), "it has failed twice")
    finally:
        maintenance.stop()
    assert second - first > 0.9 * AGAIN_LAST_S


@pytest.mark.parametrize("sees_the_process", [True, False], ids=["same host", "other host"])
def test_who_ends_every_session_costs_living_workers_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, sees_the_process: bool
):
    """`pg_terminate_backend`, KILL, or a proxy that drops them: the lock is free for a moment, the worker is not dead.

    On the same host it could be free for as long as it likes. On another it is taken again before that proves a death:
    here that takes longer, as the machine may be busy.
    """
    monkeypatch.setattr(deaths, "CONFIRM_S", 0.0 if sees_the_process else DEADLINE_S)
    source = source_for(served.url)
    settings = Settings(liveness_interval_s=0.02, lease_ttl_s=600)
    me = process.own() if sees_the_process else None
    leases_of = [
        Leases(source, settings, Worker("", name, "here", os.getpid(), process=me)) for name in ("steady", "dropped")
    ]
    for leases in leases_of:
        leases.incarnation.register()
    with Ledger(source) as ledger:
        ledger.send("t")
        connection = source.open()
        (taken,) = leases_of[1].record_and_take(connection, ["celery"], 1)
        connection.close()
        maintenances = [Maintenance(leases) for leases in leases_of]
        try:
            for maintenance in maintenances:
                maintenance.start()
            beats = until(lambda: heartbeats(ledger), "both have sent a heartbeat")
            for _ in range(3):
                end_all_others(ledger)
                # Long before the next one is due: who saw the lock free shall see that the worker lives.
                beats = until(lambda before=beats: all_later(heartbeats(ledger), before), "both have sent another")
            assert ledger.query("SELECT DISTINCT state FROM mirepoix_worker") == [("alive",)]
            assert leases_of[1].held.holds(taken.lease.key)
            assert not any(leases.incarnation.has_lost_lock() for leases in leases_of)
        finally:
            for maintenance in maintenances:
                maintenance.stop()
            for leases in leases_of:
                leases.close()
            source.close()


def heartbeats(ledger: Ledger) -> dict[str, object]:
    """The latest of each worker, if all have sent one."""
    rows = ledger.query("SELECT name, heartbeat_at FROM mirepoix_worker WHERE maintained_at IS NOT NULL")
    return dict(rows) if len(rows) == 2 else {}


def all_later(now: dict[str, object], before: dict[str, object]) -> dict[str, object]:
    """*now*, if each of them came after that *before*."""
    return now if all(now[name] != before[name] for name in before) else {}


def end_all_others(ledger: Ledger) -> None:
    """End every session that uses the database, but this one."""
    if ledger.source.dialect == "mysql":
        found = ledger.query(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (session,) in found:
            with suppress(*ledger.source.disconnects):  # it has ended
                ledger.write(f"KILL CONNECTION {session}")
    else:
        ledger.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_clock_of_the_database_that_is_set_kills_nobody(ledger_url: str):
    """All that the ledger knows is a minute older at once, as if its clock had been set a minute ahead."""
    source = source_for(ledger_url)
    settings = Settings(lease_ttl_s=0.6, liveness_interval_s=0.02)
    leases_of = [Leases(source, settings, Worker("", name, "here", os.getpid())) for name in ("one", "two")]
    for leases in leases_of:
        leases.incarnation.register()
    maintenances = [Maintenance(leases) for leases in leases_of]
    with Ledger(source) as ledger:
        try:
            for maintenance in maintenances:
                maintenance.start()
            beats = until(lambda: heartbeats(ledger), "both have sent a heartbeat")
            for _ in range(4):  # for longer than a lease: then whoever is silent is judged
                beats = until(lambda before=beats: all_later(heartbeats(ledger), before), "both have sent another")
            ledger.passes(60)
            beats = heartbeats(ledger)
            for _ in range(2):
                beats = until(lambda before=beats: all_later(heartbeats(ledger), before), "both have sent another")
            assert ledger.query("SELECT name, state FROM mirepoix_worker ORDER BY name") == [
                ("one", "alive"),
                ("two", "alive"),
            ]
        finally:
            for maintenance in maintenances:
                maintenance.stop()
            for leases in leases_of:
                leases.close()
            source.close()


@pytest.mark.parametrize(("others", "interval_s"), [(0, 0.2), (1, 0.2), (3, 0.4), (63, 2.0)])
def test_of_many_workers_each_looks_less_often(sqlite_url: str, others: int, interval_s: float):
    source = source_for(sqlite_url)
    maintenance = Maintenance(Leases(source, Settings(), Worker("", "w1", "here", os.getpid())))
    with Ledger(source) as ledger:
        for number in range(others):
            ledger.worker(f"other{number}")
        connection = source.open()
        maintenance._reap(connection, 0.0)
        connection.close()
    assert maintenance._interval_s == pytest.approx(interval_s)
    source.close()


def test_what_cannot_be_expired_holds_up_nothing_else(served: Served):
    """It is tried again until it can."""
    source = source_for(served.url)
    leases = Leases(source, Settings(liveness_interval_s=0.02), Worker("", "w", "here", os.getpid()))
    leases.incarnation.register()

    def refuse(_tx: object, expired: list[str], _reason: str) -> None:
        raise LookupError(f"of {expired}")

    leases.return_ended = refuse
    maintenance = Maintenance(leases)
    with Ledger(source) as ledger:
        ledger.send("late", expires_in_s=0.01)
        ledger.send("due", eta="2090-01-02T03:04:05+00:00")
        ledger.write("UPDATE mirepoix_task SET due_at = created_at WHERE id = 'due'")
        try:
            maintenance.start()
            until(lambda: ledger.row("due")["due_at"] is None, "what is due is released")
            until(lambda: maintenance.round_began_at is not None, "the round counts as not done")
            assert ledger.states()["late"] == "pending"
            leases.return_ended = None
            until(lambda: ledger.states()["late"] == "expired", "it is tried again")
            until(lambda: maintenance.round_began_at is None, "the round is done")
        finally:
            maintenance.stop()
            leases.close()
            source.close()


def test_what_cannot_be_released_holds_up_no_expiry(sqlite_url: str):
    source = source_for(sqlite_url)
    leases = Leases(source, Settings(liveness_interval_s=0.02), Worker("", "w", "here", os.getpid()))
    leases.incarnation.register()
    maintenance = Maintenance(leases)
    with Ledger(source) as ledger:
        ledger.send("due", eta="2090-01-02T03:04:05+00:00")
        ledger.write("UPDATE mirepoix_task SET due_at = created_at")
        ledger.write(
            "CREATE TRIGGER stay BEFORE UPDATE OF due_at ON mirepoix_task BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        ledger.send("late", expires_in_s=0.01)
        try:
            maintenance.start()
            until(lambda: ledger.states()["late"] == "expired", "what has expired is ended")
            assert ledger.row("due")["due_at"] is not None
            ledger.write("DROP TRIGGER stay")
            until(lambda: ledger.row("due")["due_at"] is None, "it is tried again")
        finally:
            maintenance.stop()
            leases.close()
            source.close()
