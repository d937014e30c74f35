"""A pool process died with its task: the task is to blame, unless somebody asked the process to end."""

from __future__ import annotations

import os
import signal

import pytest

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.daemons.leases import Leases
from mirepoix.records import AttemptFailure, Worker
from mirepoix.states import AttemptOutcome


@pytest.mark.parametrize(
    ("number", "is_worker_stopping", "deaths"),
    [(signal.SIGKILL, False, 1), (signal.SIGTERM, False, 0), (signal.SIGQUIT, False, 0), (signal.SIGKILL, True, 0)],
)
def test_a_death_that_was_asked_for_blames_nobody(
    ledger: Ledger, source: Source, number: signal.Signals, is_worker_stopping: bool, deaths: int
):
    ledger.send("t")
    leases = Leases(source, Settings(), Worker("", "w1", "here", os.getpid(), queues=("celery",)))
    leases.incarnation.register()
    (taken,) = leases.record_and_take(ledger.connection, ["celery"], 1)
    leases.held.note_begun(taken.lease.key, 17)
    if is_worker_stopping:
        leases.begin_to_stop()
    failure = AttemptFailure("its process died", "WorkerLostError", signal=number)
    leases.note_lost(taken.lease.key, failure, outcome=AttemptOutcome.KILLED)
    leases.losses.report(ledger.connection)
    leases.close()
    row = ledger.row("t")
    assert (row["state"], row["deaths"], row["handovers"]) == ("pending", deaths, 1 - deaths)
