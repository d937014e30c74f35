"""The plugin of Temporal's workers: it brings the activity, watches its tasks, and lets workflows import mirepoix."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from mirepoix.temporal.activity import RunTask
from mirepoix.temporal.watch import Watch


class MirepoixPlugin(SimplePlugin):
    """``Worker(client, task_queue=…, workflows=[…], plugins=[MirepoixPlugin(app)])``: tasks of *app* run as activities.

    One plugin is for one worker at a time. *app* is a Celery app that Mirepoix is installed on; it needs no tasks here.
    """

    def __init__(self, app: Any) -> None:
        self._watch = Watch(app)
        super().__init__(
            "mirepoix.MirepoixPlugin",
            activities=[RunTask(app, self._watch).run_task],
            workflow_runner=_passing_through,
        )

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Around the worker's life."""
        async with self._watch.running(worker.client):
            await super().run_worker(worker, next)


def _passing_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    """*runner*, whose sandbox takes mirepoix as it is imported outside of it: nothing in it depends on a workflow."""
    runner = runner or SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    return dataclasses.replace(runner, restrictions=runner.restrictions.with_passthrough_modules("mirepoix"))
