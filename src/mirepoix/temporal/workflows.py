"""For workflows: run a Celery task as an activity. Replay-safe, and nothing of Celery is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from mirepoix.temporal.call import ACTIVITY, TaskCall

LONGEST = timedelta(days=1)
HEARTBEAT = timedelta(seconds=30)


async def run_task(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    key: str | None = None,
    rerun_failed: bool = False,
    result_type: type | None = None,
    start_to_close_timeout: timedelta | None = LONGEST,
    heartbeat_timeout: timedelta | None = HEARTBEAT,
    cancellation_type: ActivityCancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry_policy: RetryPolicy | None = None,
    **activity_options: Any,
) -> Any:
    """Run the Celery task of that name once, and return what it returned.

    *options* are those of ``apply_async`` (``queue``, ``priority``, …); *activity_options* those of
    ``workflow.execute_activity``. There is one task for the workflow's id, its run and this activity, however often
    Temporal tries the activity; with *key* it is the one of that key in the whole ledger. Celery's own policy retries
    the task, and the activity fails when the task has failed for good. With *rerun_failed* Temporal retries that
    failure by *retry_policy*: the same task then runs again.

    If the workflow is cancelled, so is the task, and its process is ended if it runs. *heartbeat_timeout* is how long
    the death of a Temporal worker goes unnoticed; the task goes on meanwhile.
    """
    call = TaskCall(task, list(args), dict(kwargs or {}), dict(options or {}), key, rerun_failed)
    return await workflow.execute_activity(
        ACTIVITY,
        call,
        result_type=result_type,
        start_to_close_timeout=start_to_close_timeout,
        heartbeat_timeout=heartbeat_timeout,
        cancellation_type=cancellation_type,
        retry_policy=retry_policy,
        **activity_options,
    )
