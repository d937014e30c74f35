"""The thread that keeps a worker alive, and finds those that are not."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

import pytest

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.daemons import keeper as keeper_module
from mirepoix.daemons.holder import Holder
from mirepoix.daemons.keeper import Keeper
from mirepoix.records import Worker


def test_a_session_that_is_ended_under_a_living_worker_costs_it_nothing(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    """`pg_terminate_backend`, or a proxy that drops it: the lock is free for a moment, but the worker is not dead."""
    monkeypatch.setattr(keeper_module, "CONFIRM_S", 5.0)  # on a busy machine that moment is longer
    source = source_for(postgresql_url)
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
            for _ in range(3):
                (session,) = sessions(ledger)
                ledger.query(f"SELECT pg_terminate_backend({session})")
                until(lambda ended=session: sessions(ledger) not in ([ended], []))
            assert ledger.query("SELECT DISTINCT state FROM mirepoix_worker") == [("alive",)]
            assert holders[1].holds(taken.lease.key)
        finally:
            for keeper in keepers:
                keeper.stop()
            for holder in holders:
                holder.close()
            connection.close()
            source.close()


def sessions(ledger: Ledger) -> list[int]:
    """Who holds the dropped worker's lock."""
    rows = ledger.query(
        "SELECT l.pid FROM pg_locks AS l JOIN mirepoix_worker AS w ON l.objid = w.liveness_key"
        " WHERE l.locktype = 'advisory' AND l.granted AND w.name = 'dropped'"
    )
    return [pid for (pid,) in rows]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        select.select([], [], [], 0.005)
