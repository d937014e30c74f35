"""Ask Airflow what has become of a task instance: whether a person has ended it, or another process goes on with it."""

from __future__ import annotations

from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

GOES_ON = frozenset({"scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule"})


def state_of(instance: Any) -> str | None:
    """Return the state of a task instance, in the try that it is in now. It blocks."""
    states = RuntimeTaskInstance.get_task_states(
        dag_id=instance.dag_id,
        map_index=instance.map_index,
        task_ids=[instance.task_id],
        run_ids=[instance.run_id],
    )
    found = [str(state) for state in states.get(instance.run_id, {}).values() if state is not None]
    return found[0] if found else None


def is_over(instance: Any) -> bool:
    """Whether a person has marked or cleared the task instance."""
    return state_of(instance) not in GOES_ON
