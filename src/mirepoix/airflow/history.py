"""Tell a task's attempts as lines for Airflow's log: how each ended, and the last traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mirepoix.ledger.query.task_detail import AttemptLine, TaskDetail, task_detail
from mirepoix.operations.format import run_time, when


def history(app: Any, task_id: str) -> Iterator[str]:
    """Yield the lines. They have no arguments and no results of the task."""
    with app.mirepoix.source.reading() as tx:
        detail = task_detail(tx, task_id)
    if detail is None:
        yield f"Task {task_id} is not in the ledger any more."
        return
    reason = f": {detail.reason}" if detail.reason else ""
    yield f"Task {detail.name}[{task_id}] is {detail.state}{reason}. It was sent {when(detail.created_at)}."
    for attempt in detail.attempts:
        yield _attempt(attempt)
    yield from _last_traceback(detail)


def _attempt(attempt: AttemptLine) -> str:
    parts = [
        when(attempt.started_at or attempt.leased_at),
        f"ran {run_time(attempt.run_time_s)}" if attempt.run_time_s is not None else "",
        attempt.beginning,
        f"signal {attempt.signal}" if attempt.signal else "",
        f"exit code {attempt.exit_code}" if attempt.exit_code is not None else "",
        f"on {attempt.worker or attempt.worker_id}" if attempt.worker_id else "",
        f"process {attempt.pid}" if attempt.pid else "",
        attempt.error or "",
    ]
    return f"Attempt {attempt.fence} {attempt.outcome}: {', '.join(filter(None, parts))}"


def _last_traceback(detail: TaskDetail) -> Iterator[str]:
    found = [attempt.traceback for attempt in detail.attempts if attempt.traceback]
    if found:
        yield f"The last traceback:\n{found[-1]}"
