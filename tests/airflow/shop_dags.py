"""DAGs that run tasks of the shop. A run's configuration says which task, with which arguments, on which ledger."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from mirepoix.airflow import MirepoixTaskOperator, MirepoixTaskSensor

PARAMS = {"conn_id": "", "task": "", "args": []}
CALL = {"task": "{{ params.task }}", "op_args": "{{ params.args }}", "conn_id": "{{ params.conn_id }}"}
AGAIN: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}


def dag_of(dag_id: str, **more: Any) -> None:
    """A DAG with one task, ``step``."""
    with DAG(dag_id, schedule=None, params=PARAMS, render_template_as_native_obj=True):
        MirepoixTaskOperator(task_id="step", **{**CALL, **more})


dag_of("one", **AGAIN)
dag_of("waiting", deferrable=False, **AGAIN)
dag_of("requeuing", rerun_failed="requeue", **AGAIN)
dag_of("replacing", rerun_failed="replace", **AGAIN)
dag_of("limited", execution_timeout=timedelta(seconds=15))

with DAG("mapped", schedule=None, params={**PARAMS, "calls": []}, render_template_as_native_obj=True):

    @task
    def calls(params: dict[str, Any] | None = None) -> list[list[Any]]:
        """The arguments of each call."""
        assert params is not None
        return list(params["calls"])

    MirepoixTaskOperator.partial(task_id="step", task=CALL["task"], conn_id=CALL["conn_id"]).expand(op_args=calls())

with DAG("executed", schedule=None, params={"gate": ""}):

    @task(task_id="step", executor="CeleryExecutor", retries=1, retry_delay=timedelta(0))
    def gate(params: dict[str, Any] | None = None) -> str:
        """Say that it began, and wait for a file."""
        assert params is not None
        waited_for = Path(params["gate"])
        waited_for.with_suffix(".begun").touch()
        while not waited_for.exists():
            time.sleep(0.05)
        return "open"

    gate()

with DAG("sensing", schedule=None, params={**PARAMS, "key": ""}, render_template_as_native_obj=True):
    MirepoixTaskSensor(task_id="step", key="{{ params.key }}", conn_id=CALL["conn_id"])
