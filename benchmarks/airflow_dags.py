"""The DAGs of `benchmarks.airflow`: steps in a row, one task, and many tasks that the scheduler defers by itself."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, ClassVar

from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import StartTriggerArgs

from mirepoix.airflow import MirepoixTaskOperator

PARAMS: dict[str, Any] = {"conn_id": "", "task": "", "args": [], "seconds": [0, 0, 0]}
AGAIN: dict[str, Any] = {"retries": 100, "retry_delay": timedelta(0)}
CALL = {"task": "{{ params.task }}", "conn_id": "{{ params.conn_id }}"}

with DAG("steps", schedule=None, params=PARAMS, default_args=AGAIN, render_template_as_native_obj=True):
    before = None
    for number in range(3):
        seconds = f"{{{{ params.seconds[{number}] }}}}"
        step = MirepoixTaskOperator(task_id=f"step{number}", op_args=[seconds], **CALL)
        if before is not None:
            before >> step
        before = step

with DAG("one", schedule=None, params=PARAMS, render_template_as_native_obj=True):
    MirepoixTaskOperator(task_id="step", op_args="{{ params.args }}", **CALL)


class Waits(BaseOperator):
    """Waits for the task under *key*, without a process of its own before that."""

    template_fields = ("conn_id",)
    start_from_trigger: ClassVar[bool] = True

    def __init__(self, *, key: str, conn_id: str, **base: Any) -> None:
        super().__init__(**base)
        self.conn_id = conn_id
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="mirepoix.airflow.trigger.MirepoixTrigger",
            trigger_kwargs={"conn_id": conn_id, "key": key, "cancels": False},
            next_method="done",
        )

    def execute(self, context: Any) -> None:
        """Never called."""

    def done(self, context: Any, event: Any) -> None:
        """The task has ended."""


for first in range(0, int(os.environ["WAITS"]), 20):  # Airflow reads the whole DAG for each of these triggers
    with DAG(f"waits{first // 20}", schedule=None, params=PARAMS, max_active_tasks=100):
        for number in range(first, first + 20):
            Waits(task_id=f"wait{number}", key=f"wait-{number}", conn_id="{{ params.conn_id }}")
