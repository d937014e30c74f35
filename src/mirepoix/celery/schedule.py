"""`mirepoix.Schedule`: a schedule with a time zone and policies, for ``beat_schedule`` and ``@app.task``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery.schedules import BaseSchedule, schedstate

from mirepoix.schedules.calendar import EPOCH, times_after
from mirepoix.schedules.plan import Plan

LOOK_S = 300.0
"""How soon a beat asks again about a schedule without a further fire time."""


class Schedule(BaseSchedule):  # type: ignore[misc]
    """When a task is sent, and what happens if that is late, or if the run before has not ended.

    It takes a cron expression and the fields of `mirepoix.schedules.plan.Plan`:
    ``mirepoix.Schedule("0 3 * * *", timezone="Europe/Berlin", overlap="skip")``. Raises ConfigurationError.

    The ledger's schedules use everything. An ordinary ``celery beat`` uses the fire times only, not the policies.
    """

    def __init__(self, cron: str | None = None, **fields: Any) -> None:
        super().__init__()
        self.plan = Plan(cron=cron, **fields)

    def is_due(self, last_run_at: datetime) -> Any:
        """What an ordinary beat asks: whether a fire time has come since *last_run_at*, and when to ask again."""
        now = self.now().astimezone(UTC)
        times = times_after(self.plan, EPOCH, last_run_at.astimezone(UTC))
        first = next(times, None)
        is_due = first is not None and first <= now
        following = next(times_after(self.plan, EPOCH, now), None) if is_due else first
        return schedstate(is_due, LOOK_S if following is None else (following - now).total_seconds())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and other.plan == self.plan

    def __hash__(self) -> int:
        return hash(self.plan)

    def __repr__(self) -> str:
        return f"<Schedule: {self.plan.as_dict()}>"

    def __reduce__(self) -> Any:
        return _made, (self.plan.as_dict(),)


def _made(fields: dict[str, Any]) -> Schedule:
    return Schedule(**fields)
