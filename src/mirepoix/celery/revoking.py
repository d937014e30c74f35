"""Ask the workers that hold tasks, by Celery's remote control, not to start them or to kill them."""

from __future__ import annotations

from typing import Any

from mirepoix.operations.batches import Report
from mirepoix.states import State


def revoke_held(app: Any, report: Report, *, terminate: bool, how_to_kill: str = "use --terminate to kill it") -> None:
    """Revoke the tasks of *report* that workers hold, and report what was asked for.

    A task that runs goes on to its end, unless *terminate* kills its process. Nothing waits for the workers.
    """
    app.control.revoke(report.held, terminate=terminate)
    for task_id in report.held:
        state, _ = report.not_done.pop(task_id)
        if terminate:
            report.done[task_id] = "asked its worker to end it"
        elif state is State.LEASED:
            report.done[task_id] = "asked its worker not to start it"
        else:
            report.not_done[task_id] = (state, f"it is running and will run to its end: {how_to_kill}")
