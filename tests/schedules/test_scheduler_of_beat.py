"""The scheduler for beat, in this process."""

from __future__ import annotations

import pytest
from celery import Celery

import mirepoix
from mirepoix.connect.source import OwnConnection
from mirepoix.schedulers import LedgerScheduler


@pytest.mark.parametrize("is_lost", [False, True], ids=["raised", "lost in a finalizer"])
def test_a_signal_in_the_middle_of_a_look_ends_beat(ledger_url: str, monkeypatch: pytest.MonkeyPatch, is_lost: bool):
    """Beat's handler closes the scheduler, and then raises SystemExit where the signal came."""
    app = Celery("beat", set_as_current=False)
    installation = mirepoix.install(app, ledger_url)
    scheduler = LedgerScheduler(app)

    def fire(connection: OwnConnection) -> float:
        with connection.transaction() as tx:
            scheduler.close()
            if not is_lost:
                raise SystemExit
            tx.query("SELECT id FROM mirepoix_task")
        return 300.0

    monkeypatch.setattr(scheduler, "_firing", type("Firing", (), {"fire": staticmethod(fire)}))
    with pytest.raises(SystemExit):
        scheduler.tick()
    scheduler.close()
    assert scheduler._connection is None
    installation.source.close()
