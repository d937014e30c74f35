"""The thread that keeps a worker alive, and finds those that are not."""

from __future__ import annotations

import os

import pytest

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.daemons import keeper as keeper_module
from mirepoix.daemons.holder import Holder
from mirepoix.daemons.keeper import Keeper
from mirepoix.records import Worker
from pace import until
from servers import Served


def test_a_session_that_is_ended_under_a_living_worker_costs_it_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
):
    """`pg_terminate_backend`, KILL, or a proxy that drops it: the lock is free for a moment, the worker is not dead."""
    monkeypatch.setattr(keeper_module, "CONFIRM_S", 5.0)  # on a busy machine that moment is longer
    source = source_for(served.url)
    settings = Settings(liveness_interval_s=0.02, lease_ttl_s=60)
    holders = [Holder(source, settings, Worker("", name, "here", os.getpid())) for name in ("steady", "dropped")]
    for holder in holders:
        holder.register()
    with Ledger(source) as ledger:
        ledger.send("t")
        connection = source.open()
        (taken,) = holders[1].exchange(connection, ["celery"], 1)
        keepers = [Keeper(holder) for holder in holders]
        try:
            for keeper in keepers:
                keeper.start()
            session = the_session(ledger)
            for _ in range(3):
                end(ledger, session)
                session = the_session(ledger, ended=session)
            assert ledger.query("SELECT DISTINCT state FROM mirepoix_worker") == [("alive",)]
            assert holders[1].holds(taken.lease.key)
        finally:
            for keeper in keepers:
                keeper.stop()
            for holder in holders:
                holder.close()
            connection.close()
            source.close()


def the_session(ledger: Ledger, ended: int | None = None) -> int:
    """Wait for the one session that holds the lock, and holds it still: the server's views are not of one moment."""
    looks: list[list[int]] = []

    def is_settled() -> bool:
        looks.append(sessions(ledger))
        return len(looks) >= 3 and looks[-3] == looks[-2] == looks[-1] and len(looks[-1]) == 1 and looks[-1] != [ended]

    until(is_settled, "the sessions are settled")
    return looks[-1][0]


def sessions(ledger: Ledger) -> list[int]:
    """Who holds the dropped worker's lock: not whoever tries it for the instant of a transaction."""
    if ledger.source.dialect == "mysql":
        name = "CONCAT('mirepoix.', LEFT(SHA2(CONCAT(DATABASE(), '.', liveness_key, '.', id), 256), 40))"
        rows = ledger.query(f"SELECT IS_USED_LOCK({name}) FROM mirepoix_worker WHERE name = 'dropped'")
        return [session for (session,) in rows if session is not None]
    rows = ledger.query(
        "SELECT l.pid FROM pg_locks AS l JOIN mirepoix_worker AS w ON l.objid = w.liveness_key"
        " JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.state = 'idle'"
        " WHERE l.locktype = 'advisory' AND l.granted AND w.name = 'dropped'"
    )
    return [pid for (pid,) in rows]


def end(ledger: Ledger, session: int) -> None:
    """End that session."""
    if ledger.source.dialect == "mysql":
        ledger.write(f"KILL CONNECTION {session}")
    else:
        ledger.query(f"SELECT pg_terminate_backend({session})")
