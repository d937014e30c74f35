"""Airflow's CeleryExecutor on the ledger, without a broker: its tasks survive the deaths of workers."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airflow_server import AirflowServer, Run
from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.crashpoints import Crashpoint
from pace import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def executor(needs_airflow: None, airflow_server: AirflowServer) -> Iterator[AirflowServer]:
    """The server, without workers of other tests."""
    before = set(airflow_server.processes)
    yield airflow_server
    for name in set(airflow_server.processes) - before:
        airflow_server.processes[name].remove()


def begin(executor: AirflowServer, gate: Path) -> Run:
    """Start a DAG run with one task of the CeleryExecutor, which waits for the file."""
    return executor.begin("executed", f"run-{uuid.uuid4().hex[:8]}", gate=str(gate))


def workloads(executor: AirflowServer) -> Counter[str]:
    """The states of what the executor has sent."""
    ledger = Ledger(source_for(executor.executors_ledger))
    with closing(ledger.connection):
        rows = ledger.query("SELECT name, state FROM mirepoix_task")
    assert {name for name, _ in rows} == {"execute_workload"}
    return Counter(state for _, state in rows)


def test_the_executor_needs_no_broker(executor: AirflowServer, tmp_path: Path) -> None:
    executor.celery_worker("plain")
    (tmp_path / "gate").touch()
    run = begin(executor, tmp_path / "gate")
    run.ends()
    assert run.xcom() == "open"
    # Airflow's task reports its end to Airflow, and only then ends as a Celery task.
    until(lambda: workloads(executor)["succeeded"] >= 1, "the executor's Celery task succeeded")


def test_a_worker_that_dies_with_a_workload_in_its_hands_loses_nothing(executor: AirflowServer, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    (tmp_path / "token").touch()
    dies = {
        "MIREPOIX_CRASHPOINT": str(Crashpoint.TAKE_AFTER_COMMIT),
        "MIREPOIX_CRASHPOINT_TOKEN": str(tmp_path / "token"),
    }
    victim = executor.celery_worker("victim", dies)
    run = begin(executor, tmp_path / "gate")
    assert victim.ends().exit_code == -9
    executor.celery_worker("next")
    run.ends()
    assert run.instance()["try_number"] == 1


def test_a_worker_that_dies_while_a_task_runs_lets_airflow_try_again(executor: AirflowServer, tmp_path: Path) -> None:
    victim = executor.celery_worker("victim")
    run = begin(executor, tmp_path / "gate")
    until((tmp_path / "gate.begun").exists, "the task began")
    victim.remove()
    executor.celery_worker("next")
    (tmp_path / "gate").touch()
    run.ends()
    assert run.instance()["try_number"] == 2
    until(lambda: set(workloads(executor)) <= {"succeeded", "failed"}, "the ledger has nothing open")
