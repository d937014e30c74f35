"""What a workflow asks of the activity that runs a task. A workflow's sandbox imports it: nothing of Celery is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ACTIVITY = "mirepoix.run_task"
"""The activity's type. It never changes: it stands in the histories of workflows."""


@dataclass
class TaskCall:
    """One call of a Celery task, as it stands in a workflow's history. New fields need a default."""

    task: str
    """The task's name."""
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """Options of ``apply_async``."""
    key: str | None = None
    """Stands for the task in the place of workflow id, run id and activity id."""
    rerun_failed: bool = False
    """Whether Temporal's retries run a task again that has failed."""
