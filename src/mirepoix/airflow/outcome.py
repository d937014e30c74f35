"""The outcome of a task that has ended, with its history in Airflow's log."""

from __future__ import annotations

from typing import Any

from mirepoix.airflow.ends import FAILED
from mirepoix.airflow.history import history
from mirepoix.celery.handle import Handle
from mirepoix.states import State


class TaskFailed(Exception):
    """The Celery task has failed, was cancelled, or is parked for long. Another look does not change that."""


def outcome_of(handle: Handle, log: Any) -> Any:
    """Return what the task returned. Raises TaskFailed.

    Raises ResultGone if the result is not stored, and the driver's error if the ledger is away: another try may help.
    """
    for line in history(handle.app, handle.id):
        log.info("%s", line)
    state = handle.state
    try:
        return handle.outcome()
    except Exception as error:
        # The task's own error may be of any class, also one that says that a database is away. So the state decides.
        if state not in {*FAILED, State.CANCELLED, State.PARKED}:
            raise
        what = f"Task {handle.task_name}[{handle.id}] is {state}: {type(error).__name__}: {error}"
        raise TaskFailed(what) from error
