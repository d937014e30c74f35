"""Ask the workers that hold tasks, by Celery's remote control, not to start them or to kill them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from mirepoix.operations.batches import Report
from mirepoix.states import State

NOBODY_HEARS = "its worker is not alive: start a worker, which takes it back, and cancel it then"


def revoke_held(
    app: Any,
    report: Report,
    gone: AbstractSet[str],
    *,
    terminate: bool,
    how_to_kill: str = "use --terminate to kill it",
) -> None:
    """Revoke the tasks of *report* that workers hold, and report what was asked for.

    A task that runs goes on to its end, unless *terminate* kills its process. Nothing waits for the workers. No worker
    that is alive holds the tasks in *gone*: they are not revoked, and are reported as not done.
    """
    held = [task_id for task_id in report.held if task_id not in gone]
    if held:
        app.control.revoke(held, terminate=terminate)
    for task_id in gone & set(report.held):
        report.not_done[task_id] = (report.not_done[task_id][0], NOBODY_HEARS)
    for task_id in held:
        state, _ = report.not_done.pop(task_id)
        if terminate:
            report.done[task_id] = "asked its worker to end it"
        elif state is State.LEASED:
            report.done[task_id] = "asked its worker not to start it"
        else:
            report.not_done[task_id] = (state, f"it is running and will run to its end: {how_to_kill}")
